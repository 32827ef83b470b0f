#pragma once

#include "net/support.hpp"

#include <cluster/asio.hpp>
#include <cluster/cluster.hpp>

#include <asio.hpp>
#include <asio/experimental/awaitable_operators.hpp>

#include <future>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

// What the tests of `<cluster/asio.hpp>` share. They see the library as an application does: compiled apart, through
// its public headers, with an Asio of the application's own.

namespace cluster::support {

/// The value of `future`, which comes in time.
template <class T>
T get(std::future<T> future) {
    if (future.wait_for(patience) != std::future_status::ready) throw std::runtime_error("a future was never ready");
    return future.get();
}

/// The error with which `future` ends.
template <class T>
std::error_code error_of(std::future<T> future) {
    try {
        get(std::move(future));
        return {};
    } catch (const std::system_error& error) {
        return error.code();
    }
}

/// Runs `io` until it has nothing to do; false if that takes too long.
inline bool run(asio::io_context& io) {
    io.restart();
    io.run_for(patience);
    return io.stopped();
}

/// A pair of peers.
struct Pair {
    Node ann{quick()};
    Node bob{quick()};

    explicit Pair(Options of_ann = quick(), Options of_bob = quick())
        : ann(std::move(of_ann)), bob(std::move(of_bob)) {
        ann.add(bob.address());
    }
    /// Waits until so many messages lie in bob's inbox. Needs messages of at least `size` bytes.
    void await_inbox_bytes(std::size_t size) const {
        const auto deadline = std::chrono::steady_clock::now() + patience;
        while (bob.stats().inbox_bytes < size) {
            if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("the inbox stayed empty");
            std::this_thread::yield();
        }
    }
};

}  // namespace cluster::support
