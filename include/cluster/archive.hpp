#pragma once

#include <cluster/address.hpp>
#include <cluster/member.hpp>
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

// The bounded archive of cereal, in which typed messages and the frames of the wire are written. `<cluster/codec.hpp>`
// and the library share it; applications use `encode`, `decode` and `Message::as`.

namespace cluster {

/// Ids and addresses are fields like any other, in every archive of cereal.
template <class Archive>
void serialize(Archive& archive, PeerId& id) {
    archive(id.bytes);
}
template <class Archive>
void serialize(Archive& archive, MemberId& id) {
    archive(id.bytes);
}
template <class Archive>
void serialize(Archive& archive, Address& address) {
    archive(address.host, address.port);
}

}  // namespace cluster

namespace cluster::detail {

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

/// How deep values may contain each other. Containers, and what cereal wraps around them, count too. The writer of the
/// bytes chooses the depth of a recursive type, and the stack is finite.
inline constexpr std::size_t max_nesting = 128;

template <class T>
concept Scalar = std::is_arithmetic_v<T> && !std::is_same_v<T, bool> && !std::is_same_v<T, wchar_t> && sizeof(T) <= 8;

/// What may be copied in bulk.
template <class T>
using BinaryElement = std::remove_cv_t<std::remove_pointer_t<std::remove_reference_t<T>>>;
template <class T>
concept Bulk = Scalar<BinaryElement<T>> || std::is_same_v < BinaryElement<T>,
bool > ;

template <class T>
inline constexpr bool is_shared = false;
template <class T>
inline constexpr bool is_shared<std::shared_ptr<T>> = true;
template <class T>
inline constexpr bool is_shared<std::weak_ptr<T>> = true;

template <class T>
inline constexpr bool points_to_polymorphic = false;
template <class T, class Deleter>
inline constexpr bool points_to_polymorphic<std::unique_ptr<T, Deleter>> = std::is_polymorphic_v<T>;

/// Only such an enum can be made of a number without a cast, and may hold every number that its type can.
template <class T>
concept EnumWithType = requires {
    T{0};
};

template <class T>
constexpr void refuse_unsafe() {
    static_assert(!is_shared<T>, "shared pointers cannot be sent: use std::unique_ptr or the value itself");
    static_assert(!points_to_polymorphic<T>,
                  "polymorphic types cannot be sent, because the sender would choose the "
                  "type: use std::variant");
    static_assert(!std::is_enum_v<T> || EnumWithType<T>,
                  "an enum that is sent needs a type, as in enum Colour : "
                  "std::uint8_t");
    static_assert(!std::is_arithmetic_v<T> || Scalar<T> || std::is_same_v<T, bool>,
                  "wchar_t and long double differ between platforms: use char16_t, char32_t, double");
}

template <class T, class Archive>
inline constexpr bool has_version = cereal::traits::has_member_versioned_serialize<T, Archive>::value ||
                                    cereal::traits::has_non_member_versioned_serialize<T, Archive>::value ||
                                    cereal::traits::has_member_versioned_save<T, Archive>::value ||
                                    cereal::traits::has_non_member_versioned_save<T, Archive>::value ||
                                    cereal::traits::has_member_versioned_save_minimal<T, Archive>::value ||
                                    cereal::traits::has_non_member_versioned_save_minimal<T, Archive>::value;

class Nesting {
public:
    void enter() {
        if (++depth_ > max_nesting) throw ArchiveError("values are nested too deeply");
    }
    void leave() noexcept { --depth_; }

private:
    std::size_t depth_ = 0;
};

/// Appends values to a vector of bytes. Not thread-safe; the vector must outlive it. After an exception the vector
/// holds a part of the value.
class Writer : public cereal::OutputArchive<Writer> {
public:
    explicit Writer(std::vector<std::byte>& out) : cereal::OutputArchive<Writer>(this), out_(out), begin_(out.size()) {}

    void write(const void* data, std::size_t size) {
        const auto* const bytes = static_cast<const std::byte*>(data);
        out_.insert(out_.end(), bytes, bytes + size);
    }
    void write_size(std::uint64_t size) {
        const std::uint64_t claimed = size;
        for (; size >= 0x80; size >>= 7) out_.push_back(static_cast<std::byte>(size | 0x80));
        out_.push_back(static_cast<std::byte>(size));
        claimed_ += claimed;
        needed_ = std::max({needed_, claimed_, out_.size() - begin_ + claimed});
    }
    /// To be called after the last value: what a `Reader` would refuse is not written either.
    void finish() const {
        if (needed_ > out_.size() - begin_)
            throw ArchiveError("a container holds elements without a byte of their own");
    }
    Nesting& nesting() noexcept { return nesting_; }

private:
    std::vector<std::byte>& out_;
    std::size_t begin_;
    std::uint64_t claimed_ = 0;
    std::uint64_t needed_ = 0;  ///< bytes that must have been written in the end
    Nesting nesting_;
};

/// Takes values from bytes that a stranger wrote. Not thread-safe; the bytes must outlive it. Of no use after an
/// exception. Besides `ArchiveError` it may throw what cereal or the types themselves throw.
///
/// 1. Nothing outside the bytes is read.
/// 2. All containers together claim at most as many elements as there are bytes. Each element must have at least one
///    byte of its own.
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
    /// To be called after the last value: nothing may follow.
    void finish() const {
        if (!rest_.empty()) throw ArchiveError("there are bytes behind the last value");
    }
    Nesting& nesting() noexcept { return nesting_; }

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
    Nesting nesting_;
};

/// Appends `value` to `out`. Throws `ArchiveError` if it could not be read again.
template <class T>
void write(std::vector<std::byte>& out, const T& value) {
    Writer writer(out);
    writer(value);
    writer.finish();
}

/// Throws anything that reading throws.
template <class T>
void read(std::span<const std::byte> bytes, T& value) {
    Reader reader(bytes);
    reader(value);
    reader.finish();
}

// What cereal looks for.

template <class T>
void prologue(Writer& writer, const T&) {
    refuse_unsafe<T>();
    static_assert(CEREAL_THREAD_SAFE || !has_version<T, Writer>,
                  "types with a version need CEREAL_THREAD_SAFE=1 in the whole program, because cereal keeps the "
                  "versions in one table for all threads");
    if constexpr (std::is_class_v<T>) writer.nesting().enter();
}
template <class T>
void epilogue(Writer& writer, const T&) noexcept {
    if constexpr (std::is_class_v<T>) writer.nesting().leave();
}
template <class T>
void prologue(Reader& reader, const T&) {
    refuse_unsafe<T>();
    if constexpr (std::is_class_v<T>) reader.nesting().enter();
}
template <class T>
void epilogue(Reader& reader, const T&) noexcept {
    if constexpr (std::is_class_v<T>) reader.nesting().leave();
}

template <Scalar T>
void save(Writer& writer, const T& value) {
    writer.write(&value, sizeof value);
}
template <Scalar T>
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
    static_assert(Bulk<T>, "only numbers of up to 64 bits can be sent as binary_data");
    writer.write(data.data, static_cast<std::size_t>(data.size));
}
template <class T>
void load(Reader& reader, cereal::BinaryData<T>& data) {
    static_assert(Bulk<T>, "only numbers of up to 64 bits can be sent as binary_data");
    const auto size = static_cast<std::size_t>(data.size);
    if constexpr (std::is_same_v<BinaryElement<T>, bool>) {
        std::generate_n(static_cast<bool*>(data.data), size, [&] { return reader.read_bool(); });
    } else {
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

template <class Allocator>
void save(Writer& writer, const std::vector<std::byte, Allocator>& bytes) {
    writer.write_size(bytes.size());
    writer.write(bytes.data(), bytes.size());
}
template <class Allocator>
void load(Reader& reader, std::vector<std::byte, Allocator>& bytes) {
    bytes.resize(static_cast<std::size_t>(reader.read_size()));
    reader.read(bytes.data(), bytes.size());
}

// Here rather than in <cereal/types/optional.hpp>, to which these overloads are preferred: its flag says "absent".
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

}  // namespace cluster::detail

CEREAL_SETUP_ARCHIVE_TRAITS(cluster::detail::Reader, cluster::detail::Writer)
