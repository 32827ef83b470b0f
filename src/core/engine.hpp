#pragma once

#include "base/time.hpp"
#include "core/action.hpp"
#include "core/checks.hpp"
#include "core/credit_pool.hpp"
#include "core/departure.hpp"
#include "core/dialling.hpp"
#include "core/forgotten.hpp"
#include "core/gossip.hpp"
#include "core/guests.hpp"
#include "core/joins.hpp"
#include "core/member_exchange.hpp"
#include "core/part.hpp"
#include "core/patience.hpp"
#include "core/sending.hpp"
#include "core/suspicions.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cluster::core {

/// One node's decisions, and the only part of the core that the network and the simulator talk to. It decides what
/// concerns several of its parts: which link carries a session, who is in view, when a session ends.
///
/// Every event carries the time. An event leads to actions, to be taken with `take_actions` and carried out in order.
/// It also leads to links with something to write, to be taken with `take_ready` and served with `pull`. Not
/// thread-safe: its driver serialises all calls. Has no socket, clock, thread or randomness of its own.
///
/// 1. A link is attached to at most one session, a session to at most one link.
/// 2. A peer is in view from the moment it attaches until it leaves, fails, is removed, or removes us.
/// 3. Actions that add and remove the same peer alternate.
class Engine : private Shared {
public:
    using Body = Sending::Body;
    using Outcome = Sending::Outcome;
    using Skip = Sending::Skip;
    using PeerGauges = core::PeerGauges;

    Engine(EngineOptions options, Time now);

    // Commands: what the application asks for.

    /// Answered by an AddDone under the returned number.
    std::uint64_t add(const Address& address, Time now);
    /// Answers it with `errc::cancelled`, unless it has an answer.
    void cancel_add(std::uint64_t number);

    /// To all in view that are no observers. All receivers get it or none, except those that are skipped. The time is
    /// needed only to find out which peers are slow. It may be left out of a first attempt: beside a small message,
    /// asking for it costs much.
    Outcome broadcast(const Body& body, Skip skip, std::optional<Time> now = std::nullopt) {
        return sending_.broadcast(body, skip, now);
    }
    /// On the client channel the receiver may also be a guest that is here, whether it has a link or not. There each
    /// message that is taken comes, in order, unless the session ends before.
    Outcome send(const PeerId& to, const Body& body, Skip skip, std::optional<Time> now = std::nullopt) {
        return sending_.send(to, body, skip, now);
    }
    /// To several peers. All get it or none, except those that are skipped; a peer that is named twice gets it once.
    Outcome send(std::span<const PeerId> to, const Body& body, Skip skip, std::optional<Time> now = std::nullopt) {
        return sending_.send(to, body, skip, now);
    }
    /// The application has taken messages of `session` worth `bytes` of credit.
    void taken(std::uint64_t session, std::uint64_t bytes, Time now);

    bool remove(const PeerId& id, Time now);
    /// Forgets one peer that is out of view and has no link, with its session. This also happens by itself when there
    /// are more than this node keeps. False if there is none.
    bool forget_one(Time now);
    void set_tags(Tags tags, Time now);
    /// The interfaces of this machine have changed. For both arguments see `EngineOptions`.
    void listening(std::vector<Address> addresses, std::vector<std::string> zones, Time now) {
        gossip_.listening(std::move(addresses), std::move(zones), now);
    }

    /// Shared membership. What this node itself enrols and withdraws is not reported by an action. The result is zero,
    /// `errc::too_many_members` or `errc::closed`.
    errc put_member(RecordRef record) { return members_.put(std::move(record)); }
    void erase_member(const MemberId& id) { members_.erase(id); }
    /// Whether all in view have acknowledged what this node enrolled and withdrew up to `version`. If not, a
    /// MembersSeenByMore comes when it is worth asking again.
    bool members_seen(std::uint64_t version) { return members_.seen(version); }
    /// Whether each seed has been tried once, all in view have told whom they have in view, and those have been tried
    /// once, too. If not, a Settled comes when all this is true.
    bool settled() { return dialling_.settled(); }

    /// Answered by a LeaveDone.
    void leave(Time now);

    // Link events.

    /// A node has connected from `remote`. 0: there are too many links; close it.
    LinkId accepted(const Address& remote, Time now);
    /// `link` was accepted and is encrypted with a secret of guests: nobody may come over it as a peer.
    void takes_guests_only(LinkId link);
    /// A dial has reached `remote`.
    void connected(LinkId link, const Address& remote, Time now);
    void dial_failed(LinkId link, errc error, Time now);
    void resolved(std::uint64_t target, std::vector<Address> addresses, errc error, Time now);
    /// Frames that came in, one after the other. False: the link is no longer wanted; forget what else came.
    bool received(LinkId link, Control&& frame, Time now);
    bool received(LinkId link, const DataRun& run, Time now);
    /// What came in breaks a rule.
    void violated(LinkId link, Rule rule, Time now);
    /// The other side ended the link, or it broke.
    void link_ended(LinkId link, Time now);

    // Outputs: what is to be done and written, and when to ask again.

    void take_actions(std::vector<Action>& out);
    bool has_actions() const noexcept {
        return !actions_.empty() || sending_.has_reports() || departure_.look_due() || dialling_.settle_due();
    }
    /// Links that have something to write since the last call.
    void take_ready(std::vector<LinkId>& out) { peers_.take_ready(out); }
    bool has_ready() const noexcept { return peers_.has_ready(); }
    /// Both together.
    struct Output {
        std::vector<Action> actions;
        std::vector<LinkId> ready;
    };
    /// False if there was none.
    bool take_output(Output& out);
    bool has_output() const noexcept { return has_actions() || has_ready(); }
    /// About `budget` bytes of what `link` writes next, in whole frames. True if there is more.
    bool pull(LinkId link, std::size_t budget, OutputSink& sink, Time now);
    /// When `tick` has something to do.
    Time deadline();
    void tick(Time now);

    // Queries.

    const Facts& self() const noexcept { return roster_.self(); }
    bool leaving() const noexcept { return leaving_; }
    std::vector<Peer> peers() const { return peers_.describe(peers_.view); }
    /// Those out of view, too; see `Node::peers(Everybody)`.
    std::vector<Peer> everybody() const { return peers_.everybody(); }
    /// The peers that a broadcast would reach now.
    std::vector<Peer> audience() const { return peers_.describe(peers_.audience); }
    std::optional<Peer> peer(const PeerId& id) const;
    std::size_t peer_count() const noexcept { return peers_.view.size(); }
    std::size_t guest_count() const noexcept { return guests_.count(); }
    std::size_t suspect_count() const noexcept { return peers_.suspect_count(); }
    std::size_t unreachable_count() const noexcept { return peers_.unreachable_count(); }
    /// Of all in view. Nothing once the node leaves, because its view then means nothing.
    std::optional<std::vector<Whereabouts>> whereabouts() const;
    /// `peer=... name="..."`, as log lines say it; without a name if it is not known.
    std::string who(const PeerId& id) const { return peers_.who(id); }
    /// The peer whose session `link` carries, if any.
    std::optional<PeerId> attached_to(LinkId link) const { return peers_.attached_to(link); }
    std::size_t link_count() const noexcept { return peers_.links.size(); }
    std::uint64_t members_version() const noexcept { return members_.version(); }
    const Counters& counters() const noexcept { return counters_; }
    std::vector<PeerGauges> gauges() const { return peers_.gauges(); }
    unsigned slowness() const noexcept { return detector_.slowness(); }
    std::size_t pinned() const noexcept { return sending_.pinned(); }

private:
    struct Author;

    // engine.cpp: credit, leaving, the clock
    void grow_credit(Pair& pair, bool active);
    void release_credit(Pair& pair);
    void give_credit(Pair& pair, bool active, Time now);
    void serve_waiting(Time now);
    /// Links of peers that are not in view and that do not end by themselves. `attaching`: those that are attaching,
    /// too.
    void drop_strangers(bool attaching, Time now);
    void queue_goodbyes(Time now);
    void linger_ends(Time now);
    void finish_leaving();
    void dial(Time now);
    void beat(Time now);
    void conclude(Time now);
    void fire(EngineTimers::Key key, Time now);

    // engine_view.cpp: who is in view
    void enter(Pair& pair, Link& link, Time now);
    void leave_view(Pair& pair, RemovalReason reason, Time now);
    void take_over_addresses(const Pair& pair, Time now);
    void agree(Pair& pair, const Hello& hello) const;
    void believe(Pair& pair, const Hello& hello, const Link& link, Time now);
    void on(Link& link, const PeerList& list, Time now);
    void learn(const Pair& speaker, const Facts& facts, Time now);

    // engine_links.cpp: a link, until it carries a session and when it ends
    using Shared::log;
    void log(LogLevel level, const Link& link, std::string_view event, const std::string& why);
    void greet(Link& link, Time now);
    void on(Link& link, Hello&& hello, Time now);
    struct Objection {
        Refusal reason = Refusal::duplicate;
        std::string_view text = {};  ///< a literal, for the people at the other end
    };
    std::optional<Objection> objection(const Link& link, const Hello& hello);
    std::optional<Refusal> no_place(const Pair& pair);
    bool full(const Pair* pair) const;
    bool crowded(std::size_t more) const;
    std::size_t unattached(bool accepted_only) const;
    void admit(const std::string& host, Time now);
    bool just_attached(const Pair* pair, Refusal reason, Time now) const;
    /// `details`: what the log adds to the reason.
    void refuse(Link& link, const Objection& objection, Time now, std::optional<Proof> proof = std::nullopt,
                const std::string& details = {});
    void refuse(Link& link, Refusal reason, Time now, std::optional<Proof> proof = std::nullopt) {
        refuse(link, Objection{reason}, now, proof);
    }
    void on(Link& link, const Refuse& refuse, Time now);
    bool usable(Link& link, const Control& frame, Time now);
    void break_rule(Link& link, Rule rule, Time now);
    void dial_came_to_nothing(Link& link, errc error, Time now);
    void unlink(Link& link, Time now);
    void drop(LinkId id, std::string_view why, errc error, Time now);
    void close(Link& link);
    void cancel_timers(const Pair& pair);
    void sweep();

    // engine_guests.cpp: programs outside of the cluster
    std::optional<Objection> objection_to_guest(const Link& link, const PeerId& id);
    Pair& place_for_guest(const PeerId& id, Time now);
    void welcome(Pair& pair, const Hello& hello, Link& link, Time now);
    void end_guest(Pair& pair, const std::string& why, Time now);
    void watch_guest(Pair& pair, Time now);
    bool within_limits(Pair& pair, Time now);
    void leave_guests(Time now);

    // engine_sessions.cpp: a session, from OFFER to GOODBYE
    void on(Link& link, Offer&& offer, Time now);
    void decide(Link& link, Time now);
    void decide_waiting(Pair& pair, Time now);
    void fence(Pair& pair, Time now);
    void begin_attach(Link& link, Time now);
    void on(Link& link, const Attach& attach, Time now);
    void on(Link& link, const Attached& attached, Time now);
    void attach(Link& link, Time now);
    void completed(Link& link, Time now);
    void make_session(Pair& pair);
    ForgottenSessions& forgotten(const Pair& pair) noexcept { return pair.is_guest() ? forgotten_guests_ : forgotten_; }
    void drop_session(Pair& pair, LinkId keep, RemovalReason reason, errc given_up, Time now);
    void begin_anew(Pair& pair, LinkId keep, Time now);
    void discard_parts(Pair& pair, Time now);
    void forget_session(Pair& pair, Time now);
    void discard_unawaited();
    void take_over_outstanding(Pair& pair);
    void report_outstanding(Pair& pair, std::uint64_t messages);
    void on(Link& link, const Gap& gap, Time now);
    void on(Link& link, const Ack& ack, Time now);
    void after_data(Pair& pair, Link& link, Time now);
    void say_goodbye(Link& link, Farewell why, Time now);
    void on(Link& link, const Goodbye& goodbye, Time now);
    void session_over(Pair& pair, Time now);

    // What each of them knows stands at the head of its file, and in a line in src/README.md.
    Joins joins_{*this};
    MemberExchange members_{*this};
    Checks checks_{*this};
    Patience patience_{*this, joins_};
    Suspicions suspicions_{*this, patience_, checks_, members_};
    Dialling dialling_{*this, joins_, suspicions_, patience_};
    Gossip gossip_{*this};
    Guests guests_{*this};
    Sending sending_{*this};
    Departure departure_{*this};
    CreditPool credit_;
    ForgottenSessions forgotten_;
    ForgottenSessions forgotten_guests_;  ///< apart, so that they do not take the place of peers
    Time remembered_until_ = never;       ///< addresses of a former run are dialled until then
    std::vector<Batch> batches_;          ///< of one run, kept for its memory
    std::vector<std::uint64_t> idle_;     ///< numbers of pairs that may have become needless
};

}  // namespace cluster::core
