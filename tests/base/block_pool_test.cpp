#include "base/block_pool.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace cluster;

TEST_CASE("a block that was kept is taken again once nobody else refers to it") {
    detail::BlockPool pool;
    detail::BlockRef block = pool.take(1000, 2000);
    const detail::Block* const first = block.get();
    pool.keep(block);
    CHECK(pool.take(1000, 2000).get() != first);
    block = {};
    CHECK(pool.take(1000, 2000).get() == first);
    CHECK(pool.kept() == 0);
}

TEST_CASE("of the blocks that were kept the largest is taken that is not too large") {
    detail::BlockPool pool;
    for (const std::size_t size : {1000u, 3000u, 2000u, 500u}) pool.keep(detail::Block::allocate(size));
    CHECK(pool.take(600, 2500)->size() == 2000);
    CHECK(pool.take(600, 2500)->size() == 1000);
    CHECK(pool.take(600, 2500)->size() == 600);
    CHECK(pool.kept() == 3500);
}

TEST_CASE("no more blocks are kept than the limit says, the newest of them") {
    detail::BlockPool pool;
    pool.keep(detail::Block::allocate(1000));
    pool.keep(detail::Block::allocate(detail::BlockPool::most_kept));
    CHECK(pool.kept() == detail::BlockPool::most_kept);
    CHECK(pool.take(1, detail::BlockPool::most_kept)->size() == detail::BlockPool::most_kept);
    pool.keep(detail::Block::allocate(detail::BlockPool::most_kept + 1));
    CHECK(pool.kept() == 0);
}

TEST_CASE("a pool that rests gives up what nobody refers to, but not at the first call after a block was taken") {
    detail::BlockPool pool;
    const detail::BlockRef used = pool.take(1000, 1000);
    pool.keep(used);
    pool.keep(detail::Block::allocate(500));
    pool.rest();
    CHECK(pool.kept() == 1500);
    pool.rest();
    CHECK(pool.kept() == 1000);
}
