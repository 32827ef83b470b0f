#include "base/block.hpp"
#include "core/batch.hpp"
#include "core/frame.hpp"
#include "net/support.hpp"
#include "node/node_replicas.hpp"
#include "node/node_state.hpp"

#include <cluster/cluster.hpp>
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;

namespace {

/// What a `Node` stands for, which is how a replica sees it.
struct Station {
    explicit Station(Options options) : state(detail::NodeState::start(std::move(options))) {}
    Station() : Station(quick()) {}
    ~Station() {
        const auto context = state->shut_down();
        state.reset();
    }
    detail::NodeState* operator->() const { return state.get(); }
    errc say(const Station& to, std::string_view text) const {
        return state->send_on_replica_channel(to->id(), detail::Block::copy(std::as_bytes(std::span(text))));
    }
    void add(const Station& other) const {
        std::error_code error;
        state->add(other->addresses().at(0), error);
        CHECK_FALSE(error);
        CHECK(other->wait_for_peers(1, patience));
    }

    std::shared_ptr<detail::NodeState> state;
};

/// Writes down what it is told: "came ID", "went ID left", "ID: text" and "node left".
class Recorder final : public detail::ReplicaHost {
public:
    void came(const Peer& peer) override { events.put("came " + peer.id.to_string()); }
    void went(const Peer& peer, RemovalReason reason) override {
        events.put("went " + peer.id.to_string() + " " + std::string(to_string(reason)));
    }
    void received(const PeerId& from, std::span<const Bytes> messages) override {
        for (const Bytes& message : messages) events.put(from.to_string() + ": " + std::string(message.text()));
    }
    void node_left() override { events.put("node left"); }

    std::string next() { return events.take().value_or("nothing"); }

    Events<std::string> events;
};

/// What it has been told so far.
std::vector<std::string> all_of(Recorder& recorder) {
    std::vector<std::string> all;
    while (recorder.events.size() != 0) all.push_back(recorder.next());
    return all;
}

std::shared_ptr<Recorder> recorder(const Station& host) {
    auto made = std::make_shared<Recorder>();
    CHECK(host->replicas()->add(made));
    return made;
}

std::string came(const Station& who) {
    return "came " + who->id().to_string();
}
std::string went(const Station& who, std::string_view why) {
    return "went " + who->id().to_string() + " " + std::string(why);
}
std::string said(const Station& who, std::string_view text) {
    return who->id().to_string() + ": " + std::string(text);
}

/// The I/O thread has done all that it was asked to do before.
void let_io_thread_catch_up(const Station& host) {
    Events<bool> done;
    host->loop()->post([&] { done.put(true); });
    REQUIRE(done.take());
}

}  // namespace

TEST_CASE("replicas: what two of them say comes in order and whole, both ways, up to the longest message") {
    Options options = quick();
    options.max_message = 1 << 20;
    const Station ann(options);
    const Station bob(options);
    ann.add(bob);
    const auto at_ann = recorder(ann);
    const auto at_bob = recorder(bob);
    CHECK(at_ann->next() == came(bob));
    CHECK(at_bob->next() == came(ann));
    std::vector<std::string> texts;
    for (const std::size_t size : std::initializer_list<std::size_t>{0, 1, 100, 16 << 10, 65536, 65537, 1 << 20}) {
        for (const char letter : {'a', 'b'}) texts.emplace_back(size, letter);
    }
    for (const std::string& text : texts) {
        CHECK(ann.say(bob, text) == errc{});
        CHECK(bob.say(ann, text) == errc{});
    }
    for (const std::string& text : texts) {
        CHECK((at_bob->next() == said(ann, text)));
        CHECK((at_ann->next() == said(bob, text)));
    }
    CHECK(ann->max_message() == 1 << 20);
    CHECK(ann.say(bob, std::string((1 << 20) + 1, 'x')) == errc::message_too_large);
    const Stats stats = ann->stats();
    CHECK(stats.messages_sent == 0);
    CHECK(stats.messages_received == 0);
    CHECK(stats.inbox_bytes == 0);
    CHECK_FALSE(ann->close());
}

TEST_CASE("replicas: one that is added late learns who is in view, and each learns once who comes and goes") {
    const Station ann;
    const auto early = recorder(ann);
    Station bob;
    Station eve;
    ann.add(bob);
    CHECK(early->next() == came(bob));
    ann.add(eve);
    CHECK(early->next() == came(eve));
    const auto late = recorder(ann);
    CHECK(std::set{late->next(), late->next()} == std::set{came(bob), came(eve)});
    CHECK(bob.say(ann, "to both") == errc{});
    for (const auto& each : {early, late}) CHECK(each->next() == said(bob, "to both"));
    bob->close();
    for (const auto& each : {early, late}) CHECK(each->next() == went(bob, "left"));
    CHECK(bob.say(ann, "late") == errc::closed);
    const auto latest = recorder(ann);
    CHECK(latest->next() == came(eve));
    let_io_thread_catch_up(ann);
    for (const auto& each : {early, late, latest}) CHECK(each->events.size() == 0);
}

TEST_CASE("replicas: one that was removed is told nothing any more, and the others are") {
    const Station ann;
    const Station bob;
    const auto stays = recorder(ann);
    const auto goes = recorder(ann);
    ann.add(bob);
    for (const auto& each : {stays, goes}) CHECK(each->next() == came(bob));
    ann->replicas()->remove(*goes);
    ann->replicas()->remove(*goes);
    CHECK(bob.say(ann, "text") == errc{});
    CHECK(stays->next() == said(bob, "text"));
    CHECK(goes.use_count() == 1);
    // Removed before it was told of anybody.
    const auto unseen = std::make_shared<Recorder>();
    const std::weak_ptr<Recorder> alive = unseen;
    ann->loop()->post([&] {
        CHECK(ann->replicas()->add(unseen));
        ann->replicas()->remove(*unseen);
    });
    let_io_thread_catch_up(ann);
    let_io_thread_catch_up(ann);
    CHECK(unseen->events.size() == 0);
    ann->close();
    CHECK(stays->next() == "node left");
    CHECK(goes->events.size() == 0);
    CHECK(unseen->events.size() == 0);
    CHECK(unseen.use_count() == 1);
}

TEST_CASE("replicas: one may remove itself while it is told something") {
    struct Once final : detail::ReplicaHost {
        explicit Once(const Station& host) : host(host) {}
        void came(const Peer&) override {
            ++calls;
            host->replicas()->remove(*this);
        }
        void went(const Peer&, RemovalReason) override { ++calls; }
        void received(const PeerId&, std::span<const Bytes>) override { ++calls; }
        void node_left() override { ++calls; }
        const Station& host;
        std::atomic<int> calls = 0;
    };
    const Station ann;
    const Station bob;
    const Station eve;
    const auto first = std::make_shared<Once>(ann);
    CHECK(ann->replicas()->add(first));
    const auto other = recorder(ann);
    ann.add(bob);
    ann.add(eve);
    CHECK(other->next() == came(bob));
    CHECK(other->next() == came(eve));
    const auto second = std::make_shared<Once>(ann);
    CHECK(ann->replicas()->add(second));
    let_io_thread_catch_up(ann);
    ann->close();
    CHECK(first->calls == 1);
    CHECK(second->calls == 1);
}

TEST_CASE("replicas: that the node has left is the last that they hear, and none is added after that") {
    Station ann;
    const Station bob;
    const auto here = recorder(ann);
    ann.add(bob);
    CHECK(here->next() == came(bob));
    ann->close();
    CHECK(here->next() == "node left");
    CHECK_FALSE(ann->replicas()->add(std::make_shared<Recorder>()));
    CHECK(ann.say(bob, "late") == errc::closed);
    let_io_thread_catch_up(ann);
    CHECK(here->events.size() == 0);
    CHECK(here.use_count() == 1);
}

TEST_CASE("replicas: an inbox that nobody reads, with a full outbox, does not hold them up") {
    Options options = quick();
    options.max_message = 64 << 10;
    options.inbox_bytes = std::size_t{options.max_peers} * (256 << 10);
    options.outbox_bytes = options.total_outbox_bytes = 1 << 20;
    options.send_timeout = {};
    const Station ann(options);
    const Station bob(options);
    ann.add(bob);
    const auto at_bob = recorder(bob);
    CHECK(at_bob->next() == came(ann));
    const std::string text(60000, 'm');
    const PeerId id = bob->id();
    const auto send = [&] {
        Payload payload{std::string_view(text)};
        return ann->try_queue(std::span(&id, 1), payload).error;
    };
    while (!send()) {
    }
    for (int i = 0; i < 100; ++i) {
        CHECK(ann.say(bob, text) == errc{});
        REQUIRE((at_bob->next() == said(ann, text)));
    }
    CHECK(send() == errc::outbox_full);
}

TEST_CASE("replicas: their messages share the memory that they came in, and keep it") {
    struct Keeper final : detail::ReplicaHost {
        void came(const Peer&) override { events.put({}); }
        void went(const Peer&, RemovalReason) override {}
        void received(const PeerId&, std::span<const Bytes> messages) override {
            for (const Bytes& message : messages) events.put(message);
        }
        void node_left() override {}
        Events<Bytes> events;
    };
    const auto keeper = std::make_shared<Keeper>();
    std::vector<Bytes> kept;
    {
        const Station ann;
        const Station bob;
        CHECK(bob->replicas()->add(keeper));
        ann.add(bob);
        REQUIRE(keeper->events.take());
        for (int i = 0; i < 1000; ++i) REQUIRE(ann.say(bob, "number " + std::to_string(i)) == errc{});
        for (int i = 0; i < 1000; ++i) kept.push_back(keeper->events.take().value());
    }
    for (int i = 0; i < 1000; ++i) CHECK(kept[static_cast<std::size_t>(i)].text() == "number " + std::to_string(i));
}

TEST_CASE("replicas: what comes stands between came and went of its peer, whoever was added when") {
    const auto loop = std::make_shared<net::Loop>();
    const auto replicas = std::make_shared<detail::NodeReplicas>(loop);
    Peer eve;
    eve.id.bytes.fill(0xee);
    const std::string id = eve.id.to_string();
    core::Batch batch;
    batch.from = eve.id;
    std::vector<std::byte> frames;
    for (const std::string_view text : {"one", ""}) {
        std::array<std::byte, core::FrameHeader::size> header{};
        core::FrameHeader{static_cast<std::uint32_t>(text.size()), core::FrameKind::data, 0, core::replica_channel}
            .write(header.data());
        frames.insert(frames.end(), header.begin(), header.end());
        const auto bytes = std::as_bytes(std::span(text));
        frames.insert(frames.end(), bytes.begin(), bytes.end());
    }
    batch.block = detail::Block::copy(frames);
    batch.frames = {batch.block->data(), frames.size()};
    batch.messages = 2;

    const auto first = std::make_shared<Recorder>();
    CHECK(replicas->add(first));
    loop->io().poll();
    replicas->deliver(batch);  // nobody has said that eve is in view
    replicas->peer_added(eve);
    const auto late = std::make_shared<Recorder>();
    CHECK(replicas->add(late));
    replicas->deliver(batch);  // before `late` was introduced
    loop->io().poll();
    replicas->deliver(batch);
    replicas->peer_removed(eve, RemovalReason::failed);
    replicas->deliver(batch);
    const auto latest = std::make_shared<Recorder>();
    CHECK(replicas->add(latest));
    loop->io().poll();
    replicas->end();
    CHECK(all_of(*first) == std::vector<std::string>{"came " + id, id + ": one", id + ": ", id + ": one", id + ": ",
                                                     "went " + id + " failed", "node left"});
    CHECK(all_of(*late) == std::vector<std::string>{"came " + id, id + ": one", id + ": ", "went " + id + " failed",
                                                    "node left"});
    CHECK(all_of(*latest) == std::vector<std::string>{"node left"});
}

TEST_CASE("replicas: one that is added while the node leaves hears that it has left, and nothing more") {
    const auto loop = std::make_shared<net::Loop>();
    const auto replicas = std::make_shared<detail::NodeReplicas>(loop);
    Peer eve;
    eve.id.bytes.fill(0xee);
    replicas->peer_added(eve);
    const auto late = std::make_shared<Recorder>();
    CHECK(replicas->add(late));
    replicas->end();
    loop->io().poll();
    replicas->peer_removed(eve, RemovalReason::left);
    CHECK(all_of(*late) == std::vector<std::string>{"node left"});
    CHECK_FALSE(replicas->add(late));
}

TEST_CASE("replicas: one that was removed before it was introduced is let go") {
    const auto loop = std::make_shared<net::Loop>();
    const auto replicas = std::make_shared<detail::NodeReplicas>(loop);
    const auto hasty = std::make_shared<Recorder>();
    CHECK(replicas->add(hasty));
    replicas->remove(*hasty);
    loop->io().poll();
    CHECK(hasty.use_count() == 1);
}

TEST_CASE("replicas: one that another removes while both are told is not told any more") {
    const auto loop = std::make_shared<net::Loop>();
    const auto replicas = std::make_shared<detail::NodeReplicas>(loop);
    const auto second = std::make_shared<Recorder>();
    struct Remover final : detail::ReplicaHost {
        Remover(detail::NodeReplicas& of, const detail::ReplicaHost& other) : replicas(of), other(other) {}
        void came(const Peer&) override { replicas.remove(other); }
        void went(const Peer&, RemovalReason) override {}
        void received(const PeerId&, std::span<const Bytes>) override {}
        void node_left() override {}
        detail::NodeReplicas& replicas;
        const detail::ReplicaHost& other;
    };
    CHECK(replicas->add(std::make_shared<Remover>(*replicas, *second)));
    CHECK(replicas->add(second));
    loop->io().poll();
    replicas->peer_added({});
    replicas->end();
    CHECK(all_of(*second).empty());
    CHECK(second.use_count() == 1);
}
