#pragma once

#include "core/engine.hpp"
#include "wire/parser.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <vector>

namespace cluster::sim {

using core::Duration;
using core::Time;

/// What one run of the simulator does; everything else follows from the seed.
struct Plan {
    std::uint64_t seed = 1;
    std::size_t nodes = 5;
    /// Virtual time during which faults happen, and then within which all must be well again.
    Duration faults = std::chrono::seconds(20);
    Duration healing = std::chrono::seconds(60);
    /// Keep the lines of the trace, not just their hash.
    bool trace = false;
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
};

/// Runs N engines in virtual time over simulated connections with seeded faults, and checks after every step what the
/// library promises. Single-threaded; two runs of one plan are the same to the last byte.
class World {
public:
    explicit World(Plan plan);
    ~World();
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    Result run();

private:
    struct Node;
    struct Connection;
    struct End;
    struct Ledger;
    struct Sink;

    // Time.
    void at(Duration delay, std::function<void()> what);
    void note(std::string line);
    void fail(std::string why);
    core::Dice dice(std::uint64_t stream) const { return core::Dice(plan_.seed * 1000003 + stream); }
    bool chance(double probability) { return static_cast<double>(faults_.below(1 << 20)) < probability * (1 << 20); }
    Duration between(Duration least, Duration most) {
        const auto span = static_cast<std::uint64_t>((most - least).count());
        return least + Duration(static_cast<Duration::rep>(faults_.below(span + 1)));
    }

    // Nodes.
    void start(std::size_t index);
    void kill(std::size_t index, bool silently);
    void settle(Node& node);
    void carry_out(Node& node, core::Action& action);
    void schedule_tick(Node& node);
    void receive(Node& node, core::Batch batch);
    void read_inbox(Node& node, std::size_t most);
    void send_something(Node& node);

    // Connections.
    void dial(Node& node, const core::Dial& dial);
    void write(Node& node, core::LinkId link);
    void transmit(std::uint64_t connection, int from, std::vector<std::byte> bytes);
    void arrive(std::uint64_t connection, int to);
    void feed(Node& node, std::uint64_t connection, int side, std::vector<std::byte> bytes);
    void close(Node& node, core::LinkId link, bool drain);
    void reset(std::uint64_t connection);
    void end(std::uint64_t connection, int side);

    // Faults and load.
    void disturb();
    void load();
    void heal();

    // What must hold.
    void check_step(Node& node);
    void check_links();
    void check_farewell(const Node& node, std::uint64_t unacknowledged);
    std::uint64_t count_attachments() const;
    bool well(std::string* why);
    void check_end();

    struct Event {
        Time at;
        std::uint64_t order;
        std::function<void()> what;
        bool operator>(const Event& other) const { return at != other.at ? at > other.at : order > other.order; }
    };

    Plan plan_;
    Result result_;
    core::Dice faults_;
    core::Dice random_;
    Time now_{};
    std::uint64_t order_ = 0;
    bool healed_ = false;
    bool dial_faults_ = false;
    std::set<std::pair<std::size_t, std::size_t>> parted_;  ///< pairs of nodes between which nothing gets through
    std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
    std::vector<std::unique_ptr<Node>> nodes_;
    std::vector<std::unique_ptr<Node>> gone_;
    std::map<std::uint64_t, Connection> connections_;
    std::uint64_t last_connection_ = 0;
    std::map<std::pair<PeerId, PeerId>, Ledger> ledgers_;
};

}  // namespace cluster::sim
