#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>

/// Stands between the first node and those who dial it, as a network would: forwards each connection, and cuts one when
/// asked. It listens on 127.0.0.1 at a port that the system picks, and forwards to 127.0.0.2 at the same port.
///
/// Works on a thread of its own; the functions may be called from any other.
class Relay {
public:
    using Clock = std::chrono::steady_clock;

    Relay();
    Relay(const Relay&) = delete;
    Relay& operator=(const Relay&) = delete;
    ~Relay();

    std::uint16_t port() const noexcept { return port_; }

    /// Of the connections that are open, the first to carry so many more bytes is reset; what it held is lost.
    void cut_after(std::size_t bytes);
    bool has_cut() const { return cut_at_.load() != Clock::time_point::max(); }
    Clock::time_point cut_at() const { return cut_at_.load(); }

private:
    void run();

    std::uint16_t port_ = 0;
    int listener_ = -1;
    std::atomic<std::size_t> cut_after_{0};
    std::atomic<Clock::time_point> cut_at_{Clock::time_point::max()};
    std::atomic<bool> stopped_{false};
    std::thread thread_;
};
