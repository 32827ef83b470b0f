#include "net/connection.hpp"

#include "net/addresses.hpp"
#include "net/driver.hpp"
#include "net/sockets.hpp"
#include "wire/codec.hpp"

#include <algorithm>
#include <cstring>
#include <utility>
#include <variant>

#include <netinet/tcp.h>

namespace cluster::net {

using asio::ip::tcp;

namespace {

/// How much a wake-up reads and writes at most before other connections have their turn.
constexpr int most_reads = 4;
constexpr std::size_t most_written = std::size_t{1} << 20;
/// Room for the rest of the longest frame that has begun, and for more after it.
constexpr std::size_t least_read = core::max_data_frame;

/// Bytes that were pulled delay a control frame. So a socket that took only a part of them lately gets less at a time.
constexpr std::size_t least_pull = std::size_t{64} << 10;
constexpr std::size_t most_pull = std::size_t{256} << 10;

/// With writes that exceed its largest packet, loopback is a third slower.
constexpr std::size_t write_limit = 65000;
constexpr std::size_t most_buffers = 64;

/// Of the failures of two addresses of one name, the one that says more. If this machine has no way to an address, that
/// says nothing. Nobody is there only if all other addresses refuse.
std::error_code telling(const std::error_code& a, const std::error_code& b) {
    const auto weight = [](const std::error_code& error) {
        if (!error) return 0;
        const bool no_way = error == asio::error::network_unreachable ||
                            error == asio::error::address_family_not_supported ||
                            error == std::errc::address_not_available;
        return no_way ? 1 : error == asio::error::connection_refused ? 2 : 3;
    };
    return weight(b) > weight(a) ? b : a;
}

}  // namespace

Connection::Connection(std::shared_ptr<Driver> driver, core::LinkId link, tcp::socket socket)
    : driver_(std::move(driver)), link_(link), socket_(std::move(socket)), pull_size_(most_pull) {}

void Connection::connect(std::deque<tcp::endpoint> endpoints, Connected connected, std::error_code before) {
    dialled_ = true;
    const tcp::endpoint endpoint = endpoints.front();
    endpoints.pop_front();
    std::error_code error;
    socket_.close(error);
    open(socket_, endpoint.protocol(), error);
    if (!error) error = net::connect(socket_, endpoint);
    const auto done = [self = shared_from_this(), connected = std::move(connected), endpoints = std::move(endpoints),
                       endpoint, before](std::error_code failure) {
        if (self->closed_) return;
        std::error_code ignored;
        const tcp::endpoint here = failure ? tcp::endpoint() : self->socket_.local_endpoint(ignored);
        // The system may have chosen, as the port to dial from, the port that is dialled: then the socket has met
        // itself.
        if (here == endpoint) failure = asio::error::connection_refused;
        if (failure) failure = telling(before, failure);
        if (failure && !endpoints.empty()) return self->connect(endpoints, connected, failure);
        self->remote_ = to_address(endpoint);
        self->within_machine_ = here.address() == endpoint.address() || endpoint.address().is_loopback();
        connected(failure);
    };
    finish_connecting(endpoint, error, done);
}

/// Calls `done` with the result, but not before this function has returned. `error` says how far it has come.
void Connection::finish_connecting(const tcp::endpoint& endpoint, std::error_code error, Connected done) {
    if (error != asio::error::in_progress) {
        asio::post(socket_.get_executor(), [error, done = std::move(done)] { done(error); });
        return;
    }
    const auto go_on = [self = shared_from_this(), endpoint, done = std::move(done)](const std::error_code&) {
        if (!self->closed_) self->finish_connecting(endpoint, net::connect(self->socket_, endpoint), done);
    };
    socket_.async_wait(tcp::socket::wait_write, go_on);
}

void Connection::secure(Tls& tls, Connected done) {
    tls_ = tls.open(socket_.native_handle(), dialled_);
    shake_hands(std::move(done));
}

void Connection::shake_hands(Connected done) {
    if (closed_) return;
    const std::error_code error = tls_->shake_hands();
    if (error != asio::error::would_block) return done(error);
    socket_.async_wait(tls_->waits_for(), [self = shared_from_this(), done = std::move(done)](const std::error_code&) {
        self->shake_hands(done);
    });
}

void Connection::start() {
    if (closed_) return;
    started_ = true;
    // The dialling side speaks as soon as it can, so its greeting may be there already.
    if (dialled_ && !tls_) {
        wait_for_input();
    } else {
        read();
    }
    write();
}

void Connection::keep_warm(std::chrono::seconds idle) {
    std::error_code ignored;
    socket_.set_option(tcp::socket::keep_alive(true), ignored);
    const int seconds = static_cast<int>(idle.count());
    ::setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
    ::setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
}

void Connection::close() {
    closed_ = true;
    std::error_code ignored;
    socket_.close(ignored);
    forget_output();
    tail_ = {};
}

void Connection::drain() {
    draining_ = true;
    write();
}

// Reading.

void Connection::wait_for_input() {
    const auto what = tls_ ? tls_->waits_for() : tcp::socket::wait_read;
    socket_.async_wait(what, [self = shared_from_this()](const std::error_code&) { self->read(); });
}

std::size_t Connection::read_some(std::span<std::byte> into, std::error_code& error) {
    if (tls_) return tls_->read_some(into, error);
    return socket_.read_some(asio::buffer(into.data(), into.size()), error);
}

void Connection::read() {
    for (int i = 0; i < most_reads; ++i) {
        if (closed_) return;
        ReadBuffer& buffer = driver_->loop().read_buffer();
        buffer.reserve(tail_.size() + least_read);
        const detail::BlockRef block = buffer.block();
        const std::size_t begin = buffer.begin();
        std::size_t end = begin + tail_.size();
        const std::size_t room = block->size() - end;
        std::error_code error;
        const std::size_t count = read_some({block->data() + end, room}, error);
        if (error == asio::error::would_block || error == asio::error::try_again) return wait_for_input();
        if (error || count == 0) return driver_->connection_ended(link_);
        if (!tail_.empty()) std::memcpy(block->data() + begin, tail_.data(), tail_.size());
        end += count;
        parse(block, begin, end);
        if (count < room && !tls_) break;
    }
    if (closed_) return;
    if (!tls_) return wait_for_input();
    // There may be more in it that the socket does not announce.
    asio::post(socket_.get_executor(), [self = shared_from_this()] { self->read(); });
}

/// Hands the engine the frames between `begin` and `end`, and keeps the beginning of an incomplete one.
void Connection::parse(const detail::BlockRef& block, std::size_t begin, std::size_t end) {
    if (unwanted_) return;
    driver_->serve([&](core::Engine& engine, Time now) {
        for (;;) {
            wire::Parser::Item item = parser_.next(block, begin, end);
            if (const auto* run = std::get_if<core::DataRun>(&item)) {
                unwanted_ = !engine.received(link_, *run, now);
            } else if (auto* control = std::get_if<core::Control>(&item)) {
                unwanted_ = !engine.received(link_, std::move(*control), now);
            } else if (const auto* rule = std::get_if<core::Rule>(&item)) {
                engine.violated(link_, *rule, now);
                unwanted_ = true;
            } else {
                break;
            }
            if (unwanted_) break;
        }
        driver_->loop().read_buffer().keep_until(begin);
        tail_ = unwanted_ || begin == end ? std::vector<std::byte>()
                                          : std::vector<std::byte>(block->data() + begin, block->data() + end);
    });
}

// Writing.

void Connection::frame(const core::Control& frame) {
    std::vector<std::byte>& encoded = driver_->loop().frame_buffer();
    encoded.clear();
    wire::encode(frame, encoded);
    detail::BlockRef block = detail::Block::copy(encoded);
    const std::span<const std::byte> all(block->data(), block->size());
    bytes(block, all);
}

void Connection::bytes(const detail::BlockRef& block, std::span<const std::byte> bytes) {
    output_size_ += bytes.size();
    output_.push_back({block, bytes});
}

void Connection::forget_output() {
    output_.clear();
    written_ = 0;
    output_size_ = 0;
}

void Connection::write() {
    if (!started_ || waiting_for_room_ || output_over_ || closed_) return;
    std::size_t total = 0;
    bool more = true;
    for (;;) {
        if (output_size_ == 0) {
            forget_output();
            if (!more) break;
            more = driver_->with_engine(
                [&](core::Engine& engine, Time now) { return engine.pull(link_, pull_size_, *this, now); });
            if (output_size_ == 0) break;
        }
        const std::size_t before = output_size_;
        std::error_code error;
        if (!write_once(error)) {
            if (error == asio::error::would_block || error == asio::error::try_again) {
                pull_size_ = least_pull;
                return wait_for_room();
            }
            output_over_ = true;
            return forget_output();
        }
        total += before - output_size_;
        if (output_size_ == 0) pull_size_ = std::min(2 * pull_size_, most_pull);
        if (total >= most_written) return wait_for_room();
    }
    if (draining_) {
        output_over_ = true;
        if (tls_) tls_->end_writing();
        std::error_code ignored;
        socket_.shutdown(tcp::socket::shutdown_send, ignored);
    }
}

void Connection::wait_for_room() {
    waiting_for_room_ = true;
    socket_.async_wait(tcp::socket::wait_write, [self = shared_from_this()](const std::error_code&) {
        self->waiting_for_room_ = false;
        self->write();
    });
}

std::size_t Connection::write_some(std::span<const asio::const_buffer> buffers, std::error_code& error) {
    return tls_ ? tls_->write_some(buffers, error) : socket_.write_some(buffers, error);
}

/// One gathered write. False if the socket took nothing.
bool Connection::write_once(std::error_code& error) {
    std::array<asio::const_buffer, most_buffers> buffers;
    std::size_t count = 0;
    std::size_t size = 0;
    for (std::size_t i = written_; i < output_.size() && count < most_buffers && size < write_limit; ++i) {
        const std::size_t part = std::min(output_[i].bytes.size(), write_limit - size);
        buffers[count++] = asio::const_buffer(output_[i].bytes.data(), part);
        size += part;
    }
    std::size_t taken = write_some({buffers.data(), count}, error);
    if (error) return false;
    output_size_ -= taken;
    while (taken != 0) {
        Slice& slice = output_[written_];
        const std::size_t part = std::min(taken, slice.bytes.size());
        slice.bytes = slice.bytes.subspan(part);
        taken -= part;
        if (slice.bytes.empty()) {
            slice.block = {};
            ++written_;
        }
    }
    return true;
}

}  // namespace cluster::net
