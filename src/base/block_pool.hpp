#pragma once

#include "base/block.hpp"

#include <cstddef>
#include <deque>

namespace cluster::detail {

/// Large blocks that are used again when nobody refers to them any more: fresh memory costs more than copying into it.
/// Not thread-safe. Other references to a block may be released on any thread.
class BlockPool {
public:
    /// Bytes of all blocks together. If they are more, the oldest blocks are forgotten.
    static constexpr std::size_t most_kept = std::size_t{8} << 20;

    /// The largest block kept of `least` to `most` bytes to which nobody refers. If there is none, a new one of `least`
    /// bytes.
    BlockRef take(std::size_t least, std::size_t most);
    /// The block may be taken when nobody else refers to it.
    void keep(const BlockRef& block);
    /// Gives up blocks to which nobody refers, unless one was taken since the last call.
    void rest();

    std::size_t kept() const noexcept { return size_; }

private:
    std::deque<BlockRef> kept_;
    std::size_t size_ = 0;
    bool used_ = false;
};

}  // namespace cluster::detail
