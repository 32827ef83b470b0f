#pragma once

#include "base/random.hpp"
#include "base/time.hpp"
#include "base/timers.hpp"
#include "core/action.hpp"
#include "core/arena.hpp"
#include "core/credit_pool.hpp"
#include "core/detector.hpp"
#include "core/dial_plan.hpp"
#include "core/forgotten.hpp"
#include "core/frame.hpp"
#include "core/own_addresses.hpp"
#include "core/peers_file.hpp"
#include "core/registry.hpp"
#include "core/roster.hpp"
#include "core/session.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace cluster::core {

/// What the engine needs of `cluster::Options`, checked and parsed.
struct EngineOptions {
    std::string cluster;
    /// Who this node is; its version is 1.
    Facts self;
    /// It gets no broadcasts.
    bool observer = false;
    /// Where the node listens, as the system says, the most likely address first; empty: at those of `self`.
    std::vector<Address> listening = {};
    /// Not the addresses of `self` are published, but those where it listens, in the order in which peers see it there.
    bool publish_observed = false;
    /// Interfaces over which link-local IPv6 addresses can be dialled.
    std::vector<std::string> zones = {};
    std::vector<Address> seeds;
    /// Where peers were in a former run: dialled for `forget_after`, behind all others.
    std::vector<Address> remembered = {};
    Duration heartbeat{};
    Duration suspicion{};
    Duration reconnect_min{};
    Duration reconnect_max{};
    Duration resume_for{};
    Duration forget_after{};
    Duration connect_timeout{};
    Duration handshake_timeout{};
    Duration attach_timeout{};
    Duration linger{};
    /// For how long an outbox that has filled up may take to drain by half before its peer is slow.
    Duration send_timeout{};
    std::size_t inbox_bytes = 0;
    std::size_t outbox_bytes = 0;
    std::size_t total_outbox_bytes = 0;
    std::size_t max_message = 0;
    std::size_t max_peers = 0;
    /// The members of others, each with `Registry::member_cost`.
    std::size_t members_bytes = std::size_t{256} << 20;
    /// Whether a reply of this peer to this call is waited for; otherwise one that comes in parts is not kept. Empty:
    /// all are. Called from within the engine, which it must not use.
    std::function<bool(const PeerId&, std::uint64_t call)> awaits = {};
    RandomSource random;
};

/// What the engine counts; see `cluster::Stats` for the meaning.
struct Counters {
    std::uint64_t messages_sent = 0;
    std::uint64_t messages_received = 0;
    std::uint64_t messages_given_up = 0;
    std::uint64_t messages_lost = 0;
    std::uint64_t dials = 0;
    std::uint64_t dials_failed = 0;
    std::uint64_t links_accepted = 0;
    std::uint64_t links_lost = 0;
    std::uint64_t sessions_resumed = 0;
    std::uint64_t lists_sent = 0;
    std::uint64_t lists_received = 0;
    std::uint64_t protocol_errors = 0;
    std::uint64_t probes_sent = 0;
    std::uint64_t suspicions = 0;
    std::uint64_t failures = 0;
    std::uint64_t refusals_sent = 0;
    std::uint64_t refusals_received = 0;
};

/// One node's decisions: composes roster, dial plan, sessions and credit, and is the only part of the core that the
/// network and the simulator talk to.
///
/// Every event carries the time; what follows from it are actions, to be taken with `take_actions` and carried out in
/// order, and links with something to write, to be taken with `take_ready` and served with `pull`. Not thread-safe:
/// its driver serialises all calls. Has no socket, clock, thread or randomness of its own.
///
/// 1. A link is attached to at most one session, a session to at most one link.
/// 2. A peer is in view from the moment it attaches until it leaves, fails, is removed, or removes us.
/// 3. Actions that add and remove the same peer alternate.
class Engine {
public:
    Engine(EngineOptions options, Time now);
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    // What the application asks for.

    /// Answered by AddDone under the returned number.
    std::uint64_t add(const Address& address, Time now);
    /// It is answered with `errc::cancelled`, unless it has an answer.
    void cancel_add(std::uint64_t request);

    /// A message: `owner` is set where the bytes may be kept instead of copied.
    struct Body {
        std::span<const std::byte> bytes;
        detail::BlockRef owner;
        std::uint64_t call = 0;  ///< not 0: it wants a reply, or is the reply, to the call of this number
        bool reply = false;
        bool error = false;  ///< of a reply: the bytes are a code and a text of at most `max_error_text` bytes

        std::uint16_t channel() const noexcept { return reply ? reply_channel : user_channel; }
        std::size_t size() const noexcept { return bytes.size() + (call == 0 ? 0 : call_size); }
        /// With the headers of the frames that it takes.
        std::size_t framed_size() const noexcept {
            const std::size_t frames = size() == 0 ? 1 : (size() + max_chunk - 1) / max_chunk;
            return size() + frames * FrameHeader::size;
        }
    };
    struct Outcome {
        errc error{};  ///< outbox_full, not_in_view, message_too_large, unsupported, closed; zero for success
        std::size_t count = 0;
        std::vector<PeerId> full;  ///< whose outbox has no room; empty where it is the node's
        Time again = never;        ///< with `Skip::slow`: when it is worth asking again although no room was freed
    };
    /// Which receivers get a gap in place of a message, instead of keeping it from all.
    enum class Skip : std::uint8_t {
        nobody,
        slow,  ///< who is slow, see `Backlog`
        full,  ///< everybody without room
    };
    /// To all in view but observers, all or none but for those that are skipped. The time is needed only to find out
    /// who is slow: it may be left out of a first attempt, because to ask for it costs much beside a small message.
    Outcome broadcast(const Body& body, Skip skip, std::optional<Time> now = std::nullopt);
    Outcome send(const PeerId& to, const Body& body, Skip skip, std::optional<Time> now = std::nullopt);
    /// To several, all or none but for those that are skipped; to one that is named twice, once.
    Outcome send(std::span<const PeerId> to, const Body& body, Skip skip, std::optional<Time> now = std::nullopt);
    /// Whom a broadcast would reach now.
    std::vector<Peer> audience() const;
    /// `peer=... name="..."`, as log lines say it; without a name if it is not known.
    std::string who(const PeerId& id) const;

    bool remove(const PeerId& id, Time now);
    /// Forgets one peer that is out of view and has no link, its session included: what happens by itself when there
    /// are more than this node keeps. False if there is none.
    bool forget_one(Time now);
    void set_tags(Tags tags, Time now);

    // Shared membership. What this node itself enrols and withdraws is not reported by an action.
    /// Zero, `errc::too_many_members` or `errc::closed`.
    errc put_member(RecordRef record);
    void erase_member(const MemberId& id);
    std::uint64_t members_version() const noexcept { return registry_.version(); }
    /// Whether all in view have acknowledged what this node enrolled and withdrew up to `version`. If not, a
    /// MembersSeenByMore comes when it is worth asking again.
    bool members_seen(std::uint64_t version);

    /// Whether each seed has been tried once, all in view have told whom they have in view, and those have been tried
    /// once, too. If not, a Settled comes when it is so.
    bool settled();

    /// Answered by LeaveDone.
    void leave(Time now);
    bool leaving() const noexcept { return leaving_; }
    /// The application has taken messages of `session` worth `bytes` of credit.
    void taken(std::uint64_t session, std::uint64_t bytes, Time now);

    std::vector<Peer> peers() const;
    /// Those out of view, too; see `Node::peers(Everybody)`.
    std::vector<Peer> everybody() const;
    std::optional<Peer> peer(const PeerId& id) const;
    std::size_t peer_count() const noexcept { return view_.size(); }
    const Facts& self() const noexcept { return roster_.self(); }
    /// Of all in view; none once the node leaves, since then its view means nothing.
    std::optional<std::vector<Whereabouts>> whereabouts() const;

    const Counters& counters() const noexcept { return counters_; }
    struct PeerGauges {
        PeerId id;
        std::string name;
        std::uint64_t outbox_bytes = 0;
        std::uint64_t inbox_bytes = 0;
        std::uint64_t bytes_sent = 0;
        std::uint64_t bytes_received = 0;
        std::uint64_t attachments = 0;
        Duration round_trip{};
    };
    std::vector<PeerGauges> gauges() const;
    /// Whose session `link` carries, if any.
    std::optional<PeerId> attached_to(LinkId link) const;
    std::size_t link_count() const noexcept { return links_.size(); }
    std::size_t suspect_count() const noexcept;
    std::size_t unreachable_count() const noexcept;
    unsigned slowness() const noexcept { return detector_.slowness(); }
    std::size_t pinned() const noexcept { return arena_.pinned(); }

    /// The interfaces of this machine have changed; see `EngineOptions` for both.
    void listening(std::vector<Address> addresses, std::vector<std::string> zones, Time now);

    // What happens to links.

    /// Somebody connected from `remote`. 0: there are too many links; close it.
    LinkId accepted(const Address& remote, Time now);
    /// A dial has reached `remote`.
    void connected(LinkId link, const Address& remote, Time now);
    void dial_failed(LinkId link, errc error, Time now);
    void resolved(std::uint64_t target, std::vector<Address> addresses, errc error, Time now);
    /// Frames that came in, one after the other. False: the link is not wanted any more; forget what else came.
    bool received(LinkId link, Control&& frame, Time now);
    bool received(LinkId link, const DataRun& run, Time now);
    /// What came in breaks a rule of framing.
    void violated(LinkId link, Rule rule, Time now);
    /// The other side ended the link, or it broke.
    void link_ended(LinkId link, Time now);

    // What is to be done.

    void take_actions(std::vector<Action>& out);
    bool has_actions() const noexcept {
        return !actions_.empty() || !skipped_.empty() || left_due_ || settle_due_;
    }
    /// Links that have something to write since the last call.
    void take_ready(std::vector<LinkId>& out);
    bool has_ready() const noexcept { return !ready_.empty(); }
    /// About `budget` bytes of what `link` writes next, in whole frames. True if there is more.
    bool pull(LinkId link, std::size_t budget, OutputSink& sink, Time now);
    /// When `tick` has something to do.
    Time deadline();
    void tick(Time now);

private:
    struct Pair;

    enum class LinkState : std::uint8_t {
        dialling,
        greeting,   ///< no HELLO read
        greeted,    ///< smaller id: no OFFER read
        waiting,    ///< smaller id: an ATTACH of the pair is under way on another link
        attaching,  ///< smaller id: ATTACH sent
        offered,    ///< larger id: OFFER sent
        attached,
        parting,    ///< own GOODBYE said
        refusing,   ///< own REFUSE said
    };

    /// One connection, dialled or accepted.
    struct Link {
        LinkId id = 0;
        LinkState state = LinkState::greeting;
        std::uint64_t target = 0;  ///< the dial plan's, if it was dialled; 0 once that has its answer
        std::uint64_t round = 0;   ///< of that target
        Address wanted;            ///< the address that was dialled, if it was dialled
        Time begun{};              ///< when
        bool dialled = false;
        Address remote;
        Pair* pair = nullptr;
        Nonce our_nonce{};
        Nonce peer_nonce{};
        std::unique_ptr<Hello> hello;  ///< as read, until it is believed
        Offer offer;
        bool completed = false;       ///< the peer is known to list us
        bool goodbye_heard = false;
        Farewell farewell = Farewell::leaving;
        Time list_sent{};
        Registry::Feed feed;          ///< how far the peer has been told of this node's members

        // What is to be written; each at most once, in this order.
        bool queued = false;
        bool hello_due = false;
        bool offer_due = false;
        bool attach_due = false;
        std::optional<Attached> attached_due;
        bool ack_due = false;
        bool list_due = false;
        bool members_seen_due = false;
        std::optional<std::uint64_t> pong_due;
        bool ping_due = false;
        std::vector<Inquiry> inquiries;
        std::vector<Finding> findings;
        std::vector<PeerId> news;
        std::vector<Gap> gaps_due;  ///< before the goodbye
        std::optional<Goodbye> goodbye_due;
        std::optional<Refuse> refuse_due;

        std::uint64_t ping_sequence = 0;
        Time ping_sent{};
    };

    /// This node and one other.
    struct Pair {
        PeerId id;
        std::uint64_t number = 0;
        std::unique_ptr<Session> session;
        std::vector<LinkId> links;
        bool in_view = false;
        PeerState state = PeerState::failed;
        bool first_hand = false;       ///< we met it before anybody told us of it
        Detector::Watch watch;
        Time named{};                  ///< since when its addresses may lead to it, as somebody told us
        Address reached;               ///< where a dial of ours last attached it
        std::vector<Address> proven;   ///< where dials of ours found it: where all refuse, it is gone
        std::vector<Address> refused;  ///< of its addresses, those that have refused since it lost its link
        std::vector<Address> barren;   ///< where dials of ours sought it, and did not find it since
        std::vector<PeerId> asked;     ///< who was asked about it and has not answered
        Time asked_until{};
        bool heard_elsewhere = false;  ///< as one of those said
        errc trouble{};                ///< why it has no link, as far as is known
        bool told_out_of_reach = false;  ///< the log says that it cannot be reached
        std::vector<PeerId> askers;    ///< who wants to know about it
        std::uint64_t max_message = 0;
        std::uint64_t features = 0;
        std::uint64_t members_seen = 0;  ///< the version of this node's members that it has acknowledged
        bool members_known = false;      ///< it has told of all of its own
        bool listed = false;             ///< it has told whom it has in view, or had two heartbeats for that
        Duration resume_for{};
        std::uint64_t unsettled = 0;   ///< messages of its former session
        Outbox::Settled skipped;       ///< given up for want of room, and not reported yet
        Time entered{};                ///< when it was last attached
        Duration known{};              ///< how long it has been attached in all, this time not counted
        std::uint64_t attachments = 0;
        std::uint64_t bytes_sent = 0;
        std::uint64_t bytes_received = 0;
        Duration round_trip{};
    };

    struct Request {
        std::uint64_t target = 0;
        std::optional<PeerId> peer;
    };

    enum class Timer : std::uint8_t {
        link,       ///< of a link: handshake, attaching or draining takes too long
        ack,        ///< of a pair
        watch,      ///< of a pair: judge its silence
        inquiry,    ///< of a pair: those who were asked about it have had their time
        resume,     ///< of a pair
        forget,     ///< of a pair
        reach,      ///< of a pair: say that it is out of reach, if it is
        request,    ///< of an `add`
        news,       ///< tell others whom we met
        beat,       ///< probe somebody
        check,      ///< see whether a peer that dialled us can be dialled
        expiry,     ///< of what the roster remembers
        linger,
    };
    using Key = Timers<Timer>::Key;

    // engine.cpp: the application's side and the clock
    void room_freed();
    Outcome room(std::span<Pair* const> pairs, const Body& body, Skip skip, std::optional<Time> now);
    Outcome queue(std::span<Pair* const> pairs, const Body& body, Skip skip, std::optional<Time> now);
    void enqueue(std::span<Pair* const> pairs, const Body& body, std::span<const PeerId> skipped);
    Pair* pair_with_session(std::uint64_t session);
    void give_credit(Pair& pair, bool active, Time now);
    void serve_waiting(Time now);
    void queue_goodbyes(Time now);
    void finish_leaving();
    void check_left();
    void fire(Key key, Time now);
    void dial_now(Time now);
    bool met(const PeerId& id) const;
    void unblock(const Address& address);
    bool occupied(const PeerId& wanted, const Address& address) const;
    bool leads_to_linked(const Address& address) const;
    bool publishes(const PeerId& id, const Address& address) const;
    bool awaited(std::uint64_t target) const;
    void round_failed(const DialPlan::Round& round, Time now);
    void answer(std::uint64_t request, errc error);
    void answer_adds(Pair& pair);
    void refuse_adds(const Link& link, Refusal reason);

    // engine_view.cpp: who is in view
    void enter(Pair& pair, Link& link, Time now);
    void leave_view(Pair& pair, RemovalReason reason, Time now);
    void update_audience(Pair& pair);
    bool all_tried() const;
    bool is_settled() const;
    /// Something has come or ended for which `settled` may have waited.
    void may_be_settled() noexcept { settle_due_ = settling_; }
    void take_over_addresses(const Pair& pair, Time now);
    void surrender(Pair& pair, errc reason);
    void report_skipped(Pair& pair);
    void report_given_up(Pair& pair, const Outbox::Settled& settled, errc reason);
    std::string who(const Pair& pair) const;
    std::string who(const Link& link) const;
    void believe(Pair& pair, const Hello& hello, const Link& link, Time now);
    void learn(const Pair& speaker, const Facts& facts, Time now);
    void publish_own(Time now);
    void warn_of_loopback(const std::vector<Address>& dialled);
    std::size_t max_known() const noexcept { return 2 * options_.max_peers; }
    void announce(const PeerId& id, Time now);
    void tell_news();
    Peer describe(const Pair& pair) const;
    std::vector<Address> addresses_of(const PeerId& id) const;
    std::vector<Address> dialable(const std::vector<Address>& addresses) const;
    Facts visible(const Facts& facts, const Link& link) const;
    std::uint64_t digest();
    std::uint64_t sum_of_facts() const;

    // engine_detection.cpp: who is alive
    void beat(Time now);
    Pair* next_on_the_ring();
    Pair* longest_silent();
    void probe(Pair& pair, bool hearsay, Time now);
    void heard(Pair& pair, Time now) {
        pair.watch.heard = now;
        if (pair.watch.in_doubt()) answered(pair, now);
    }
    void answered(Pair& pair, Time now);
    void review(Pair& pair, Time now);
    void found_silent(Pair& pair, Time now);
    void lost_link(Pair& pair, Time now);
    void suspect(Pair& pair, Time now);
    void conclude(Pair& pair, Time now);
    void fail(Pair& pair, std::string_view why, Time now);
    bool holds_back(Time now);
    void was_late(Duration lag, Time now);
    Duration patience(const Link& link) const;
    void ask(Pair& pair, std::size_t how_many, Time now);
    void inquire(Link& link, const PeerId& id, bool wants_answer);
    void answer_askers(Pair& pair, bool heard);
    void tell(Link& link, const PeerId& id, bool heard);
    void vouch(Pair& pair, Time now);
    void expect_link(const Pair& pair, Time now);
    void out_of_reach(Pair& pair, Time now);
    errc why_out_of_view(const Pair& pair) const;
    /// A dial that came to nothing.
    struct Attempt {
        Address address;
        Time begun{};
        bool refused = false;  ///< by the address itself
        std::optional<PeerId> sought;
    };
    void came_to_nothing(const Attempt& attempt, Time now);
    void await_dial(const PeerId& sought, Time now);
    Time tried_by(const Pair& pair, const Address& address) const;
    void verify(Pair& pair, Time now);
    static void found_at(Pair& pair, const Address& address);
    void leads_to(const Address& address, const PeerId& found, Time now);
    void check_soon(const Pair& pair, Time now);
    Duration check_pause() const;
    void check_somebody(Time now);
    void on(Link& link, Inquiry&& inquiry, Time now);
    void on(Link& link, Finding&& finding, Time now);
    static bool exists(const Pair& pair) noexcept {
        return pair.in_view || pair.state == PeerState::unreachable;
    }

    // engine_links.cpp: a link, until it carries a session and when it ends
    static constexpr Duration drain_timeout = std::chrono::seconds(1);  ///< R27, R31: for reading our last words
    Link& open(LinkId id, const Address& remote);
    void greet(Link& link, Time now);
    void on(Link& link, Hello&& hello, Time now);
    void on(Link& link, Refuse&& refuse, Time now);
    std::optional<Refusal> objection(const Link& link, const Hello& hello);
    bool full(const Pair* pair) const;
    bool crowded(std::size_t more) const;
    std::size_t unattached(bool accepted_only) const;
    void admit(const std::string& host, Time now);
    Request* requested(const Link& link);
    void bind_target(Link& link, Pair& pair, Time now);
    void end_target(Link& link, errc error, Time now);
    bool just_attached(const Pair* pair, Refusal reason, Time now) const;
    /// `details`: what the log says of it beside the reason.
    void refuse(Link& link, Refusal reason, Time now, std::optional<Proof> proof = std::nullopt,
                const std::string& details = {});
    void break_rule(Link& link, Rule rule, Time now);
    void unlink(Link& link, Time now);
    void drop(LinkId id, std::string_view why, errc error, Time now);
    void close(Link& link);
    void cancel_timers(const Pair& pair);
    void sweep();
    Pair& pair_of(const PeerId& id);
    Link* find(LinkId id);
    Link* attached_link(const Pair& pair);

    // engine_sessions.cpp: a session, from OFFER to GOODBYE
    void on(Link& link, Offer&& offer, Time now);
    void on(Link& link, Attach&& attach, Time now);
    void on(Link& link, Attached&& attached, Time now);
    void on(Link& link, Gap&& gap, Time now);
    void on(Link& link, Ack&& ack, Time now);
    void on(Link& link, Goodbye&& goodbye, Time now);
    void on(Link& link, PeerList&& list, Time now);
    void on(Link& link, Ping&& ping, Time now);
    void on(Link& link, Pong&& pong, Time now);
    void decide(Link& link, Time now);
    void decide_waiting(Pair& pair, Time now);
    void fence(Pair& pair, Time now);
    void begin_attach(Link& link, Time now);
    void attach(Link& link, Time now);
    void completed(Link& link, Time now);
    void make_session(Pair& pair);
    void drop_session(Pair& pair, LinkId keep, RemovalReason reason, errc given_up, Time now);
    void begin_anew(Pair& pair, LinkId keep, Time now);
    void discard_parts(Pair& pair, Time now);
    void discard_unawaited();
    void take_over_unsettled(Pair& pair);
    static Batch stamp(const Pair& pair);
    void report_unsettled(Pair& pair, std::uint64_t messages);
    bool usable(Link& link, Time now);
    void after_data(Pair& pair, Link& link, Time now);
    void say_goodbye(Link& link, Farewell why, Time now);
    void session_over(Pair& pair, Time now);

    // engine_members.cpp: shared membership
    void on(Link& link, MemberList&& list, Time now);
    void on(Link& link, MembersSeen&& seen, Time now);
    bool members_complete() const;
    bool make_room_for_members(const Pair& speaker, Time now);
    bool owes_members_seen(const Pair& pair);
    void tell_members();
    bool write_members(const Pair& pair, Link& link, std::size_t budget, OutputSink& sink, Time now);
    void repeat_members(Time now);
    void forget_withdrawals();
    void members_progress();
    void report_members(std::vector<MemberChange> changes);
    void doubt_members(const Pair& pair, bool suspect);
    void forget_members(Pair& pair, bool graceful);

    // engine_output.cpp: what is to be written and done
    void write_list(std::span<const Facts* const> facts, const Link& link, OutputSink& sink);
    Offer make_offer(const Pair& pair, const Link& link) const;
    Attach make_attach(Pair& pair, const Link& link);
    void compact();
    void ready(Link& link);
    void log(Severity severity, std::string text);
    /// About a link, which is a stranger's until it is attached: anybody can claim to be a peer. The cause is the
    /// event, the first word of `why` and the host.
    void log(Severity severity, const Link& link, std::string_view event, const std::string& why);

    EngineOptions options_;
    OwnAddresses own_;
    Roster roster_;
    Dice dice_;
    DialPlan plan_;
    Detector detector_;
    Registry registry_;
    Arena arena_;
    detail::BlockPool blocks_;
    CreditPool credit_;
    ForgottenSessions forgotten_;
    Timers<Timer> timers_;
    std::unordered_map<LinkId, Link> links_;
    std::map<PeerId, Pair> pairs_;
    std::unordered_map<std::uint64_t, Pair*> numbered_;  ///< pairs, and the pairs of sessions
    std::vector<Pair*> view_;                            ///< sorted by id
    std::vector<Pair*> audience_;                        ///< of those the ones that are no observers, sorted as well
    std::map<std::uint64_t, Request> requests_;
    std::vector<PeerId> news_;
    std::vector<Action> actions_;
    std::vector<LinkId> ready_;
    std::vector<Batch> batches_;
    std::vector<Pair*> skipped_;  ///< pairs in view that have something to report of that kind
    std::vector<PeerId> idle_;  ///< pairs that may have become needless
    std::deque<PeerId> unproven_;  ///< peers that dialled us, to be checked
    Time unproven_since_{};        ///< since when there are any
    Time last_newcomer_{};         ///< when one was last attached by its own dial
    std::int64_t newcomers_ = 0;   ///< of those, how many came less than a heartbeat after the one before
    Time last_added_{};            ///< when somebody last came into view
    std::size_t reach_lines_ = 0;  ///< that were logged since `reach_lines_since_`
    Time reach_lines_since_{};
    std::uint64_t beats_ = 0;
    std::optional<std::uint64_t> digest_;  ///< until somebody comes into existence or leaves it
    std::uint64_t digest_of_ = 0;          ///< after so many changes of the roster
    Time held_back_until_{};  ///< this node was late: it reads before it judges
    bool held_back_ = false;  ///< since timers fired last
    Counters counters_;
    std::uint64_t last_number_ = 0;
    bool warned_of_loopback_ = false;
    Outbox::Settled broadcast_;  ///< all there ever was, whoever was in view
    bool room_wanted_ = false;
    bool members_complete_ = true;
    bool members_awaited_ = false;
    bool leaving_ = false;
    bool linger_over_ = false;
    bool left_ = false;
    bool settling_ = false;    ///< somebody waits until it is settled
    bool settle_due_ = false;  ///< and it may be
    bool left_due_ = false;  ///< ask `check_left`, but not while links are in use by a caller
    LeaveDone unacknowledged_;
};

}  // namespace cluster::core
