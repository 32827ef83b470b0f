#pragma once

#include <cluster/error.hpp>
#include <cluster/export.hpp>
#include <cluster/message.hpp>
#include <cluster/peer.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <system_error>
#include <vector>

// What `<cluster/asio.hpp>` and the library have in common. Applications use `Unacknowledged` and `Answer` of it.

namespace cluster {

/// What `Node::close` could not see acknowledged: it may or may not have arrived. All zero after a clean close.
struct Unacknowledged {
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    std::uint64_t peers = 0;

    explicit operator bool() const noexcept { return peers != 0; }
};

/// What one of the peers that `Node::request_all` asked has replied.
struct Answer {
    /// As it was when it was asked.
    Peer peer;
    /// As for `Node::request`.
    std::error_code error;
    /// The reply, or the text of an error that it replied; else empty.
    Message message;
};

namespace detail {

/// An asynchronous call between its start and its handler, as the library sees it. It is made of std types only, so
/// that the application's Asio stays on the application's side.
class CLUSTER_EXPORT Operation {
public:
    Operation() = default;
    Operation(const Operation&) = delete;
    Operation& operator=(const Operation&) = delete;
    virtual ~Operation();

    /// Sees to it that the operation goes on where its handler is to run. The library calls it on any thread, under no
    /// lock, once for each time the operation was handed over, and keeps it alive meanwhile.
    virtual void wake() noexcept = 0;

private:
    template <class, class>
    friend class WaitList;
    std::uint64_t place_ = 0;  ///< in the list where it waits, and under the lock of that list; 0 if it does not wait
};

/// An operation whose result the library writes before it wakes it.
template <class Result>
class ResultOperation : public Operation {
public:
    std::error_code error;
    Result result{};
    /// Set when it starts, unless it ends at once. Ends it with `errc::cancelled` if it has no result yet. May be
    /// called on any thread.
    std::function<void()> cancel;
};

struct Nothing {};

using AddOperation = ResultOperation<Peer>;
using SendOperation = ResultOperation<std::size_t>;
using WaitOperation = ResultOperation<Nothing>;
using RequestOperation = ResultOperation<Message>;
using RequestAllOperation = ResultOperation<std::vector<Answer>>;
using CloseOperation = ResultOperation<Unacknowledged>;

/// A payload that has been copied or taken over, so that the caller's memory is no longer needed.
class Outgoing;

}  // namespace detail

}  // namespace cluster
