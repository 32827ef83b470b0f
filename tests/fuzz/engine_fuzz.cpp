#include "core/engine.hpp"
#include "fuzz/input.hpp"
#include "wire/codec.hpp"
#include "wire/parser.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <deque>
#include <map>
#include <utility>
#include <variant>
#include <vector>

// An engine among strangers who know the protocol and keep to it as far as they like. Each step is a byte that says
// what happens, and a few that say how. Some steps are the next word of an honest peer, so that sessions come about;
// all others are words, bytes, times and ends of links at will.

namespace cluster::engine_fuzz {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t most_steps = 2000;
constexpr std::size_t most_links = 12;
constexpr core::Token token{1, 2, 3};

PeerId id_of(std::uint8_t first) {
    PeerId id;
    id.bytes[0] = first;
    return id;
}

core::EngineOptions options() {
    core::EngineOptions made;
    made.cluster = "cluster";
    made.self.id = id_of(8);
    made.self.version = 1;
    made.self.name = "ann";
    made.self.addresses = {{"10.0.0.1", 7000}};
    made.seeds = {{"10.0.0.2", 7000}};
    made.heartbeat = 1s;
    made.suspicion = 2s;
    made.reconnect_min = 100ms;
    made.reconnect_max = 5s;
    made.resume_for = 20s;
    made.forget_after = 60s;
    made.connect_timeout = 5s;
    made.handshake_timeout = 5s;
    made.attach_timeout = 2s;
    made.linger = 1s;
    made.send_timeout = 1s;
    made.max_message = 1 << 16;
    made.max_peers = 4;
    made.max_guests = 4;
    made.inbox_bytes = 1 << 20;
    made.outbox_bytes = 1 << 18;
    made.total_outbox_bytes = 1 << 20;
    made.members_bytes = 1 << 16;
    made.awaits = [](const PeerId&, std::uint64_t call) { return call % 2 == 1; };
    made.random = [state = std::uint8_t{0}](std::span<std::uint8_t> out) mutable {
        for (std::uint8_t& each : out) each = ++state;
    };
    return made;
}

/// Takes what goes onto a link, and remembers what an honest peer needs to answer.
class Link final : public core::OutputSink {
public:
    void frame(const core::Control& frame) override {
        std::vector<std::byte> bytes;
        wire::encode(frame, bytes);
        if (const auto* const attach = std::get_if<core::Attach>(&frame)) epoch = attach->epoch;
        if (const auto* const ping = std::get_if<core::Ping>(&frame)) sequence = ping->sequence;
    }
    void bytes(const detail::BlockRef&, std::span<const std::byte> bytes) override { sent += bytes.size(); }

    std::uint64_t epoch = 1;     ///< that was asked for
    std::uint64_t sequence = 0;  ///< of the last PING
    std::uint64_t sent = 0;      ///< bytes of DATA
    wire::Parser parser;
};

class World {
public:
    explicit World(fuzz::Input input) : input_(input), engine_(options(), now_) {}

    void run() {
        for (std::size_t i = 0; i < most_steps && !input_.empty(); ++i) {
            step();
            drain();
        }
        engine_.leave(now_);
        for (int i = 0; i < 100; ++i) {
            drain();
            now_ += 1s;
            engine_.tick(now_);
        }
        fuzz::require(left_);  // however bad its company was, it can go
    }

private:
    core::LinkId some_link() {
        if (links_.empty()) return 0;
        auto at = links_.begin();
        std::advance(at, static_cast<std::ptrdiff_t>(input_.byte() % links_.size()));
        return at->first;
    }

    void say(core::LinkId id, core::Control frame) {
        if (links_.contains(id) && !engine_.received(id, std::move(frame), now_)) links_.erase(id);
    }
    core::Hello hello(std::uint8_t shape) const {
        core::Hello made;
        made.cluster = shape % 32 == 31 ? "another" : "cluster";
        made.max_message = 1 << 16;
        made.resume_for_ms = 10000;
        made.self.id = id_of(shape % 16);
        made.self.version = 1U + shape / 64U;
        made.self.name = "bob";
        made.self.addresses = {{"10.0.0." + std::to_string(shape % 8), 7000}};
        made.features = shape & 0x20 ? core::feature_guest | core::feature_clients : 0x3f;
        return made;
    }
    /// Bytes as they come from a socket.
    void receive(core::LinkId id, std::span<const std::uint8_t> bytes) {
        const auto found = links_.find(id);
        if (found == links_.end() || bytes.empty()) return;
        const auto block = detail::Block::copy(std::as_bytes(bytes));
        std::size_t begin = 0;
        for (;;) {
            wire::Parser::Item item = found->second.parser.next(block, begin, bytes.size());
            bool wanted = true;
            if (const auto* const run = std::get_if<core::DataRun>(&item)) {
                wanted = engine_.received(id, *run, now_);
            } else if (auto* const control = std::get_if<core::Control>(&item)) {
                wanted = engine_.received(id, std::move(*control), now_);
            } else {
                if (const auto* const rule = std::get_if<core::Rule>(&item)) engine_.violated(id, *rule, now_);
                return;
            }
            if (!wanted) return static_cast<void>(links_.erase(id));
        }
    }
    /// A frame of the kind that the next byte says, whose body comes behind it.
    void receive_frame(core::LinkId id) {
        const std::uint8_t kind = input_.byte() % 20;
        const std::uint8_t flags = input_.byte();
        const std::uint8_t channel = input_.byte() % 8;
        const auto body = input_.some();
        std::vector<std::uint8_t> bytes(core::FrameHeader::size + body.size());
        core::FrameHeader{static_cast<std::uint32_t>(body.size()), core::FrameKind{kind}, flags, channel}.write(
            reinterpret_cast<std::byte*>(bytes.data()));
        std::ranges::copy(body, bytes.begin() + core::FrameHeader::size);
        receive(id, bytes);
    }

    void step() {
        const std::array<std::byte, 16> text{};
        switch (input_.byte() % 24) {
            case 0:
                if (links_.size() < most_links) {
                    const std::string host = "10.0.0." + std::to_string(input_.byte() % 8);
                    if (const auto id = engine_.accepted({host, 5000}, now_)) links_.try_emplace(id);
                }
                break;
            case 1:
                if (!dials_.empty()) {
                    const core::Dial dial = take_dial();
                    links_.try_emplace(dial.link);
                    engine_.connected(dial.link, dial.address, now_);
                }
                break;
            case 2:
                if (!dials_.empty()) engine_.dial_failed(take_dial().link, errc::connection_refused, now_);
                break;
            case 3: {
                const auto id = some_link();
                say(id, hello(input_.byte()));
                break;
            }
            case 4: say(some_link(), core::Offer{}); break;
            case 5: {
                const auto id = some_link();
                if (links_.contains(id)) say(id, core::Attached{links_.at(id).epoch, offsets(), 0});
                break;
            }
            case 6: {
                const auto id = some_link();
                say(id, core::Attach{token, true, 1U + input_.byte(), offsets(), 0});
                break;
            }
            case 7: receive_frame(some_link()); break;
            case 8: {
                const auto id = some_link();
                receive(id, input_.some());
                break;
            }
            case 9: now_ += std::chrono::milliseconds(input_.byte()); break;
            case 10: now_ += 100ms * input_.byte(); break;
            case 11: {
                const auto id = some_link();
                if (links_.erase(id) != 0) engine_.link_ended(id, now_);
                break;
            }
            case 12: engine_.broadcast({text, {}}, core::Engine::Skip::full, now_); break;
            case 13: {
                const PeerId to = id_of(input_.byte() % 16);
                const std::uint8_t how = input_.byte();
                core::Sending::Body body{text, {}};
                body.channel = std::array{core::user_channel, core::reply_channel, core::replica_channel,
                                          core::client_channel}[how % 4];
                if (how % 4 < 2) body.call = how / 4;
                if (body.channel == core::reply_channel && body.call == 0) body.call = 1;
                engine_.send(to, body, core::Engine::Skip::full, now_);
                break;
            }
            case 14: engine_.remove(id_of(input_.byte() % 16), now_); break;
            case 15: engine_.add({"10.0.0." + std::to_string(input_.byte() % 8), 7000}, now_); break;
            case 16: engine_.forget_one(now_); break;
            case 17:
                if (!taken_.empty()) {
                    const auto [session, bytes] = taken_.front();
                    taken_.pop_front();
                    engine_.taken(session, bytes, now_);
                }
                break;
            case 18: {
                const auto id = some_link();
                if (links_.contains(id)) say(id, core::Pong{links_.at(id).sequence});
                break;
            }
            case 19: {
                const auto id = some_link();
                if (links_.contains(id)) {
                    say(id, core::Ack{{{core::user_channel, input_.number() % (links_.at(id).sent + 1), 1 << 18}}});
                }
                break;
            }
            case 20: {
                core::PeerList list;
                for (int i = input_.byte() % 4; i > 0; --i) list.peers.push_back(hello(input_.byte()).self);
                say(some_link(), list);
                break;
            }
            case 21: {
                core::MemberList list{input_.byte() % 2 == 0, input_.byte() % 2 == 0, 0, 1U + input_.byte(), {}};
                list.members.resize(input_.byte() % 4);
                for (core::MemberEntry& each : list.members) {
                    each.id.bytes[0] = input_.byte();
                    each.data.resize(input_.byte());
                }
                say(some_link(), list);
                break;
            }
            case 22: engine_.set_tags({{"k", std::to_string(input_.byte())}}, now_); break;
            case 23: say(some_link(), core::Goodbye{core::Farewell::leaving, {}}); break;
        }
        if (engine_.deadline() <= now_) engine_.tick(now_);
    }

    static std::vector<core::Offset> offsets() {
        return {
            {core::user_channel, 0, 1 << 18}, {core::reply_channel, 0, 1 << 18}, {core::client_channel, 0, 1 << 18}};
    }
    core::Dial take_dial() {
        core::Dial dial = dials_.front();
        dials_.pop_front();
        return dial;
    }

    /// Does what the engine wants done.
    void drain() {
        core::Engine::Output output;
        while (engine_.take_output(output)) {
            for (core::Action& each : output.actions) {
                if (const auto* const dial = std::get_if<core::Dial>(&each)) dials_.push_back(*dial);
                if (const auto* const resolve = std::get_if<core::Resolve>(&each)) {
                    engine_.resolved(resolve->target, {}, errc::unresolvable_host, now_);
                }
                if (const auto* const close = std::get_if<core::Close>(&each)) {
                    links_.erase(close->link);
                    std::erase_if(dials_, [&](const core::Dial& dial) { return dial.link == close->link; });
                    if (close->drain) engine_.link_ended(close->link, now_);
                }
                if (const auto* const node = std::get_if<core::NodeAction>(&each)) {
                    if (const auto* const deliver = std::get_if<core::Deliver>(node)) {
                        if (deliver->receiver == core::Receiver::inbox && deliver->batch.charge != 0) {
                            taken_.emplace_back(deliver->batch.session, deliver->batch.charge);
                        }
                    }
                    if (std::holds_alternative<core::LeaveDone>(*node)) left_ = true;
                }
            }
            for (const core::LinkId id : output.ready) {
                Link nowhere;
                const auto found = links_.find(id);
                Link& sink = found == links_.end() ? nowhere : found->second;
                while (engine_.pull(id, 1 << 16, sink, now_)) {
                }
            }
            output = {};
        }
    }

    fuzz::Input input_;
    Time now_{1h};
    core::Engine engine_;
    std::map<core::LinkId, Link> links_;
    std::deque<core::Dial> dials_;
    std::deque<std::pair<std::uint64_t, std::uint64_t>> taken_;
    bool left_ = false;
};

}  // namespace

void run(const std::uint8_t* data, std::size_t size) {
    World(fuzz::Input(data, size)).run();
}

}  // namespace cluster::engine_fuzz
