#include "core/part.hpp"

#include <array>
#include <cstdint>

namespace cluster::core {

namespace {

Facts first_facts(const EngineOptions& options, const OwnAddresses& own) {
    Facts facts = options.self;
    if (options.publish_observed) facts.addresses = own.published();
    return facts;
}

std::uint64_t roll(const RandomSource& random) {
    std::array<std::uint8_t, 8> bytes{};
    random(bytes);
    std::uint64_t value = 0;
    for (const std::uint8_t byte : bytes) value = value << 8 | byte;
    return value;
}

}  // namespace

Shared::Shared(EngineOptions options)
    : options_(std::move(options)),
      own_(options_.listening.empty() ? options_.self.addresses : options_.listening),
      roster_(first_facts(options_, own_)),
      dice_(roll(options_.random)),
      plan_(options_.reconnect_min, options_.reconnect_max, dice_.next()),
      detector_(options_.heartbeat, options_.suspicion),
      peers_(options_, roster_, own_) {}

}  // namespace cluster::core
