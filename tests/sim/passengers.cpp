#include "world_parts.hpp"

namespace cluster::sim {

using namespace std::chrono_literals;

Time World::clock(std::size_t node) const {
    return clock(*nodes_[node]);
}

bool World::goes_on(std::size_t node) const {
    return !machines_[node].frozen;
}

void World::in_process(std::size_t node, Duration delay, Work work) {
    at(delay, [this, &run = *nodes_[node], work = std::move(work)] {
        if (!run.alive) return;
        const auto now = [this, &run, work] {
            if (!run.alive) return;
            work();
            settle(run);
        };
        if (!busy(run, now)) now();
    });
}

bool World::tell(std::size_t node, const PeerId& to, std::span<const std::byte> message) {
    Node& from = *nodes_[node];
    core::Engine::Body body{.bytes = message, .owner = {}, .channel = core::replica_channel};
    if (message.size() > 16000) {
        body.owner = detail::Block::copy(message);
        body.bytes = {body.owner->data(), message.size()};
    }
    const errc error = from.engine->send(to, body, core::Engine::Skip::nobody, clock(from)).error;
    return error != errc::outbox_full && error != errc::message_too_large;
}

void World::end_process(std::size_t node) {
    at({}, [this, &run = *nodes_[node]] {
        if (!run.alive) return;
        kill(run.index, false);
        restart(run.index, between(10ms, 1s));
    });
}

void World::hand_over(const Node& node, const core::Batch& batch) {
    if (passengers_ == nullptr) return fail("n" + std::to_string(node.index) + " hears a replica, and there is none");
    if (!node.in_view.contains(batch.from)) return;  // it leaves, and nobody comes any more
    for (auto frames = batch.frames; !frames.empty() && node.alive;) {
        const core::FrameHeader header = core::FrameHeader::read(frames.data());
        const auto message = frames.subspan(core::FrameHeader::size, header.length);
        passengers_->received(node.index, batch.from, Bytes(batch.block, message));
        frames = frames.subspan(core::FrameHeader::size + header.length);
    }
}

}  // namespace cluster::sim
