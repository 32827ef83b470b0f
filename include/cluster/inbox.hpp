#pragma once

#include <cluster/export.hpp>
#include <cluster/message.hpp>
#include <cluster/operation.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>

namespace cluster {

namespace detail {
class InboxState;
class InboxReader;
template <class Base, class Source, class Handler, bool in_place>
class Bound;
template <class Source, class Handler, bool in_place>
class Receiving;
}  // namespace detail

/// Where received messages wait to be taken, in the order of each sender.
///
/// Readers take from the senders in turn: 8 KiB from each, or one message that is longer. So a sender of few messages
/// waits for at most one such turn of each of the others, however much those send.
///
/// A handle to state it shares with its node: cheap to copy, safe to use from several threads, and safe to keep when
/// the node is destroyed. Each message goes to one reader; the messages of one sender are handed out in their order.
/// After the node has closed, the messages that were accepted can still be taken. Then the inbox is at its end.
class CLUSTER_EXPORT Inbox {
public:
    /// Waits for the next message. Empty when the inbox is at its end. On an I/O thread it throws `errc::would_block`
    /// if it would have to wait.
    ///
    /// The message is moved out of the inbox. However short it is, it keeps the block of memory in which it came, up to
    /// 256 KiB. To keep many short ones, copy them: the copy of a message under 4 KiB has memory of its own.
    std::optional<Message> receive();

    /// The same, but waits for at most `duration`; empty, too, when that time is over.
    std::optional<Message> receive_for(std::chrono::nanoseconds duration);

    /// The next message if one is there.
    std::optional<Message> try_receive();

    /// The next message, when it comes, for a completion token of the application's Asio: a callback, a future or a
    /// coroutine, with or without an executor. Include `<cluster/asio.hpp>` to call it.
    ///
    /// Completes with `void(std::error_code, Message)`, at the end of the inbox with `errc::closed`. A message is taken
    /// at the moment when the handler is called, so cancelling loses none.
    template <class Token>
    auto async_receive(Token&& token) const;
    /// The same, but completes with `errc::timed_out` if no message comes within `duration`. A message that comes too
    /// late stays in the inbox.
    template <class Token>
    auto async_receive_for(std::chrono::nanoseconds duration, Token&& token) const;

    /// True when the node has closed and every message has been taken.
    bool at_end() const;

    /// A single pass over the messages as they come. It points to a message that is valid until it is advanced; copy
    /// the message to keep it. Leaving the loop early loses nothing: messages that were not reached stay in the inbox.
    class CLUSTER_EXPORT Iterator {
    public:
        using iterator_concept = std::input_iterator_tag;
        using value_type = Message;
        using difference_type = std::ptrdiff_t;
        using reference = const Message&;

        Iterator(Iterator&&) noexcept;
        Iterator& operator=(Iterator&&) noexcept;
        ~Iterator();

        const Message& operator*() const noexcept;
        const Message* operator->() const noexcept { return &**this; }
        Iterator& operator++();
        void operator++(int) { ++*this; }
        bool operator==(std::default_sentinel_t) const noexcept { return reader_ == nullptr; }

    private:
        friend class Inbox;
        explicit Iterator(std::unique_ptr<detail::InboxReader> reader);
        std::unique_ptr<detail::InboxReader> reader_;
    };

    Iterator begin();
    std::default_sentinel_t end() const noexcept { return {}; }

    /// For the library's own use.
    explicit Inbox(std::shared_ptr<detail::InboxState> state) noexcept;

private:
    template <class Base, class Source, class Handler, bool in_place>
    friend class detail::Bound;
    template <class Source, class Handler, bool in_place>
    friend class detail::Receiving;

    std::optional<Message> try_take() { return try_receive(); }
    void wait(std::shared_ptr<detail::Operation> operation) const;
    bool stop_waiting(const detail::Operation& operation) const;
    void pass_on() const;
    bool call_back(std::function<void()> work) const;

    std::shared_ptr<detail::InboxState> state_;
};

}  // namespace cluster
