#pragma once

#include "base/block.hpp"
#include "core/outbox.hpp"
#include "core/session.hpp"
#include "net/asio.hpp"
#include "net/tls.hpp"
#include "wire/parser.hpp"

#include <cluster/address.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <system_error>
#include <vector>

namespace cluster::net {

class Driver;

/// One link's socket: carries bytes between it and the engine. Used on the I/O thread only. Kept alive by the
/// operations that it waits for; `close` ends them.
///
/// Only `read_some` and `write_some` touch the bytes of the socket, which TLS may encrypt.
///
/// 1. Whole frames are pulled from the engine, and written to their end before more is pulled.
/// 2. Only reading finds the end of a link: a peer that has closed may have left words that must still be read.
class Connection final : public std::enable_shared_from_this<Connection>, private core::OutputSink {
public:
    Connection(std::shared_ptr<Driver> driver, core::LinkId link, asio::ip::tcp::socket socket);

    using Connected = std::function<void(const std::error_code&)>;
    /// Connects to the first of `endpoints` that answers. `before`: the error of other endpoints that have failed.
    void connect(std::deque<asio::ip::tcp::endpoint> endpoints, Connected connected, std::error_code before = {});
    /// The socket is connected: what it carries is encrypted from here on. `done` is called when both sides have proved
    /// that they know a secret, or with what has failed, perhaps before this function returns. Whoever wants to wait
    /// for less long than for ever closes.
    void secure(Tls& tls, Connected done);
    /// The socket is connected, and secure if it is to be: reads, and writes what the engine has.
    void start();
    /// To be called before `start`: after `idle` without traffic, the system asks for a sign of life.
    void keep_warm(std::chrono::seconds idle);
    /// Writes what the engine has, as much as the socket takes.
    void write();
    /// The engine has its last output: writes that and shuts down writing. Goes on reading.
    void drain();
    /// Closes at once, without a word.
    void close();

    /// Null if it carries plain text.
    const TlsStream* tls() const noexcept { return tls_.get(); }
    bool started() const noexcept { return started_; }
    /// Of a connection that was dialled.
    const Address& remote() const noexcept { return remote_; }
    /// Of a connection that was dialled: whether both ends are on this machine, as far as their addresses show.
    bool within_machine() const noexcept { return within_machine_; }

private:
    struct Slice {
        detail::BlockRef block;
        std::span<const std::byte> bytes;
    };

    void frame(const core::Control& frame) override;
    void bytes(const detail::BlockRef& block, std::span<const std::byte> bytes) override;

    void shake_hands(Connected done);
    void finish_connecting(const asio::ip::tcp::endpoint& endpoint, std::error_code error, Connected done);

    void wait_for_input();
    void read();
    std::size_t read_some(std::span<std::byte> into, std::error_code& error);
    void parse(const detail::BlockRef& block, std::size_t begin, std::size_t end);

    void wait_for_room();
    bool write_once(std::error_code& error);
    std::size_t write_some(std::span<const asio::const_buffer> buffers, std::error_code& error);
    void forget_output();

    const std::shared_ptr<Driver> driver_;
    const core::LinkId link_;
    asio::ip::tcp::socket socket_;
    std::unique_ptr<TlsStream> tls_;
    Address remote_;
    bool within_machine_ = false;
    bool dialled_ = false;

    wire::Parser parser_;
    std::vector<std::byte> tail_;  ///< of a frame of which a part has come

    std::vector<Slice> output_;
    std::size_t written_ = 0;      ///< slices of it that are written
    std::size_t output_size_ = 0;  ///< bytes left in it
    std::size_t pull_size_;

    bool started_ = false;
    bool waiting_for_room_ = false;
    bool draining_ = false;
    bool output_over_ = false;  ///< shut down, or broken
    bool unwanted_ = false;     ///< the engine wants nothing of what still comes
    bool closed_ = false;
};

}  // namespace cluster::net
