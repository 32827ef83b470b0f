#pragma once

#include <cluster/export.hpp>

#include <cstdint>
#include <memory>

namespace cluster {

namespace net {
class Context;
}

/// One I/O thread and one callback thread, which several nodes of a process may share.
///
/// A handle: copies mean the same two threads. They run until the last handle and the last node that uses them are
/// gone. Thread-safe. Dropping the last handle from within one of its own threads is allowed.
///
/// While a host name is looked up, that takes one further thread. At most 8 run at once for the names that the
/// application gives, and 8 for those that peers publish. Nothing waits for such a thread at the end. If the name
/// server is silent, the thread stays for up to some ten seconds longer, and uses nothing of the application.
///
/// The threads belong to the process that made them. For a child made by `fork`:
/// - It may destroy the library's objects that it finds, or end by `exit`. That waits for nothing, and its parent
///   notices nothing.
/// - It may call nothing else on them, but may make nodes of its own.
/// - It keeps the parent's connections open until it ends or calls `exec`, which closes them.
class CLUSTER_EXPORT Runtime {
public:
    /// Starts the threads. Throws `std::system_error`: with `errc::out_of_descriptors`, of which it needs three, or
    /// with `errc::system_failure` if the system grants no thread (see RLIMIT_NPROC).
    Runtime();

    /// For the library's own use.
    const std::shared_ptr<net::Context>& context() const noexcept { return context_; }

private:
    std::shared_ptr<net::Context> context_;
};

/// Raises the soft limit of open descriptors (RLIMIT_NOFILE, `ulimit -n`) of this process to its hard one. Returns what
/// it is then. If the system refuses, it stays as it is. Thread-safe.
///
/// A node needs one descriptor for each link, one to listen, and those of its `Runtime`. The usual limit of 1024 is
/// enough for a few nodes in one process. The library does not raise the limit by itself: programs that are started
/// inherit it, and `select` cannot handle descriptors beyond 1023.
CLUSTER_EXPORT std::uint64_t raise_descriptor_limit() noexcept;

}  // namespace cluster
