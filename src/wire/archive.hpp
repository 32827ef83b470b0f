#pragma once

#include <cluster/address.hpp>
#include <cluster/peer.hpp>

#include <cereal/cereal.hpp>
#include <cereal/types/array.hpp>
#include <cereal/types/common.hpp>
#include <cereal/types/map.hpp>
#include <cereal/types/string.hpp>
#include <cereal/types/vector.hpp>

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

// Bounded cereal archives. Everything of `cereal/types/` works with them but shared pointers. What is written is the
// same on every platform as long as the fields have types of fixed width:
//
//     integers, enums, floats   little-endian, as wide as the type
//     bool                      one byte, 0 or 1
//     sizes                     varint: 7 bits per byte, low ones first, bit 7 = more follow; no longer than needed
//     optional                  bool "present", then the value
//     array                     its elements
//     string, vector, map, ...  size, then the elements
//     struct                    its fields, with nothing between them

namespace cluster::wire {

static_assert(std::endian::native == std::endian::little, "a big-endian host has to swap here");

/// The bytes are not what the type demands, or the value cannot be written.
class ArchiveError : public std::exception {
public:
    explicit ArchiveError(const char* what) noexcept : what_(what) {}
    const char* what() const noexcept override { return what_; }

private:
    const char* what_;
};

/// A container claims to be longer than the reader takes.
class TooLong : public ArchiveError {
public:
    TooLong() noexcept : ArchiveError("a container is too long") {}
};

namespace detail {

/// How deep values may contain each other; whoever writes the bytes chooses the depth of a recursive type, and the
/// stack is finite.
inline constexpr std::size_t max_nesting = 64;

template <class T>
concept Scalar = std::is_arithmetic_v<T> && !std::is_same_v<T, bool> && !std::is_same_v<T, wchar_t> && sizeof(T) <= 8;

template <class T>
using BinaryElement = std::remove_cv_t<std::remove_pointer_t<std::remove_reference_t<T>>>;

template <class T>
inline constexpr bool is_shared = false;
template <class T>
inline constexpr bool is_shared<std::shared_ptr<T>> = true;

class Nesting {
public:
    void enter() {
        if (++depth_ > max_nesting) throw ArchiveError("values are nested too deeply");
    }
    void leave() noexcept { --depth_; }

private:
    std::size_t depth_ = 0;
};

}  // namespace detail

/// Appends values to a vector of bytes. Not thread-safe; the vector must outlive it. After an exception the vector
/// holds a part of the value.
class Writer : public cereal::OutputArchive<Writer> {
public:
    explicit Writer(std::vector<std::byte>& out) : cereal::OutputArchive<Writer>(this), out_(out) {}

    void write(const void* data, std::size_t size) {
        const auto* const bytes = static_cast<const std::byte*>(data);
        out_.insert(out_.end(), bytes, bytes + size);
    }
    void write_size(std::uint64_t size) {
        for (; size >= 0x80; size >>= 7) out_.push_back(static_cast<std::byte>(size | 0x80));
        out_.push_back(static_cast<std::byte>(size));
    }
    detail::Nesting& nesting() noexcept { return nesting_; }

private:
    std::vector<std::byte>& out_;
    detail::Nesting nesting_;
};

/// Takes values from bytes that a stranger wrote. Not thread-safe; the bytes must outlive it. Of no use after an
/// exception. Besides `ArchiveError` there may come what cereal or the types themselves throw; `read` catches it all.
///
/// 1. Nothing outside the bytes is read.
/// 2. The elements claimed by all containers together are at most as many as there are bytes, because each must have
///    at least one byte of its own. So a message takes at most its own size times the largest element. (Containers of
///    empty structs are therefore impossible.)
class Reader : public cereal::InputArchive<Reader> {
public:
    /// No string or other container may have more than `longest` elements.
    explicit Reader(std::span<const std::byte> bytes, std::uint64_t longest = UINT64_MAX)
        : cereal::InputArchive<Reader>(this), rest_(bytes), claimable_(bytes.size()), longest_(longest) {}

    void read(void* to, std::size_t size) {
        const auto bytes = take(size);
        if (size != 0) std::memcpy(to, bytes.data(), size);
    }
    bool read_bool() {
        const auto value = std::to_integer<std::uint8_t>(take(1)[0]);
        if (value > 1) throw ArchiveError("a bool is neither 0 nor 1");
        return value != 0;
    }
    /// How many elements follow.
    std::uint64_t read_size() {
        const std::uint64_t size = read_varint();
        if (size > longest_) throw TooLong();
        if (size > rest_.size() || size > claimable_) throw ArchiveError("more elements than bytes");
        claimable_ -= size;
        return size;
    }
    std::span<const std::byte> rest() const noexcept { return rest_; }
    /// To be called behind the last value: nothing may follow.
    void finish() const {
        if (!rest_.empty()) throw ArchiveError("there are bytes behind the last value");
    }
    detail::Nesting& nesting() noexcept { return nesting_; }

private:
    std::span<const std::byte> take(std::size_t size) {
        if (size > rest_.size()) throw ArchiveError("the bytes end in the middle of a value");
        const auto taken = rest_.first(size);
        rest_ = rest_.subspan(size);
        return taken;
    }
    std::uint64_t read_varint() {
        std::uint64_t value = 0;
        for (unsigned shift = 0; shift < 64; shift += 7) {
            const auto byte = std::to_integer<std::uint64_t>(take(1)[0]);
            if (shift == 63 && byte > 1) break;
            value |= (byte & 0x7f) << shift;
            if (byte < 0x80) {
                if (byte == 0 && shift != 0) throw ArchiveError("a size is longer than needed");
                return value;
            }
        }
        throw ArchiveError("a size does not fit into 64 bits");
    }

    std::span<const std::byte> rest_;
    std::uint64_t claimable_;
    std::uint64_t longest_;
    detail::Nesting nesting_;
};

/// Appends `values` to `out`. Throws `ArchiveError` where they are nested too deeply.
template <class... T>
void write(std::vector<std::byte>& out, const T&... values) {
    Writer writer(out);
    writer(values...);
}

/// Reads `values` from `bytes`, which must hold nothing else. On failure, whatever its cause, it returns false and
/// the values are unspecified.
template <class... T>
bool read(std::span<const std::byte> bytes, T&... values) noexcept {
    try {
        Reader reader(bytes);
        reader(values...);
        reader.finish();
        return true;
    } catch (...) {
        return false;
    }
}

// What cereal looks for.

template <class T>
void prologue(Writer& writer, const T&) {
    static_assert(!detail::is_shared<T>, "shared pointers need identities, which do not belong on the wire");
    if constexpr (std::is_class_v<T>) writer.nesting().enter();
}
template <class T>
void epilogue(Writer& writer, const T&) noexcept {
    if constexpr (std::is_class_v<T>) writer.nesting().leave();
}
template <class T>
void prologue(Reader& reader, const T&) {
    static_assert(!detail::is_shared<T>, "shared pointers need identities, which do not belong on the wire");
    if constexpr (std::is_class_v<T>) reader.nesting().enter();
}
template <class T>
void epilogue(Reader& reader, const T&) noexcept {
    if constexpr (std::is_class_v<T>) reader.nesting().leave();
}

template <detail::Scalar T>
void save(Writer& writer, const T& value) {
    writer.write(&value, sizeof value);
}
template <detail::Scalar T>
void load(Reader& reader, T& value) {
    reader.read(&value, sizeof value);
}

template <std::same_as<bool> T>
void save(Writer& writer, const T& value) {
    writer.write(value ? "\1" : "\0", 1);
}
template <std::same_as<bool> T>
void load(Reader& reader, T& value) {
    value = reader.read_bool();
}

template <class T>
void save(Writer& writer, const cereal::SizeTag<T>& tag) {
    writer.write_size(tag.size);
}
template <class T>
void load(Reader& reader, cereal::SizeTag<T>& tag) {
    tag.size = static_cast<std::remove_reference_t<T>>(reader.read_size());
}

template <class T>
void save(Writer& writer, const cereal::BinaryData<T>& data) {
    static_assert(detail::Scalar<detail::BinaryElement<T>> || std::is_same_v<detail::BinaryElement<T>, bool>);
    writer.write(data.data, static_cast<std::size_t>(data.size));
}
template <class T>
void load(Reader& reader, cereal::BinaryData<T>& data) {
    const auto size = static_cast<std::size_t>(data.size);
    if constexpr (std::is_same_v<detail::BinaryElement<T>, bool>) {
        std::generate_n(static_cast<bool*>(data.data), size, [&] { return reader.read_bool(); });
    } else {
        static_assert(detail::Scalar<detail::BinaryElement<T>>);
        reader.read(data.data, size);
    }
}

template <class T>
void save(Writer& writer, const cereal::NameValuePair<T>& pair) {
    writer(pair.value);
}
template <class T>
void load(Reader& reader, cereal::NameValuePair<T>& pair) {
    reader(pair.value);
}

inline void save(Writer& writer, const std::vector<std::byte>& bytes) {
    writer.write_size(bytes.size());
    writer.write(bytes.data(), bytes.size());
}
inline void load(Reader& reader, std::vector<std::byte>& bytes) {
    bytes.resize(static_cast<std::size_t>(reader.read_size()));
    reader.read(bytes.data(), bytes.size());
}

template <class T>
void save(Writer& writer, const std::optional<T>& value) {
    writer(value.has_value());
    if (value) writer(*value);
}
template <class T>
void load(Reader& reader, std::optional<T>& value) {
    value.reset();
    if (reader.read_bool()) reader(value.emplace());
}

template <class Archive>
void serialize(Archive& archive, PeerId& id) {
    archive(id.bytes);
}
template <class Archive>
void serialize(Archive& archive, Address& address) {
    archive(address.host, address.port);
}

}  // namespace cluster::wire

CEREAL_SETUP_ARCHIVE_TRAITS(cluster::wire::Reader, cluster::wire::Writer)
