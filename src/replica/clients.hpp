#pragma once

#include "base/bytes.hpp"
#include "base/time.hpp"
#include "client/message.hpp"
#include "group/command.hpp"
#include "group/outcome.hpp"

#include <cluster/peer.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace cluster::replica {

// What clients make a replica do, in this order.

/// To be sent on the client channel. It may be lost.
struct TellClient {
    client::Seat to;
    client::ToClient message;
};
/// The service thread is to look at that session: `Clients::attached`. From then on that client is told its outcomes.
struct AttachSession {
    client::Seat seat;
    std::uint64_t session = 0;
    group::SessionKey key{};
    group::Received received;
};
/// That client is not told its outcomes any more, if it still was; 0: nobody is told any.
struct DetachSession {
    client::Seat seat;
    std::uint64_t session = 0;
};
/// The application is to say who that is: `Clients::authenticated`.
struct Authenticate {
    std::uint64_t ticket = 0;
    std::string credentials;
    std::string challenge;  ///< that was sent before; empty: none was
    std::string response;   ///< the answer to it
};
/// A read: the answer goes to that client.
struct AskService {
    client::Seat seat;
    client::Query query;
};
using ClientEffect = std::variant<TellClient, AttachSession, DetachSession, Authenticate, AskService>;

/// What the application has found out.
struct Verdict {
    enum class Kind : std::uint8_t { accepted, challenged, rejected };
    Kind kind = Kind::accepted;
    std::string text;  ///< the principal, the challenge, or why
};

/// What one replica decides about clients: whom it serves, what it puts into the log for them, and whose time is over.
/// Pure: events go in with the time; what is to be done comes out. Not thread-safe.
///
/// 1. Only a leader that has applied an entry of its own term serves: its services know all that leaders before it have
///    put into the log. All others say who leads.
/// 2. A command is put into the log if it is the next one of its session. So each is there once in this term, in order,
///    and those that came twice over several terms have no effect (`group::SessionCommand`).
class Clients {
public:
    struct Options {
        std::string group;
        std::uint64_t max_sessions = 0;
        std::uint64_t max_message = 0;
        Duration longest_timeout{};
        bool authenticates = false;
    };
    /// The least session timeout.
    static constexpr Duration shortest_timeout = std::chrono::milliseconds(100);
    /// Clients that wait until somebody is known to lead, or for the application to say who they are.
    static constexpr std::size_t most_waiting = 16384;
    /// How long a proposal for which there was no room waits, unless a client asks again.
    static constexpr Duration pause = std::chrono::milliseconds(10);
    /// How long those who were served here hear nothing while nobody is known to lead. Then they look elsewhere: one
    /// that leads no more because it is cut off will not hear of the next leader.
    static constexpr Duration stray_patience = std::chrono::milliseconds(200);
    /// Whoever looks later than so at a session was late itself: what its client says may wait to be read.
    static constexpr Duration late = std::chrono::milliseconds(50);

    explicit Clients(Options options) : options_(std::move(options)) {}

    // How this replica stands.
    /// It leads, and has applied an entry of its term.
    void serve(Time now);
    /// It leads no more, or another one leads; none if nobody is known to.
    void follow(const PeerId& leader, Time now);
    /// It leads, but cannot serve yet.
    void prepare();
    /// It does nothing any more.
    void end(Time now);

    // Clients.
    void received(const client::Seat& seat, client::ToNode&& message, Time now);
    /// That peer or guest has gone.
    void gone(const PeerId& peer);
    void authenticated(std::uint64_t ticket, const Verdict& verdict, Time now);

    // The services.
    void changed(const group::SessionChange& change, Time now);
    /// A snapshot has taken the place of all that was known.
    void loaded(std::span<const group::SessionFacts> sessions, Time now);
    /// `applied`: the number of the last command; nothing if there is no such session, or it has another key. Whether
    /// it is told `client::Attached`, and then its outcomes.
    bool attached(const client::Seat& seat, std::uint64_t session, std::optional<std::uint64_t> applied, Time now);
    /// What was told to the client of that session may be lost. `hopeless`: it is too long for the way there, and would
    /// be again; so the session is closed.
    void lost(std::uint64_t session, bool hopeless);
    /// What it was told last may be lost. When it speaks it is told that it is not served here, and asks again.
    void not_told(const client::Seat& seat);

    // The log.
    bool proposes(Time now) const noexcept { return !proposals_.empty() && not_before_ <= now; }
    /// At most so many bytes, but at least one.
    std::vector<Bytes> proposals(std::size_t most) const;
    /// The first `count` of them are in the log. If some of those that were asked for are not, there is no room.
    void proposed(std::size_t count, std::size_t asked, Time now);

    Time deadline() const;
    void tick(Time now);
    bool has_effects() const noexcept { return !effects_.empty(); }
    std::vector<ClientEffect> take_effects() { return std::exchange(effects_, {}); }

    std::size_t sessions() const noexcept { return sessions_.size(); }
    std::size_t attached() const noexcept { return seats_.size(); }

private:
    enum class Stance : std::uint8_t { following, preparing, serving };
    struct Known {
        Duration timeout{};
        Time heard{};
        std::optional<client::Seat> seat;  ///< of the client that is attached
        std::uint64_t accepted = 0;        ///< commands up to here are in the log, or about to be
        group::Received received;          ///< as the log knows it, or is about to
        bool ending = false;               ///< an entry that closes it is on its way
    };
    struct Proposal {
        Bytes command;
        std::uint64_t session = 0;
        std::uint64_t number = 0;  ///< of a command of that session; 0: it is something else
    };
    struct Opening {
        client::Seat seat;
        client::Open open;
        std::string challenge;
    };

    template <class What>
    void emit(What&& what) {
        effects_.emplace_back(std::forward<What>(what));
    }
    void tell(const client::Seat& seat, client::ToClient message) { emit(TellClient{seat, std::move(message)}); }
    void propose(group::Command command, std::uint64_t session = 0, std::uint64_t number = 0);
    void stop_serving();
    void replay(Time now);
    void turn_away(const client::Seat& seat);
    void turn_strays_away();
    bool is_ours(const std::string& group, const client::Seat& seat);
    Known* session_at(const client::Seat& seat, Time now);
    void opened(const group::SessionOpened& session, Time now);
    void closed(const group::SessionClosed& closed);
    void leave_seat(std::uint64_t session, Known& at);
    void acknowledge(std::uint64_t id, Known& session, const group::Received& received);
    void admit(const Opening& opening, std::string principal);
    void on(const client::Seat& seat, client::Open&& open, Time now);
    void on(const client::Seat& seat, client::Response&& response, Time now);
    void on(const client::Seat& seat, client::Attach&& attach, Time now);
    void on(const client::Seat& seat, client::Ask&& ask, Time now);
    void on(const client::Seat& seat, client::Alive&& alive, Time now);
    void on(const client::Seat& seat, client::Leave&& leave, Time now);
    void on(const client::Seat& seat, client::Query&& query, Time now);

    const Options options_;
    std::vector<ClientEffect> effects_;
    Stance stance_ = Stance::following;
    PeerId leader_;
    std::map<std::uint64_t, Known> sessions_;  ///< all that are open
    std::map<client::Seat, std::uint64_t> seats_;
    std::map<group::SessionKey, client::Seat> opening_;  ///< whose entry is on its way
    std::map<std::uint64_t, Opening> authenticating_;    ///< by ticket
    std::map<group::SessionKey, Opening> challenged_;
    std::map<std::uint64_t, client::Seat> sought_;  ///< sessions that are not known here
    std::uint64_t last_ticket_ = 0;
    std::map<client::Seat, client::ToNode> early_;  ///< what each asked last, until somebody is known to lead
    std::set<client::Seat> strays_;                               ///< were served here, and are to be told who leads
    std::set<client::Seat> turned_away_;                          ///< know that they are not served here
    std::deque<Proposal> proposals_;
    Time strays_due_ = never;
    Time not_before_{};
    std::set<std::pair<Time, std::uint64_t>> expiries_;  ///< when to look at which session
};

}  // namespace cluster::replica
