#include "core/roster.hpp"

#include <algorithm>
#include <cstring>

namespace cluster::core {

void Roster::publish(Tags tags) {
    if (self_.tags == tags) return;
    self_.tags = std::move(tags);
    ++self_.version;
    ++changes_;
}

void Roster::publish(std::vector<Address> addresses) {
    if (self_.addresses == addresses) return;
    self_.addresses = std::move(addresses);
    ++self_.version;
    ++changes_;
}

Roster::News Roster::learn(const Facts& facts) {
    const auto [found, fresh] = known_.try_emplace(facts.id, facts);
    if (!fresh) {
        if (facts.version <= found->second.version) return News::none;
        found->second = facts;
    }
    ++changes_;
    return fresh ? News::unknown : News::changed;
}

bool Roster::state(const Facts& facts) {
    Facts& known = known_[facts.id];
    if (known == facts) return false;
    known = facts;
    ++changes_;
    return true;
}

const Facts* Roster::find(const PeerId& id) const {
    const auto found = known_.find(id);
    return found == known_.end() ? nullptr : &found->second;
}

void Roster::forget(const PeerId& id) {
    known_.erase(id);
    ++changes_;
}

void Roster::bury(const PeerId& id, Time until) {
    forget(id);
    departed_.add(id, until);
}

void Roster::expire(Time now) {
    departed_.expire(now);
    departed_guests_.expire(now);
    for (auto& [id, parted] : parted_) {
        if (parted.token_until <= now) parted.token.reset();
    }
}

Time Roster::next_expiry() const noexcept {
    Time next = std::min(departed_.next_expiry(), departed_guests_.next_expiry());
    for (const auto& [id, parted] : parted_) {
        if (parted.token) next = std::min(next, parted.token_until);
    }
    return next;
}

Roster::Parted* Roster::parted(const PeerId& id) {
    const auto found = parted_.find(id);
    return found == parted_.end() ? nullptr : &found->second;
}

namespace {

bool has(const std::vector<Address>& addresses, const Address& address) {
    return std::find(addresses.begin(), addresses.end(), address) != addresses.end();
}

bool runs_at(const Roster::Parted& parted, const std::vector<Address>& addresses) {
    const auto found = [&](const Address& each) { return has(parted.found, each); };
    const auto known = [&](const Address& each) { return found(each) || has(parted.said, each); };
    return std::any_of(addresses.begin(), addresses.end(), found) &&
           std::all_of(addresses.begin(), addresses.end(), known);
}

}  // namespace

bool Roster::blocked(const std::vector<Address>& addresses) const {
    return std::any_of(parted_.begin(), parted_.end(),
                       [&](const auto& entry) { return runs_at(entry.second, addresses); });
}

void Roster::unblock(const std::vector<Address>& addresses) {
    std::erase_if(parted_, [&](const auto& entry) { return runs_at(entry.second, addresses); });
}

bool Roster::blocked(const Address& address) const {
    return std::any_of(parted_.begin(), parted_.end(),
                       [&](const auto& entry) { return has(entry.second.found, address); });
}

void Roster::unblock(const Address& address, bool or_said) {
    std::erase_if(parted_, [&](const auto& entry) {
        return has(entry.second.found, address) || (or_said && has(entry.second.said, address));
    });
}

std::uint64_t Roster::digest(const Facts& facts) noexcept {
    std::uint64_t low;
    std::uint64_t high;
    std::memcpy(&low, facts.id.bytes.data(), 8);
    std::memcpy(&high, facts.id.bytes.data() + 8, 8);
    std::uint64_t z = low ^ high ^ (facts.version * 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;  // the finaliser of splitmix64
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

}  // namespace cluster::core
