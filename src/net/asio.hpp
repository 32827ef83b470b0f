#pragma once

// The only file in src that includes Asio. It compiles Asio into a namespace of our own. So an application that brings
// another Asio into the same process does not share a single symbol with ours. The macro stays in force: `asio::` means
// that namespace in every file that includes this one. So no other file may include Asio.

#define asio cluster_asio
// Two functions of Asio have C names, which are in no namespace.
#define asio_detail_posix_thread_function cluster_asio_detail_posix_thread_function
#define asio_signal_handler cluster_asio_signal_handler
#define ASIO_STANDALONE
#define ASIO_NO_DEPRECATED
#define ASIO_DISABLE_VISIBILITY

// Asio asks macros of the standard library what that has, such as aligned memory. They are there after any header of
// it. Each file must see the same: memory that one file allocates is freed by another.
#include <cstdlib>

#include <asio/bind_executor.hpp>
#include <asio/buffer.hpp>
#include <asio/connect.hpp>
#include <asio/dispatch.hpp>
#include <asio/error.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/address.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/ip/v6_only.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/read.hpp>
#include <asio/steady_timer.hpp>
#include <asio/write.hpp>
