#pragma once

#include "base/block_pool.hpp"
#include "base/random.hpp"
#include "base/time.hpp"
#include "core/action.hpp"
#include "core/arena.hpp"
#include "core/counters.hpp"
#include "core/detector.hpp"
#include "core/dial_plan.hpp"
#include "core/engine_options.hpp"
#include "core/engine_timers.hpp"
#include "core/own_addresses.hpp"
#include "core/peers.hpp"
#include "core/roster.hpp"
#include "value/log_line.hpp"

#include <string>
#include <utility>
#include <vector>

namespace cluster::core {

/// What the parts of one engine share: what is known, what is awaited, and what is to be done. Not thread-safe; the
/// engine is one of these.
struct Shared {
    explicit Shared(EngineOptions options);
    Shared(const Shared&) = delete;
    Shared& operator=(const Shared&) = delete;

    void log(LogLevel level, std::string text) { actions_.push_back(LogLine{level, std::move(text)}); }

    EngineOptions options_;
    OwnAddresses own_;
    Roster roster_;
    Dice dice_;
    DialPlan plan_;
    Detector detector_;
    Arena arena_;               ///< what the application has queued for peers lies in it
    Arena replica_arena_;       ///< and in this, what replicas say: it takes no room from the application
    Arena client_arena_;        ///< and in this, what goes to clients or comes from one
    detail::BlockPool blocks_;  ///< and in these, messages that come from them in parts
    Peers peers_;
    EngineTimers timers_;
    std::vector<Action> actions_;
    Counters counters_;
    bool leaving_ = false;
};

/// A part of an engine. It has a state of its own, uses what all share, and returns what is not its own to decide.
/// Not thread-safe; lives in its engine.
class Part {
protected:
    explicit Part(Shared& shared) noexcept
        : options_(shared.options_),
          own_(shared.own_),
          roster_(shared.roster_),
          dice_(shared.dice_),
          plan_(shared.plan_),
          detector_(shared.detector_),
          peers_(shared.peers_),
          timers_(shared.timers_),
          actions_(shared.actions_),
          counters_(shared.counters_),
          leaving_(shared.leaving_) {}
    ~Part() = default;

    void log(LogLevel level, std::string text) { actions_.push_back(LogLine{level, std::move(text)}); }
    /// Whether each seed, and each peer that somebody told of, has been tried once or met.
    bool all_tried() const {
        return plan_.all_tried([this](const PeerId& id) { return peers_.met(id); });
    }

    const EngineOptions& options_;
    OwnAddresses& own_;
    Roster& roster_;
    Dice& dice_;
    DialPlan& plan_;
    Detector& detector_;
    Peers& peers_;
    EngineTimers& timers_;
    std::vector<Action>& actions_;
    Counters& counters_;
    const bool& leaving_;
};

}  // namespace cluster::core
