#pragma once

#include "consensus/configuration.hpp"

#include <cstdint>
#include <deque>
#include <map>
#include <vector>

namespace cluster::consensus {

/// Linearizable reads without the log (ReadIndex; Raft thesis, section 6.4): a read may see what was committed when it
/// came, as soon as a majority has said, later than that, that this leader still leads. Each question to the others has
/// a number of its own, so no late or doubled answer stands for a newer question. Not thread-safe.
class Reads {
public:
    /// Reads that wait.
    static constexpr std::size_t most = 65536;

    struct Read {
        std::uint64_t number = 0;  ///< the caller's
        Index index = 0;           ///< what it must see
        std::uint64_t round = 0;   ///< the first question that is new enough
    };

    bool full() const noexcept { return waiting_.size() >= most; }
    void add(std::uint64_t number, Index index) { waiting_.push_back({number, index, asked_ + 1}); }
    /// Whether some reads wait for a question that was not asked yet.
    bool must_ask() const noexcept { return !waiting_.empty() && waiting_.back().round > asked_; }
    /// The number of the question that is asked now. All that wait are content with it.
    std::uint64_t ask() noexcept { return ++asked_; }
    void answered(const DiskId& voter, std::uint64_t round);
    /// Those that may go on. This leader, if it is a voter, agrees with itself.
    std::vector<Read> take(const Configuration& configuration, const DiskId& self);
    /// All that wait.
    std::vector<Read> take_all();

private:
    std::uint64_t asked_ = 0;
    std::deque<Read> waiting_;
    std::map<DiskId, std::uint64_t> answered_;  ///< the newest question that each has answered
};

}  // namespace cluster::consensus
