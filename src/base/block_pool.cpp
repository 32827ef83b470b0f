#include "base/block_pool.hpp"

#include <utility>

namespace cluster::detail {

BlockRef BlockPool::take(std::size_t least, std::size_t most) {
    used_ = true;
    auto best = kept_.end();
    for (auto each = kept_.begin(); each != kept_.end(); ++each) {
        const std::size_t size = (*each)->size();
        if (size < least || size > most || (*each)->shared()) continue;
        if (best == kept_.end() || (*best)->size() < size) best = each;
    }
    if (best == kept_.end()) return Block::allocate(least);
    BlockRef taken = std::move(*best);
    kept_.erase(best);
    size_ -= taken->size();
    return taken;
}

void BlockPool::keep(const BlockRef& block) {
    if (block->size() > most_kept) return;
    kept_.push_back(block);
    size_ += block->size();
    while (size_ > most_kept) {
        size_ -= kept_.front()->size();
        kept_.pop_front();
    }
}

void BlockPool::rest() {
    if (std::exchange(used_, false)) return;
    std::erase_if(kept_, [&](const BlockRef& each) {
        if (each->shared()) return false;
        size_ -= each->size();
        return true;
    });
}

}  // namespace cluster::detail
