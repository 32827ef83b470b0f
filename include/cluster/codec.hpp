#pragma once

#include <cluster/archive.hpp>
#include <cluster/error.hpp>
#include <cluster/message.hpp>

#include <concepts>
#include <cstddef>
#include <exception>
#include <new>
#include <span>
#include <system_error>
#include <type_traits>
#include <vector>

// Typed messages: `node.broadcast(cluster::encode(value))` and `message.as<T>()`, for every type that cereal can
// serialize. For further types of the standard library include their header of `cereal/types/`, as always with cereal.
// Some types are refused at compile time, because the bytes come from strangers or from other platforms: shared
// pointers, pointers to polymorphic types, enums without a type of their own, `wchar_t` and `long double`.
//
// What is written is the same on every platform, if the fields have types of fixed width:
//
//     integers, enums, floats   little-endian, as wide as the type
//     bool                      one byte, 0 or 1
//     sizes                     varint: 7 bits per byte, low ones first, bit 7 = more follow; no longer than needed
//     optional                  bool "present", then the value
//     array                     its elements
//     string, vector, map, ...  size, then the elements
//     struct                    its fields, with nothing between them
//
// The bytes do not say what type they are. To send several types, send a `std::variant` of them.
//
// Whatever a stranger sends, reading it takes no more memory than
//
//     size of the message * (size of the largest element of any container in T + what the container adds to each)
//
// because the elements that all containers claim together must not exceed the bytes of the message. An element counts
// with what its constructor takes, and what a std::unique_ptr holds is an element. Containers of structs without fields
// are therefore impossible; `encode` refuses them.

namespace cluster {

/// The bytes of `value`. Throws what saving throws, and `std::system_error` with `errc::malformed_message` for a value
/// that could not be read again. Such a value has parts that contain each other too deeply, or a container of structs
/// without fields. Thread-safe; types with a version need CEREAL_THREAD_SAFE=1.
template <class T>
std::vector<std::byte> encode(const T& value);

/// The value in `bytes`, which must hold nothing else. `T` must be default-constructible and movable. Throws
/// `std::system_error` with `errc::malformed_message` if the bytes are no `T`, whatever loading threw. Only
/// `std::bad_alloc` comes as it is. Thread-safe.
template <class T>
T decode(std::span<const std::byte> bytes);

/// The same without throwing, unless the constructors of `T` throw. On failure the result is `T()`, and `error` is
/// `errc::malformed_message`, or `errc::system_failure` if memory ran out.
template <class T>
T decode(std::span<const std::byte> bytes, std::error_code& error);

}  // namespace cluster

namespace cluster::detail {

template <class T>
constexpr void require_decodable() {
    static_assert(
        std::same_as<T, std::remove_cvref_t<T>> && std::default_initializable<T> && std::move_constructible<T>,
        "what is decoded must be a value that can be made without arguments and moved");
}

template <class T>
struct Codec<T> {
    static T decode(const Message& message) {
        if (message.lost() != 0) throw std::system_error(errc::malformed_message, "a gap holds no value");
        return cluster::decode<T>(message.bytes());
    }
    static T decode(const Message& message, std::error_code& error) {
        if (message.lost() == 0) return cluster::decode<T>(message.bytes(), error);
        error = errc::malformed_message;
        return T();
    }
};

}  // namespace cluster::detail

namespace cluster {

template <class T>
std::vector<std::byte> encode(const T& value) {
    static_assert(!std::is_array_v<T>, "no value can be read back as an array: use std::string or std::array");
    std::vector<std::byte> bytes;
    bytes.reserve(sizeof(T) + 32);  // enough for most, so that it need not grow
    try {
        detail::write(bytes, value);
    } catch (const detail::ArchiveError& error) {
        throw std::system_error(errc::malformed_message, error.what());
    }
    return bytes;
}

template <class T>
T decode(std::span<const std::byte> bytes) {
    detail::require_decodable<T>();
    auto value = T();
    try {
        detail::read(bytes, value);
    } catch (const std::bad_alloc&) {
        throw;
    } catch (const std::exception& error) {
        throw std::system_error(errc::malformed_message, error.what());
    } catch (...) {
        throw std::system_error(errc::malformed_message);
    }
    return value;
}

template <class T>
T decode(std::span<const std::byte> bytes, std::error_code& error) {
    detail::require_decodable<T>();
    error.clear();
    auto value = T();
    try {
        detail::read(bytes, value);
        return value;
    } catch (const std::bad_alloc&) {
        error = errc::system_failure;
    } catch (...) {
        error = errc::malformed_message;
    }
    return T();
}

}  // namespace cluster
