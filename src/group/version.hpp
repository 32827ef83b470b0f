#pragma once

#include "base/bytes.hpp"
#include "base/packing.hpp"
#include "consensus/entry.hpp"

#include <cluster/service.hpp>

#include <cstdint>
#include <utility>

namespace cluster::group {

/// What the entry that begins a term says of its leader: nothing, or `major` and `minor` as `u16`, little-endian. What
/// stands behind them is for versions to come.
inline Bytes pack(ApplicationVersion version) {
    if (version == ApplicationVersion()) return {};
    Packer out;
    out.number(version.major).number(version.minor);
    return Bytes::adopt(std::move(out.bytes()));
}

/// What it says of its leader, if it begins a term.
inline ApplicationVersion version_of(const consensus::Entry& entry) {
    if (entry.kind != consensus::EntryKind::empty) return {};
    Unpacker in(entry.body.view());
    ApplicationVersion version;
    version.major = in.number<std::uint16_t>();
    version.minor = in.number<std::uint16_t>();
    return in.good() ? version : ApplicationVersion();
}

}  // namespace cluster::group
