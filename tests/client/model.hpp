#pragma once

#include "client/machine.hpp"
#include "group/sessions.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace cluster::client {

/// One client and a group of three that keeps the rules of sessions, in a world that goes wrong as long as a seed says.
/// Links lose everything when they break, and before that nothing but a reply here and there. Leaders change, with or
/// without knowing it, and some of what was proposed is lost then. Nodes stop, stall, have no room, and forget who was
/// attached.
class Model {
public:
    explicit Model(std::uint64_t seed);

    /// What went wrong; nothing if all is well.
    std::string run();

    // What of it happened, to see that all of it does.
    std::uint64_t replied = 0;
    std::uint64_t late = 0;    ///< `timed_out`
    std::uint64_t unsent = 0;  ///< failed, and never sent
    std::uint64_t pushed = 0;
    std::uint64_t resent = 0;  ///< commands that came to a leader twice
    std::uint64_t attached = 0;
    bool ended_early = false;  ///< not because the client was closed

private:
    static constexpr std::size_t nodes = 3;

    struct Proposal {
        enum class Kind { open, command, close } kind{};
        std::uint64_t number = 0;
        group::Received received;
        std::string text;
        CloseReason reason{};
        std::uint64_t link = 0;  ///< over which it came
    };
    struct Node {
        bool up = true;
        bool attached = false;
        Time stalls_until{};
        std::optional<group::Session> stale;  ///< it believes that it leads, and this is the last it knows
        bool linked = false;
        std::uint64_t link = 1;  ///< which one
        std::deque<ToNode> to_node;
        std::deque<ToClient> to_client;
        Time node_gets{};
        Time client_gets{};
    };
    struct Call {
        std::uint64_t order = 0;
        bool query = false;
        bool ended = false;
        bool never_sent = false;
    };

    std::uint64_t dice(std::uint64_t bound) { return dice_.below(bound); }
    bool chance(std::uint64_t percent) { return dice_.below(100) < percent; }
    Duration some(Duration most) { return Duration(dice_.below(static_cast<std::uint64_t>(most.count()) + 1)); }
    void after(Duration pause, std::function<void()> what) { events_.emplace(now_ + pause, std::move(what)); }
    void fail(std::string why) {
        if (failure_.empty()) failure_ = std::move(why);
    }
    static PeerId peer(std::size_t node);
    static Address address(std::size_t node) { return {"node" + std::to_string(node), 1}; }

    // The world.
    void step();
    void carry_out(Effect& effect);
    void dial(const Address& address);
    void link_up(std::size_t node, const std::optional<Address>& dialled);
    void break_link(std::size_t node, bool tell);
    void to_node(std::size_t node, ToNode message);
    void node_reads(std::size_t node, std::uint64_t link);
    void client_reads(std::size_t node, std::uint64_t link);
    void trouble();
    void heal();

    // The group.
    void say(std::size_t node, ToClient message);
    bool leads(std::size_t node) const { return leader_ == node; }
    void elect(std::optional<std::size_t> node, bool former_knows);
    void depose(std::size_t node);
    void propose(Proposal proposal);
    void commit();
    void apply(const Proposal& proposal, bool answers);
    void close(CloseReason reason, bool answers);
    void push(bool answers);
    void hears(std::size_t node, const ToNode& message);
    void serve(std::size_t node);
    void attach(std::size_t node, const group::Received& received, const group::Session& session);
    void expire();

    // The application.
    void work();
    void call();
    void ended(std::uint64_t ticket, bool never_sent);
    void check_at_end();

    Dice dice_;
    Time now_ = std::chrono::seconds(1000);
    Time heals_at_;
    bool healed_ = false;
    std::multimap<Time, std::function<void()>> events_;
    std::string failure_;
    bool inside_;
    bool challenges_;
    std::size_t most_outstanding_;
    Duration session_timeout_;
    std::optional<Machine> machine_;

    std::array<Node, nodes> node_;
    std::optional<std::size_t> leader_ = 0;
    std::uint64_t full_ = 0;  ///< percent of the commands for which the leader has no room
    std::deque<Proposal> proposals_;
    std::optional<group::Session> session_;
    std::set<std::uint64_t> closed_;  ///< sessions
    std::uint64_t position_ = 0;
    Time heard_{};
    std::vector<std::uint64_t> effects_;          ///< the order in which they were called, of what took effect
    std::map<std::uint64_t, std::string> texts_;  ///< of each number

    std::map<std::uint64_t, Call> calls_;
    std::uint64_t tickets_ = 0;
    std::uint64_t order_ = 0;
    std::map<std::uint64_t, bool>
        orders_;  ///< of commands that were accepted; whether it is known that it was not sent
    std::uint64_t pushes_ = 0;
    std::uint64_t replies_ = 0;
    std::size_t waiting_pushes_ = 0;
    std::size_t waiting_bytes_ = 0;
    StateChanged state_;
    bool over_ = false;
};

}  // namespace cluster::client
