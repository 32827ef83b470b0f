#pragma once

#include <cluster/export.hpp>
#include <cluster/payload.hpp>
#include <cluster/session.hpp>

#include <chrono>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace cluster {

/// What a replica does in its group.
enum class Role : std::uint8_t {
    follower,   ///< does what the leader says, or waits for one
    candidate,  ///< stands for election
    leader,     ///< decides the order of all messages
};

CLUSTER_EXPORT std::string_view to_string(Role role) noexcept;

/// The version of an application's services: of what they do with messages, and of how they write snapshots. Without
/// one it is 0.0.
struct ApplicationVersion {
    std::uint16_t major = 0;  ///< rises when replicas with the former one must not go on together with this one
    std::uint16_t minor = 0;
    friend auto operator<=>(const ApplicationVersion&, const ApplicationVersion&) = default;
};

/// A number, a bool or an enumeration: what stands in a snapshot as its bytes, little-endian.
template <class T>
concept SnapshotNumber = std::is_arithmetic_v<T> || std::is_enum_v<T>;

/// Takes the state of a service. Used by one thread, and only during the call that got it. If the disk fails, its
/// functions throw `std::system_error`; the service lets that pass.
class CLUSTER_EXPORT SnapshotWriter {
public:
    /// These bytes and nothing else: `SnapshotReader::read_bytes` must ask for as many.
    virtual void write_bytes(std::span<const std::byte> bytes) = 0;

    template <SnapshotNumber T>
    void write(T value) {
        write_bytes(std::as_bytes(std::span(&value, 1)));
    }
    /// The text and its length, up to 4 GiB.
    void write(std::string_view text) {
        write(static_cast<std::uint32_t>(text.size()));
        write_bytes(std::as_bytes(std::span(text)));
    }

protected:
    ~SnapshotWriter() = default;
};

/// Gives the state back, in the order in which it was written. Used by one thread, and only during the call that got
/// it. Throws `std::system_error`: with `errc::malformed_message` if less was written than is asked for, or if the disk
/// fails. The service lets that pass.
class CLUSTER_EXPORT SnapshotReader {
public:
    /// Fills `out`.
    virtual void read_bytes(std::span<std::byte> out) = 0;
    /// Whether all that was written has been read.
    virtual bool at_end() = 0;

    template <SnapshotNumber T>
    void read(T& value) {
        read_bytes(std::as_writable_bytes(std::span(&value, 1)));
    }
    void read(std::string& text);

    /// `ReplicaOptions::version` of the replica that has written it.
    ApplicationVersion version() const noexcept { return version_; }

protected:
    explicit SnapshotReader(ApplicationVersion version = {}) noexcept : version_(version) {}
    ~SnapshotReader() = default;

    ApplicationVersion version_;
};

namespace detail {
struct Event;
}

/// What a service may know and do while it handles one event. Valid during that call. What it says is the same on every
/// replica, so a service that uses nothing else has the same state everywhere. What is done here is done on every
/// replica and is part of every snapshot, so no failure of one loses it or does it twice.
class CLUSTER_EXPORT Context {
public:
    /// The time of the event, in nanoseconds since 1970, as the group counts it. It never goes back. It follows the
    /// middle one of the voters' clocks, at most 1 % faster or slower than real time.
    std::chrono::nanoseconds time() const noexcept;
    /// The place of the event in the log. It never goes back. What happens at the same place has the same one.
    std::uint64_t position() const noexcept;
    /// Rises with each election.
    std::uint64_t term() const noexcept;
    /// `ReplicaOptions::version` of the leader of this term. A service that changes what it does with a message asks
    /// this, and does it the former way until it is led by the new version. Then all replicas change at the same place.
    ApplicationVersion version() const noexcept;
    /// The name of this service in its replica.
    std::string_view service() const noexcept;

    /// The client that sent this message, or that comes or goes. Valid during the call. Null if the event is no
    /// client's; so it is in a message of another service, even if a client's was what that one had.
    const ClientSession* session() const noexcept;
    /// The service of this replica that sent this message with `submit`; empty if nobody did.
    std::string_view from_service() const noexcept;
    /// All that are open, oldest first.
    std::vector<ClientSession> sessions() const;
    /// Null if it is not open. Valid during the call.
    const ClientSession* find_session(std::uint64_t session) const noexcept;

    /// What `Replica::submit` or `Client::call` returns to the one who sent this message. The last reply counts,
    /// whichever service it comes from. Without one it gets an empty message. Nobody gets it for other events.
    void reply(Payload payload);
    /// To the inbox of that client: all of it in order, once, as long as the session is open. Kept until the client
    /// has it; a client that leaves more than 16 MiB or 65,536 messages untaken is closed (`CloseReason::slow`). False
    /// if the session is not open.
    bool send(std::uint64_t session, Payload payload);
    /// It is over when this event is. False if it is not open.
    bool close(std::uint64_t session);

    /// `Service::on_timer` is called with this number once the time of the log has reached `at`: as part of the first
    /// entry that is as late. If there is such a timer already, it is moved. Each service has numbers of its own. False
    /// if the group has 1,048,576 timers.
    [[nodiscard]] bool schedule(std::uint64_t timer, std::chrono::nanoseconds at);
    /// Whether there was such a timer. It does not fire any more.
    bool cancel(std::uint64_t timer);

    /// A message to another service of this replica, or to this one. It is handled after this event, in the order of
    /// all of them: 64 with one entry of the log, the rest with the next one. False if there is no such service, or if
    /// 65,536 or 64 MiB wait already.
    [[nodiscard]] bool submit(Payload payload, std::string_view to_service);

    /// A number by chance, the same on every replica. Not secret: whoever knows the log can work it out.
    std::uint64_t random() noexcept;

    /// For the library's own use.
    explicit Context(detail::Event& event) noexcept : event_(event) {}
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

private:
    detail::Event& event_;
};

/// What a service may know and do while it answers a query. Valid during that call.
class QueryContext {
public:
    /// The time of the last event that the service has had; see `Context::time`. 0 before the first one.
    std::chrono::nanoseconds time() const noexcept { return time_; }
    /// So much of the log the service has had.
    std::uint64_t position() const noexcept { return position_; }
    /// Of the last entry that the service has had.
    std::uint64_t term() const noexcept { return term_; }

    /// What `Replica::read` returns. The last reply counts, whichever service it comes from. Without one it returns an
    /// empty message.
    void reply(Payload payload) { reply_ = payload.to_bytes(); }

    /// For the library's own use.
    QueryContext(std::chrono::nanoseconds time, std::uint64_t position, std::uint64_t term) noexcept
        : time_(time), position_(position), term_(term) {}
    std::vector<std::byte> take_reply() noexcept { return std::move(reply_); }

private:
    std::chrono::nanoseconds time_;
    std::uint64_t position_;
    std::uint64_t term_;
    std::vector<std::byte> reply_;
};

/// A state that several replicas keep the same. The application derives from it; each process of the group has one.
///
/// All functions are called on one thread of the replica, one at a time, under no lock. They must not wait for the
/// replica, for its node or for other replicas; a call that would have to fails with `errc::would_block`.
///
/// The functions that get a `Context` are called in the same order on every replica. What they do to the state must
/// depend on the state, the arguments and the `Context` alone: not on clocks, random numbers, addresses or other
/// processes. If one of them, or `load`, throws, this replica stops, and `ReplicaStatus::why` says so. The others would
/// throw, too: mend the service and start it again, and it goes on from the same place.
///
/// After a restart the replica gives the newest snapshot to `load`. Then it repeats all events behind that. So a state
/// that lives in memory alone survives.
class CLUSTER_EXPORT Service {
public:
    virtual ~Service() = default;

    /// A message that a majority has on disk: of a client, of `Replica::submit`, or of a service. If a replica has
    /// several services, each gets those of the first two kinds, in the order in which it was given them. `message` is
    /// valid during the call.
    virtual void on_message(Context& context, std::span<const std::byte> message) = 0;
    /// A client has opened a session: `Context::session`.
    virtual void on_session_open(Context&) {}
    /// It is over. What it was sent and has not taken is lost.
    virtual void on_session_close(Context&, CloseReason) {}
    /// A timer of this service is due. It is one no more.
    virtual void on_timer(Context&, std::uint64_t /*timer*/) {}

    /// Writes the whole state. Without snapshots the log grows for ever, and a restart repeats all of it. What this
    /// does by default is to throw `errc::unsupported`, which says that the service has no snapshots.
    virtual void save(SnapshotWriter& out) const;
    /// Takes over a state that `save` has written. What was there before is replaced.
    virtual void load(SnapshotReader& in);
    /// For a state that takes long to write: returns a function that writes it from a copy which it owns. The function
    /// is called on another thread, while messages go on. By default there is none, and `save` is called.
    virtual std::function<void(SnapshotWriter&)> freeze() const;

    /// What tells this state from others. Replicas compare theirs from time to time (`ReplicaOptions::compare_every`);
    /// whichever is alone with its own has computed wrongly, and stops. By default all that `save` writes: then equal
    /// states must be written as equal bytes, whatever has led to them. A `std::unordered_map`, say, must be written in
    /// order. Or nothing, if there are no snapshots.
    virtual std::uint64_t state_hash() const;

    /// A new leader begins. Every replica has this event at the same place.
    virtual void on_term(Context&) {}

    // These come when they happen, not at the same place everywhere. They must not change the state.

    /// Somebody reads: see `Replica::read`. `query` is valid during the call. It comes between two events. If this
    /// throws, that read fails, and nothing else happens. What this does by default is to throw `errc::unsupported`,
    /// which says that the service answers no queries: of several services the others are asked.
    virtual void on_query(QueryContext& context, std::span<const std::byte> query) const;
    /// First of all.
    virtual void on_start() {}
    /// Last of all. It is called even if something went wrong.
    virtual void on_stop() {}
    /// This replica does something else in its group from now on.
    virtual void on_role(Role) {}
};

}  // namespace cluster
