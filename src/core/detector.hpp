#pragma once

#include "base/time.hpp"

#include <chrono>
#include <cstdint>

namespace cluster::core {

/// Judges, for one node, which peers are alive. Not thread-safe.
///
/// A probe that is not answered within `probe_timeout` begins a suspicion; a lost link begins one at once. After
/// `patience` without a word, a suspicion becomes a conclusion. Any bytes from the peer end it.
///
/// The scheme is that of SWIM (Das, Gupta, Motivala, 2002, sections 3.1 and 4.2), with one difference. Others are asked
/// and told, but a conclusion is always this node's own. How long a node waits grows with its own slowness, because a
/// node that reads late must not take others for late. That is from "Lifeguard" (Dadgar, Phillips, Currey, 2017,
/// section IV.A).
class Detector {
public:
    Detector(Duration heartbeat, Duration suspicion) noexcept : heartbeat_(heartbeat), suspicion_(suspicion) {}

    /// What is known about one peer's life.
    struct Watch {
        Time heard{};            ///< when bytes last came from it
        Time probed = never;     ///< the first probe since then
        Time suspected = never;  ///< since when it owes an answer, or has no link
        Time vouched = never;    ///< when another peer last said to have heard from it
        bool hearsay = false;    ///< it was probed because another peer got no answer from it

        /// Whether bytes from it would change anything.
        bool in_doubt() const noexcept { return probed != never || suspected != never; }
    };

    enum class Verdict : std::uint8_t {
        trusted,
        waiting,  ///< judge again at `next`
        suspect,  ///< from now on
        cut_off,  ///< its link is as good as dead: try another one
        gone,
    };
    struct Judgement {
        Verdict verdict = Verdict::trusted;
        Time next = never;
    };
    /// `linked`: the peer has a link on which it could answer.
    Judgement judge(Watch& watch, bool linked, Time now) const noexcept;

    void probed(Watch& watch, bool hearsay, Time now) const noexcept;
    void lost_link(Watch& watch, Time now) const noexcept;
    /// Bytes came from a peer in doubt.
    void answered(Watch& watch, Time now) noexcept;
    /// The time in which this node itself did not run does not count against a peer.
    static void forgive(Watch& watch, Duration lag, Time now) noexcept;
    /// Whether others have heard from a peer that this node would conclude to be `gone`.
    bool vouched_for(const Watch& watch, Time now) const noexcept {
        return watch.vouched != never && now - watch.vouched <= patience();
    }

    /// How late a deadline may be met before this node counts as slow.
    Duration tolerance() const noexcept { return heartbeat_ / 4; }
    /// This node was late.
    void slower() noexcept;
    unsigned slowness() const noexcept { return slowness_; }

    Duration probe_timeout() const noexcept { return heartbeat_ / 2 * (1 + slowness_); }
    Duration patience() const noexcept { return suspicion_ * (1 + slowness_); }

    static constexpr unsigned most_slowness = 8;
    /// How long a peer that refuses still counts as alive while the peers asked about it do not answer.
    static constexpr Duration hearing = std::chrono::milliseconds(200);

private:
    Duration heartbeat_;
    Duration suspicion_;
    unsigned slowness_ = 0;
};

}  // namespace cluster::core
