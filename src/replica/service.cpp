#include <cluster/service.hpp>

#include <cluster/error.hpp>

#include <algorithm>
#include <system_error>

namespace cluster {

std::string_view to_string(Role role) noexcept {
    switch (role) {
        case Role::follower: return "follower";
        case Role::candidate: return "candidate";
        case Role::leader: return "leader";
    }
    return "unknown";
}

std::string_view to_string(CloseReason reason) noexcept {
    switch (reason) {
        case CloseReason::client: return "client";
        case CloseReason::service: return "service";
        case CloseReason::timed_out: return "timed out";
        case CloseReason::slow: return "slow";
    }
    return "unknown";
}

void SnapshotReader::read(std::string& text) {
    std::uint32_t size = 0;
    read(size);
    text.clear();
    // A length that is not true must not take memory for what does not come.
    constexpr std::size_t step = std::size_t{1} << 20;
    while (text.size() < size) {
        const std::size_t begin = text.size();
        text.resize(begin + std::min(step, size - begin));
        read_bytes(std::as_writable_bytes(std::span(text).subspan(begin)));
    }
}

void Service::save(SnapshotWriter&) const {
    throw std::system_error(make_error_code(errc::unsupported), "the service does not override Service::save");
}

void Service::load(SnapshotReader&) {
    throw std::system_error(make_error_code(errc::unsupported), "the service does not override Service::load");
}

void Service::on_query(QueryContext&, std::span<const std::byte>) const {
    throw std::system_error(make_error_code(errc::unsupported), "the service does not override Service::on_query");
}

std::function<void(SnapshotWriter&)> Service::freeze() const {
    return {};
}

}  // namespace cluster
