#pragma once

namespace cluster::detail {

/// What a thread is for.
enum class ThreadKind {
    free,     ///< the application's own threads, and those that run its callbacks: they may wait
    io,       ///< the I/O thread of some runtime: all its nodes wait for it
    replica,  ///< one of a replica's own: the replica, or its service, waits for it
};

ThreadKind kind_of_this_thread() noexcept;

/// Holds until the thread ends. In a child made by `fork`, the thread that goes on is free.
void set_kind_of_this_thread(ThreadKind kind) noexcept;

}  // namespace cluster::detail
