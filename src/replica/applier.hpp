#pragma once

#include "base/bytes.hpp"
#include "base/random.hpp"
#include "consensus/entry.hpp"
#include "group/command.hpp"
#include "group/outcome.hpp"
#include "group/state.hpp"
#include "replica/versions.hpp"
#include "wire/replica_codec.hpp"

#include <cluster/replica.hpp>
#include <cluster/service.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace cluster::replica {
class Applier;
}

namespace cluster::detail {

/// One event, as one service handles it: what a `Context` stands for.
struct Event {
    replica::Applier& applier;
    std::uint32_t service = 0;
    group::Session* session = nullptr;
    std::optional<std::uint32_t> from_service{};
    std::optional<Dice> dice{};
};

}  // namespace cluster::detail

namespace cluster::replica {

/// What the services say to a query.
struct Answered {
    std::error_code error;
    std::vector<std::byte> bytes;   ///< or a text about the error
    consensus::Index position = 0;  ///< so much of the log they have had
};

/// Gives services their events, and keeps the state that belongs to the library. Lets the exceptions of services pass,
/// and throws `VersionRefused`. Used by the service thread. Lives shorter than its services.
///
/// An entry is handled in this order: the timers that are due at its time, what it says itself, letters from service to
/// service. Sessions that an event has closed are over before the next one.
class Applier {
public:
    /// With one entry; the rest comes with the next one.
    static constexpr std::size_t most_letters = 64;
    static constexpr std::size_t most_timers = 1024;

    /// A command that this process has submitted was applied.
    using Replied = std::function<void(std::uint64_t number, std::vector<std::byte> reply)>;

    Applier(std::vector<NamedService> services, const consensus::DiskId& self, std::uint64_t life, Replied replied,
            Versions versions = {})
        : services_(std::move(services)),
          versions_(std::move(versions)),
          self_(self),
          life_(life),
          replied_(std::move(replied)) {}

    void start();
    void role(Role role);
    void apply(const consensus::Entry& entry);
    /// All services are asked, in their order; the last reply counts. One that answers no queries is passed over. What
    /// a service throws is the answer.
    Answered query(std::span<const std::byte> query) const;
    /// Takes over a state that `save` has written, in that form (`snapshot_version`). It stands at `id`.
    void load(SnapshotReader& in, std::uint32_t form, const consensus::SnapshotId& id);
    /// Writes the present state.
    void save(SnapshotWriter& out) const;
    /// A function that writes the present state from a copy; none if a service has no copy.
    std::function<void(SnapshotWriter&)> freeze() const;

    const consensus::LogId& last() const noexcept { return last_; }
    Duration time() const noexcept { return time_; }
    /// Of entries since the last snapshot.
    std::uint64_t bytes() const noexcept { return bytes_; }
    void snapshot_begun() noexcept { bytes_ = 0; }
    /// Of entries since the states of all were compared last.
    std::uint64_t unchecked() const noexcept { return unchecked_; }
    std::vector<wire::StateHash> take_checked() { return std::exchange(checked_, {}); }
    /// When the next timer is due, in the time of the log. The past, if something waits for the next entry already.
    Duration wants_entry_at() const;
    const std::vector<NamedService>& services() const noexcept { return services_; }
    const group::State& state() const noexcept { return state_; }
    /// The service that was called last.
    const NamedService& called() const noexcept { return services_[calling_]; }

    // Clients that are served here.
    struct Attached {
        std::uint64_t applied = 0;  ///< the number of the last command
        std::vector<group::Kept> replies;
        std::vector<group::Kept> pushes;
    };
    /// From now on there are outcomes for it. What it has not received yet; nothing if there is no such session, or it
    /// has another key.
    std::optional<Attached> attach(std::uint64_t session, const group::SessionKey& key,
                                   const group::Received& received);
    void detach(std::uint64_t session) { attached_.erase(session); }
    void detach_all() { attached_.clear(); }
    /// All that are open.
    std::vector<group::SessionFacts> sessions() const;
    bool has_outcomes() const noexcept { return settled_ != 0; }
    /// Of all events that were handled to their end.
    std::vector<group::Outcome> take_outcomes();

private:
    friend class cluster::Context;

    template <class Handle>
    void call(std::uint32_t service, group::Session* session, Handle&& handle);
    template <class Handle>
    void call_all(group::Session* session, Handle&& handle);
    std::vector<std::byte> pass_message(group::Session* session, std::span<const std::byte> message);
    void on(const group::Submitted& command);
    void on(const group::OpenSession& command);
    void on(const group::CloseSession& command);
    void on(const group::SessionCommand& command);
    void on(const group::Acknowledge& command);
    void on(const group::CheckState& command);
    void fire_timers();
    void deliver_letters();
    void end_session(std::uint64_t session, CloseReason reason);
    void end_sessions();

    // What a service does, by its `Context`.
    bool send(std::uint64_t session, std::span<const std::byte> message);
    bool close(std::uint64_t session, CloseReason reason);
    bool submit(std::uint32_t from, std::span<const std::byte> message, std::string_view to);
    std::uint64_t seed() noexcept;

    const std::vector<NamedService> services_;
    const Versions versions_;
    const consensus::DiskId self_;
    const std::uint64_t life_;
    const Replied replied_;
    group::State state_;
    consensus::LogId last_;
    Duration time_{};
    std::uint64_t bytes_ = 0;
    std::uint64_t unchecked_ = 0;
    std::vector<wire::StateHash> checked_;

    // Of the entry that is being applied.
    std::uint32_t calling_ = 0;
    std::vector<std::byte> reply_;
    std::vector<std::pair<std::uint64_t, CloseReason>> closing_;
    std::uint64_t seeds_ = 0;

    std::set<std::uint64_t> attached_;
    std::vector<group::Outcome> outcomes_;
    std::size_t settled_ = 0;  ///< so many of them are of events that were handled to their end
};

}  // namespace cluster::replica
