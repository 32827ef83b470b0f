#pragma once

// Marks what the compiled library offers. Everything else stays hidden, so that two libraries in one process which
// each contain their own Asio cannot meet.
#if defined(_WIN32)
#define CLUSTER_EXPORT
#else
#define CLUSTER_EXPORT [[gnu::visibility("default")]]
#endif
