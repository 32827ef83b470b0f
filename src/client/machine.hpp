#pragma once

#include "base/bytes.hpp"
#include "base/random.hpp"
#include "base/time.hpp"
#include "base/timers.hpp"
#include "client/message.hpp"
#include "group/sessions.hpp"
#include "value/log_line.hpp"

#include <cluster/address.hpp>
#include <cluster/error.hpp>
#include <cluster/peer.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace cluster::client {

// What the machine wants done, in this order.

/// Ends with `Machine::came` or `dial_failed`. A dial that is under way already need not be begun again.
struct Dial {
    Address address;
};
/// The link to it is not needed any more.
struct Drop {
    PeerId peer;
};
/// To be sent on the client channel. If it cannot be, `Machine::not_sent`.
struct Tell {
    PeerId to;
    ToNode message;
};
/// A call or query has ended, with the reply of the service.
struct Replied {
    std::uint64_t ticket = 0;
    std::uint64_t position = 0;
    Bytes message;
};
/// A call or query has ended without one.
struct Failed {
    std::uint64_t ticket = 0;
    errc error{};
    std::string why;  ///< what the node or the service says about it, if anything
};
/// What the service has sent by itself. It counts against the limits of the inbox until it is `Machine::taken`.
struct Pushed {
    std::uint64_t position = 0;
    Bytes message;
};
enum class State : std::uint8_t {
    connecting,  ///< there is no session yet
    attached,    ///< the leader has it
    seeking,     ///< there is a session. Whoever leads now is looked for
    ended,       ///< there is no session any more, and this client gets no other one
};
struct StateChanged {
    State state{};
    errc error{};     ///< why it is not attached
    std::string why;  ///< the same in words
    PeerId leader;    ///< if it is attached
};
/// To be answered by `Machine::respond`, under that number.
struct ChallengeCame {
    std::uint64_t number = 0;
    std::string challenge;
};
/// A cast was refused for want of room. Now there is room for many.
struct RoomFreed {};
/// Nothing is wanted any more.
struct Ended {};

using Effect =
    std::variant<Dial, Drop, Tell, Replied, Failed, Pushed, StateChanged, ChallengeCame, RoomFreed, Ended, LogLine>;

struct MachineOptions {
    std::string group;
    std::string name;
    std::string credentials;
    group::SessionKey key{};         ///< drawn
    std::vector<Address> addresses;  ///< where to look first. Empty: inside of a node, which dials by itself
    Duration session_timeout = std::chrono::seconds(10);
    /// Without a leader for so long the client ends. 0: never.
    Duration give_up_after{0};
    /// Commands that are sent and have no reply: from 1 to `group::Session::most_outstanding`. And their bytes; one
    /// command may be longer.
    std::size_t max_outstanding = group::Session::most_outstanding;
    std::size_t max_outstanding_bytes = std::size_t{16} << 20;
    /// Commands that were not sent yet, and their bytes.
    std::size_t max_waiting = 65536;
    std::size_t max_waiting_bytes = std::size_t{64} << 20;
    /// Pushes that were not taken yet, and their bytes; one push may be longer.
    std::size_t inbox_messages = 65536;
    std::size_t inbox_bytes = std::size_t{16} << 20;
    std::uint64_t seed = 0;
};

/// Pauses that become longer, up to a limit, each a little different.
class Backoff {
public:
    Backoff(Duration first, Duration most) : first_(first), most_(most), next_(first) {}
    Duration take(Dice& dice) {
        const Duration pause = std::exchange(next_, std::min(2 * next_, most_));
        return pause - Duration(dice.below(static_cast<std::uint64_t>(pause.count() / 4)));
    }
    void reset() { next_ = first_; }

private:
    Duration first_;
    Duration most_;
    Duration next_;
};

/// The decisions of one client, which has one session in its life: finds the leader, opens the session there, takes it
/// to the next leader, and sends again what was not received.
///
/// Events go in with the time; what is to be done comes out as effects. Not thread-safe; no socket or thread of its
/// own. After `Ended` nothing happens any more.
///
/// 1. A command gets its number when it is first sent. Behind each attachment all that may not have taken effect are
///    sent again, in order.
/// 2. A reply or push is taken only if it is the next one, and only what was taken is said to be received.
/// 3. A command that was not sent in its time will never be. One that was sent keeps its place until its reply comes.
/// 4. The end of a session is told before anything fails because of it.
/// 5. Each ticket has exactly one end, `Replied` or `Failed`.
/// 6. Only the peer that was asked last is listened to.
class Machine {
public:
    struct Output {
        std::vector<Effect> effects;
    };

    /// Queries that have no answer yet.
    static constexpr std::size_t most_queries = 1024;

    Machine(MachineOptions options, Time now);

    // The nodes.
    /// Inside of a node: that one is asked first.
    void prefer(const PeerId& peer) { preferred_ = peer; }
    /// Messages for it can be sent. `dialled`: the address that was.
    void came(const PeerId& peer, const std::optional<Address>& dialled, Time now);
    /// `why`: for people.
    void dial_failed(const Address& address, std::string why, Time now);
    void went(const PeerId& peer, Time now);
    void received(const PeerId& from, ToClient&& message, Time now);
    /// What was told to that peer may be lost.
    void not_sent(const PeerId& peer, Time now);

    // The application.
    /// A command. Fails with
    /// - `no_leader`, `overloaded`: it was not sent in its time, because nobody led, or because the leader had no room
    ///   or owed `max_outstanding` replies. It will not be.
    /// - `timed_out`: it was sent, and may have taken effect or may yet.
    /// - `too_many_requests`, `message_too_large`: it was not sent.
    /// - `closed`: after `close`; if it was sent before, it may have taken effect.
    /// - `outcome_unknown`: the session has ended; it was sent, and may have taken effect.
    /// - that of `StateChanged`: the session has ended, and it was not sent.
    void call(std::uint64_t ticket, Bytes message, Time deadline, Time now);
    /// A command whose reply nobody waits for. Without error it is sent, unless the session ends before.
    errc cast(Bytes message, Time now);
    /// A read. It may be asked twice. `at_least`: a position.
    void query(std::uint64_t ticket, Bytes query, bool linearizable, std::uint64_t at_least, Time deadline, Time now);
    /// The application has taken so much of what was pushed.
    void taken(std::size_t messages, std::size_t bytes, Time now);
    void respond(std::uint64_t number, std::string response, Time now);
    /// Whatever is under way fails. `Ended` comes when the leader knows, or a little later. If the session is not
    /// attached, it comes at once, and the group closes the session when its time is over.
    void close(Time now);
    bool ended() const noexcept { return phase_ == Phase::ended; }
    /// There is no session any more. `State::ended` may still be among the effects.
    bool session_over() const noexcept { return state_.state == State::ended; }

    // For a runner.
    Time deadline() const { return timers_.next(); }
    void tick(Time now);
    bool has_output() const noexcept { return !effects_.empty(); }
    bool take_output(Output& output);

private:
    /// How long a dial or an answer may take before somebody else is tried.
    static constexpr Duration patience = std::chrono::seconds(1);
    /// How long the application may take for the answer to a challenge.
    static constexpr Duration challenge_patience = std::chrono::seconds(10);
    /// How long the leader may say nothing while it owes an answer, before the session is attached anew; doubled each
    /// time, up to the second one.
    static constexpr Duration first_silence = std::chrono::seconds(1);
    static constexpr Duration most_silence = std::chrono::seconds(8);
    /// An attachment that lasted less is not followed by the next one at once.
    static constexpr Duration least_attachment = std::chrono::milliseconds(100);
    /// Peers that name others as the leader are followed so often without a pause.
    static constexpr int most_hops = 4;
    static constexpr Duration hops_pause = std::chrono::milliseconds(100);
    /// So many pushes or bytes, or one so old, are acknowledged if no command does it. Replies, too, but for the time.
    static constexpr std::size_t acknowledged_count = 64;
    static constexpr std::size_t acknowledged_bytes = std::size_t{256} << 10;
    static constexpr Duration acknowledged_after = std::chrono::milliseconds(100);
    /// How long the leader may take to answer a `Leave`.
    static constexpr Duration leave_patience = std::chrono::seconds(1);
    /// A guest has no more links at a time.
    static constexpr std::size_t most_links = 2;

    enum class Phase : std::uint8_t {
        pausing,   ///< until the next attempt: at `peer_`, or, if there is none, at whoever comes next
        dialling,  ///< `dialling_`
        asking,    ///< `peer_` was told `Open` or `Attach`
        open,      ///< attached at `peer_`
        leaving,   ///< `peer_` was told `Leave`
        ended,
    };
    enum class Timer : std::uint8_t { attempt, busy, silence, keep_alive, acknowledge, give_up, command, query };
    using Candidate = std::variant<PeerId, Address>;
    struct Command {
        std::optional<std::uint64_t> ticket;  ///< none: nobody waits for its reply (any more)
        Bytes message;
        Time deadline = never;
        std::uint64_t number = 0;  ///< 0: it was not sent yet
    };
    struct Read {
        std::uint64_t ticket = 0;
        Query message;
    };

    // Who leads (machine_seeking.cpp).
    bool outside() const noexcept { return !options_.addresses.empty(); }
    void begin_round();
    void next(std::string_view why, Time now);
    bool attempt(const Candidate& candidate, Time now);
    void round_over(Time now);
    void begin(const PeerId& peer, Time now);
    void ask(Time now);
    void pause(Backoff& backoff, std::string_view why, Time now);
    void attach_again(Time now);
    void attempt_over(Time now);
    void opened(std::uint64_t applied, Time now);
    void detached(std::string_view why, Time now);
    void keep_links();
    void on(const NotLeader& answer, Time now);
    void on(const Refused& answer, Time now);
    void on(const Opened& answer, Time now);
    void on(const Attached& answer, Time now);
    void on(const Challenge& answer, Time now);
    void on(const Detached& message, Time now);

    // The session (machine.cpp).
    void on(const Closed& message, Time now);
    void on(const Busy& message, Time now);
    void on(Reply& message, Time now);
    void on(Push& message, Time now);
    void on(Answer& message, Time now);
    template <class What>
    void emit(What&& what) {
        effects_.emplace_back(std::forward<What>(what));
    }
    void log(LogLevel level, std::string text);
    void tell(ToNode message, Time now);
    void pump(Time now);
    void send_queries(Time now);
    void send_commands(Time now);
    bool owes() const;
    bool in_window(const Command& command) const;
    bool has_room(std::size_t bytes) const;
    void add(Command command, Time now);
    void end_unsent(std::map<std::uint64_t, Command>::iterator command, errc error);
    errc why_unsent() const;
    void command_late(std::uint64_t id);
    void query_late(std::uint64_t number);
    void look_at_silence(Time now);
    void progress();
    void unacknowledged(std::size_t bytes, Time now);
    void acknowledged();
    void tell_alive(Time now);
    void set_state(StateChanged state);
    void end(errc error, std::string why);
    void fail_all(errc sent, errc unsent);
    void finish();

    MachineOptions options_;
    Dice dice_;
    std::vector<Effect> effects_;
    Timers<Timer> timers_;
    StateChanged state_;  ///< as it was told

    Phase phase_ = Phase::pausing;
    std::map<PeerId, std::optional<Address>> links_;  ///< and the address that led there
    std::optional<PeerId> preferred_;
    std::optional<PeerId> peer_;
    std::optional<Address> dialling_;
    std::deque<Candidate> hints_;  ///< where the leader was said to be; before those of the round
    std::deque<Candidate> round_;
    bool fresh_ = true;              ///< the next attempt begins a round
    std::optional<PeerId> hinted_;   ///< the leader of `hints_`
    std::optional<PeerId> doubted_;  ///< was said to lead and has not answered
    std::optional<Candidate> last_;  ///< who was asked last; tried last in the next round
    int hops_ = 0;
    std::string dial_failure_;  ///< which address was dialled last in vain, and why
    int without_group_ = 0;     ///< those in this round who do not know the group
    bool group_known_ = false;  ///< somebody in this round does
    Time tried_since_{};        ///< when `peer_` was turned to without having attached the session since
    Time attached_at_{};
    Backoff round_pause_{std::chrono::milliseconds(50), std::chrono::seconds(1)};
    Backoff leaderless_pause_{std::chrono::milliseconds(10), std::chrono::milliseconds(100)};
    Backoff again_pause_{std::chrono::milliseconds(10), std::chrono::milliseconds(200)};
    std::uint64_t challenge_ = 0;  ///< that waits for its response; 0: none
    std::uint64_t challenges_ = 0;

    std::uint64_t session_ = 0;    ///< 0: none yet
    std::size_t max_message_ = 0;  ///< 0: not known
    group::Received received_;
    std::map<std::uint64_t, Command> commands_;  ///< in their order; first those that were sent
    std::uint64_t next_id_ = 0;                  ///< of `commands_`
    std::uint64_t send_from_ = 0;                ///< the first of `commands_` that is to be sent (again)
    std::uint64_t last_number_ = 0;
    std::size_t sent_ = 0;  ///< of `commands_`
    std::size_t sent_bytes_ = 0;
    std::size_t waiting_bytes_ = 0;
    bool wants_room_ = false;
    bool busy_ = false;
    Backoff busy_pause_{std::chrono::milliseconds(10), std::chrono::milliseconds(200)};
    std::map<std::uint64_t, Read> queries_;
    std::uint64_t last_query_ = 0;
    std::uint64_t query_from_ = 0;  ///< the first one that is to be sent (again)
    std::size_t inbox_messages_ = 0;
    std::size_t inbox_bytes_ = 0;
    bool starved_ = false;  ///< a push was not taken, for want of room
    std::size_t unacknowledged_ = 0;
    std::size_t unacknowledged_bytes_ = 0;
    Time told_at_{};   ///< the last message
    Time heard_at_{};  ///< the last message, or when the first answer became due
    Duration silence_ = first_silence;
};

}  // namespace cluster::client
