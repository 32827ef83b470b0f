#pragma once

#include <cluster/answer.hpp>
#include <cluster/export.hpp>
#include <cluster/given_up.hpp>
#include <cluster/message.hpp>
#include <cluster/peer.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <system_error>
#include <vector>

// What `<cluster/asio.hpp>` and the library have in common.

namespace cluster {

namespace detail {

/// An asynchronous call between its start and its handler, as the library sees it. It is made of std types only, so
/// that the application's Asio stays on the application's side.
class CLUSTER_EXPORT Operation {
public:
    Operation() = default;
    Operation(const Operation&) = delete;
    Operation& operator=(const Operation&) = delete;
    virtual ~Operation();

    /// Makes the operation go on where its handler is to run. The library calls it on any thread, under no lock, once
    /// for each time the operation was handed over. The library keeps it alive meanwhile.
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
    /// Set when the operation starts, unless it ends at once. Ends it with `errc::cancelled` if it has no result yet.
    /// May be called on any thread.
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
