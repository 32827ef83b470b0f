#pragma once

#include "core/random.hpp"
#include "core/time.hpp"

#include <cluster/address.hpp>
#include <cluster/error.hpp>
#include <cluster/peer.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace cluster::core {

/// Whom to dial, where and when. Not thread-safe.
///
/// A target is a peer, or an address that somebody named. It is dialled in rounds: all its addresses one after the
/// other, the next one when the last has failed or has not answered for `stagger`. From the beginning of a round in
/// vain to that of the next it pauses, each time twice as long, with jitter. A target is left alone while its peer
/// has a link of any kind (R13).
class DialPlan {
public:
    enum class Kind : std::uint8_t {
        seed,   ///< sought for ever
        added,  ///< sought until `add` has an answer
        peer,   ///< sought until the engine drops it
        check,  ///< a peer that has a link, dialled in one round to see whether it can be
        /// Led to a peer in a former run. Sought until it leads to one again, who is then sought as such, or until the
        /// engine drops all of them. Many may be dead, so they stand back behind the others.
        remembered,
    };

    /// Whether a target of this kind is for one peer and no other.
    static bool is_for_peer(Kind kind) noexcept { return kind == Kind::peer || kind == Kind::check; }

    static constexpr Duration stagger = std::chrono::milliseconds(250);
    /// The same in the first round after a link was lost: whether that peer is gone depends on all its addresses.
    static constexpr Duration short_stagger = std::chrono::milliseconds(25);
    /// A process that ends may still accept while its links are being closed: a dial that follows a lost link and is
    /// accepted without a greeting is repeated so soon, and so often, each time after twice as long.
    static constexpr Duration second_look = std::chrono::milliseconds(2);
    static constexpr unsigned second_looks = 5;
    /// Dials begun at once, and then per second.
    static constexpr double burst = 256;
    static constexpr double rate = 100;
    /// Of the burst, dials that are not for those remembered.
    static constexpr double reserved = burst / 2;
    /// Of the remembered, so many are dialled at the same time.
    static constexpr std::size_t most_remembered = 64;

    DialPlan(Duration reconnect_min, Duration reconnect_max, std::uint64_t jitter_seed) noexcept
        : reconnect_min_(reconnect_min), reconnect_max_(reconnect_max), dice_(jitter_seed) {}

    std::uint64_t seek(const Address& name, Kind kind, Time now);
    /// Seeks `peer` from `not_before` on; if it is sought already, only its addresses are replaced,
    /// and a round at the former ones begins anew.
    void seek(const PeerId& peer, const std::vector<Address>& addresses, Time not_before);
    /// Dials `peer` once although it has a link; `failed` or the engine ends that.
    void check(const PeerId& peer, const std::vector<Address>& addresses, Time now);
    void drop(std::uint64_t target) { changed().erase(target); }
    void drop(const PeerId& peer);
    void drop(Kind kind);
    void drop_all() { changed().clear(); }
    /// Drops all but the targets of kind `peer` for `peers`.
    void keep_only(const std::vector<PeerId>& peers);

    struct Step {
        std::uint64_t target = 0;
        std::uint64_t round = 0;
        Address address;
        /// `address` is a name to be resolved; otherwise it is to be dialled.
        bool resolve = false;
    };
    /// The next thing to do now. An address for which `occupied` is true belongs to another peer by now and is not
    /// dialled.
    using Occupied = std::function<bool(const PeerId&, const Address&)>;
    /// A round for a peer does not begin before `earliest(peer)`.
    using Earliest = std::function<Time(const PeerId&)>;
    std::optional<Step> step(Time now, const Occupied& occupied, const Earliest& earliest);
    /// When `step` should be asked again. It is asked for at every turn, hence remembered until something changes.
    Time next() const;

    /// A round has ended in vain.
    struct Round {
        std::uint64_t target = 0;
        Kind kind = Kind::peer;
        std::optional<PeerId> peer;
        Address name;  ///< of a seed or an added address
        errc error{};
        /// It failed in another way than the round before.
        bool news = false;
    };
    void resolved(std::uint64_t target, std::vector<Address> addresses, Time now);
    /// Which dial an outcome belongs to; dials of former rounds count for nothing.
    struct Ticket {
        std::uint64_t target = 0;
        std::uint64_t round = 0;
    };
    /// A dial, or resolving, came to nothing.
    std::optional<Round> failed(Ticket ticket, errc error, Time now);
    /// A dial reached `peer`.
    void answered(Ticket ticket, const PeerId& peer);
    const std::optional<PeerId>* bound(std::uint64_t target) const;
    Kind kind(std::uint64_t target) const;

    /// The peer has a first link.
    void engaged(const PeerId& peer);
    /// The session is attached: the next pause is a short one again.
    void attached(const PeerId& peer);
    /// The peer has no link any more; `known` where a target of kind `peer` goes on seeking it.
    void released(const PeerId& peer, bool known, Time now);
    /// The peer is out of view: addresses that led to it are sought again for whoever is there.
    void unbind(const PeerId& peer, Time now);
    /// Whatever was planned or is under way: begins a round now, unless the last one like this is less than `pause`
    /// ago.
    void hurry(const PeerId& peer, Duration pause, Time now);

    /// Rounds ended by the plan itself, because every address was occupied.
    std::vector<Round> take_ended() { return std::exchange(ended_, {}); }

private:
    struct Target {
        Kind kind = Kind::peer;
        std::optional<PeerId> peer;
        Address name;
        std::vector<Address> addresses;
        Time due{};
        Time wanted{};  ///< when it was first due, however often it was put off since
        unsigned rounds = 0;  ///< in vain since it was last attached
        bool engaged = false;
        bool was_attached = false;
        errc told{};     ///< how the last round in vain ended
        Time hurried{};  ///< when it was last dialled without a pause
        unsigned looks = second_looks;  ///< second looks taken since the link was lost
        bool urgent = false;            ///< the link was just lost

        // Of the round under way.
        bool running = false;
        Time begun{};
        std::uint64_t round = 0;
        bool resolving = false;
        std::size_t tried = 0;
        std::size_t open = 0;
        errc error{};

        bool may_be_dialled() const noexcept {
            if (engaged || resolving) return false;
            return is_for_peer(kind) || !peer;  // or else its peer is sought as such
        }
    };

    using Targets = std::map<std::uint64_t, Target>;

    /// The targets, some of which may get another time to be dialled.
    Targets& changed() noexcept {
        next_.reset();
        return targets_;
    }
    bool spend(Kind kind, Time now);
    static void put_off(Target& target, Duration by, Time now);
    void drop_remembered(const PeerId& peer);
    std::optional<Round> settle(std::uint64_t number, Target& target, Time now);
    Duration pause(unsigned rounds);

    Duration reconnect_min_;
    Duration reconnect_max_;
    Dice dice_;
    Targets targets_;
    mutable std::optional<Time> next_;
    std::uint64_t last_number_ = 0;
    std::vector<Round> ended_;
    double tokens_ = burst;
    Time no_token_before_ = Duration::zero();
    Time refilled_ = Duration::zero();
};

}  // namespace cluster::core
