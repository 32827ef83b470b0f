#include "base/block.hpp"

#include <cluster/membership.hpp>
#include <cluster/message.hpp>

#include <doctest/doctest.h>

#include <span>
#include <sstream>
#include <string>
#include <utility>

using cluster::Message;
using cluster::PeerId;
using cluster::detail::Block;
using cluster::detail::BlockRef;

namespace {

const PeerId ann{{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xff}};

BlockRef block_of(std::size_t size) {
    return Block::adopt(std::string(size, 'x'));
}

Message message_in(BlockRef block) {
    const std::span<const std::byte> bytes(block->data(), block->size());
    return Message(ann, block.detach(), bytes, 0);
}

}  // namespace

TEST_CASE("a copy of a message shorter than 4 KiB does not keep the block of the original alive") {
    BlockRef block = block_of(4095);
    Message original = message_in(block);
    const Message copy = original;
    CHECK(copy.text() == original.text());
    CHECK(copy.from() == ann);
    CHECK(copy.text().data() != original.text().data());
    original = Message();
    CHECK(!block->shared());
    CHECK(copy.text() == std::string(4095, 'x'));
}

TEST_CASE("a copy of a message of 4 KiB shares the block of the original") {
    BlockRef block = block_of(4096);
    Message original = message_in(block);
    Message copy;
    copy = original;
    CHECK(copy.text().data() == original.text().data());
    original = Message();
    CHECK(block->shared());
    copy = Message();
    CHECK(!block->shared());
}

TEST_CASE("a moved message takes its block along and leaves an empty one behind") {
    BlockRef block = block_of(10);
    Message first = message_in(block);
    const char* place = first.text().data();
    Message second = std::move(first);
    CHECK(second.text().data() == place);
    CHECK(first.size() == 0);
    CHECK(first.lost() == 0);
    Message third = message_in(block_of(5));
    third = std::move(second);
    CHECK(third.text().data() == place);
    CHECK(third.from() == ann);
    third = Message();
    CHECK(!block->shared());
}

TEST_CASE("a message assigned to itself stays as it is") {
    Message message = message_in(block_of(10));
    const Message& same = message;
    message = same;
    CHECK(message.size() == 10);
    Message& alias = message;
    message = std::move(alias);
    CHECK(message.text() == "xxxxxxxxxx");
}

TEST_CASE("a copied gap is a gap of the same length from the same peer") {
    const Message gap(ann, nullptr, {}, 7);
    const Message copy = gap;
    CHECK(copy.lost() == 7);
    CHECK(copy.size() == 0);
    CHECK(copy.from() == ann);
}

TEST_CASE("a copy of an empty message holds no block") {
    BlockRef block = block_of(10);
    Message original(ann, BlockRef(block).detach(), std::span<const std::byte>(block->data(), 0), 0);
    const Message copy = original;
    original = Message();
    CHECK(!block->shared());
    CHECK(copy.text().empty());
}

TEST_CASE("a peer id is written as 32 hexadecimal digits") {
    std::ostringstream out;
    out << ann;
    CHECK(out.str() == "0123456789abcdefff00000000000000");
    CHECK(ann.to_string() == out.str());
}

TEST_CASE("states and reasons have names") {
    using cluster::PeerState;
    using cluster::RemovalReason;
    CHECK(to_string(PeerState::alive) == "alive");
    CHECK(to_string(PeerState::suspect) == "suspect");
    CHECK(to_string(PeerState::unreachable) == "unreachable");
    CHECK(to_string(PeerState::failed) == "failed");
    CHECK(to_string(PeerState::left) == "left");
    CHECK(to_string(PeerState::removed) == "removed");
    CHECK(to_string(RemovalReason::left) == "left");
    std::ostringstream out;
    out << PeerState::suspect << ' ' << RemovalReason::replaced << ' ' << cluster::MemberEvent::joined;
    CHECK(out.str() == "suspect replaced joined");
    CHECK(to_string(RemovalReason::failed) == "failed");
    CHECK(to_string(RemovalReason::replaced) == "replaced");
    CHECK(to_string(RemovalReason::removed) == "removed");
    CHECK(to_string(RemovalReason::refused) == "refused");
}
