#pragma once

#include "consensus/effect.hpp"
#include "consensus/raft.hpp"
#include "sim/replicas/disk.hpp"
#include "sim/replicas/service.hpp"
#include "sim/replicas/violation.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace cluster::sim::replicas {

/// Knows what all replicas have ever written, committed, applied and said, those that are dead included, and throws a
/// Violation as soon as they contradict what consensus promises. Replicas are named by their place.
class Invariants {
public:
    struct Member {
        consensus::DiskId id;
        const Disk* disk;
    };
    Invariants(consensus::Configuration configuration, std::vector<Member> members);

    /// Its process has begun with what its disk holds.
    void started(std::size_t replica);
    /// It has ordered that. `leads`: the term in which it has led since before; 0 if it has not.
    void wrote(std::size_t replica, const consensus::Write& write, consensus::Term leads);
    void elected(std::size_t replica, consensus::Term term);
    /// It takes the log up to there for committed. `leads`: the term in which it leads and has counted that itself.
    void committed(std::size_t replica, consensus::Index index, consensus::Term leads);
    /// It has taken a snapshot for its log up to there.
    void installed(std::size_t replica, const consensus::LogId& last);
    /// Its service, whose state has that hash now, has applied it.
    void applied(std::size_t replica, const consensus::Entry& entry, std::uint64_t hash);
    /// Its service has taken the state of a snapshot.
    void loaded(std::size_t replica, const consensus::LogId& id, std::uint64_t hash);
    /// That message leaves now.
    void sent(std::size_t replica, const consensus::Message& message, const consensus::RaftOptions& options);

    /// How far the log is committed.
    consensus::Index committed() const noexcept { return static_cast<consensus::Index>(log_.size() - 1); }
    consensus::Term committed_term(consensus::Index index) const { return log_.at(static_cast<std::size_t>(index)); }
    /// Whether a command was committed and applied by anybody.
    bool happened(std::uint64_t command) const { return commands_.contains(command); }
    /// The bytes that entries of a replica's log cost, from `from` on up to `to`.
    std::uint64_t cost(std::size_t replica, consensus::Index from, consensus::Index to) const;

private:
    /// What a replica has in its log, in the order of its writes, durable or not.
    struct Image {
        struct Mark {
            consensus::Term term;
            std::uint64_t cost;  ///< of all up to here
        };
        consensus::LogId base;
        std::vector<Mark> marks;
        consensus::HardState state;
        std::uint64_t write = 0;  ///< number of the last one

        consensus::Index last() const { return base.index + marks.size(); }
        std::optional<consensus::Term> term_at(consensus::Index index) const;
    };
    /// All entries that the leader of a term has made: for each the hash of the log up to there.
    struct Made {
        consensus::Index begin = 0;
        std::vector<std::uint64_t> hashes;
    };
    /// What a replica has told others.
    struct Told {
        consensus::Term term = 0;
        consensus::LogId matched;
    };

    std::uint64_t hash_at(const consensus::LogId& id) const;
    std::uint64_t hash_of(const consensus::Entry& entry, const consensus::LogId& before) const;
    void make(std::size_t replica, const consensus::Entry& entry, const consensus::LogId& before);
    bool quorum(const consensus::LogId& id) const;
    bool quorum(const std::set<consensus::DiskId>& voters, const consensus::LogId& id) const;
    /// How much each leader of `term` must have.
    consensus::Index required(consensus::Term term) const;
    void voted(std::size_t replica, consensus::Term term, const consensus::DiskId& vote);
    void leads(std::size_t replica, consensus::Term term) const;
    const Member& member(const consensus::DiskId& id) const;

    consensus::Configuration configuration_;
    std::vector<Member> members_;
    std::vector<Image> images_;
    std::vector<Told> told_;
    std::map<consensus::Term, std::size_t> leaders_;
    std::map<consensus::Term, Made> made_;
    std::map<std::pair<std::size_t, consensus::Term>, consensus::DiskId> votes_;
    std::vector<consensus::Term> log_{0};                  ///< the terms of what is committed, from 0 on
    std::map<consensus::Term, consensus::Index> commits_;  ///< how far the leader of that term has come
    Service reference_;                                    ///< has applied all from the beginning
    std::vector<std::uint64_t> states_;                    ///< its hashes
    std::set<std::uint64_t> commands_;
};

}  // namespace cluster::sim::replicas
