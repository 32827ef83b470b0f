#pragma once

#include <memory>

namespace cluster::detail {

/// The process in which this was made. A value.
///
/// A child made by `fork` has the memory of its parent, but none of its threads. A lock may be held there for ever, and
/// a thread that one waits for never ends. Sockets, timers and what watches them are shared with the parent, and go on
/// belonging to it. So a destructor that may run in a child asks first, and there gives what it holds to
/// `keep_for_ever`.
class Origin {
public:
    Origin() noexcept;
    /// False in a child of that process.
    bool is_here() const noexcept;

    /// Called in each child, before anything else runs there: `net/system` registers it.
    static void count_fork() noexcept;

private:
    unsigned forks_;
};

/// Keeps an object that must never be destroyed. Thread-safe, takes no lock.
void keep_for_ever(std::shared_ptr<const void> what);

}  // namespace cluster::detail
