#include "consensus/configuration.hpp"
#include "fuzz/input.hpp"
#include "group/command.hpp"
#include "group/memory_streams.hpp"
#include "group/state.hpp"
#include "storage/identity.hpp"
#include "wire/client_codec.hpp"
#include "wire/replica_codec.hpp"

#include <algorithm>
#include <system_error>
#include <vector>

// What replicas and clients say, what stands in a log, in a snapshot and in the file `identity`: the first byte says
// which of them. What is read has one form, and takes little memory.

namespace cluster::messages_fuzz {

namespace {

constexpr std::size_t memory_factor = 100;

void check_same(std::span<const std::byte> written, const Bytes& read) {
    fuzz::require(std::ranges::equal(written, read.view()));
}

void check_state(const Bytes& bytes) {
    group::State state;
    try {
        // A length that is not true takes one step of a mebibyte.
        const fuzz::MemoryLimit limit(memory_factor * bytes.size() + (std::size_t{2} << 20));
        support::MemoryReader reader(bytes.view());
        state.load(reader);
    } catch (const std::system_error&) {
        return;
    }
    const auto saved = [](const group::State& from) {
        support::MemoryWriter writer;
        from.save(writer);
        return writer.out;
    };
    group::State again;
    const std::vector<std::byte> once = saved(state);
    support::MemoryReader reader(once);
    again.load(reader);
    fuzz::require(saved(again) == once);
}

}  // namespace

void run(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return;
    const Bytes bytes(std::as_bytes(std::span(data, size).subspan(1)));
    const auto limit = [&] { return fuzz::MemoryLimit(memory_factor * size + 4096); };
    switch (data[0] % 8) {
        case 0: {
            const auto message = [&] {
                const auto most = limit();
                return wire::decode(bytes);
            }();
            if (!message) return;
            std::vector<std::byte> again;
            wire::encode(*message, again);
            check_same(again, bytes);
            break;
        }
        case 1: {
            const auto message = [&] {
                const auto most = limit();
                return wire::decode_to_node(bytes);
            }();
            if (message) check_same(wire::encode(*message), bytes);
            break;
        }
        case 2: {
            const auto message = [&] {
                const auto most = limit();
                return wire::decode_to_client(bytes);
            }();
            if (message) check_same(wire::encode(*message), bytes);
            break;
        }
        case 3: {
            const auto client = wire::client_of(bytes);
            const auto message = wire::decode_to_client(bytes);
            if (message) fuzz::require(client == message->client);
            if (const auto asked = wire::asks_to_be_served(bytes)) {
                const auto whole = wire::decode_to_node(bytes);
                if (whole) fuzz::require(whole->group == asked->group && whole->client == asked->client);
            }
            break;
        }
        case 4: {
            const auto command = [&] {
                const auto most = limit();
                return group::unpack(bytes.view());
            }();
            if (command) check_same(group::pack(*command).view(), bytes);
            break;
        }
        case 5: {
            const auto configuration = consensus::Configuration::decode(bytes.view());
            if (configuration) check_same(configuration->encode().view(), bytes);
            break;
        }
        case 6: {
            const auto identity = storage::unpack_identity(bytes.view());
            if (identity) check_same(storage::pack(*identity), bytes);
            break;
        }
        default: check_state(bytes); break;
    }
}

}  // namespace cluster::messages_fuzz
