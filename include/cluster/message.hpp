#pragma once

#include <cluster/export.hpp>
#include <cluster/payload.hpp>
#include <cluster/peer.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace cluster {

namespace detail {

class Block;
class InboxReader;
class Question;

/// What `Message::as` does; <cluster/codec.hpp> takes the place of this.
template <class T, class = void>
struct Codec {
    static T decode(const auto&...) { static_assert(sizeof(T) == 0, "Message::as needs #include <cluster/codec.hpp>"); }
};

}  // namespace detail

/// One received message, or one gap in what a peer sent.
///
/// A view into the block of memory in which it arrived; it keeps that block alive. A copy of a message shorter than
/// 4 KiB gets a block of its own size, so that keeping it costs only itself. Copies of longer messages share the block.
/// Different threads may use different messages. One message may be used by one thread at a time, like any value.
class CLUSTER_EXPORT Message {
public:
    Message() noexcept = default;
    Message(const Message& other);
    Message(Message&& other) noexcept;
    Message& operator=(const Message& other);
    Message& operator=(Message&& other) noexcept;
    ~Message();

    /// The sender.
    const PeerId& from() const noexcept { return from_; }

    /// The payload, valid as long as this message lives. Empty for a gap.
    std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
    std::string_view text() const noexcept { return {reinterpret_cast<const char*>(data_), size_}; }
    std::size_t size() const noexcept { return size_; }

    /// The value that the sender turned into bytes with `encode`. Needs <cluster/codec.hpp>, which describes it. The
    /// message stays as it is. Throws `std::system_error` with `errc::malformed_message` if it holds no `T`.
    template <class T>
    T as() const {
        return detail::Codec<T>::decode(*this);
    }
    /// The same without throwing. If `error` is set, the result is `T()`.
    template <class T>
    T as(std::error_code& error) const {
        return detail::Codec<T>::decode(*this, error);
    }

    /// 0 for a message. Otherwise this is a gap: at this place in the sender's sequence, at most this many messages are
    /// missing. The sender has given them up and got a report (see `GivenUp`), or it broadcast them while it had this
    /// node out of view.
    std::uint64_t lost() const noexcept { return lost_; }

    /// Of what a replica's `submit` or `read`, or a client's `call`, `read` or `receive` has returned: how much of the
    /// log the service had applied when it said that. Whoever reads with `ReadOptions::at_least` of that sees at least
    /// as much. 0 for any other message.
    std::uint64_t position() const noexcept { return position_; }

    /// The sender waits for a reply (see `Node::request`).
    bool wants_reply() const noexcept { return question_ != nullptr; }

    /// Replies to a request; the first reply to it counts. The last copy of a message may go without a reply, as when a
    /// handler throws. The sender's request then ends with `errc::unanswered`; a sender of an older version waits until
    /// its time is over.
    ///
    /// May be called from any thread, as long as this message or a copy of it lives. Queues `payload` as `Node::send`
    /// does, and waits for room in the same way. Replies have an outbox of their own for each peer, of `outbox_bytes`.
    /// They may take as much beyond `total_outbox_bytes`. So an unread inbox on the other side does not hold them up.
    ///
    /// Fails with `not_a_request`, `not_in_view` if the sender has gone, `closed`, `timed_out`, `would_block`,
    /// `outbox_full`, and with `message_too_large` if longer than `max_message` without 8 bytes.
    void reply(Payload payload) const;
    void reply(Payload payload, std::error_code& error) const;

    /// Replies that there is no answer, and why. The sender's request fails with `code`, which is not 0, in
    /// `reply_category()`. It gets `text` as its message; text beyond 1024 bytes is cut off. It otherwise works as
    /// `reply`. It also fails with `malformed_message` if `code` is 0, and with `unsupported` if the sender runs a
    /// version that does not know it.
    void reply_error(int code, std::string_view text = {}) const;
    void reply_error(int code, std::string_view text, std::error_code& error) const;

    /// Takes over one reference to `block`, which must contain `bytes`, and one to `question`. For the library's own
    /// use.
    Message(const PeerId& from, detail::Block* block, std::span<const std::byte> bytes, std::uint64_t lost,
            detail::Question* question = nullptr, std::uint64_t position = 0) noexcept
        : from_(from),
          block_(block),
          data_(bytes.data()),
          size_(bytes.size()),
          lost_(lost),
          position_(position),
          question_(question) {}

private:
    friend class detail::InboxReader;

    PeerId from_{};
    detail::Block* block_ = nullptr;
    const std::byte* data_ = nullptr;
    std::size_t size_ = 0;
    std::uint64_t lost_ = 0;
    std::uint64_t position_ = 0;
    detail::Question* question_ = nullptr;
};

}  // namespace cluster
