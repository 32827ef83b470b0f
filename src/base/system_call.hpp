#pragma once

#include <cerrno>
#include <system_error>

namespace cluster::detail {

/// `errno` as an error.
inline std::error_code last_error() {
    return {errno, std::generic_category()};
}

/// Repeats the call until no signal interrupts it.
template <class Call>
auto uninterrupted(Call&& call) {
    auto result = call();
    while (result < 0 && errno == EINTR) result = call();
    return result;
}

}  // namespace cluster::detail
