#pragma once

#include "core/engine.hpp"
#include "faults.hpp"
#include "network.hpp"
#include "passengers.hpp"
#include "wire/parser.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace cluster::sim {

/// What one run of the simulator does; everything else follows from the seed.
struct Plan {
    std::uint64_t seed = 1;
    std::size_t nodes = 5;
    /// Virtual time during which faults happen, and then within which all must be well again.
    Duration faults = std::chrono::seconds(20);
    Duration healing = std::chrono::seconds(60);
    /// Keep the lines of the trace, not just their hash.
    bool trace = false;
    /// So many of the nodes, but the first, are stopped again and again, and no other fault happens.
    std::size_t stalled = 0;
};

struct Result {
    bool failed = false;
    std::string why;
    Time at{};
    std::uint64_t hash = 0;  ///< of the trace
    std::vector<std::string> trace;
    std::uint64_t events = 0;
    std::uint64_t accepted = 0;
    std::uint64_t delivered = 0;
    std::uint64_t given_up = 0;
    std::uint64_t lists = 0;
    std::uint64_t resets = 0;
    std::uint64_t restarts = 0;
    std::uint64_t leaves = 0;
    std::uint64_t guests = 0;           ///< sessions that guests began with a node, as nodes were told
    std::uint64_t client_messages = 0;  ///< that came on the client channel
    std::uint64_t faults = 0;
    std::uint64_t member_changes = 0;  ///< as all nodes were told
    /// Reports that a peer has failed or is unreachable, and those of them that only a disturbed link or dial excuses.
    std::uint64_t failures = 0;
    std::uint64_t false_failures = 0;
    double node_minutes = 0;

    /// With `Plan::stalled`.
    struct Stalls {
        std::uint64_t stalls = 0;
        std::uint64_t long_stalls = 0;     ///< that lasted twice the suspicion
        std::uint64_t detected = 0;        ///< of the long ones, by anybody
        std::uint64_t false_failures = 0;  ///< reports of a healthy node about a healthy node
        std::uint64_t subjects = 0;        ///< healthy peers that a stalled node failed, over all stalls
        std::uint64_t most_subjects = 0;   ///< in one stall
        double healthy_minutes = 0;
    } stalls;
};

/// Runs N engines in virtual time over simulated connections with seeded faults, and checks after every step what the
/// library promises. Single-threaded; two runs of one plan are the same to the last byte.
class World {
public:
    explicit World(Plan plan, Passengers* passengers = nullptr);
    ~World();
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    Result run();

    // For passengers.
    using Work = std::function<void()>;
    Time now() const { return now_; }
    void at(Duration delay, Work what);
    /// As the process on that node knows it.
    Time clock(std::size_t node) const;
    /// In the process that runs there now, as soon as it runs then; not if it has ended.
    void in_process(std::size_t node, Duration delay, Work work);
    /// False if there is no room for that message. Of who is not in view nothing is said.
    bool tell(std::size_t node, const PeerId& to, std::span<const std::byte> message);
    /// It ends, soon, and comes back.
    void end_process(std::size_t node);
    /// Whether it is healed in the end.
    bool goes_on(std::size_t node) const;
    /// Whether in the end these two have to have each other in view. A third that can be dialled by both is no help.
    bool belongs_together(std::size_t a, std::size_t b) const;

private:
    struct Node;
    struct Connection;
    struct Ledger;
    struct Sink;
    struct Talk;
    struct Machine;

    // world.cpp: time
    void note(std::string line);
    void fail(std::string why);
    Dice dice(std::uint64_t stream) const { return Dice(plan_.seed * 1000003 + stream); }
    bool chance(double probability) { return static_cast<double>(faults_.below(1 << 20)) < probability * (1 << 20); }
    Duration between(Duration least, Duration most) {
        const auto span = static_cast<std::uint64_t>((most - least).count());
        return least + Duration(static_cast<Duration::rep>(faults_.below(span + 1)));
    }
    bool advance();

    // processes.cpp: what runs a node
    void start(std::size_t index);
    void restart(std::size_t index, Duration after);
    void kill(std::size_t index, bool silently);
    void pause(Node& node, Duration how_long, bool clock_stands);
    void resume(Node& node);
    Time clock(const Node& node) const;
    bool busy(Node& node, Work work);
    void settle(Node& node);
    void carry_out(Node& node, core::Action& action);
    void carry_out(Node& node, core::NodeAction& action);
    void resolve(Node& node, const core::Resolve& action);
    void added(Node& node, const PeerId& peer);
    void removed(Node& node, const core::PeerRemoved& action);
    void fell_silent(Node& node, std::string_view line);
    void hurry(Node& node, const PeerId& met);
    void leave(Node& node);
    void left(Node& node, const core::LeaveDone& action);
    void schedule_tick(Node& node);

    // messages.cpp: what applications do
    void load();
    void receive(Node& node, core::Batch batch);
    void read_inbox(Node& node);
    void send_something(Node& node);
    void check_farewell(const Node& node, std::uint64_t unacknowledged);
    void check_ledgers();

    // passengers.cpp
    void hand_over(const Node& node, const core::Batch& batch);

    // guests.cpp: clients outside of the cluster
    Node& node_at(std::size_t index) {
        return index < nodes_.size() ? *nodes_[index] : *guests_[index - nodes_.size()];
    }
    const Node& node_at(std::size_t index) const {
        return index < nodes_.size() ? *nodes_[index] : *guests_[index - nodes_.size()];
    }
    void invite();
    void start_guest(std::size_t index);
    void visit(std::size_t index, const Node* run);
    void disturb_guest(Node& guest);
    void carry_out_at_guest(Node& guest, core::NodeAction& action);
    void guest_left(Node& guest);
    void guest_came(Node& node, const PeerId& guest);
    void guest_went(Node& node, const PeerId& guest);
    void ask_nodes(Node& guest);
    void answer_guests(Node& node);
    void say_to(Node& node, const PeerId& to);
    void hear_client(Node& node, const core::Batch& batch);
    bool guests_well(std::string* why) const;

    // members.cpp: shared membership
    void change_a_member(Node& node);
    void members_changed(Node& node, const core::MembersChanged& action);
    bool members_well(const Node& node, std::string* why) const;

    // requests.cpp
    std::uint64_t call_of(std::uint64_t number);
    void reply(Node& node, const PeerId& to, std::uint64_t call);
    void replied(Node& node, const core::Batch& batch);

    // dials.cpp: who answers where
    void dial(Node& node, const core::Dial& dial);
    void knock(Node& node, core::LinkId link, const Address& address, const Address& place, int attempt);
    void dial_fails(Node& node, core::LinkId link, errc error, Duration after);
    void meet_stranger(Node& node, core::LinkId link, const Address& address, bool silent);
    void connect(Node& node, core::LinkId link, const Address& address, Node& acceptor);
    void accept(std::uint64_t connection);
    Node* listener(const Address& address);
    std::vector<Address> addresses_of_all();
    Address behind_balancer();
    void join(Node& node);
    void join_later(Node& node);

    // connections.cpp: bytes
    void write(Node& node, core::LinkId link);
    void transmit(std::uint64_t connection, int from, std::vector<std::byte> bytes);
    void arrive(std::uint64_t connection, int to);
    void wake(std::uint64_t connection, int to, Duration after);
    void feed(Node& node, std::uint64_t connection, int side, std::vector<std::byte> bytes);
    void close(Node& node, core::LinkId link, bool drain);
    void reset(std::uint64_t connection);
    void read_all(std::uint64_t connection, int side);
    void end(std::uint64_t connection, int side);
    void release(std::uint64_t connection, int side);
    void disturbed(const Connection& connection);

    // faults.cpp
    void disturb();
    void inflict(Fault fault);
    std::uint64_t some_connection();
    void cut(const std::vector<std::pair<std::size_t, std::size_t>>& ways, Duration how_long);
    void mend(std::size_t from, std::size_t to, Duration lasted);
    void isolate(std::size_t index, Duration how_long);
    void part(Node& node);
    void part(Node& node, const PeerId& id);
    void stall(std::size_t index);
    void strain(Node& node, Time until, int stops);
    void spread_rumour(Node& node);

    // healing.cpp: the second phase
    void heal();
    void freeze(std::size_t index);
    bool estranged(std::size_t a, std::size_t b) const;
    bool each_link_is_probed() const;
    Time healed_by() const;
    bool well(std::string* why);
    bool rest();
    struct Traffic {
        std::uint64_t lists = 0;
        std::uint64_t member_lists = 0;
        std::uint64_t attachments = 0;
        std::vector<std::uint64_t> dials;
    };
    Traffic traffic() const;

    // invariants.cpp
    void check_step(Node& node);
    void check_outboxes(const Node& node);
    /// How long what disturbed somebody may show.
    Duration memory() const { return 3 * conditions_.suspicion + 2 * conditions_.heartbeat + std::chrono::seconds(1); }
    void check_link(std::uint64_t connection);
    void check_silence(const Node& node, const PeerId& peer);
    void check_surrender(const Node& node, const core::Surrender& surrender);
    void check_answer(const Node& node, const core::AddDone& answer);
    bool usable(std::uint64_t connection) const;
    bool stands_between(const Node& a, const Node& b, Time since) const;
    bool witnessed(const Node& node, const Node& subject, Time since) const;
    void check_dial(Node& node, const Address& address);
    void check_rumour(Node& node, const Address& address);
    void judge(Node& node, const Peer& peer, std::string_view reason);
    void judge_stalled(Node& node, Node& subject);

    struct Event {
        Time at;
        std::uint64_t order;
        Work what;
        bool operator>(const Event& other) const { return at != other.at ? at > other.at : order > other.order; }
    };

    Plan plan_;
    Passengers* const passengers_;
    Conditions conditions_;
    Result result_;
    Dice faults_;
    Dice random_;
    Dice members_;
    Dice calls_;
    Dice clients_;
    Network network_;
    Disturbances disturbances_;
    Time now_{};
    std::uint64_t order_ = 0;
    std::uint64_t last_member_change_ = 0;
    bool healed_ = false;
    std::vector<Event> events_;  ///< a heap
    std::vector<Machine> machines_;
    std::vector<std::unique_ptr<Node>> nodes_;
    static constexpr std::size_t most_guests = 3;
    std::vector<std::unique_ptr<Node>> guests_;  ///< their indices follow those of the nodes
    std::vector<std::unique_ptr<Node>> gone_;
    std::map<PeerId, Node*> runs_;
    std::vector<Address> seeds_;
    std::vector<Address> abandoned_;  ///< where a process ran that started anew elsewhere
    std::set<Address> powerless_;     ///< whose machine is off
    std::uint64_t last_machine_ = 0;
    bool rumoured_ = false;  ///< one node was told of many that do not exist
    std::map<std::uint64_t, Connection> connections_;
    std::uint64_t last_connection_ = 0;
    std::map<std::pair<PeerId, PeerId>, std::uint64_t> usable_;  ///< the connection attached at both ends
    std::map<std::pair<PeerId, PeerId>, Ledger> ledgers_;
    std::map<std::pair<PeerId, PeerId>, Talk> talks_;  ///< from one to the other
    std::pair<std::size_t, std::size_t> estranged_{};  ///< two that never reach each other again
    Time good_since_ = never;
    Time unwell_since_{};
    Time next_check_{};
    std::optional<std::pair<Time, Traffic>> resting_;
};

}  // namespace cluster::sim
