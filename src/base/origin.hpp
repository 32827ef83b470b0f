#pragma once

#include <memory>

namespace cluster::detail {

/// The process in which this was made. A value.
///
/// A child made by `fork` has the memory of its parent, but none of its threads: a lock may be held there for ever, and
/// nobody ends whom one waits for. Sockets, timers and what watches them it shares with its parent, to whom they go on
/// belonging. So who may be destroyed in a child asks first, and there gives what he holds to `keep_for_ever`.
class Origin {
public:
    Origin() noexcept;
    /// False in a child of that process.
    bool is_here() const noexcept;

    /// In each child, before anything else runs there: `net/system` sees to that.
    static void count_fork() noexcept;

private:
    unsigned forks_;
};

/// What is never to be destroyed. Thread-safe, takes no lock.
void keep_for_ever(std::shared_ptr<const void> what);

}  // namespace cluster::detail
