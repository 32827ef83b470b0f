#pragma once

#include "replica/machine.hpp"
#include "sim/replicas/chance.hpp"
#include "sim/replicas/chronicle.hpp"
#include "sim/replicas/clerk.hpp"
#include "sim/replicas/customers.hpp"
#include "sim/replicas/disk.hpp"
#include "sim/replicas/invariants.hpp"
#include "sim/replicas/plan.hpp"

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
#include <utility>
#include <vector>

namespace cluster::sim::replicas {

/// The replicas of one group, from empty disks on, and clients of it: each process has a machine, a disk, services
/// behind the shipping `Applier`, and callers, and does with them what the threads of a replica do. After each event it
/// is checked what the machines promise. How time passes, when processes begin and end, and how messages travel is said
/// by whoever derives from this.
class Machines : private Streets {
public:
    Machines(const Machines&) = delete;
    Machines& operator=(const Machines&) = delete;

protected:
    using Machine = replica::Machine;
    using Work = std::function<void(Machine&)>;
    /// Which call of which process.
    using Call = std::pair<std::uint64_t, std::uint64_t>;

    struct Place {
        explicit Place(Disk::Options options) : name(options.node), id(options.id), disk(std::move(options)) {}

        std::size_t index = 0;
        std::string name;
        consensus::DiskId id;
        Disk disk;

        // Of one life.
        std::unique_ptr<Machine> machine;
        std::uint64_t life = 0;
        PeerId peer;
        std::uint64_t last_number = 0;
        std::unique_ptr<Office> office;
        consensus::Term leads = 0;  ///< in which it leads
        consensus::Index commit = 0;
        consensus::Index read = 0;  ///< so much of the log a read here has seen
        bool writing = false;
        bool saving = false;
        Time ticks_at = never;
        Time files_until{};  ///< the file thread has something to do
        std::optional<errc> halted;
        bool may_halt = false;

        // Of its service thread.
        std::deque<Work> work;
        bool works = false;
        consensus::Role role{};
        std::map<std::uint64_t, client::Seat> served;  ///< clients that are told outcomes
        std::vector<group::SessionChange> changes;
        std::vector<std::pair<std::uint64_t, std::vector<std::byte>>> replies;
        std::vector<std::uint64_t> replied;  ///< submissions of this process

        consensus::Index applied() const { return office ? office->applier.last().index : 0; }
    };

    struct Read {
        bool stale = false;
        consensus::Index least = 0;  ///< so much of the log it must see
        // Of a client.
        std::optional<client::Seat> seat{};
        std::uint64_t number = 0;
        Bytes query = Bytes(std::string_view("?"));
    };

    explicit Machines(const Plan& plan);
    ~Machines() = default;

    /// As the process of that place knows it.
    virtual Time now(const Place& place) const = 0;
    using Streets::now;
    /// In the process that runs there, as soon as it runs.
    virtual void in_process(Place& place, std::function<void()> work) = 0;
    /// In the process that runs there now, when its clock has gone on for so long; not if it has ended. Then `settle`.
    virtual void later(Place& place, Duration delay, Work work) = 0;
    virtual void send(Place& from, const PeerId& to, const wire::ReplicaMessage& message) = 0;
    /// Its process ends because it must: `end` has to be called, and later `begin`.
    virtual void disk_failed(Place& place) = 0;

    template <class Text>
    void note(std::uint64_t what, std::uint64_t value, Text&& text) {
        result_.hash = mixed(mixed(mixed(result_.hash, what), value), static_cast<std::uint64_t>(now().count()));
        if (plan_.lines != 0) line(text());
    }
    /// Adds what was found, if it is one that is not well.
    Result finished(const std::string& why);

    /// The voters, each with an empty disk.
    void found(const std::vector<std::string>& names, Duration election_timeout);
    Place& add_place(const std::string& name, const consensus::DiskId& id);
    bool votes(const Place& place) const { return place.index < result_.voters; }

    void begin(Place& place, const PeerId& peer);
    void end(Place& place);
    static ApplicationVersion version_of(const Place& place);
    /// What it was told, and what it was about to tell its callers, nobody knows.
    void forget_calls(const Place& place);
    /// Many callers at once. Those that are `sure` must get through.
    void submit(Place& place, std::size_t many, Duration patience, bool sure);
    /// More letters than are delivered with one entry.
    void write_letters(Place& place);
    /// The same for reads, of both kinds.
    void read(Place& place, std::size_t many, Duration patience, bool sure);
    /// Carries out what the machine wants.
    void settle(Place& place);
    void received(Place& place, const PeerId& from, const Bytes& message);
    /// Whether these have applied the same, and all that was submitted surely. If not: why.
    bool agree(const std::vector<const Place*>& places, std::string& why) const;
    /// When all is at rest: no timer, letter or session is left over.
    void check_rest() const;
    /// What was told to all callers is so.
    void check_calls() const;

    Plan plan_;
    Chance chance_;
    Result result_;
    std::vector<std::unique_ptr<Place>> places_;
    std::set<Call> open_;
    std::map<Call, Read> reads_;  ///< that are open
    std::optional<consensus::GroupId> group_;
    Chronicle chronicle_;
    std::optional<Customers> customers_;

private:
    // What clients need.
    std::optional<PeerId> node_at(std::size_t place) const override;
    void client_said(std::size_t place, const PeerId& node, const client::Seat& seat, Bytes message) override;
    void client_gone(std::size_t place, const PeerId& node, const PeerId& client) override;
    consensus::Index told() const override { return told_; }
    void was_told(consensus::Index position) override { told_ = std::max(told_, position); }
    void note(std::uint64_t what, const std::string& said) override {
        note(20 + what, said.size(), [&] { return said; });
    }

    void line(const std::string& text);
    void submit(Place& place, Wish wish, Duration patience, bool sure);
    consensus::RaftOptions raft_options(const consensus::DiskId& self, std::uint64_t seed) const;
    /// What one thread does, in its order.
    void in_turn(Place& place, Time& busy_until, Work work);
    void failed(const Place& place, const replica::SubmitFailed& failed);
    void failed(const Place& place, const replica::ReadFailed& failed);
    void finish_snapshot(Place& place, Machine& machine, const consensus::SnapshotId& id,
                         const std::function<void(SnapshotWriter&)>& write);

    // serving.cpp: what the service thread does, and what a replica does for clients
    void serve(Place& place, Work work);
    void next_work(Place& place);
    void apply(Place& place, Machine& machine, const std::vector<consensus::Entry>& entries);
    void applied(Place& place, Machine& machine);
    void pass_replies(Place& place);
    void pass_outcomes(Place& place, Machine& machine);
    void serve_reads(Place& place, Machine& machine, const std::vector<std::uint64_t>& numbers);
    void save(Place& place, Machine& machine);
    void restore(Place& place, Machine& machine, const consensus::SnapshotId& id);
    void attach(Place& place, Machine& machine, const replica::AttachSession& wanted);
    void detach(Place& place, const replica::DetachSession& over);
    bool tell_session(Place& place, Machine& machine, std::uint64_t session, client::ToClient message);
    errc tell_client(const Place& place, const client::Seat& seat, client::ToClient message);
    void tell(const Place& place, replica::TellClient& tell);
    void answer(const Place& place, const Read& read, std::error_code error, consensus::Index position, Bytes bytes);
    void authenticate(Place& place, const replica::Authenticate& asked);
    void ask_service(Place& place, const replica::AskService& asked);
    void halted(Place& place);

    void check_effects(Place& place, const std::vector<replica::Effect>& effects);
    void carry_out(Place& place, replica::Effect& effect);
    void store(Place& place, Machine& machine, const consensus::StoreChunk& stored);
    void keep(Place& place, const replica::Keep& keep);
    void tell(Place& from, const replica::Tell& tell);
    void check_founding(const Place& from, const wire::FoundingMessage& message) const;

    std::deque<std::string> trace_;
    std::set<std::string> names_;
    Duration election_timeout_{};
    bool freezes_ = false;
    bool authenticates_ = false;
    std::uint64_t max_sessions_ = 10'000;
    std::optional<Invariants> invariants_;
    std::set<Call> acknowledged_;
    std::set<Call> sure_;
    std::set<Call> sure_reads_;
    consensus::Index told_ = 0;  ///< so much of the log somebody was told of: acknowledged, or seen by a read
};

}  // namespace cluster::sim::replicas
