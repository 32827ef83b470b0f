#pragma once

#include "net/asio.hpp"
#include "value/secret.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

// TLS 1.3 with a pre-shared key, for the links of a node that has a secret. A build without TLS has these types, too,
// but `make_tls` refuses.

namespace cluster::net {

/// Both are derived from a secret and the name of the cluster.
struct TlsKey {
    std::array<std::uint8_t, 8> id{};  ///< sent in clear, so that the other side knows which key is meant
    std::array<std::uint8_t, 32> bytes{};
    bool guests_only = false;
};

/// TLS on one socket, which it neither owns nor waits for. Used on the I/O thread only. The socket must be open and
/// must not wait.
///
/// Each function may fail with `would_block`, though the socket would not: call it again when `waits_for` says so.
class TlsStream {
public:
    virtual ~TlsStream() = default;

    /// Once it succeeds, both sides have proved that they know a secret. Fails with `errc::wrong_secret`,
    /// `not_private`, `not_a_cluster_node` or `connection_lost`. Nothing may be read or written before.
    virtual std::error_code shake_hands() = 0;
    /// At least one byte; 0 without an error at the end of the stream. It holds bytes that the socket does not announce
    /// any more: only after `would_block` may one wait for the socket.
    virtual std::size_t read_some(std::span<std::byte> into, std::error_code& error) = 0;
    /// At least one byte. After `would_block` the same bytes must come again first.
    virtual std::size_t write_some(std::span<const asio::const_buffer> buffers, std::error_code& error) = 0;
    /// All is written: says so.
    virtual void end_writing() = 0;

    virtual asio::socket_base::wait_type waits_for() const noexcept = 0;
    /// What the log says of a failure: which rule of the handshake was broken, or what was wrong with a record. Empty
    /// if the other side just went.
    virtual std::string_view failure() const noexcept = 0;

    /// After the handshake: the key that was used.
    virtual const TlsKey& key() const noexcept = 0;
    /// How often the key for what is written was renewed.
    virtual std::uint64_t renewals() const noexcept = 0;
};

/// What the links of one node have in common. Thread-safe.
class Tls {
public:
    virtual ~Tls() = default;

    /// `socket` is connected. `dials`: this side has dialled, and speaks first. Throws `std::bad_alloc`.
    virtual std::unique_ptr<TlsStream> open(int socket, bool dials) = 0;
    /// For links that are made from now on. There is at least one in `peers`.
    virtual void set(const Secrets& secrets) = 0;
    /// Whether a link with that key could still be made.
    virtual bool accepts(const TlsKey& key) const = 0;
};

struct TlsOptions {
    Secrets secrets;  ///< at least one of `peers`
    std::string cluster;
    /// Records that are written with one key, at most. AES-GCM is safe for 2^24.5 of full length.
    std::uint64_t records_per_key = std::uint64_t{1} << 23;
};

/// Throws `errc::unsupported` in a build without TLS.
std::shared_ptr<Tls> make_tls(const TlsOptions& options);

}  // namespace cluster::net
