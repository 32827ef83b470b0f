#pragma once

#include "base/block.hpp"

#include <cstddef>
#include <deque>

namespace cluster::detail {

/// Large blocks that are filled again once nobody refers to them any more: fresh memory costs more than what is copied
/// into it. Not thread-safe; whoever else refers to a block may let go of it on any thread.
class BlockPool {
public:
    /// Of all blocks together, in bytes. Where they are more, the oldest are forgotten.
    static constexpr std::size_t most_kept = std::size_t{8} << 20;

    /// The largest block kept of `least` to `most` bytes that nobody refers to, or else a new one of `least` bytes.
    BlockRef take(std::size_t least, std::size_t most);
    /// It may be taken once nobody else refers to it.
    void keep(const BlockRef& block);
    /// Gives up what nobody refers to, unless something was taken since the last call.
    void rest();

    std::size_t kept() const noexcept { return size_; }

private:
    std::deque<BlockRef> kept_;
    std::size_t size_ = 0;
    bool used_ = false;
};

}  // namespace cluster::detail
