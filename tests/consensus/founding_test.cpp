#include "consensus/founding.hpp"

#include "base/overloaded.hpp"
#include "base/random.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

using namespace cluster;
using namespace cluster::consensus;
using Kind = Hindrance::Kind;

namespace {

/// Replicas that meet, with disks that may be slow, and messages that may be late or lost.
struct Village {
    struct Replica {
        std::string name;
        std::set<std::string> voters;
        DiskId disk;
        std::optional<Promise> promise;
        bool founded = false;
        std::deque<Founding::Keep> writing;
        std::unique_ptr<Founding> founding;
        std::optional<Founding::Founded> group;
    };
    struct Flying {
        DiskId from;
        DiskId to;
        std::variant<Introduction, AskPromise, Promised> message;
    };

    explicit Village(std::uint64_t seed = 1) : dice(seed) {}

    Replica& settle(const std::string& name, std::set<std::string> voters) {
        auto replica = std::make_unique<Replica>();
        replica->name = name;
        replica->voters = std::move(voters);
        random(replica->disk.bytes);
        start(*replica);
        replicas.push_back(std::move(replica));
        return *replicas.back();
    }
    void start(Replica& replica) {
        replica.founding =
            std::make_unique<Founding>(Founding::Self{replica.disk, replica.name, replica.voters}, replica.promise,
                                       replica.founded, [this](std::span<std::uint8_t> bytes) { random(bytes); });
        take(replica);
    }
    /// Nothing that was under way arrives.
    void crash(Replica& replica) {
        replica.founding.reset();
        replica.writing.clear();
        for (auto& other : replicas) {
            if (other->founding) other->founding->gone(replica.disk);
        }
        std::erase_if(flying, [&](const Flying& each) { return each.to == replica.disk || each.from == replica.disk; });
    }
    void meet(Replica& a, Replica& b) {
        flying.push_back({a.disk, b.disk, a.founding->introduction()});
        flying.push_back({b.disk, a.disk, b.founding->introduction()});
    }
    void all_meet() {
        for (std::size_t a = 0; a < replicas.size(); ++a) {
            for (std::size_t b = 0; b < a; ++b) {
                if (replicas[a]->founding && replicas[b]->founding) meet(*replicas[a], *replicas[b]);
            }
        }
    }
    void write(Replica& replica) {
        if (replica.writing.empty()) return;
        replica.promise = replica.writing.front().promise;
        replica.founded = replica.writing.front().founded;
        replica.writing.pop_front();
        if (!replica.writing.empty()) return;  // it is told when all is durable
        replica.founding->written();
        take(replica);
    }
    void deliver(std::size_t place) {
        const Flying flown = flying[place];
        flying.erase(flying.begin() + static_cast<std::ptrdiff_t>(place));
        for (auto& each : replicas) {
            if (each->disk != flown.to || !each->founding) continue;
            std::visit(Overloaded{[&](const Introduction& message) { each->founding->introduced(message); },
                                  [&](const auto& message) { each->founding->receive(flown.from, message); }},
                       flown.message);
            take(*each);
        }
    }
    void run() {
        for (bool busy = true; busy;) {
            busy = !flying.empty();
            while (!flying.empty()) deliver(0);
            for (auto& each : replicas) {
                if (!each->founding || each->writing.empty()) continue;
                write(*each);
                busy = true;
            }
        }
    }
    void take(Replica& replica) {
        for (const Founding::Effect& effect : replica.founding->take_effects()) {
            std::visit(Overloaded{
                           [&](const Founding::Keep& keep) { replica.writing.push_back(keep); },
                           [&](const Founding::Tell& tell) {
                               std::visit([&](const auto& message) {
                                   flying.push_back({replica.disk, tell.to, message});
                               }, tell.message);
                           },
                           [&](const Founding::IntroduceAgain&) {
                               for (auto& other : replicas) {
                                   if (other.get() == &replica || !other->founding) continue;
                                   flying.push_back({replica.disk, other->disk, replica.founding->introduction()});
                               }
                           },
                           [&](const Founding::Founded& founded) { replica.group = founded; },
                       },
                       effect);
        }
    }
    void random(std::span<std::uint8_t> bytes) {
        for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(dice.next());
    }

    Dice dice;
    std::vector<std::unique_ptr<Replica>> replicas;
    std::deque<Flying> flying;
};

const std::set<std::string> three{"ann", "bob", "eve"};

}  // namespace

TEST_CASE("founding: when all have met, all have promised, and the same group begins everywhere") {
    Village village;
    auto& ann = village.settle("ann", three);
    auto& bob = village.settle("bob", three);
    village.all_meet();
    village.run();
    CHECK(ann.founding->hindrance() == Hindrance{Kind::absent, {"eve"}});
    CHECK_FALSE(ann.promise.has_value());
    auto& eve = village.settle("eve", three);
    village.all_meet();
    village.run();
    for (const auto* each : {&ann, &bob, &eve}) {
        REQUIRE(each->group.has_value());
        CHECK(each->group->group == ann.group->group);
        CHECK(each->group->configuration == Configuration{{ann.disk, bob.disk, eve.disk}, {}, {}});
        CHECK(each->founded);
        CHECK(each->founding->hindrance() == Hindrance());
    }
    village.crash(bob);
    bob.group.reset();
    village.start(bob);
    CHECK(bob.group.has_value());  // it needs nobody for that any more
}

TEST_CASE("founding: who is the only voter founds its group alone") {
    Village village;
    auto& ann = village.settle("ann", {"ann"});
    village.run();
    REQUIRE(ann.group.has_value());
    CHECK(ann.group->configuration.voters == std::set{ann.disk});
}

TEST_CASE("founding: an empty disk in the place of a member is a newcomer, and founds nothing") {
    Village village;
    for (const std::string& name : three) village.settle(name, three);
    village.all_meet();
    village.run();
    for (const std::size_t place : {std::size_t{0}, std::size_t{1}}) {
        village.crash(*village.replicas[place]);
        auto& anew = village.settle(village.replicas[place]->name, three);
        village.all_meet();
        village.run();
        CHECK_FALSE(anew.group.has_value());
        CHECK_FALSE(anew.promise.has_value());
        CHECK(anew.founding->hindrance().kind == Kind::newcomer);
        village.crash(anew);
        village.start(*village.replicas[place]);
        village.run();
    }
}

TEST_CASE("founding: whoever was started with other voters is named") {
    Village village;
    auto& ann = village.settle("ann", three);
    village.settle("bob", {"ann", "bob"});
    village.settle("eve", three);
    village.all_meet();
    village.run();
    CHECK(ann.founding->hindrance() == Hindrance{Kind::other_voters, {"bob"}});
    CHECK_FALSE(ann.promise.has_value());
}

TEST_CASE("founding: two disks under one name are named, and neither is taken") {
    Village village;
    auto& ann = village.settle("ann", three);
    village.settle("bob", three);
    auto& other = village.settle("bob", three);
    village.all_meet();
    village.run();
    village.settle("eve", three);
    village.all_meet();
    village.run();
    CHECK(ann.founding->hindrance() == Hindrance{Kind::two_disks, {"bob"}});
    CHECK_FALSE(ann.promise.has_value());
    village.crash(other);
    village.all_meet();
    village.run();
    CHECK(ann.group.has_value());
}

TEST_CASE("founding: a disk that is lost between promise and founding stops it, and is named") {
    Village village;
    auto& ann = village.settle("ann", three);
    auto& bob = village.settle("bob", three);
    auto& eve = village.settle("eve", three);
    village.all_meet();
    while (!bob.promise) {
        if (!village.flying.empty()) village.deliver(0);
        village.write(ann);
        village.write(bob);
    }
    village.crash(bob);
    village.crash(eve);
    auto& anew = village.settle("bob", three);
    village.all_meet();
    village.run();
    CHECK(ann.founding->hindrance() == Hindrance{Kind::disk_lost, {"bob"}});
    CHECK_FALSE(ann.group.has_value());
    CHECK_FALSE(anew.promise.has_value());
}

TEST_CASE("founding: nobody promises what it is not asked for by all names, or what its own disk is not part of") {
    Village village;
    auto& ann = village.settle("ann", three);
    auto& bob = village.settle("bob", three);
    Promise promise{{{7}}, {{"ann", ann.disk}, {"bob", ann.disk}, {"eve", ann.disk}}};
    bob.founding->receive(ann.disk, AskPromise{promise});
    promise.disks = {{"ann", ann.disk}, {"bob", bob.disk}};
    bob.founding->receive(ann.disk, AskPromise{promise});
    CHECK(bob.founding->take_effects().empty());
    promise.disks["eve"] = ann.disk;
    bob.founding->receive(ann.disk, AskPromise{promise});
    CHECK(bob.founding->take_effects().size() == 1);
    promise.group = {{8}};
    bob.founding->receive(ann.disk, AskPromise{promise});
    CHECK(bob.founding->take_effects().empty());
}

TEST_CASE("founding: a copied directory is named, and keeps its disk out") {
    Village village;
    auto& ann = village.settle("ann", three);
    auto& bob = village.settle("bob", three);
    village.settle("eve", three);
    Introduction copy = bob.founding->introduction();
    copy.name = "bob's copy";
    bob.founding->introduced(copy);
    village.all_meet();
    village.run();
    CHECK(bob.founding->hindrance() == Hindrance{Kind::twin, {"bob's copy"}});
    CHECK_FALSE(bob.promise.has_value());
    CHECK(ann.founding->hindrance() == Hindrance{Kind::unanswered, {"bob"}});
    CHECK_FALSE(ann.group.has_value());
    // When it is gone, it stands in nobody's way.
    bob.founding->twin_gone("bob's copy");
    ann.founding->remind();
    village.take(ann);
    village.run();
    CHECK(ann.group.has_value());
    REQUIRE(bob.group.has_value());
    CHECK(bob.group->group == ann.group->group);
}

TEST_CASE("founding: a question that was lost is asked again, and what stood in the way may go") {
    Village village;
    auto& ann = village.settle("ann", {"ann", "bob"});
    auto& bob = village.settle("bob", {"ann", "bob"});
    village.all_meet();
    while (!village.flying.empty()) village.deliver(0);
    village.write(ann);
    village.flying.clear();
    village.run();
    CHECK_FALSE(bob.promise.has_value());
    ann.founding->remind();
    village.take(ann);
    village.run();
    CHECK(bob.group.has_value());
    CHECK(ann.group.has_value());
}

TEST_CASE("founding: whoever promised, and then is started with other voters or none, says so") {
    Village village;
    auto& ann = village.settle("ann", {"ann", "bob"});
    village.settle("bob", {"ann", "bob"});
    village.all_meet();
    while (!village.flying.empty()) village.deliver(0);
    village.write(ann);
    REQUIRE(ann.promise.has_value());
    village.crash(ann);
    ann.voters = three;
    village.start(ann);
    village.settle("eve", three);
    village.all_meet();
    while (!village.flying.empty()) village.deliver(0);
    CHECK(ann.founding->hindrance() == Hindrance{Kind::other_voters, {"bob", "eve"}});
    Village other;
    auto& alone = other.settle("ann", {});
    CHECK(alone.founding->hindrance() == Hindrance());
    CHECK_FALSE(alone.group.has_value());
}

TEST_CASE("founding: whatever is lost, late or begins anew, no disk is in two groups, and in the end there is one") {
    for (std::uint64_t seed = 1; seed <= 2000; ++seed) {
        CAPTURE(seed);
        Village village(seed);
        const std::vector<std::string> names{"ann", "bob", "eve"};
        for (const std::string& name : names) village.settle(name, three);
        std::map<DiskId, GroupId> group_of;
        for (int step = 0; step < 60; ++step) {
            auto& one = *village.replicas[village.dice.below(3)];
            auto& other = *village.replicas[village.dice.below(3)];
            switch (village.dice.below(8)) {
                case 0:
                    if (one.founding) village.crash(one);
                    break;
                case 1:
                case 2:
                    if (!one.founding) village.start(one);
                    break;
                case 3:
                    if (&one != &other && one.founding && other.founding) village.meet(one, other);
                    break;
                case 4: village.write(one); break;
                case 5:
                    if (!village.flying.empty() && village.dice.below(4) == 0) {
                        village.flying.erase(village.flying.begin());
                    }
                    break;
                default:
                    if (!village.flying.empty()) village.deliver(village.dice.below(village.flying.size()));
            }
            for (const auto& each : village.replicas) {
                if (!each->group) continue;
                REQUIRE(each->founded);
                for (const DiskId& disk : each->group->configuration.voters) {
                    REQUIRE(group_of.emplace(disk, each->group->group).first->second == each->group->group);
                }
            }
        }
        for (auto& each : village.replicas) {
            if (!each->founding) village.start(*each);
        }
        village.all_meet();
        village.run();
        for (const auto& each : village.replicas) {
            REQUIRE(each->group.has_value());
            REQUIRE(each->group->group == village.replicas[0]->group->group);
        }
    }
}
