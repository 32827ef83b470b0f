#pragma once

// Every public header includes this one first, so a compiler that cannot do is told so before anything else.
#if __cplusplus < 202002L
#error "cluster needs C++20: compile with -std=c++20 or later"
#endif
#if !defined(__cpp_exceptions)
#error "cluster reports errors by exceptions: compile without -fno-exceptions"
#endif

// Marks what the compiled library offers. Everything else stays hidden, so that two libraries in one process which
// each contain their own Asio cannot meet. _GLIBCXX_DEBUG gives std containers another layout: the mark is then part of
// every name, so that a program and a library which do not agree about it do not link.
#if defined(_WIN32)
#define CLUSTER_EXPORT
#elif defined(_GLIBCXX_DEBUG)
#define CLUSTER_EXPORT [[gnu::visibility("default"), gnu::abi_tag("compiled_with_GLIBCXX_DEBUG")]]
#else
#define CLUSTER_EXPORT [[gnu::visibility("default")]]
#endif
