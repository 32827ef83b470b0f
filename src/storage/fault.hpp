#pragma once

#include <system_error>

namespace cluster::storage {

/// What storage itself finds wrong. What the system refuses comes as the system's error.
enum class Fault {
    /// What was read is not what was written. Nothing was changed.
    damaged = 1,
    /// Another process, or another part of this one, has the directory open.
    locked,
    /// The file system cannot put a file or a folder on disk when asked.
    cannot_sync,
    /// An entry, a name or a configuration is longer than it may be.
    too_large,
    /// There is no such entry, snapshot or byte, or there is none any more.
    not_there,
    /// A snapshot is being written or received already.
    busy,
    /// What was asked for contradicts what was written before. Nothing was written.
    contradiction,
    /// The disk has promised itself to another group, or belongs to one.
    promised,
    /// It is closed.
    closed,
};

const std::error_category& fault_category() noexcept;

inline std::error_code make_error_code(Fault value) noexcept {
    return {static_cast<int>(value), fault_category()};
}

}  // namespace cluster::storage

template <>
struct std::is_error_code_enum<cluster::storage::Fault> : std::true_type {};
