#pragma once

#include "core/engine.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace cluster::core::test {

using namespace std::chrono_literals;

/// DATA frames or one other frame.
using Packet = std::variant<Control, std::vector<std::byte>>;

/// The id whose first byte is `first`; ids made so are ordered by it.
PeerId id_of(std::uint8_t first);

class Lab;

/// One engine with the log of what it did.
struct Node {
    Lab* lab = nullptr;
    PeerId id;
    Address address;
    bool alive = true;
    /// Messages are taken as soon as they come; otherwise they stay in `unread` until `read`.
    bool reads = true;
    std::unique_ptr<Engine> engine;

    /// Payloads, "7: text" where a reply to call 7 is wanted, and "gap 3" for a gap of at most three.
    std::vector<std::string> inbox;
    std::vector<std::string> replies;  ///< "7: text" for the reply to call 7, "7! 42 text" for error 42 instead of one
    std::vector<std::string> replica_messages;
    std::vector<std::string> client_messages;
    std::deque<Batch> unread;
    /// "added", "left" and so on, "guest" and "gone" of guests, each with the first byte of the id.
    std::vector<std::string> news;
    std::vector<Peer> guests;  ///< that came
    std::vector<Surrender> surrendered;
    std::map<std::uint64_t, AddDone> answers;
    std::vector<std::string> lines;  ///< what was logged
    std::vector<LogLine> log;        ///< the same, with all that is known of it
    std::optional<LeaveDone> left;
    std::size_t room_freed = 0;
    std::size_t settled = 0;
    std::map<PeerId, std::map<MemberId, std::string>> members;  ///< of others
    bool members_complete = true;
    /// "has a", "left a", "expired a", "doubts 2", "trusts 2", "outlive 2" where they should be gone, "seen"
    std::vector<std::string> member_news;

    Engine* operator->() const { return engine.get(); }
    void read();
    std::uint64_t add(const Address& to);
    bool sees(const PeerId& peer) const;
    PeerState state_of(const PeerId& peer) const;
    /// How many log lines contain `text`.
    std::size_t said(std::string_view text) const;
    Engine::Outcome send(const PeerId& to, std::string_view text, bool skip_full = false);
    Engine::Outcome broadcast(std::string_view text, bool skip_full = false);
    Engine::Outcome broadcast(std::string_view text, Engine::Skip skip);
    Engine::Outcome ask(const PeerId& to, std::uint64_t call, std::string_view text);
    Engine::Outcome reply(const PeerId& to, std::uint64_t call, std::string_view text);
    Engine::Outcome reply_error(const PeerId& to, std::uint64_t call, std::int32_t code, std::string_view text);
    Engine::Outcome tell_replica(const PeerId& to, std::string_view text);
    Engine::Outcome tell_client(const PeerId& to, std::string_view text);
    errc enroll(const MemberId& member, std::string_view data);
    void withdraw(const MemberId& member);
};

/// A connection between two engines; side 0 dialled.
struct Wire {
    Node* end[2] = {nullptr, nullptr};
    LinkId link[2] = {0, 0};
    std::deque<Packet> way[2];           ///< written by that side, not yet read by the other
    std::vector<std::string> passed[2];  ///< the names of the frames that side wrote, in their order
    bool held[2] = {false, false};       ///< what that side wrote does not arrive for now
    bool fin[2] = {false, false};
    bool open[2] = {true, true};
    bool draining[2] = {false, false};

    std::size_t count(int side, std::string_view name) const;
};

/// A connection whose other end is played by the test.
class Puppet {
public:
    Puppet(Lab& lab, Node& node, PeerId id, Address from, LinkId link);

    void say(Control frame);
    void say_hello() { say(hello); }
    /// What it says from here on is said by a guest.
    void be_guest();
    /// One DATA frame.
    void say_data(std::string_view payload, bool more = false);
    void say_data(std::vector<std::byte> frames);
    void hang_up();

    template <class Frame>
    std::size_t count() const {
        std::size_t found = 0;
        for (const Packet& packet : heard) {
            if (const auto* control = std::get_if<Control>(&packet)) found += std::holds_alternative<Frame>(*control);
        }
        return found;
    }
    /// The last frame of its kind that came; there must be one.
    template <class Frame>
    const Frame& last() const {
        for (auto packet = heard.rbegin(); packet != heard.rend(); ++packet) {
            if (const auto* control = std::get_if<Control>(&*packet)) {
                if (const auto* frame = std::get_if<Frame>(control)) return *frame;
            }
        }
        throw std::out_of_range("no such frame was heard");
    }
    /// What came in DATA frames.
    std::vector<std::string> payloads() const;
    /// The engine has closed the link, or shut down writing.
    bool closed() const { return closed_; }
    bool finished() const { return finished_ || closed_; }

    /// As the larger id: HELLO and an OFFER without a session, and ATTACHED for the ATTACH that comes.
    void join();
    /// As the larger id: HELLO, OFFER with proof of `token`, ATTACHED stating `offsets`.
    void resume(const Token& known, std::vector<Offset> offsets);
    /// As the smaller id: HELLO, the first ATTACH with `token`, and the ACK that completes it.
    void lead(const Token& drawn, std::uint64_t epoch = 1);
    Proof proof(const Token& of, ProofUse use) const;

    Lab& lab;
    Node& node;
    PeerId id;
    Address from;
    LinkId link;
    Hello hello;
    std::vector<Packet> heard;
    /// As the larger id: what the first ATTACH carried.
    Token token{};

private:
    friend class Lab;
    Offset start() const;
    bool closed_ = false;
    bool finished_ = false;
    bool draining_ = false;
};

/// A few engines in virtual time, joined by wires that the test may hold, cut or lose. Nothing happens by itself:
/// `settle` lets everything that is ready happen, `advance` lets time pass.
class Lab {
public:
    /// Options that a test changes before it makes nodes.
    EngineOptions options;
    Time now = 1000s;
    /// Dials stay in `dials` until `complete` or `refuse`.
    bool hold_dials = false;
    /// Dials of these are never answered.
    std::set<std::string> silent;
    /// What a name stands for; any other for itself.
    std::map<std::string, std::vector<Address>> names;
    /// Addresses of load balancers: each dial lands at the next of those behind it.
    std::map<std::string, std::deque<Address>> balancers;
    /// Between which nodes nothing passes: dials are never answered. Wires that are there must be held.
    std::function<bool(const Node&, const Node&)> severed;
    /// New wires hold both ways from the start.
    bool hold_wires = false;

    struct Pending {
        Node* node;
        LinkId link;
        Address address;
    };
    std::vector<Pending> dials;
    std::vector<Pending> dialled;  ///< all there ever were
    std::vector<std::pair<std::uint64_t, Address>> resolving;
    bool hold_resolving = false;

    Lab();
    /// How often `address` has been dialled.
    std::size_t dials_of(const Address& address) const {
        return static_cast<std::size_t>(std::count_if(dialled.begin(), dialled.end(),
                                                      [&](const Pending& dial) { return dial.address == address; }));
    }
    /// A node whose id starts with `first`, at 10.0.0.`first`:7000.
    Node& start(std::uint8_t first);
    /// The same with a guest, which listens nowhere.
    Node& start_guest(std::uint8_t first);
    void kill(Node& node);
    /// Somebody connects to `node` and plays the peer `first`.
    Puppet& puppet(Node& node, std::uint8_t first);
    /// The test plays who listens at `address`.
    void play(const Address& address, std::uint8_t first) { played_[address.to_string()] = first; }

    void settle();
    void advance(Duration by);
    /// Lets time pass until `what` is true; false if that takes longer than `most`.
    template <class Condition>
    bool wait(Condition what, Duration most = 60s) {
        for (const Time end = now + most; !what(); step(end)) {
            if (now >= end) return false;
        }
        return true;
    }

    void complete(const Pending& dial);
    void refuse(const Pending& dial, errc error = errc::connection_refused);
    std::vector<Pending> take_dials() { return std::exchange(dials, {}); }

    /// Both ends notice that the wire broke, after what is under way has been lost.
    void cut(Wire& wire);
    /// The wires that are open at both ends, of the pair where given.
    std::vector<Wire*> wires(const Node* a = nullptr, const Node* b = nullptr);
    /// `a` adds `b`, and both list each other.
    void join(Node& a, Node& b);
    Puppet& last_puppet() { return *puppets_.back(); }
    std::size_t puppet_count() const { return puppets_.size(); }

private:
    friend class Puppet;
    friend struct Node;
    void step(Time most);
    bool work(Node& node);
    bool deliver(Wire& wire, int from);
    static void carry_out(Node& node, NodeAction& action);
    static void members_changed(Node& node, const MembersChanged& action);
    void carry_out(Node& node, Action& action);
    void dial(Node& node, const Dial& action);
    void resolve(Node& node, const Resolve& action);
    void write(Node& node, LinkId link);
    void close(Node& node, LinkId link, bool drain);
    void end(Wire& wire, int side);
    std::pair<Wire*, int> place(const Node& node, LinkId link);
    Puppet* puppet_of(const Node& node, LinkId link);
    static bool receive(Node& node, LinkId link, Packet& packet, Time now);

    Dice dice_{7};
    std::vector<std::unique_ptr<Node>> nodes_;
    std::vector<std::unique_ptr<Wire>> wires_;
    std::vector<std::unique_ptr<Puppet>> puppets_;
    std::map<std::string, std::uint8_t> played_;
};

/// The name of a control frame as PROTOCOL.md writes it.
std::string name_of(const Control& frame);
/// One DATA frame.
std::vector<std::byte> data_frame(std::string_view payload, bool more = false);

}  // namespace cluster::core::test
