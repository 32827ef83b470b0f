#include "base/block.hpp"
#include "core/frame.hpp"
#include "net/support.hpp"
#include "node/node_clients.hpp"
#include "node/node_state.hpp"
#include "wire/codec.hpp"

#include <doctest/doctest.h>
#include <cluster/cluster.hpp>

#include <unistd.h>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

// Guests of real nodes, over real sockets.

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;

namespace {

/// What a `Node`, or a client outside of the cluster, stands for.
struct Host {
    explicit Host(std::shared_ptr<detail::NodeState> of) : state(std::move(of)) {}
    Host(const Host&) = delete;
    Host& operator=(const Host&) = delete;
    ~Host() {
        const auto context = state->shut_down();
        state.reset();
    }
    detail::NodeState* operator->() const { return state.get(); }
    errc say(const Host& to, std::string_view text) const {
        return state->send_on_client_channel(to->id(), detail::Block::copy(std::as_bytes(std::span(text))));
    }
    std::error_code add(const Host& other) const {
        std::error_code error;
        state->add(other->addresses().at(0), error);
        return error;
    }

    std::shared_ptr<detail::NodeState> state;
};

struct HostNode : Host {
    explicit HostNode(Options options = quick()) : Host(detail::NodeState::start(std::move(options))) {}
};

struct Guest : Host {
    explicit Guest(Options options = quick()) : Host(detail::NodeState::start_guest(std::move(options))) {}
};

/// Writes down what it is told: "came ID", "went ID left", "guest ID NAME", "gone ID", "ID: text" and "node left".
class Witness final : public detail::ClientHost {
public:
    void came(const Peer& peer) override { events.put("came " + peer.id.to_string()); }
    void went(const Peer& peer, RemovalReason reason) override {
        events.put("went " + peer.id.to_string() + " " + std::string(to_string(reason)));
    }
    void guest_came(const Peer& guest) override { events.put("guest " + guest.id.to_string() + " " + guest.name); }
    void guest_went(const PeerId& guest) override { events.put("gone " + guest.to_string()); }
    void client_received(const PeerId& from, std::span<const Bytes> messages) override {
        for (const Bytes& message : messages) events.put(from.to_string() + ": " + std::string(message.text()));
    }
    void node_left() override { events.put("node left"); }

    std::string next() { return events.take().value_or("nothing"); }

    Events<std::string> events;
};

std::shared_ptr<Witness> witness(const Host& host) {
    auto made = std::make_shared<Witness>();
    CHECK(host->clients()->add(made));
    return made;
}

/// Greets and attaches as a guest; what is said besides follows. Its id is smaller than that of any node, so it need
/// not wait for an answer.
Socket raw_guest(const Host& host, std::uint64_t number, const std::vector<core::Control>& besides = {}) {
    core::Hello hello;
    hello.cluster = Options().cluster;
    hello.features = core::feature_clients | core::feature_guest;
    hello.max_message = 1 << 20;
    hello.resume_for_ms = 60000;
    hello.self.version = 1;
    hello.self.name = "raw";
    for (std::size_t at = 0; at < 8; ++at) {
        hello.self.id.bytes[8 + at] = static_cast<std::uint8_t>(number >> (8 * at));
    }
    std::vector<std::byte> bytes;
    wire::encode(hello, bytes);
    wire::encode(core::Attach{{1}, true, 1, {{core::client_channel, 0, 1 << 20}}, 0}, bytes);
    for (const core::Control& frame : besides) wire::encode(frame, bytes);
    Socket socket;
    REQUIRE(socket.connect(host->addresses().at(0)));
    socket.write(bytes);
    return socket;
}

/// Resident memory of this process in bytes.
double resident() {
    std::ifstream file("/proc/self/statm");
    std::size_t all = 0;
    std::size_t pages = 0;
    REQUIRE((file >> all >> pages));
    return static_cast<double>(pages) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

std::string came(const Host& who) {
    return "came " + who->id().to_string();
}
std::string guest(const Host& who) {
    return "guest " + who->id().to_string() + " " + who->name();
}
std::string said(const Host& who, std::string_view text) {
    return who->id().to_string() + ": " + std::string(text);
}

}  // namespace

TEST_CASE("guests: one of a real node speaks with it, is no peer of anybody, and is gone when it closes") {
    const HostNode ann;
    const HostNode bob;
    CHECK_FALSE(bob.add(ann));
    const auto at_ann = witness(ann);
    CHECK(at_ann->next() == came(bob));
    {
        Options options = quick();
        options.name = "gus";
        const Guest gus(options);
        const auto at_gus = witness(gus);
        CHECK_FALSE(gus.add(ann));
        CHECK(at_ann->next() == guest(gus));
        CHECK(at_gus->next() == came(ann));
        CHECK(gus->addresses().empty());
        for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{65537}, std::size_t{1} << 20}) {
            const std::string text(size, 'g');
            CHECK(gus.say(ann, text) == errc{});
            CHECK((at_ann->next() == said(gus, text)));
            CHECK(ann.say(gus, text) == errc{});
            CHECK((at_gus->next() == said(ann, text)));
        }
        CHECK(ann->stats().guests == 1);
        CHECK(ann->stats().peers == 1);
        CHECK(ann->peers().size() == 1);
        CHECK(ann->everybody().size() == 1);
        CHECK(bob->everybody().size() == 1);
        CHECK(gus->everybody().size() == 1);
        CHECK(bob.say(gus, "unknown") == errc::not_in_view);
        // Who serves clients on a node may begin later than they.
        const auto late = witness(ann);
        CHECK(late->next() == came(bob));
        CHECK(late->next() == guest(gus));
    }
    CHECK(at_ann->next().starts_with("gone "));
    CHECK(ann->stats().guests == 0);
    CHECK(ann->stats().protocol_errors == 0);
}

TEST_CASE("guests: what is not for guests is refused by name on both sides") {
    const HostNode ann;
    const Guest gus;
    CHECK_FALSE(gus.add(ann));
    const std::string text = "text";
    const PeerId to = ann->id();
    std::error_code error;
    Payload payload(text);
    gus->queue(std::span(&to, 1), payload, error);
    CHECK(error == errc::unsupported);
    gus->request(to, payload, 1s, error);
    CHECK(error == errc::unsupported);
    const auto block = detail::Block::copy(std::as_bytes(std::span(text)));
    CHECK(gus->send_on_replica_channel(to, block) == errc::unsupported);
    CHECK(gus->queue(std::nullopt, payload, error) == 0);
    CHECK_FALSE(error);
    const PeerId back = gus->id();
    ann->queue(std::span(&back, 1), payload, error);
    CHECK(error == errc::not_in_view);
    CHECK(ann->queue(std::nullopt, payload, error) == 0);
    CHECK_FALSE(error);
}

TEST_CASE("guests: a node takes no more than max_guests, and says so to the one that adds it") {
    Options options = quick();
    options.max_guests = 1;
    const HostNode ann(options);
    const Guest gus;
    CHECK_FALSE(gus.add(ann));
    const Guest next;
    CHECK(next.add(ann) == errc::too_many_peers);
    CHECK(ann->stats().guests == 1);
    options.max_guests = 0;
    const HostNode alone(options);
    CHECK(next.add(alone) == errc::too_many_peers);
}

TEST_CASE("guests: one finds its node again by itself when that starts anew, and is told in between") {
    const Guest gus;
    const auto at_gus = witness(gus);
    Options options = quick();
    std::string address;
    {
        const HostNode ann;
        address = ann->addresses().at(0).to_string();
        CHECK_FALSE(gus.add(ann));
        CHECK(at_gus->next() == came(ann));
    }
    CHECK(at_gus->next().ends_with(" left"));
    options.listen = address;
    const HostNode anew(options);
    const auto at_anew = witness(anew);
    CHECK(at_gus->next() == came(anew));
    CHECK(at_anew->next() == guest(gus));
    CHECK(anew.say(gus, "welcome") == errc{});
    CHECK(at_gus->next() == said(anew, "welcome"));
}

TEST_CASE("guests: one that removes a node is gone there, and comes again when it adds it") {
    const HostNode ann;
    const Guest gus;
    const auto at_ann = witness(ann);
    const auto at_gus = witness(gus);
    CHECK_FALSE(gus.add(ann));
    CHECK(at_ann->next() == guest(gus));
    CHECK(gus->remove(ann->id()));
    CHECK(at_ann->next() == "gone " + gus->id().to_string());
    CHECK(gus.say(ann, "late") == errc::not_in_view);
    CHECK_FALSE(gus.add(ann));
    CHECK(at_ann->next() == guest(gus));
    CHECK(gus.say(ann, "again") == errc{});
    CHECK(at_ann->next() == said(gus, "again"));
}

TEST_CASE("guests: nodes of the cluster speak on the client channel, too") {
    const HostNode ann;
    const HostNode bob;
    CHECK_FALSE(bob.add(ann));
    const auto at_bob = witness(bob);
    CHECK(at_bob->next() == came(ann));
    CHECK(ann.say(bob, "from inside") == errc{});
    CHECK(at_bob->next() == said(ann, "from inside"));
}

TEST_CASE("guests: whoever serves clients is told when its node has left, and nothing after that") {
    auto witnessed = std::make_shared<Witness>();
    {
        const HostNode ann;
        const Guest gus;
        CHECK(ann->clients()->add(witnessed));
        CHECK_FALSE(gus.add(ann));
        CHECK(witnessed->next() == guest(gus));
        ann->close();
        CHECK(witnessed->next() == "node left");
        CHECK_FALSE(ann->clients()->add(std::make_shared<Witness>()));
    }
    CHECK(witnessed->events.size() == 0);
}

TEST_CASE("guests: one that speaks of the cluster, or on other channels, is disconnected, and the log says why") {
    core::Facts nobody;
    nobody.id.bytes.fill(0xee);
    nobody.version = 1;
    nobody.addresses = {{"127.0.0.1", 1}};
    const std::vector<std::pair<core::Control, std::string>> offences{
        {core::PeerList{{nobody}}, "rule=unexpected_frame"},
        {core::Inquiry{nobody.id, true}, "rule=unexpected_frame"},
        {core::Finding{nobody.id, true}, "rule=unexpected_frame"},
        {core::MemberList{true, true, 0, 2, {}}, "rule=unexpected_frame"},
        {core::MembersSeen{1}, "rule=unexpected_frame"},
        {core::Gap{core::user_channel, 100, 1}, "rule=unknown_channel"},
        {core::Ack{{{core::user_channel, 8, 100}}}, "rule=offset_beyond_sent"},
    };
    for (const auto& [frame, rule] : offences) {
        Lines lines;
        Options options = quick();
        options.log = lines.sink();
        const HostNode ann(options);
        const HostNode bob;
        CHECK_FALSE(bob.add(ann));
        const Socket offender = raw_guest(ann, 1, {frame});
        CHECK(offender.closed_by_other());
        CHECK(lines.wait_for(rule));
        CHECK(ann->stats().protocol_errors == 1);
        CHECK(ann->everybody().size() == 1);
        CHECK(bob->everybody().size() == 1);
    }
}

TEST_CASE("guests: an idle one takes 16 KiB of its node at most") {
    constexpr std::uint64_t some = 50;  // who have only connected are limited
    constexpr std::uint64_t most = 400;
    const HostNode ann;
    const auto at_ann = witness(ann);
    std::vector<Socket> guests;
    double before = 0;
    for (std::uint64_t number = 0; number < most; ++number) {
        if (number == some) before = resident();
        guests.push_back(raw_guest(ann, number));
        if ((number + 1) % some != 0) continue;
        for (std::uint64_t i = 0; i < some; ++i) REQUIRE(at_ann->next().starts_with("guest "));
    }
    const double each = (resident() - before) / static_cast<double>(most - some);
    MESSAGE("an idle guest takes " << each << " bytes");
    if (std::string_view(CLUSTER_SANITIZE).empty()) CHECK(each <= 16 << 10);
    CHECK(ann->stats().guests == most);
}
