#pragma once

#include <cluster/message.hpp>
#include <cluster/peer.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <system_error>
#include <utility>

namespace cluster::detail {

/// How the messages of one node are replied to. Thread-safe. Counts its own references; outlives the node while a
/// request exists.
class Replier {
public:
    /// `code` is 0 for a reply, else that of an error whose text is `payload`.
    using Reply =
        std::function<void(const PeerId& to, std::uint64_t call, int code, Payload& payload, std::error_code& error)>;
    /// A request has been dropped without a reply. Called on the thread on which that happens, so it must not wait, nor
    /// call the application.
    using Dropped = std::function<void(const PeerId& to, std::uint64_t call)>;

    /// Begins with one reference, which belongs to the caller.
    Replier(Reply reply, Dropped dropped) : reply_(std::move(reply)), dropped_(std::move(dropped)) {}
    Replier(const Replier&) = delete;
    Replier& operator=(const Replier&) = delete;

    void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept {
        if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

private:
    friend class Question;
    ~Replier() = default;

    const Reply reply_;
    const Dropped dropped_;
    std::atomic<std::size_t> references_{1};
};

/// What a request and its copies share. When the last of them goes without a reply, that is reported to the node that
/// asked. Thread-safe. Counts its own references, which keeps a message small.
class Question {
public:
    /// Begins with one reference, which belongs to the caller.
    Question(Replier& replier, const PeerId& from, std::uint64_t call) noexcept
        : replier_(replier), from_(from), call_(call) {
        replier_.retain();
    }
    Question(const Question&) = delete;
    Question& operator=(const Question&) = delete;

    void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept {
        if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

    void reply(int code, Payload& payload, std::error_code& error) {
        replier_.reply_(from_, call_, code, payload, error);
        if (!error) replied_.store(true, std::memory_order_relaxed);
    }

private:
    ~Question() {
        if (!replied_.load(std::memory_order_relaxed)) replier_.dropped_(from_, call_);
        replier_.release();
    }

    Replier& replier_;
    const PeerId from_;
    const std::uint64_t call_;
    std::atomic<bool> replied_{false};
    std::atomic<std::size_t> references_{1};
};

}  // namespace cluster::detail
