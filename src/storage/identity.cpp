#include "storage/identity.hpp"

#include "storage/crc32c.hpp"
#include "storage/fault.hpp"
#include "base/packing.hpp"

#include <string_view>
#include <utility>

namespace cluster::storage {

namespace {

constexpr std::string_view identity_magic = "CLUSTIDY";
constexpr std::uint32_t identity_version = 1;
constexpr std::uint64_t most_identity_bytes = 65536;

}  // namespace

std::vector<std::byte> pack(const Identity& identity) {
    Packer out;
    out.raw(std::as_bytes(std::span(identity_magic))).number(identity_version);
    out.raw(identity.disk.bytes).text(identity.node).text(identity.group_name);
    out.number(static_cast<std::uint8_t>(identity.promise ? 1 : 0));
    if (identity.promise) {
        out.raw(identity.promise->group.bytes);
        out.number(static_cast<std::uint16_t>(identity.promise->disks.size()));
        for (const auto& [node, disk] : identity.promise->disks) out.text(node).raw(disk.bytes);
    }
    out.number(static_cast<std::uint8_t>(identity.group ? 1 : 0));
    if (identity.group) out.raw(identity.group->bytes);
    out.number(crc32c(out.bytes()));
    return std::move(out.bytes());
}

std::optional<Identity> unpack_identity(std::span<const std::byte> bytes) {
    Unpacker in(bytes);
    Identity identity;
    in.take(identity_magic.size());
    in.number<std::uint32_t>();
    identity.disk.bytes = in.raw<16>();
    identity.node = in.text();
    identity.group_name = in.text();
    if (in.number<std::uint8_t>() != 0) {
        Promise promise;
        promise.group.bytes = in.raw<16>();
        for (std::size_t count = in.number<std::uint16_t>(); count > 0 && in.good(); --count) {
            std::string node = in.text();
            promise.disks.emplace(std::move(node), consensus::DiskId{in.raw<16>()});
        }
        identity.promise = std::move(promise);
    }
    if (in.number<std::uint8_t>() != 0) identity.group = GroupId{in.raw<16>()};
    if (!in.good() || !std::ranges::equal(pack(identity), bytes)) return std::nullopt;
    return identity;
}

std::error_code IdentityFile::read() {
    std::error_code error;
    const std::vector<std::byte> bytes = read_file(disk_, name, most_identity_bytes, error);
    if (error == Fault::too_large) error = Fault::damaged;
    if (error) return error;
    std::optional<Identity> found = unpack_identity(bytes);
    if (!found) return Fault::damaged;
    value_ = std::move(*found);
    // A process may have ended before the name was on disk; nothing may be said of it before.
    return disk_.sync_folder("");
}

std::error_code IdentityFile::create(const Identity& identity) {
    return write(identity);
}

std::error_code IdentityFile::give(const Promise& promise) {
    if (value_.promise == promise) return error_;
    if (value_.promise || value_.group) return Fault::promised;
    if (promise.disks.size() > Identity::most_disks) return Fault::too_large;
    Identity next = value_;
    next.promise = promise;
    return write(next);
}

std::error_code IdentityFile::belong_to(const GroupId& group) {
    if (value_.group == group) return error_;
    if (value_.group || (value_.promise && value_.promise->group != group)) return Fault::promised;
    Identity next = value_;
    next.group = group;
    return write(next);
}

std::error_code IdentityFile::write(const Identity& identity) {
    if (error_) return error_;
    if (identity.node.size() > Identity::longest_name || identity.group_name.size() > Identity::longest_name) {
        return Fault::too_large;
    }
    error_ = replace_file(disk_, "", name, pack(identity));
    if (!error_) value_ = identity;
    return error_;
}

}  // namespace cluster::storage
