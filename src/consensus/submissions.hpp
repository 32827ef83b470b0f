#pragma once

#include "base/bytes.hpp"
#include "base/time.hpp"
#include "consensus/entry.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace cluster::consensus {

// How a command comes into the log once, or not at all, from any replica. Whoever has one passes it on to the leader of
// a term, numbered anew for each term. The leader takes the numbers in their order, each once. So what a broken link
// has lost may be sent again. When a replica has applied an entry of a later term, all that the former leader took is
// either applied here, or can never be: then, and only then, it is passed on to the next leader.

/// "Put these into the log." They are numbered from `first` on.
struct Submit {
    std::uint64_t life = 0;    ///< of the sender's process: drawn at its start
    std::uint64_t oldest = 0;  ///< numbers before it are not wanted any more
    std::uint64_t first = 0;
    std::vector<Bytes> commands;  ///< an empty one stands for one that is not wanted any more
};
/// "I have all before `expected`. Go on from there."
struct SubmitAnswer {
    std::uint64_t life = 0;  ///< of the one who submits
    std::uint64_t expected = 0;
    bool full = false;  ///< there is no room now: a little later
};

/// The commands of one replica until each is applied here or given up. Not thread-safe, no clock of its own.
class Submissions {
public:
    /// Bytes that are passed on and not applied yet.
    static constexpr std::size_t most_passed_on = std::size_t{4} << 20;
    /// Bytes of one message, unless a single command is longer, or the constructor was told less.
    static constexpr std::size_t most_in_message = std::size_t{128} << 10;
    /// After an answer that the leader is full.
    static constexpr Duration pause = std::chrono::milliseconds(10);
    /// When there is no room on the way to it. What is sent again costs the sender something each time.
    static constexpr Duration stall = std::chrono::milliseconds(100);

    /// `patience`: if nothing that was passed on is applied for so long, all of it is sent again. `most`: bytes that a
    /// message to another replica may have.
    Submissions(std::uint64_t life, Duration patience, std::size_t most = most_in_message)
        : life_(life), patience_(patience), most_(std::min(most, most_in_message)) {}

    std::uint64_t life() const noexcept { return life_; }
    std::size_t size() const noexcept { return items_.size(); }

    /// Numbers rise. Commands are not empty.
    void add(std::uint64_t number, Bytes command, Time deadline);
    /// It was applied here, or nobody waits for it any more.
    void done(std::uint64_t number, Time now);
    /// All entries up to one of this term were applied here. What earlier leaders have not put before it begins anew.
    void applied(Term term, Time now);
    /// A snapshot of this term took the place of entries. What earlier leaders may have put among them is unknown.
    std::vector<std::uint64_t> skipped(Term term, Time now);

    struct Expired {
        std::uint64_t number = 0;
        bool passed_on = false;  ///< it may come into the log yet
    };
    std::vector<Expired> expire(Time now);

    // This replica leads.
    bool waits() const noexcept { return !waiting_.empty(); }
    /// Those that wait, at most so many bytes, but at least one.
    std::vector<Bytes> waiting(std::size_t most) const;
    /// The first `count` of them are in its log, in that term.
    void proposed(std::size_t count, Term term);

    // Another one leads.
    /// What is to be sent to the leader of that term now, if anything; again and again until there is nothing.
    std::optional<Submit> next(Term term, Time now);
    void answered(Term term, const SubmitAnswer& answer, Time now);
    /// What was sent to the leader of that term may be lost.
    void lost(Term term);
    /// The same, because there is no room on the way to it: a little later.
    void not_sent(Term term, Time now);
    /// The leader had no room for some of it, or has as much as it is given. Nothing was applied since.
    bool held_up() const noexcept { return full_ || bytes_ >= most_passed_on; }
    /// When `next` has something to do.
    Time due() const;

    /// When `expire` has something to do.
    Time deadline() const { return deadlines_.empty() ? never : deadlines_.begin()->first; }

private:
    struct Item {
        Bytes command;
        Time deadline{};
        Term term = 0;  ///< of the leader that may have it; 0: nobody has
    };
    using Items = std::map<std::uint64_t, Item>;

    void erase(Items::iterator at, Time now);
    void wait_again(std::uint64_t number, Item& item);
    void shorten(Time now);
    std::uint64_t end() const noexcept { return base_ + passed_on_.size(); }

    const std::uint64_t life_;
    const Duration patience_;
    const std::size_t most_;
    Items items_;
    std::set<std::uint64_t> waiting_;
    std::set<std::pair<Time, std::uint64_t>> deadlines_;
    Term applied_ = 0;  ///< of the last entry that was applied

    // What the leader of `term_` gets.
    Term term_ = 0;
    std::uint64_t base_ = 0;                 ///< the number of the first of `passed_on_` there
    std::deque<std::uint64_t> passed_on_;    ///< the first one is in `items_`
    std::size_t bytes_ = 0;                  ///< of all that the leader of `term_` may have
    std::uint64_t sent_ = 0;                 ///< up to there, as it is numbered there
    Time not_before_{};                      ///< nothing is sent
    bool full_ = false;                      ///< it had no room, and nothing of it was applied since
    Time moved_{};                           ///< when something of it was sent first, or applied
    std::optional<std::uint64_t> answered_;  ///< the last answer; the same one again is no news for a while
};

/// What a leader takes from others in its term, each number once. Not thread-safe.
class Origins {
public:
    /// The part of `commands` to be taken, or nothing: then `answer` is due if it is set.
    struct Verdict {
        std::vector<Bytes> commands;
        std::optional<SubmitAnswer> answer;
    };
    Verdict judge(const DiskId& from, Submit submit);
    /// `judge` said that these are to be taken, and there was no room.
    SubmitAnswer refuse(const DiskId& from, std::size_t count);
    /// A term begins.
    void clear() noexcept { origins_.clear(); }

private:
    struct Origin {
        std::uint64_t life = 0;
        std::uint64_t expected = 0;
    };
    std::map<DiskId, Origin> origins_;
};

}  // namespace cluster::consensus
