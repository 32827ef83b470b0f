#pragma once

#include <cluster/export.hpp>

#include <cstdint>

namespace cluster {

/// How new what a read sees has to be.
enum class Consistency : std::uint8_t {
    /// It sees everything that anybody was told before it began, at any replica: what `submit` has acknowledged, and
    /// what other such reads have seen. The leader asks a majority whether it still leads. No disk is waited for.
    linearizable,
    /// It sees what this replica has applied, which may be old, as far as `at_least`. Nobody is asked, so it needs no
    /// leader. One that begins when another has ended here sees no less. After a restart it waits for what this disk
    /// knows to be committed.
    stale,
};

struct ReadOptions {
    Consistency consistency = Consistency::linearizable;
    /// Of a stale read: it waits until this replica has applied so much. With the `Message::position` of a reply, from
    /// any replica, one reads what one wrote, and never less than one has read.
    std::uint64_t at_least = 0;
};

}  // namespace cluster
