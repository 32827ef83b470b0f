#include "replica/command.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace cluster::replica {

static_assert(std::endian::native == std::endian::little, "a big-endian host has to swap here");

Bytes Command::pack() const {
    detail::BlockRef block = detail::Block::allocate(head + message.size());
    std::byte* const to = block->data();
    to[0] = kind;
    std::memcpy(to + 1, disk.bytes.data(), disk.bytes.size());
    std::memcpy(to + 17, &life, sizeof life);
    std::memcpy(to + 25, &number, sizeof number);
    std::copy(message.begin(), message.end(), to + head);
    const std::span<const std::byte> view(to, head + message.size());
    return {std::move(block), view};
}

std::optional<Command> Command::unpack(std::span<const std::byte> body) {
    if (body.size() < head || body[0] != kind) return std::nullopt;
    Command command;
    std::memcpy(command.disk.bytes.data(), body.data() + 1, command.disk.bytes.size());
    std::memcpy(&command.life, body.data() + 17, sizeof command.life);
    std::memcpy(&command.number, body.data() + 25, sizeof command.number);
    command.message = body.subspan(head);
    return command;
}

}  // namespace cluster::replica
