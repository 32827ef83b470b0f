#pragma once

// Every public header includes this one first. So a compiler without C++20 or exceptions reports that before anything
// else.
#if __cplusplus < 202002L
#error "cluster needs C++20: compile with -std=c++20 or later"
#endif
#if !defined(__cpp_exceptions)
#error "cluster reports errors by exceptions: compile without -fno-exceptions"
#endif

// Marks what the compiled library offers. Everything else stays hidden. So two libraries in one process that each
// contain their own Asio cannot meet. _GLIBCXX_DEBUG gives std containers another layout. The mark is then part of
// every name: a program and a library that do not agree about it do not link.
#if defined(_WIN32)
#define CLUSTER_EXPORT
#elif defined(_GLIBCXX_DEBUG)
#define CLUSTER_EXPORT [[gnu::visibility("default"), gnu::abi_tag("compiled_with_GLIBCXX_DEBUG")]]
#else
#define CLUSTER_EXPORT [[gnu::visibility("default")]]
#endif
