#pragma once

#include "base/thread_kind.hpp"

#include <cluster/error.hpp>

#include <string>
#include <system_error>

namespace cluster::detail {

/// Whether this thread may wait for another one. If not, a call that would have to wait fails with `errc::would_block`.
inline bool may_wait() noexcept {
    return kind_of_this_thread() == ThreadKind::free;
}

/// Throws `errc::would_block` if this thread may not wait for `what`.
inline void require_may_wait(const std::string& what) {
    if (may_wait()) return;
    throw std::system_error(make_error_code(errc::would_block),
                            "waiting for " + what + " on an I/O thread, or inside of a service");
}

}  // namespace cluster::detail
