#pragma once

#include "base/time.hpp"
#include "replica/applier.hpp"

#include <cluster/replica.hpp>
#include <cluster/service.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cluster::sim::replicas {

/// What somebody asks of the services. Nobody asks twice under the same author and order.
struct Wish {
    enum class Kind : std::uint8_t {
        write,       ///< one register
        push,        ///< to the session that asks
        tell_all,    ///< to all sessions
        ring,        ///< a timer
        hush,        ///< a timer is cancelled
        letter,      ///< to the other service, which may answer
        shut,        ///< the session that asks is closed
        shut_other,  ///< some session is
        heavy,       ///< a push that may be too long for the way to the client
    };
    static constexpr std::size_t heavy_bytes = 3000;

    std::uint64_t author = 0;
    std::uint64_t order = 0;
    Kind kind = Kind::write;
    std::uint8_t key = 0;
    std::uint64_t value = 0;

    std::vector<std::byte> encode(std::size_t padding) const;
    static Wish decode(std::span<const std::byte> bytes);
};

/// Something that a service was told, or has done, in the order in which it came.
struct Happening {
    enum class Kind : std::uint8_t {
        term,
        told,    ///< a message: of a client, of `Replica::submit`, or `from` a service
        opened,  ///< a session
        closed,
        fired,  ///< a timer
        replied,
        sent,
        scheduled,
        cancelled,
        wrote,  ///< to a service
        shut,   ///< a session is to be closed
    };

    Kind kind{};
    std::uint32_t service = 0;
    std::uint64_t number = 0;  ///< of the session or the timer; 0: none
    Duration at{};             ///< a timer's time
    CloseReason reason{};
    std::string name{};  ///< of the session, or of the other service
    std::string principal{};
    std::vector<std::byte> bytes{};
    bool done = true;  ///< what the `Context` said
};

/// A service that does what wishes say, and whose state knows all that has ever happened to it. There are two of them
/// in each replica: a wish is done by one of them.
class Clerk final : public cluster::Service {
public:
    static constexpr std::array<std::string_view, 2> names{"ledger", "mirror"};

    /// `freezes`: it has copies to write snapshots from. `witness` hears all.
    Clerk(std::uint32_t index, bool freezes, std::vector<Happening>* witness)
        : index_(index), freezes_(freezes), witness_(witness) {}

    void on_message(Context& context, std::span<const std::byte> message) override;
    void on_session_open(Context& context) override;
    void on_session_close(Context& context, CloseReason reason) override;
    void on_timer(Context& context, std::uint64_t timer) override;
    void on_term(Context& context) override;
    void on_query(QueryContext& context, std::span<const std::byte> query) const override;
    void save(SnapshotWriter& out) const override;
    void load(SnapshotReader& in) override;
    std::function<void(SnapshotWriter&)> freeze() const override;

    /// What it says of its state to queries.
    std::uint64_t answer() const noexcept { return state_.hash; }

private:
    static constexpr std::size_t registers = 8;
    struct State {
        std::array<std::uint64_t, registers> values{};
        std::map<std::uint64_t, std::uint64_t> rings;  ///< how often each timer is to ring again
        std::uint64_t hash = 0;                        ///< of all that has happened

        void save(SnapshotWriter& out) const;
    };

    void note(const Context& context, Happening happening);
    void do_wish(Context& context, const Wish& wish);
    void reply(Context& context, const Wish& wish, std::uint64_t seen);
    void send(Context& context, std::uint64_t session, std::size_t bytes);
    void tell_all(Context& context);
    void ring(Context& context, std::uint64_t timer, Duration after);
    void write(Context& context, std::uint8_t hops, bool to_itself);
    void shut(Context& context, std::uint64_t session);

    const std::uint32_t index_;
    const bool freezes_;
    std::vector<Happening>* const witness_;
    State state_;
};

/// What a replica has for one life: both services, and the shipping `Applier` that serves them.
struct Office {
    Office(bool freezes, const consensus::DiskId& self, std::uint64_t life, std::vector<Happening>* witness,
           replica::Applier::Replied replied);

    /// Of all that is in its snapshots.
    std::uint64_t state() const;

    Clerk ledger;
    Clerk mirror;
    replica::Applier applier;
};

}  // namespace cluster::sim::replicas
