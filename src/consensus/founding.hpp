#pragma once

#include "base/random.hpp"
#include "consensus/configuration.hpp"
#include "consensus/entry.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace cluster::consensus {

/// One group of replicas, for all time: 128 random bits, drawn when it was founded. Its name may be used again.
struct GroupId {
    std::array<std::uint8_t, 16> bytes{};
    friend auto operator<=>(const GroupId&, const GroupId&) = default;
};

/// A disk gives one promise, ever: to belong to this group of these disks, which stand under the names of their nodes.
struct Promise {
    GroupId group;
    std::map<std::string, DiskId> disks;
    friend bool operator==(const Promise&, const Promise&) = default;
};

/// What each replica says of itself to each other one that it meets, and again when it changes.
struct Introduction {
    DiskId disk;
    std::string name;              ///< of its node
    std::set<std::string> voters;  ///< the names that it was started with
    std::optional<Promise> promise;
    bool founded = false;  ///< the promised group exists
};

/// "Promise this." The one who asks has promised it already.
struct AskPromise {
    Promise promise;
};
struct Promised {
    GroupId group;
};
/// "I do nothing any more", while its node lives on.
struct Farewell {};

/// Why there is no group yet.
struct Hindrance {
    enum class Kind : std::uint8_t {
        none,
        absent,         ///< these have not been met
        other_voters,   ///< these were started with other names
        two_disks,      ///< under these names there are several disks
        other_promise,  ///< these have promised themselves to another group, or are in one
        disk_lost,      ///< these promised with a disk that is not theirs any more
        unanswered,     ///< these have not promised yet
        newcomer,       ///< a group of that name exists, without this disk
        twin,           ///< these have the same disk: a directory was copied
    };
    Kind kind = Kind::none;
    std::set<std::string> names;
    friend bool operator==(const Hindrance&, const Hindrance&) = default;
};

/// Makes a group out of empty disks, once. The voter whose name is the smallest draws the group's id as soon as it has
/// met all, each with one disk that has promised nothing. Only when all of these disks have promised is it founded.
/// So no disk is in two groups, whatever is lost or begins anew meanwhile. Not thread-safe; without clock or network.
class Founding {
public:
    struct Self {
        DiskId disk;
        std::string name;
        std::set<std::string> voters;
    };

    /// To be put on disk. `written` says when that is done.
    struct Keep {
        Promise promise;
        bool founded = false;
    };
    struct Tell {
        DiskId to;
        std::variant<AskPromise, Promised> message;
    };
    /// All that were met shall hear the introduction anew.
    struct IntroduceAgain {};
    /// The group exists: this is what its log begins with.
    struct Founded {
        GroupId group;
        Configuration configuration;
    };
    using Effect = std::variant<Keep, Tell, IntroduceAgain, Founded>;

    /// `promise` and `founded` as they are on disk.
    Founding(Self self, std::optional<Promise> promise, bool founded, RandomSource random);

    void introduced(const Introduction& other);
    /// That replica is not in view any more.
    void gone(const DiskId& disk);
    /// No replica with a copy of this disk is on the node of that name any more.
    void twin_gone(const std::string& name);
    /// Once in a while: a question may be lost.
    void remind();
    void receive(const DiskId& from, const AskPromise& asked);
    void receive(const DiskId& from, const Promised& promised);
    void written();

    std::vector<Effect> take_effects() { return std::exchange(effects_, {}); }
    Introduction introduction() const;
    bool founded() const noexcept { return durable_founded_; }
    /// What stands in the way now.
    Hindrance hindrance() const;

private:
    bool founder() const { return !self_.voters.empty() && *self_.voters.begin() == self_.name; }
    std::map<std::string, std::set<DiskId>> disks_by_name() const;
    void go_on();
    void ask();
    void keep(Promise promise, bool founded);

    const Self self_;
    const RandomSource random_;
    std::vector<Effect> effects_;
    std::optional<Promise> promise_;  ///< ordered to be written, if not durable
    bool founded_ = false;
    bool durable_promise_;
    bool durable_founded_;
    std::map<DiskId, Introduction> met_;
    std::set<std::string> twins_;  ///< nodes that say that they have this disk
    std::set<DiskId> promised_;    ///< the founder: who has answered
    std::set<DiskId> asked_by_;    ///< who waits for the promise to be durable
};

}  // namespace cluster::consensus
