#pragma once

#include "consensus/entry.hpp"
#include "group/command.hpp"
#include "sim/replicas/clerk.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace cluster::sim::replicas {

/// What the services of a group have been told and have done, entry by entry, and what they must have been told by the
/// promises of `Context` and `Service`. Throws a Violation as soon as the two differ, or as soon as a replica differs
/// from services that have had all entries from the first one on and never a snapshot.
class Chronicle {
public:
    /// A reply or a push.
    struct Said {
        consensus::Index position = 0;
        std::vector<std::byte> bytes;
        friend bool operator==(const Said&, const Said&) = default;
    };
    struct Session {
        group::OpenSession opened;
        std::uint64_t applied = 0;  ///< the number of its last command
        std::uint64_t author = 0;   ///< of its commands; 0: it has had none
        std::uint64_t order = 0;    ///< of the last one
        std::vector<Said> pushes;
        std::optional<CloseReason> closed;
    };
    /// Author and order of a wish.
    using Name = std::pair<std::uint64_t, std::uint64_t>;

    Chronicle();
    Chronicle(const Chronicle&) = delete;
    Chronicle& operator=(const Chronicle&) = delete;

    /// Some replica has applied that.
    void applied(const consensus::Entry& entry);
    /// The state of a replica, wherever it has come from.
    void check_state(const Office& office) const;
    /// Who wished that was told that it is nowhere, and never will be.
    void never(const Name& name);

    consensus::Index last() const noexcept { return entries_.size() - 1; }
    /// Null if it has not happened.
    const Said* reply(const Name& name) const;
    /// What a query says there.
    std::uint64_t answer_at(consensus::Index index) const;
    /// All that ever were.
    const std::map<std::uint64_t, Session>& sessions() const noexcept { return sessions_; }
    std::size_t open_sessions() const noexcept { return open_; }
    /// Of the next timer, in the time of the log.
    Duration next_timer() const;
    bool has_letters() const noexcept { return !letters_.empty(); }

    // How often what has happened.
    std::uint64_t fired = 0;
    std::uint64_t letters = 0;
    std::uint64_t expiries = 0;

private:
    using Kind = Happening::Kind;
    struct Entry {
        std::uint64_t hash = 0;
        std::uint64_t state = 0;  ///< after it
        std::uint64_t answer = 0;
    };
    struct Timer {
        Duration at{};
        consensus::Index set = 0;  ///< where
    };
    struct Letter {
        std::string from;
        std::string to;
        std::vector<std::byte> bytes;
    };

    bool is_open(std::uint64_t session) const;
    void take(const Happening& happening);
    void begin_command();
    void told(const Happening& happening);
    void told_letter(const Happening& happening);
    void closed(const Happening& happening);
    void fired_timer(const Happening& happening);
    void end_entry();
    /// The next event of both services, in their order.
    void each_once(const Happening& happening, std::size_t& count);

    std::vector<Happening> happenings_;
    Office office_;
    std::vector<Entry> entries_;
    std::map<std::uint64_t, Session> sessions_;
    std::size_t open_ = 0;
    std::map<Name, Said> replies_;
    std::set<Name> never_;
    std::map<std::pair<std::uint32_t, std::uint64_t>, Timer> timers_;
    std::deque<Letter> letters_;

    // The entry that is being looked at.
    consensus::LogId id_;
    consensus::Term term_before_ = 0;
    Duration time_{};
    std::optional<group::Command> command_;
    bool command_begun_ = false;
    bool due_ = false;  ///< the services have to hear of the command
    std::size_t heard_ = 0;
    std::size_t terms_ = 0;
    std::size_t rung_ = 0;
    std::size_t delivered_ = 0;
    std::map<std::uint64_t, std::pair<std::size_t, CloseReason>> closing_;  ///< by how many services it was heard
    std::vector<std::byte> reply_;
};

}  // namespace cluster::sim::replicas
