#pragma once

#include <cluster/export.hpp>

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
class CLUSTER_EXPORT Runtime {
public:
    /// Starts the threads. Raises the soft limit of open descriptors to the hard one, since many nodes in one process
    /// need many. Throws `std::system_error` if the system grants no thread.
    Runtime();

    /// For the library's own use.
    const std::shared_ptr<net::Context>& context() const noexcept { return context_; }

private:
    std::shared_ptr<net::Context> context_;
};

}  // namespace cluster
