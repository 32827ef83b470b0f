#include "net/tls.hpp"

#include "base/mutex.hpp"
#include "net/system.hpp"
#include "net/tls_keys.hpp"

#include <cluster/error.hpp>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <new>
#include <optional>
#include <utility>

namespace cluster::net {

namespace {

using asio::socket_base;

constexpr const char* suite_name = "TLS_AES_128_GCM_SHA256";
constexpr std::array<unsigned char, 2> suite_id{0x13, 0x01};
/// What one record holds at most. Full ones cost least.
constexpr std::size_t record_size = std::size_t{16} << 10;
/// How much a link reads at once: four records of full length, with what each has around it.
constexpr std::size_t read_ahead = 4 * (record_size + 256) + 1024;
/// So many bytes show whether it is a HELLO in plain text that comes.
constexpr std::size_t bytes_that_tell = 12;
/// Two alerts, handshake_failure and close_notify. A node without a secret reads them as a frame and knows what they
/// are, see PROTOCOL.md. It needs more than the 7 bytes of one.
constexpr std::array<unsigned char, 14> word_to_plain_node{0x15, 3, 3, 0, 2, 2, 40, 0x15, 3, 3, 0, 2, 1, 0};

template <auto function>
struct FreedBy {
    template <class T>
    void operator()(T* freed) const {
        function(freed);
    }
};
using Context = std::unique_ptr<SSL_CTX, FreedBy<SSL_CTX_free>>;
using Stream = std::unique_ptr<SSL, FreedBy<SSL_free>>;
using PskSession = std::unique_ptr<SSL_SESSION, FreedBy<SSL_SESSION_free>>;

template <class T>
T* checked(T* made) {
    if (made == nullptr) throw std::bad_alloc();
    return made;
}

std::error_code would_block() {
    return asio::error::make_error_code(asio::error::would_block);
}

/// Which keys this node dials with and takes. Thread-safe.
class Keyring {
public:
    explicit Keyring(std::string cluster) : cluster_(std::move(cluster)) {}

    void set(const Secrets& secrets) {
        std::vector<TlsKey> keys;
        for (const std::string& each : secrets.peers) keys.push_back(derive_key(each, cluster_));
        for (const std::string& each : secrets.guests) {
            keys.push_back(derive_key(each, cluster_));
            keys.back().guests_only = true;
        }
        const detail::Lock lock(mutex_);
        keys_ = std::move(keys);
    }
    TlsKey first() const {
        const detail::Lock lock(mutex_);
        return keys_.front();
    }
    std::optional<TlsKey> find(std::span<const unsigned char> id) const {
        const detail::Lock lock(mutex_);
        const auto found = std::find_if(keys_.begin(), keys_.end(), [&](const TlsKey& key) {
            return std::equal(key.id.begin(), key.id.end(), id.begin(), id.end());
        });
        return found == keys_.end() ? std::nullopt : std::optional(*found);
    }

private:
    const std::string cluster_;
    mutable detail::Mutex mutex_;
    std::vector<TlsKey> keys_ GUARDED_BY(mutex_);
};

class OpenSslTls;

/// Keeps what all links of its node share alive.
class OpenSslStream final : public TlsStream {
public:
    OpenSslStream(std::shared_ptr<OpenSslTls> tls, int socket, bool dials);

    std::error_code shake_hands() override;
    std::size_t read_some(std::span<std::byte> into, std::error_code& error) override;
    std::size_t write_some(std::span<const asio::const_buffer> buffers, std::error_code& error) override;
    void end_writing() override;
    socket_base::wait_type waits_for() const noexcept override { return waits_for_; }
    std::string_view failure() const noexcept override { return failure_; }
    const TlsKey& key() const noexcept override { return key_; }
    std::uint64_t renewals() const noexcept override { return renewals_; }

    // Called by OpenSSL, which is C: no exception leaves them.
    int receive(char* into, std::size_t size, std::size_t* count) noexcept;
    int send(const char* from, std::size_t size, std::size_t* count) noexcept;
    int offer_key(const unsigned char** id, std::size_t* size, SSL_SESSION** session) noexcept;
    int find_key(std::span<const unsigned char> id, SSL_SESSION** session) noexcept;

private:
    std::error_code handshake_failed();
    std::error_code failed(int result);
    PskSession make_session(const TlsKey& key) const;
    bool proved() const;
    std::size_t write_record(std::span<const std::byte> bytes, std::error_code& error);

    const std::shared_ptr<OpenSslTls> tls_;
    const int socket_;
    const bool dials_;
    Stream ssl_;
    socket_base::wait_type waits_for_ = socket_base::wait_read;
    std::string failure_;
    std::error_code broken_;  ///< nothing goes any more
    bool ended_ = false;      ///< nothing comes any more. That nobody said so is no attack: GOODBYE says what is whole
    TlsKey key_;
    bool key_found_ = false;
    std::array<unsigned char, bytes_that_tell> first_bytes_{};
    std::size_t first_count_ = 0;
    std::uint64_t records_ = 0;  ///< with the key in use
    std::uint64_t renewals_ = 0;
};

/// The slot of an `SSL` that leads to its stream.
int stream_slot() {
    static const int slot = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return slot;
}

OpenSslStream& stream_of(SSL* ssl) {
    return *static_cast<OpenSslStream*>(SSL_get_ex_data(ssl, stream_slot()));
}

/// OpenSSL's own sockets raise SIGPIPE.
const BIO_METHOD* socket_method() {
    static BIO_METHOD* const method = [] {
        BIO_METHOD* made = checked(BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "cluster"));
        BIO_meth_set_read_ex(made, [](BIO* bio, char* into, std::size_t size, std::size_t* count) {
            BIO_clear_retry_flags(bio);
            const int result = static_cast<OpenSslStream*>(BIO_get_data(bio))->receive(into, size, count);
            if (result == 0 && errno == EAGAIN) BIO_set_retry_read(bio);
            return result;
        });
        BIO_meth_set_write_ex(made, [](BIO* bio, const char* from, std::size_t size, std::size_t* count) {
            BIO_clear_retry_flags(bio);
            const int result = static_cast<OpenSslStream*>(BIO_get_data(bio))->send(from, size, count);
            if (result == 0 && errno == EAGAIN) BIO_set_retry_write(bio);
            return result;
        });
        BIO_meth_set_ctrl(made, [](BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1L : 0L; });
        return made;
    }();
    return method;
}

class OpenSslTls final : public Tls, public std::enable_shared_from_this<OpenSslTls> {
public:
    explicit OpenSslTls(const TlsOptions& options)
        : keyring_(options.cluster),
          records_per_key_(options.records_per_key),
          context_(checked(SSL_CTX_new(TLS_method()))) {
        keyring_.set(options.secrets);
        SSL_CTX* const context = context_.get();
        SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
        SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION);
        if (SSL_CTX_set_ciphersuites(context, suite_name) != 1) throw std::bad_alloc();
        // A ticket would open a link after its secret has been withdrawn.
        SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
        SSL_CTX_clear_options(context, SSL_OP_ALLOW_NO_DHE_KEX);
        SSL_CTX_set_num_tickets(context, 0);
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_max_early_data(context, 0);
        SSL_CTX_set_recv_max_early_data(context, 0);
        SSL_CTX_set_mode(
            context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
        SSL_CTX_set_read_ahead(context, 1);
        SSL_CTX_set_psk_use_session_callback(
            context, [](SSL* ssl, const EVP_MD*, const unsigned char** id, std::size_t* size, SSL_SESSION** session) {
                return stream_of(ssl).offer_key(id, size, session);
            });
        SSL_CTX_set_psk_find_session_callback(
            context, [](SSL* ssl, const unsigned char* id, std::size_t size, SSL_SESSION** session) {
                return stream_of(ssl).find_key({id, size}, session);
            });
    }

    std::unique_ptr<TlsStream> open(int socket, bool dials) override {
        return std::make_unique<OpenSslStream>(shared_from_this(), socket, dials);
    }
    void set(const Secrets& secrets) override { keyring_.set(secrets); }
    bool accepts(const TlsKey& key) const override {
        const std::optional<TlsKey> found = keyring_.find(key.id);
        return found && found->bytes == key.bytes && found->guests_only == key.guests_only;
    }

    SSL_CTX* context() const noexcept { return context_.get(); }
    const Keyring& keyring() const noexcept { return keyring_; }
    std::uint64_t records_per_key() const noexcept { return records_per_key_; }
    /// Where a record is put together from several buffers. Of the I/O thread.
    std::array<std::byte, record_size>& flat() noexcept { return flat_; }

private:
    Keyring keyring_;
    const std::uint64_t records_per_key_;
    const Context context_;
    std::array<std::byte, record_size> flat_;
};

OpenSslStream::OpenSslStream(std::shared_ptr<OpenSslTls> tls, int socket, bool dials)
    : tls_(std::move(tls)), socket_(socket), dials_(dials), ssl_(checked(SSL_new(tls_->context()))) {
    if (SSL_set_ex_data(ssl_.get(), stream_slot(), this) != 1) throw std::bad_alloc();
    BIO* const bio = checked(BIO_new(socket_method()));
    BIO_set_data(bio, this);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl_.get(), bio, bio);
    if (dials_) {
        key_ = tls_->keyring().first();
        // Whoever listens could ignore the key and show a certificate instead. Here none is trusted.
        SSL_set_verify(ssl_.get(), SSL_VERIFY_PEER, nullptr);
        SSL_set_connect_state(ssl_.get());
    } else {
        SSL_set_accept_state(ssl_.get());
    }
}

// What OpenSSL calls.

int OpenSslStream::receive(char* into, std::size_t size, std::size_t* count) noexcept {
    const ssize_t got = ::recv(socket_, into, size, 0);
    if (got < 0 && errno == EINTR) errno = EAGAIN;
    if (got <= 0) {
        if (got == 0) {
            errno = 0;
            ended_ = true;
        }
        return 0;
    }
    *count = static_cast<std::size_t>(got);
    const std::size_t kept = std::min(*count, first_bytes_.size() - first_count_);
    std::memcpy(first_bytes_.data() + first_count_, into, kept);
    first_count_ += kept;
    return 1;
}

int OpenSslStream::send(const char* from, std::size_t size, std::size_t* count) noexcept {
    const ssize_t sent = ::send(socket_, from, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) errno = EAGAIN;
    if (sent < 0) return 0;
    *count = static_cast<std::size_t>(sent);
    return 1;
}

/// A new one each time: OpenSSL takes one that was made minutes ago for expired.
PskSession OpenSslStream::make_session(const TlsKey& key) const {
    PskSession session(SSL_SESSION_new());
    const SSL_CIPHER* const suite = SSL_CIPHER_find(ssl_.get(), suite_id.data());
    if (!session || suite == nullptr ||
        SSL_SESSION_set1_master_key(session.get(), key.bytes.data(), key.bytes.size()) != 1 ||
        SSL_SESSION_set_cipher(session.get(), suite) != 1 ||
        SSL_SESSION_set_protocol_version(session.get(), TLS1_3_VERSION) != 1) {
        return nullptr;
    }
    return session;
}

int OpenSslStream::offer_key(const unsigned char** id, std::size_t* size, SSL_SESSION** session) noexcept {
    *id = key_.id.data();
    *size = key_.id.size();
    *session = make_session(key_).release();
    return *session != nullptr ? 1 : 0;
}

/// Who names a key that we do not have is answered as who has a wrong one: nobody learns which keys there are.
int OpenSslStream::find_key(std::span<const unsigned char> id, SSL_SESSION** session) noexcept {
    try {
        const std::optional<TlsKey> found = tls_->keyring().find(id);
        key_found_ = found.has_value();
        if (found) {
            key_ = *found;
        } else {
            fill_random(key_.bytes);
            failure_ = "unknown_key";
        }
        *session = make_session(key_).release();
        return *session != nullptr ? 1 : 0;
    } catch (...) {
        return 0;
    }
}

// Errors.

/// What the last call has failed with. Only `would_block` can be tried again.
std::error_code OpenSslStream::failed(int result) {
    switch (SSL_get_error(ssl_.get(), result)) {
        case SSL_ERROR_WANT_READ: waits_for_ = socket_base::wait_read; return would_block();
        case SSL_ERROR_WANT_WRITE: waits_for_ = socket_base::wait_write; return would_block();
        case SSL_ERROR_ZERO_RETURN: ended_ = true; break;
        case SSL_ERROR_SSL: {
            const char* const reason = ERR_reason_error_string(ERR_peek_error());
            failure_ = reason != nullptr ? reason : "unknown";
            break;
        }
        default: break;
    }
    return make_error_code(errc::connection_lost);
}

/// Both have proved it: the key was used, and no certificate in its place.
bool OpenSslStream::proved() const {
    return SSL_session_reused(ssl_.get()) == 1 && SSL_get0_peer_certificate(ssl_.get()) == nullptr &&
           (dials_ || key_found_);
}

std::error_code OpenSslStream::handshake_failed() {
    const int reason = ERR_GET_REASON(ERR_peek_error());
    constexpr std::array<unsigned char, 4> magic{'C', 'L', 'U', 'S'};
    const bool whole = first_count_ == first_bytes_.size();
    const bool plain_node = whole && std::equal(magic.begin(), magic.end(), first_bytes_.begin() + 8);
    const bool tls = first_count_ == 0 || first_bytes_[0] == 0x16 || first_bytes_[0] == 0x15;
    if (plain_node || !tls) {
        failure_ = "plain_text";
        if (plain_node && !dials_) {
            std::size_t ignored = 0;
            send(reinterpret_cast<const char*>(word_to_plain_node.data()), word_to_plain_node.size(), &ignored);
        }
        return make_error_code(plain_node ? errc::not_private : errc::not_a_cluster_node);
    }
    if (dials_) {
        // Who has no key can only answer with a certificate, which is not trusted.
        const bool refused = reason == SSL_R_SSLV3_ALERT_ILLEGAL_PARAMETER || reason == SSL_R_CERTIFICATE_VERIFY_FAILED;
        const bool no_key = reason == SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE || reason == SSL_R_TLSV1_ALERT_INTERNAL_ERROR;
        if (refused || no_key) return make_error_code(errc::wrong_secret);
        return make_error_code(failure_.empty() ? errc::connection_lost : errc::not_a_cluster_node);
    }
    if (reason == SSL_R_BINDER_DOES_NOT_VERIFY) {
        failure_ = key_found_ ? "wrong_key" : "unknown_key";
        return make_error_code(errc::wrong_secret);
    }
    return make_error_code(errc::connection_lost);
}

// What the connection calls.

std::error_code OpenSslStream::shake_hands() {
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_.get());
    if (result != 1) {
        const std::error_code error = failed(result);
        return error == would_block() ? error : broken_ = handshake_failed();
    }
    if (!proved()) {
        failure_ = "no_proof";
        return broken_ = make_error_code(errc::wrong_secret);
    }
    failure_.clear();
    SSL_set_default_read_buffer_len(ssl_.get(), read_ahead);
    return {};
}

std::size_t OpenSslStream::read_some(std::span<std::byte> into, std::error_code& error) {
    std::size_t total = 0;
    while (total < into.size() && !broken_ && !ended_) {
        std::size_t count = 0;
        ERR_clear_error();
        const int result = SSL_read_ex(ssl_.get(), into.data() + total, into.size() - total, &count);
        if (result == 1) {
            total += count;
        } else if (const std::error_code why = failed(result); why == would_block()) {
            if (total == 0) error = why;
            return total;
        } else if (!ended_) {
            broken_ = why;
        }
    }
    if (total == 0) error = broken_;
    return total;
}

/// How many of `bytes` are written now: fewer if a record of before has only now found room.
std::size_t OpenSslStream::write_record(std::span<const std::byte> bytes, std::error_code& error) {
    std::size_t count = 0;
    ERR_clear_error();
    const int result = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &count);
    if (result != 1) {
        error = failed(result);
        if (error != would_block()) broken_ = error;
        return 0;
    }
    if (++records_ >= tls_->records_per_key()) {
        records_ = 0;
        if (SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_NOT_REQUESTED) == 1) ++renewals_;
    }
    return count;
}

/// Each record is one call of the system, so small buffers are put together.
std::size_t OpenSslStream::write_some(std::span<const asio::const_buffer> buffers, std::error_code& error) {
    if (broken_) {
        error = broken_;
        return 0;
    }
    std::size_t total = 0;
    std::size_t offset = 0;  // in the first of the buffers
    while (!buffers.empty()) {
        std::span<const std::byte> record(static_cast<const std::byte*>(buffers[0].data()) + offset,
                                          buffers[0].size() - offset);
        if (record.size() >= record_size || buffers.size() == 1) {
            record = record.first(std::min(record.size(), record_size));
        } else {
            std::size_t size = 0;
            for (std::size_t i = 0, from = offset; i < buffers.size() && size < record_size; ++i, from = 0) {
                const std::size_t part = std::min(buffers[i].size() - from, record_size - size);
                std::memcpy(tls_->flat().data() + size, static_cast<const std::byte*>(buffers[i].data()) + from, part);
                size += part;
            }
            record = std::span(tls_->flat()).first(size);
        }
        const std::size_t count = write_record(record, error);
        if (count == 0) break;
        total += count;
        for (offset += count; !buffers.empty() && offset >= buffers[0].size(); buffers = buffers.subspan(1)) {
            offset -= buffers[0].size();
        }
    }
    if (total != 0) error = {};
    return total;
}

void OpenSslStream::end_writing() {
    if (broken_) return;
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
    ERR_clear_error();
}

}  // namespace

std::shared_ptr<Tls> make_tls(const TlsOptions& options) {
    return std::make_shared<OpenSslTls>(options);
}

}  // namespace cluster::net
