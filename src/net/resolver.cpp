#include "net/resolver.hpp"

#include "base/mutex.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <netdb.h>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace cluster::net {

using asio::ip::tcp;

/// What the threads use. It outlives the resolver while one of them is in a look-up.
struct Resolver::Shared : std::enable_shared_from_this<Shared> {
    struct Asker {
        std::weak_ptr<void> owner;
        Then then;
    };

    Shared(asio::io_context& to, LookUp how) : io(&to), look_up(std::move(how)) {}

    void run();
    std::optional<Address> next();
    void answer(const Address& name, Endpoints endpoints);

    detail::Mutex mutex;
    asio::io_context* io GUARDED_BY(mutex);  ///< null when the resolver is gone
    const LookUp look_up;
    std::map<Address, std::vector<Asker>> asked GUARDED_BY(mutex);
    std::deque<Address> waiting GUARDED_BY(mutex);  ///< names that were asked for and that no thread has taken
    std::size_t threads GUARDED_BY(mutex) = 0;
};

/// The work of one thread: it ends when no name is left.
void Resolver::Shared::run() {
    while (const auto name = next()) {
        Endpoints endpoints;
        try {
            endpoints = look_up(*name);
        } catch (const std::exception&) {
            endpoints.clear();
        }
        answer(*name, std::move(endpoints));
    }
}

/// The next name for which somebody still waits. If there is none, the calling thread no longer counts.
std::optional<Address> Resolver::Shared::next() {
    const detail::Lock lock(mutex);
    while (!waiting.empty()) {
        const Address name = std::move(waiting.front());
        waiting.pop_front();
        const auto& askers = asked.at(name);
        const auto gone = [](const Asker& each) { return each.owner.expired(); };
        if (!std::all_of(askers.begin(), askers.end(), gone)) return name;
        asked.erase(name);
    }
    --threads;
    return std::nullopt;
}

void Resolver::Shared::answer(const Address& name, Endpoints endpoints) {
    const detail::Lock lock(mutex);
    if (io == nullptr) return;
    asio::post(*io, [askers = std::move(asked.extract(name).mapped()), endpoints = std::move(endpoints)] {
        for (const Asker& each : askers) {
            if (const auto alive = each.owner.lock()) each.then(endpoints);
        }
    });
}

Resolver::Resolver(asio::io_context& io, LookUp look_up)
    : shared_(std::make_shared<Shared>(io, std::move(look_up))) {}

Resolver::~Resolver() {
    const detail::Lock lock(shared_->mutex);
    shared_->io = nullptr;
    shared_->waiting.clear();
    shared_->asked.clear();
}

void Resolver::look_up(const Address& name, const std::weak_ptr<void>& owner, Then then) {
    {
        const detail::Lock lock(shared_->mutex);
        auto& askers = shared_->asked[name];
        askers.push_back({owner, std::move(then)});
        if (askers.size() > 1) return;
        if (shared_->waiting.size() < most_waiting) {
            shared_->waiting.push_back(name);
            if (shared_->threads == most_at_once) return;
            try {
                std::thread([shared = shared_] { shared->run(); }).detach();
                ++shared_->threads;
                return;
            } catch (const std::exception&) {
                if (shared_->threads != 0) return;  // the present threads will come to it
                shared_->waiting.pop_back();
            }
        }
    }
    shared_->answer(name, {});
}

Resolver::Endpoints Resolver::ask_system(const Address& name) {
    std::error_code ignored;
    return look_up_now(name, ignored);
}

Resolver::Endpoints Resolver::look_up_now(const Address& name, std::error_code& error) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV;
    addrinfo* first = nullptr;
    const int failure = ::getaddrinfo(name.host.c_str(), std::to_string(name.port).c_str(), &hints, &first);
    if (failure != 0) {
        error = failure == EAI_SYSTEM   ? std::error_code(errno, std::generic_category())
                : failure == EAI_MEMORY ? std::make_error_code(std::errc::not_enough_memory)
                : failure == EAI_AGAIN  ? std::error_code(asio::error::host_not_found_try_again)
                                        : std::error_code(asio::error::host_not_found);
        return {};
    }
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(first, &::freeaddrinfo);
    Endpoints endpoints;
    for (const addrinfo* each = first; each != nullptr; each = each->ai_next) {
        tcp::endpoint endpoint;
        if (each->ai_addrlen > endpoint.capacity()) continue;
        std::memcpy(endpoint.data(), each->ai_addr, each->ai_addrlen);
        endpoint.resize(each->ai_addrlen);
        if (std::find(endpoints.begin(), endpoints.end(), endpoint) == endpoints.end()) endpoints.push_back(endpoint);
    }
    if (endpoints.empty()) error = asio::error::host_not_found;
    return endpoints;
}

}  // namespace cluster::net
