#include "group/command.hpp"

#include "base/overloaded.hpp"
#include "base/packing.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace cluster::group {

namespace {

constexpr std::size_t kinds = std::variant_size_v<Command>;

/// Which of the variant it is, as the number on disk.
std::byte kind_of(const Command& command) {
    return static_cast<std::byte>(command.index() + 1);
}

/// A head and a message in one piece of memory: a message may be long, and is copied once.
Bytes join(std::span<const std::byte> head, std::span<const std::byte> message) {
    detail::BlockRef block = detail::Block::allocate(head.size() + message.size());
    std::copy(head.begin(), head.end(), block->data());
    std::copy(message.begin(), message.end(), block->data() + head.size());
    const std::span<const std::byte> view(block->data(), head.size() + message.size());
    return {std::move(block), view};
}

std::optional<CloseReason> close_reason(std::uint8_t value) {
    if (value < 1 || value > static_cast<std::uint8_t>(CloseReason::slow)) return std::nullopt;
    return static_cast<CloseReason>(value);
}

Received unpack_received(Unpacker& in) {
    Received received;
    received.replies = in.number<std::uint64_t>();
    received.pushes = in.number<std::uint64_t>();
    return received;
}

}  // namespace

bool operator==(const Submitted& a, const Submitted& b) {
    return a.disk == b.disk && a.life == b.life && a.number == b.number && std::ranges::equal(a.message, b.message);
}

bool operator==(const SessionCommand& a, const SessionCommand& b) {
    return a.session == b.session && a.number == b.number && a.received == b.received &&
           std::ranges::equal(a.message, b.message);
}

Bytes pack(const Command& command) {
    Packer out;
    std::span<const std::byte> message;
    out.number(std::to_integer<std::uint8_t>(kind_of(command)));
    std::visit(
        Overloaded{
            [&](const Submitted& each) {
                out.raw(each.disk.bytes).number(each.life).number(each.number);
                message = each.message;
            },
            [&](const OpenSession& each) {
                out.raw(each.key).number(each.timeout_ms).number(each.most);
                out.text(each.name).text(each.principal);
            },
            [&](const CloseSession& each) { out.number(each.session).number(static_cast<std::uint8_t>(each.reason)); },
            [&](const SessionCommand& each) {
                out.number(each.session).number(each.number);
                out.number(each.received.replies).number(each.received.pushes);
                message = each.message;
            },
            [&](const Acknowledge& each) {
                out.number(each.session).number(each.received.replies).number(each.received.pushes);
            },
        },
        command);
    return join(out.bytes(), message);
}

std::optional<Command> unpack(std::span<const std::byte> body) {
    Unpacker in(body);
    const auto kind = in.number<std::uint8_t>();
    if (!in.good() || kind < 1 || kind > kinds) return std::nullopt;
    Command command;
    switch (kind - 1) {
        case 0: {
            Submitted each;
            each.disk.bytes = in.raw<16>();
            each.life = in.number<std::uint64_t>();
            each.number = in.number<std::uint64_t>();
            if (in.good()) each.message = body.subspan(Submitted::head);
            command = each;
            return in.good() ? std::optional(command) : std::nullopt;
        }
        case 1: {
            OpenSession each;
            each.key = in.raw<16>();
            each.timeout_ms = in.number<std::uint64_t>();
            each.most = in.number<std::uint64_t>();
            each.name = in.text();
            each.principal = in.text();
            command = std::move(each);
            break;
        }
        case 2: {
            CloseSession each;
            each.session = in.number<std::uint64_t>();
            const auto reason = close_reason(in.number<std::uint8_t>());
            if (!reason) return std::nullopt;
            each.reason = *reason;
            command = each;
            break;
        }
        case 3: {
            SessionCommand each;
            each.session = in.number<std::uint64_t>();
            each.number = in.number<std::uint64_t>();
            each.received = unpack_received(in);
            if (in.good()) each.message = body.subspan(SessionCommand::head);
            command = each;
            return in.good() ? std::optional(command) : std::nullopt;
        }
        default: {
            Acknowledge each;
            each.session = in.number<std::uint64_t>();
            each.received = unpack_received(in);
            command = each;
            break;
        }
    }
    if (!in.good() || !in.at_end()) return std::nullopt;
    return command;
}

}  // namespace cluster::group
