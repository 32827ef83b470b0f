#pragma once

#include "consensus/raft.hpp"
#include "sim/replicas/chance.hpp"
#include "sim/replicas/conditions.hpp"
#include "sim/replicas/disk.hpp"
#include "sim/replicas/invariants.hpp"
#include "sim/replicas/linearizability.hpp"
#include "sim/replicas/plan.hpp"
#include "sim/replicas/service.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace cluster::sim::replicas {

/// Runs the consensus of some replicas in virtual time, over a simulated network and on simulated disks, with faults
/// that the seed draws. After each event it is checked what consensus promises; at the end, that those who are left
/// together go on although the others are gone for good. Single-threaded; two runs of one plan are the same.
class World {
public:
    explicit World(Plan plan);
    Result run();

private:
    using Work = std::function<void()>;
    /// Of an operation. `never`: it has not happened, and will not.
    enum class Ending : std::uint8_t { none, done, never, unknown };

    /// An entry to be applied, or a snapshot to be loaded.
    struct Task {
        consensus::Entry entry;
        std::size_t cost = 0;  ///< what it counts for against the limit
        std::optional<consensus::SnapshotId> snapshot;
    };
    struct Proposed {
        consensus::Term term;
        std::size_t operation;
    };
    struct Replica {
        explicit Replica(Disk::Options kept) : disk(std::move(kept)) {}

        std::size_t place = 0;
        consensus::DiskId id;
        std::string name;
        bool votes = true;
        consensus::RaftOptions options;
        Disk disk;
        bool lost = false;                ///< the disk; it never comes back
        bool frozen = false;              ///< does not count any more
        consensus::Term frozen_term = 0;  ///< when it was frozen
        Time slow_until{};
        Time hangs_until{};

        // A clock of its own.
        Duration offset{};
        std::int64_t drift = 0;
        Duration skew{};

        // The process.
        std::unique_ptr<consensus::Raft> raft;
        std::uint64_t life = 0;  ///< grows with each start and crash
        Time paused_until{};
        std::uint64_t durable = 0;  ///< number of the last write that is
        Time tick_at = never;
        std::deque<consensus::Send> held;
        Service service;
        std::deque<Task> tasks;
        bool applying = false;
        std::uint64_t applying_cost = 0;  ///< of `tasks`
        bool saving = false;
        std::multimap<consensus::Index, Proposed> proposed;
        std::map<std::uint64_t, std::size_t> reading;           ///< operations by their read's number
        std::multimap<consensus::Index, std::size_t> readable;  ///< operations by what must be applied
        consensus::Term led = 0;                                ///< the last term in which it was elected
        consensus::Term stood = 0;                              ///< the last term in which it was a candidate
        consensus::Index commit = 0;
        bool elected = false;  ///< just now
    };
    struct Event {
        Time at;
        std::uint64_t order;
        Work what;
        friend bool operator>(const Event& a, const Event& b) { return a.at != b.at ? a.at > b.at : a.order > b.order; }
    };
    struct Link {
        int cuts = 0;
        Time last{};  ///< when the last message arrives, where they come in order
    };

    // world.cpp: time
    void at(Duration delay, Work what);
    bool advance();
    template <class Text>
    void note(std::uint64_t what, std::uint64_t value, Text&& text) {
        result_.hash = mixed(mixed(mixed(result_.hash, what), value), static_cast<std::uint64_t>(now_.count()));
        if (plan_.lines != 0) line(text());
    }
    void line(const std::string& text);

    // process.cpp: what runs a replica
    Moment clock(const Replica& replica) const;
    Time when(const Replica& replica, Time of_its_clock) const;
    void start(Replica& replica);
    void restart(Replica& replica, Duration after);
    void crash(Replica& replica, bool power_fails);
    void crash(Replica& replica) { crash(replica, !conditions_.os_buffers); }
    void pause(Replica& replica, Duration how_long, bool clock_stands);
    /// Calls `what(raft)` unless that life of the process is over; if it is paused, afterwards.
    void event(Replica& replica, std::uint64_t life, std::function<void(consensus::Raft&)> what);
    void event(Replica& replica, std::function<void(consensus::Raft&)> what) {
        event(replica, replica.life, std::move(what));
    }
    void later(Replica& replica, Duration delay, std::function<void(consensus::Raft&)> what);
    void settle(Replica& replica, consensus::Term led_before);
    void carry_out(Replica& replica, consensus::Effect& effect);
    void schedule_tick(Replica& replica);
    void check_replica(const Replica& replica) const;
    void write(Replica& replica);
    void written(Replica& replica);
    void apply_next(Replica& replica);
    void disk_failed(Replica& replica);
    void save(Replica& replica);
    void saved(Replica& replica, const consensus::SnapshotId& id, std::span<const std::byte> contents);
    void store(Replica& replica, const consensus::StoreChunk& stored);
    Duration disk_time(Replica& replica, Duration mean);
    void elected(Replica& replica);

    // network.cpp
    void send(Replica& from, const consensus::Message& message);
    void deliver(Replica& from, Replica& to, const consensus::Message& message, Duration delay);
    Replica* find(const consensus::DiskId& id);
    void cut(std::size_t from, std::size_t to, int by);
    void cut_for(const std::vector<std::pair<std::size_t, std::size_t>>& links, Duration how_long);
    Link& link(std::size_t from, std::size_t to) { return links_[from * replicas_.size() + to]; }

    // submitters.cpp
    void submit(std::size_t submitter);
    std::size_t begin_operation(std::size_t submitter);
    Replica& somebody_to_ask();
    void ask(Replica& replica, std::vector<std::size_t> operations);
    void end(std::size_t operation, Ending ending);
    void read_now(Replica& replica);
    void give_up(Replica& replica);
    void done_loading(Replica& replica);
    void happened(const consensus::Entry& entry);
    void done_applying(Replica& replica, const consensus::Entry& entry, std::uint64_t result);
    void check_history();

    // faults.cpp
    void disturb();
    void inject(Fault fault);
    void crash_soon(Replica& replica);
    bool may_lose(const Replica& replica) const;
    Replica* leader();
    std::vector<std::pair<std::size_t, std::size_t>> between(const std::vector<bool>& side) const;

    // healing.cpp
    void heal();
    void choose_core();
    void freeze(Replica& replica);
    bool well(std::string& why);
    void blind_one();
    void check_frozen() const;
    bool is_majority(const std::vector<bool>& has) const;

    Plan plan_;
    Chance chance_;
    Conditions conditions_;
    Result result_;
    Time now_{};
    std::uint64_t order_ = 0;
    std::vector<Event> events_;
    std::deque<std::string> trace_;
    consensus::Configuration configuration_;
    std::vector<std::unique_ptr<Replica>> replicas_;
    std::vector<Link> links_;
    std::optional<Invariants> invariants_;
    std::vector<Operation> operations_;
    std::vector<Ending> endings_;            ///< of the operations
    std::vector<std::size_t> submitter_of_;  ///< who waits for it; `nobody`
    static constexpr std::size_t nobody = ~std::size_t{0};
    std::size_t believed_leader_ = 0;
    std::uint64_t stamp_ = 0;
    std::uint64_t cut_epoch_ = 0;  ///< cuts of an earlier one do not end any more
    std::size_t appointing_ = 0;   ///< messages under way that make somebody a candidate
    bool healed_ = false;
    Time healed_at_{};
    std::uint64_t healed_stamp_ = 0;
    std::size_t after_healing_ = 0;                                   ///< operations that were begun and answered since
    std::optional<std::pair<std::size_t, consensus::Term>> resting_;  ///< who leads, once all is well
    Time resting_since_{};
    bool blinded_ = false;  ///< one of them does not see the leader any more
};

}  // namespace cluster::sim::replicas
