#pragma once

#include <cluster/operation.hpp>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

namespace cluster::detail {

/// Operations that no longer wait, and are to be woken. Its destructor wakes them, which may run code of the
/// application. So it must be made before a lock is taken, and destroyed after the lock is released.
class Woken {
public:
    Woken() = default;
    /// Null stands for no operation.
    explicit Woken(std::shared_ptr<Operation> operation) { add(std::move(operation)); }
    Woken(Woken&&) noexcept = default;
    Woken& operator=(Woken&&) = delete;
    ~Woken() {
        for (const auto& operation : operations_) operation->wake();
    }

    void add(std::shared_ptr<Operation> operation) {
        if (operation) operations_.push_back(std::move(operation));
    }
    void add(Woken&& others) {
        for (auto& operation : others.operations_) operations_.push_back(std::move(operation));
        others.operations_.clear();
    }

private:
    std::vector<std::shared_ptr<Operation>> operations_;
};

/// The operations that wait for one kind of event, in the order in which they came. `For` says what each of them waits
/// for. A thread that waits is an operation, too: see `Waited`.
///
/// Not thread-safe: guarded by the lock of its owner. An operation waits in one list at a time. The caller that takes
/// it out wakes it, when no lock is held.
template <class Waiting, class For = Nothing>
class WaitList {
public:
    std::size_t size() const noexcept { return entries_.size(); }
    bool empty() const noexcept { return entries_.empty(); }
    /// What the operation that has waited longest waits for. The list must not be empty.
    const For& first() const { return entries_.begin()->second.what; }

    void add(std::shared_ptr<Waiting> operation, For what = {}) {
        const std::uint64_t place = ++last_;
        operation->Operation::place_ = place;
        entries_.emplace_hint(entries_.end(), place, Entry{std::move(operation), std::move(what)});
    }

    /// What `operation` waits for; null if it does not wait here.
    const For* find(const Operation& operation) {
        const auto found = place(operation);
        return found == entries_.end() ? nullptr : &found->second.what;
    }
    /// Null if it does not wait here.
    std::shared_ptr<Waiting> take(const Operation& operation) {
        const auto found = place(operation);
        return found == entries_.end() ? nullptr : take(found);
    }
    /// The one that has waited longest; null if none waits.
    std::shared_ptr<Waiting> take_first() { return empty() ? nullptr : take(entries_.begin()); }
    /// All for which `done(what, operation)` is true. It is called for each, in their order.
    template <class Done>
    Woken take_if(Done&& done) {
        Woken woken;
        for (auto at = entries_.begin(); at != entries_.end();) {
            const auto next = std::next(at);
            if (done(std::as_const(at->second.what), *at->second.operation)) woken.add(take(at));
            at = next;
        }
        return woken;
    }
    Woken take_all() {
        return take_if([](const For&, Waiting&) { return true; });
    }

    /// It ends with `error`, if it waits here.
    Woken end(const Operation& operation, std::error_code error) {
        const auto ended = take(operation);
        if (ended) ended->error = error;
        return Woken(ended);
    }
    Woken end_all(std::error_code error) {
        return take_if([&](const For&, Waiting& operation) {
            operation.error = error;
            return true;
        });
    }

private:
    struct Entry {
        std::shared_ptr<Waiting> operation;
        For what;
    };
    using Entries = std::map<std::uint64_t, Entry>;

    typename Entries::iterator place(const Operation& operation) {
        const auto found = entries_.find(operation.place_);
        const bool here = found != entries_.end() && found->second.operation.get() == &operation;
        return here ? found : entries_.end();
    }
    std::shared_ptr<Waiting> take(typename Entries::iterator at) {
        std::shared_ptr<Waiting> operation = std::move(at->second.operation);
        operation->Operation::place_ = 0;
        entries_.erase(at);
        return operation;
    }

    std::uint64_t last_ = 0;  ///< the highest place given
    Entries entries_;
};

}  // namespace cluster::detail
