#pragma once

namespace cluster::net {

/// True on the I/O thread of any runtime: nothing may wait there.
bool on_io_thread() noexcept;

}  // namespace cluster::net
