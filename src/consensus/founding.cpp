#include "consensus/founding.hpp"

#include <algorithm>
#include <utility>

namespace cluster::consensus {

namespace {

Configuration configuration_of(const Promise& promise) {
    Configuration configuration;
    for (const auto& [name, disk] : promise.disks) configuration.voters.insert(disk);
    return configuration;
}

}  // namespace

Founding::Founding(Self self, std::optional<Promise> promise, bool founded, RandomSource random)
    : self_(std::move(self)),
      random_(std::move(random)),
      promise_(std::move(promise)),
      founded_(founded),
      durable_promise_(promise_.has_value()),
      durable_founded_(founded) {
    if (founded_) effects_.emplace_back(Founded{promise_->group, configuration_of(*promise_)});
    go_on();  // somebody may be alone
}

Introduction Founding::introduction() const {
    // Only what is durable is said.
    return {self_.disk, self_.name, self_.voters, durable_promise_ ? promise_ : std::nullopt, durable_founded_};
}

void Founding::introduced(const Introduction& other) {
    if (other.disk == self_.disk) {
        twins_.insert(other.name);
        return;
    }
    met_[other.disk] = other;
    go_on();
}

void Founding::gone(const DiskId& disk) {
    met_.erase(disk);
    asked_by_.erase(disk);
    go_on();  // it may have stood in the way
}

void Founding::twin_gone(const std::string& name) {
    if (twins_.erase(name) != 0) go_on();
}

void Founding::remind() {
    go_on();
}

void Founding::receive(const DiskId& from, const AskPromise& asked) {
    if (!promise_ && twins_.empty()) {
        const auto own = asked.promise.disks.find(self_.name);
        const bool meant = own != asked.promise.disks.end() && own->second == self_.disk;
        std::set<std::string> names;
        for (const auto& [name, disk] : asked.promise.disks) names.insert(name);
        if (!meant || names != self_.voters || hindrance().kind == Hindrance::Kind::newcomer) return;
        asked_by_.insert(from);
        return keep(asked.promise, false);
    }
    if (promise_ != asked.promise) return;  // a promise is given once
    if (durable_promise_) {
        effects_.emplace_back(Tell{from, Promised{promise_->group}});
    } else {
        asked_by_.insert(from);
    }
}

void Founding::receive(const DiskId& from, const Promised& promised) {
    if (!founder() || !promise_ || promised.group != promise_->group) return;
    promised_.insert(from);
    go_on();
}

void Founding::written() {
    if (!std::exchange(durable_promise_, promise_.has_value())) {
        for (const DiskId& disk : std::exchange(asked_by_, {})) {
            effects_.emplace_back(Tell{disk, Promised{promise_->group}});
        }
    }
    if (!std::exchange(durable_founded_, founded_) && founded_) {
        effects_.emplace_back(Founded{promise_->group, configuration_of(*promise_)});
    }
    effects_.emplace_back(IntroduceAgain{});
    go_on();
}

void Founding::keep(Promise promise, bool founded) {
    promise_ = std::move(promise);
    founded_ = founded;
    effects_.emplace_back(Keep{*promise_, founded});
}

std::map<std::string, std::set<DiskId>> Founding::disks_by_name() const {
    std::map<std::string, std::set<DiskId>> disks{{self_.name, {self_.disk}}};
    for (const auto& [disk, other] : met_) disks[other.name].insert(disk);
    return disks;
}

Hindrance Founding::hindrance() const {
    using Kind = Hindrance::Kind;
    if (!twins_.empty()) return {Kind::twin, twins_};
    if (durable_founded_) return {};
    Hindrance lost{Kind::disk_lost, {}};
    Hindrance other{Kind::other_promise, {}};
    Hindrance voters{Kind::other_voters, {}};
    for (const auto& [disk, each] : met_) {
        if (!self_.voters.contains(each.name)) continue;
        const bool ours = promise_ && each.promise == promise_;
        if (each.founded && !ours) return {Kind::newcomer, {each.name}};
        if (each.voters != self_.voters) voters.names.insert(each.name);
        if (each.promise && !ours) other.names.insert(each.name);
        if (!promise_) continue;
        const auto promised = promise_->disks.find(each.name);
        if (promised == promise_->disks.end()) {
            voters.names.insert(each.name);  // since the promise, this replica was given other voters
        } else if (promised->second != disk) {
            lost.names.insert(each.name);
        }
    }
    Hindrance two{Kind::two_disks, {}};
    Hindrance absent{Kind::absent, {}};
    const auto disks = disks_by_name();
    for (const std::string& name : self_.voters) {
        const auto found = disks.find(name);
        if (found == disks.end()) {
            absent.names.insert(name);
        } else if (found->second.size() > 1) {
            two.names.insert(name);
        }
    }
    for (const Hindrance* each : {&voters, &two, &lost, &other, &absent}) {
        if (!each->names.empty()) return *each;
    }
    Hindrance unanswered{Kind::unanswered, {}};
    if (!promise_) {
        if (!self_.voters.empty()) unanswered.names.insert(*self_.voters.begin());
    } else if (founder()) {
        for (const auto& [name, disk] : promise_->disks) {
            if (disk != self_.disk && !promised_.contains(disk)) unanswered.names.insert(name);
        }
    }
    return unanswered.names.empty() ? Hindrance() : unanswered;
}

/// Asks those who have not promised. They may have begun anew, or the question was lost.
void Founding::ask() {
    for (const auto& [disk, other] : met_) {
        const auto meant = promise_->disks.find(other.name);
        if (meant != promise_->disks.end() && meant->second == disk && !promised_.contains(disk)) {
            effects_.emplace_back(Tell{disk, AskPromise{*promise_}});
        }
    }
}

/// Takes the next step, if it is this replica's turn.
void Founding::go_on() {
    if (founded_ || !twins_.empty()) return;
    if (promise_) {
        bool exists = false;  // any member may say that all have promised
        for (const auto& [disk, other] : met_) {
            if (other.promise != promise_) continue;
            promised_.insert(disk);
            exists = exists || other.founded;
        }
        const bool all = founder() && std::all_of(promise_->disks.begin(), promise_->disks.end(), [this](auto& each) {
                             return each.second == self_.disk || promised_.contains(each.second);
                         });
        if (durable_promise_ && (exists || all)) return keep(*promise_, true);
        if (founder() && durable_promise_) ask();
        return;
    }
    if (!founder()) return;
    const Hindrance hindrance = this->hindrance();
    const bool only_me = hindrance.kind == Hindrance::Kind::unanswered && hindrance.names == std::set{self_.name};
    if (hindrance.kind != Hindrance::Kind::none && !only_me) return;
    Promise promise;
    random_(promise.group.bytes);
    for (const auto& [name, disks] : disks_by_name()) {
        if (self_.voters.contains(name)) promise.disks[name] = *disks.begin();
    }
    keep(std::move(promise), false);
}

}  // namespace cluster::consensus
