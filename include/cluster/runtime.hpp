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
/// A host name that is looked up takes one further thread for that time: at most 8 at once for the names that the
/// application gives, and 8 for those that peers publish. Nothing waits for such a thread at the end: while the name
/// server is silent, it stays for up to some ten seconds longer, and uses nothing of the application.
///
/// They belong to the process that made them. A child made by `fork` may destroy what it finds of the library, or end
/// by `exit`: that waits for nothing, and its parent notices nothing. It may call nothing else of it, but may make
/// nodes of its own. It keeps the parent's connections open until it ends or calls `exec`, which closes them.
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

/// Raises the soft limit of open descriptors (RLIMIT_NOFILE, `ulimit -n`) of this process to its hard one, and returns
/// what it is then. Where the system refuses, it stays as it is. Thread-safe.
///
/// A node needs one for each link, one to listen, and those of its `Runtime`: 1024, which is usual, are enough for a
/// few nodes in one process. The library does not raise the limit by itself: programs that are started inherit it, and
/// `select` cannot handle descriptors beyond 1023.
CLUSTER_EXPORT std::uint64_t raise_descriptor_limit() noexcept;

}  // namespace cluster
