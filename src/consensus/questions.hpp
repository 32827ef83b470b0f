#pragma once

#include "base/time.hpp"
#include "consensus/entry.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace cluster::consensus {

// How a read sees all that was acknowledged anywhere before it came, at any replica and without the log. Its replica
// asks the leader how far the log is committed. The leader answers when a majority has said since that it leads;
// whoever asks in the term of the leader says that by asking. As soon as the replica has applied that much, the read
// may see its state.

/// "How far must a read see that has come by now?"
struct ReadIndex {
    std::uint64_t life = 0;    ///< of the sender's process: drawn at its start
    std::uint64_t number = 0;  ///< its questions have rising ones
    bool counts = true;        ///< as in an answer to a leader
};
struct ReadIndexAnswer {
    std::uint64_t life = 0;  ///< of the one who asked
    std::uint64_t number = 0;
    Index index = 0;
};

/// The reads of one replica until each has been served or given up. Not thread-safe; no clock of its own.
///
/// 1. An answer is for those reads alone that came before its question was asked.
/// 2. One question is on its way at a time. It stands for all reads that have come before.
class Questions {
public:
    /// Reads at a time, those included that are being served.
    static constexpr std::size_t most = 65536;
    /// When the leader could not be asked: there is no room on the way to it, or at it.
    static constexpr Duration stall = std::chrono::milliseconds(100);

    /// `patience`: when no answer comes for so long, it is asked again.
    Questions(std::uint64_t life, Duration patience) : life_(life), patience_(patience) {}

    bool full() const noexcept { return reads_.size() >= most; }
    /// It must see what the leader says.
    void add(std::uint64_t number, Time deadline);
    /// It must see that much.
    void add(std::uint64_t number, Time deadline, Index at_least);
    /// It was served.
    void done(std::uint64_t number);

    struct Expired {
        std::uint64_t number = 0;
        bool answered = false;  ///< how far it must see was known
    };
    std::vector<Expired> expire(Time now);
    /// When `expire` has something to do.
    Time deadline() const { return deadlines_.empty() ? never : deadlines_.begin()->first; }

    /// The question for the leader, if one is due.
    std::optional<ReadIndex> next(Time now);
    void answered(const ReadIndexAnswer& answer);
    /// The question, or its answer, may be lost.
    void lost() noexcept { under_way_ = false; }
    /// It could not be asked: a little later.
    void not_sent(Time now);
    /// Another one may lead.
    void begin_anew() noexcept;
    /// When `next` has something to do.
    Time due() const;

    bool ready(Index applied) const { return !seeing_.empty() && seeing_.begin()->first <= applied; }
    /// Those that may be served when that much is applied. Each is given out once, and counts until it is `done`.
    std::vector<std::uint64_t> take(Index applied);

private:
    struct Read {
        Time deadline{};
        std::uint64_t question = 0;  ///< the first one that is new enough for it
        Index index = 0;             ///< what it must see, if that is known
    };
    using Reads = std::map<std::uint64_t, Read>;

    void erase(Reads::iterator at);

    const std::uint64_t life_;
    const Duration patience_;
    Reads reads_;
    std::set<std::uint64_t> asking_;  ///< those for which the leader must be asked
    std::set<std::pair<Index, std::uint64_t>> seeing_;
    std::set<std::pair<Time, std::uint64_t>> deadlines_;

    std::uint64_t asked_ = 0;  ///< the number of the last question
    bool under_way_ = false;   ///< that one is
    Time asked_at_{};
    Time not_before_{};
};

/// Those whom the leader owes an answer: of each replica the newest question counts. Not thread-safe.
class Askers {
public:
    /// The number for `Raft::read`.
    std::uint64_t asks(const DiskId& from, const ReadIndex& question);

    struct Answer {
        DiskId to;
        ReadIndexAnswer answer;
    };
    /// A read may see that much. Nothing if the one who asked has asked anew.
    std::optional<Answer> ready(std::uint64_t number, Index index);
    /// A term begins.
    void clear() noexcept { asked_.clear(); }

private:
    struct Asked {
        DiskId from;
        ReadIndex question;
    };
    std::uint64_t last_ = 0;
    std::map<std::uint64_t, Asked> asked_;  ///< by the number for `Raft::read`
};

}  // namespace cluster::consensus
