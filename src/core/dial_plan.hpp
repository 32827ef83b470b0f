#pragma once

#include "base/random.hpp"
#include "base/time.hpp"

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

/// Decides whom to dial, where and when. Not thread-safe.
///
/// A target is a peer, or an address that somebody named. It is dialled in rounds. A round dials all its addresses one
/// after the other: the next one when the last has failed or has not answered for `stagger`. Between the beginnings of
/// two rounds in vain lies a pause, which doubles each time, with jitter. A target is left alone while its peer has a
/// link of any kind (R13).
///
/// A seed is a way to many peers, so no answer ends it: there may always be more behind its name, or its one address.
/// - Each round looks the name up anew and dials every address, except one that leads to a linked peer and to no other.
/// - While an address is silent or fails in another way than by a refusal, rounds are at most `reconnect_max` apart.
/// - Once each address is linked, refused or this node itself, they are up to `seed_rest` times as far apart.
/// - With the defaults an address that always answers, such as a load balancer's, costs 9 dials in the first minute. In
///   the end it costs one in five minutes.
///
/// Hearsay is what others tell of peers that were never met. Nobody vouches for it, and the address may be that of a
/// third party.
/// - What one teller says costs at most `hearsay_burst` dials in vain, and then one in each `hearsay_pause`. Dials that
///   lead to the peer cost nothing.
/// - However many peers are said to be at an address, it pauses as one target does.
class DialPlan {
public:
    enum class Kind : std::uint8_t {
        seed,     ///< a way to many, for ever
        added,    ///< sought until `add` has an answer. If it is kept, it is sought again when its peer has gone
        peer,     ///< sought until the engine drops it
        hearsay,  ///< a peer that was never met, named by another peer
        check,    ///< a peer that has a link, dialled in one round to see whether it can be
        /// It led to a peer in a former run. It is sought until it leads to a peer again, who is then sought as such,
        /// or until the engine drops all of them. Many may be dead, so others come first.
        remembered,
    };

    /// Whether a target of this kind is for one peer and no other.
    static bool is_for_peer(Kind kind) noexcept {
        return kind == Kind::peer || kind == Kind::hearsay || kind == Kind::check;
    }

    static constexpr Duration stagger = std::chrono::milliseconds(250);
    /// `stagger` in the first round after a link was lost: whether the peer is gone depends on all its addresses.
    static constexpr Duration short_stagger = std::chrono::milliseconds(25);
    /// The first pause before a dial that was accepted without a greeting is repeated, after a lost link. Each further
    /// pause is twice as long. The reason: a process that ends may still accept while its links are being closed.
    static constexpr Duration second_look = std::chrono::milliseconds(2);
    static constexpr unsigned second_looks = 5;
    /// Dials begun at once, and then per second.
    static constexpr double burst = 256;
    static constexpr double rate = 100;
    /// The part of the burst that is kept for other dials than those for remembered addresses and hearsay.
    static constexpr double reserved = burst / 2;
    /// How many remembered addresses are dialled at the same time.
    static constexpr std::size_t most_remembered = 64;
    /// The longest pause of a seed that leads to peers, in `reconnect_max`.
    static constexpr int seed_rest = 10;
    /// How many of the addresses behind one name are dialled.
    static constexpr std::size_t most_addresses = 1024;
    /// Added addresses that are kept; beyond that the oldest is forgotten first.
    static constexpr std::size_t most_added = 64;
    /// How many dials in vain the hearsay of one teller is worth at once, and how long each takes to be allowed anew.
    static constexpr double hearsay_burst = 64;
    static constexpr Duration hearsay_pause = std::chrono::seconds(10);
    /// How many tellers, and how many addresses of hearsay, are remembered for that.
    static constexpr std::size_t most_hearsay = 1024;

    DialPlan(Duration reconnect_min, Duration reconnect_max, std::uint64_t jitter_seed) noexcept
        : reconnect_min_(reconnect_min), reconnect_max_(reconnect_max), dice_(jitter_seed) {}

    std::uint64_t seek(const Address& name, Kind kind, Time now);
    /// Seeks `peer` from `not_before` on. If it is sought already, only its addresses are replaced, and a round at the
    /// former ones begins anew.
    void seek(const PeerId& peer, const std::vector<Address>& addresses, Time not_before);
    /// The same for a peer that was never met, and that `teller` has named. If another named it before, it stays the
    /// hearsay of that one while that one has dials left.
    void hear(const PeerId& peer, const PeerId& teller, const std::vector<Address>& addresses, Time now);
    /// Dials `peer` in one round although it has a link; `failed` or the engine ends the check.
    void check(const PeerId& peer, const std::vector<Address>& addresses, Time now);
    /// How many checks are planned or under way.
    std::size_t checks() const noexcept;
    void drop(std::uint64_t target) { changed().erase(target); }
    void drop(const PeerId& peer);
    void drop(Kind kind);
    /// The answer of an `add` was `peer`: the added address is sought again when that peer has gone.
    void keep(std::uint64_t target, const PeerId& peer);
    /// Forgets added addresses that led to `peer` last. Returns whether there were any.
    bool drop_added(const PeerId& peer);
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
    /// The next thing to do now. An address for which `occupied` is true now belongs to another peer and is not
    /// dialled.
    using Occupied = std::function<bool(const PeerId&, const Address&)>;
    /// A round for a peer does not begin before `earliest(peer)`.
    using Earliest = std::function<Time(const PeerId&)>;
    /// Whether an address of a seed leads to a linked peer and to no other. If so, it is not dialled.
    using Linked = std::function<bool(const Address&)>;
    std::optional<Step> step(Time now, const Occupied& occupied, const Earliest& earliest, const Linked& linked);
    /// When `step` should be asked again. It is asked at every turn, so the answer is kept until something changes.
    Time next() const;

    /// A round has ended in vain.
    struct Round {
        std::uint64_t target = 0;
        Kind kind = Kind::peer;
        std::optional<PeerId> peer;
        Address name;  ///< of a seed, or an added or remembered address
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
    /// Somebody has accepted a dial. While the two greet each other, nothing begins its round anew: on a slow machine
    /// that would only make more work.
    void connected(Ticket ticket);
    /// A dial reached `peer`. For a seed: a peer that is linked.
    void answered(Ticket ticket, const PeerId& peer, Time now);
    /// Whether each seed and each peer has been tried once. A target was tried when a round or a link has ended in
    /// vain. It was also tried when it has led to a peer for which `met` is true.
    bool all_tried(const std::function<bool(const PeerId&)>& met) const;
    const std::optional<PeerId>* bound(std::uint64_t target) const;
    Kind kind(std::uint64_t target) const;

    /// The peer has a first link.
    void engaged(const PeerId& peer);
    /// Its session is attached. Targets that have come since `engaged` are left alone as well. The next pause is short
    /// again.
    void attached(const PeerId& peer);
    /// The peer has no link any more. `known`: a target of kind `peer` goes on seeking it.
    void released(const PeerId& peer, bool known, Time now);
    /// The peer is out of view. Addresses that led to it are sought again, since another peer may be there, and seeds
    /// are looked at anew. Added ones that lead to nobody are forgotten at `until`.
    void unbind(const PeerId& peer, Time now, Time until);
    /// Begins a round now, whatever was planned or is under way. Not if the last one like this is less than `pause`
    /// ago, or if somebody has accepted a dial.
    void hurry(const PeerId& peer, Duration pause, Time now);

    /// This node did not run for `lag`, so nobody could answer it: its dials get as much more time.
    void forgive(Duration lag, Time now);

    /// Rounds ended by the plan itself, because every address was occupied.
    std::vector<Round> take_ended() { return std::exchange(ended_, {}); }

private:
    struct Target {
        Kind kind = Kind::peer;
        std::optional<PeerId> peer;
        std::optional<PeerId> former;  ///< of an added address: the peer that was there last
        Address name;
        std::vector<Address> addresses;
        Time due{};
        Time until = never;  ///< when it is forgotten
        bool kept = false;   ///< an added address that has led to a peer
        bool fruitful = false;  ///< a seed that has led to a peer since one went out of view
        PeerId teller;          ///< of hearsay
        std::size_t spent = 0;  ///< of the teller's dials
        bool starved = false;   ///< put off because the teller has none left
        Time wanted{};  ///< when it was first due, however often it was put off since
        unsigned rounds = 0;  ///< in vain since it was last attached
        bool engaged = false;
        bool was_attached = false;
        bool was_tried = false;  ///< a round or a link has ended in vain
        errc told{};     ///< how the last round in vain ended
        Time hurried{};  ///< when it was last dialled without a pause
        Time redialled{};  ///< the same, because its link was lost
        unsigned looks = second_looks;  ///< second looks taken since the link was lost
        bool urgent = false;            ///< the link was just lost

        // Of the round under way.
        bool running = false;
        Time begun{};
        std::uint64_t round = 0;
        bool resolving = false;
        bool connected = false;  ///< a dial of it has been accepted
        std::size_t tried = 0;
        std::size_t open = 0;
        std::size_t found = 0;    ///< addresses of a seed that lead to linked peers
        bool uncertain = false;  ///< one of a seed neither answered nor refused
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
    /// What is left of the dials that a teller's hearsay is worth.
    struct Allowance {
        double dials = hearsay_burst;
        Time since{};
    };
    /// An address of hearsay that was dialled.
    struct Shunned {
        Time until{};
        unsigned times = 0;
    };

    /// Kinds that get only what the others leave of the budget.
    static bool stands_back(Kind kind) noexcept { return kind == Kind::remembered || kind == Kind::hearsay; }
    static bool sought(const Target& target, const PeerId& peer) {
        return (target.kind == Kind::peer || target.kind == Kind::hearsay) && target.peer == peer;
    }
    bool spend(Kind kind, Time now);
    Allowance& allowance(const PeerId& teller, Time now);
    bool may_hear(const Target& target, Time now);
    void met(Target& target);
    void unshun(const Target& target);
    bool shunned(const Address& address, Time now) const;
    void shun(const Address& address, Time now);
    static bool put_off(Target& target, Duration by, Time now);
    void drop_remembered(const PeerId& peer);
    std::optional<Round> settle(std::uint64_t number, Target& target, Time now);
    Duration pause(unsigned rounds) { return pause(rounds, reconnect_max_); }
    Duration pause(unsigned rounds, Duration most);

    Duration reconnect_min_;
    Duration reconnect_max_;
    Dice dice_;
    Targets targets_;
    std::map<PeerId, Allowance> tellers_;
    std::map<Address, Shunned> shunned_;
    mutable std::optional<Time> next_;
    std::uint64_t last_number_ = 0;
    std::vector<Round> ended_;
    double tokens_ = burst;
    Time no_token_before_ = Duration::zero();
    Time refilled_ = Duration::zero();
};

}  // namespace cluster::core
