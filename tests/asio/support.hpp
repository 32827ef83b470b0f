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

template <class T>
bool waits(const std::future<T>& future) {
    return future.wait_for(std::chrono::seconds(0)) != std::future_status::ready;
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

inline constexpr std::size_t long_size = 100'000;

/// Room for a few long messages, in nodes that give each other time.
inline Options tight() {
    Options options = quick();
    options.heartbeat = std::chrono::seconds(5);
    options.suspicion = patience * 2;
    options.max_message = std::size_t{256} << 10;
    options.outbox_bytes = std::size_t{512} << 10;
    options.total_outbox_bytes = std::size_t{1} << 20;
    options.max_peers = 4;
    options.inbox_bytes = std::size_t{1} << 20;
    return options;
}

using Result = std::pair<std::error_code, std::string>;

/// A handler that puts into `results` what it is called with.
inline auto into(Events<Result>& results) {
    return [&results](std::error_code error, const Message& message) {
        results.put({error, std::string(message.text())});
    };
}

/// A sender, and a receiver that takes nothing, and acknowledges nothing, until it is let go.
struct Stuck {
    Events<std::string> received;
    std::promise<void> gate;
    Pair pair;
    int accepted = 0;

    explicit Stuck(Options of_ann = tight()) : pair(std::move(of_ann), tight()) {
        Events<int> inside;
        auto open = gate.get_future().share();
        pair.bob.on_message([this, &inside, open](const Message& message) {
            if (message.text() == "first") inside.put(0);
            open.wait();
            received.put(message.lost() != 0 ? "gap" : std::string(message.text()));
        });
        pair.ann.broadcast("first");
        if (!inside.take()) throw std::runtime_error("nothing was received");
        while (pair.ann.try_send(pair.bob.id(), std::string(long_size, 'x'))) ++accepted;
    }
    /// The receiver goes on; true if it gets what was accepted so far.
    bool let_go() {
        gate.set_value();
        bool right = received.take() == "first";
        for (int i = 0; i < accepted; ++i) right = right && received.take() == std::string(long_size, 'x');
        return right;
    }
};

}  // namespace cluster::support
