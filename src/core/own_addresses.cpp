#include "core/own_addresses.hpp"

#include "core/frame.hpp"

#include <algorithm>
#include <utility>

namespace cluster::core {

namespace {

bool is_ipv6(std::string_view host) noexcept {
    return host.find(':') != std::string_view::npos;
}

bool is_numeric(std::string_view host) noexcept {
    const std::string_view characters = is_ipv6(host) ? "0123456789abcdefABCDEF:." : "0123456789.";
    return !host.empty() && host.find_first_not_of(characters) == std::string_view::npos;
}

bool is_unspecified(std::string_view host) noexcept {
    return host.find_first_not_of("0:.") == std::string_view::npos;
}

}  // namespace

bool is_loopback(std::string_view host) noexcept {
    return host.starts_with("127.") || host == "::1" || host == "localhost";
}

bool needs_zone(std::string_view host) noexcept {
    return is_ipv6(host) && (host.starts_with("fe80:") || host.starts_with("FE80:"));
}

bool is_link_local(std::string_view host) noexcept {
    return needs_zone(host) || host.starts_with("169.254.");
}

std::string without_zone(std::string host) {
    host.resize(std::min(host.find('%'), host.size()));
    return host;
}

void OwnAddresses::listen(std::vector<Address> listening) {
    listening_ = std::move(listening);
    if (listening_.size() > most_listening) listening_.resize(most_listening);
    for (Address& each : listening_) each.host = without_zone(std::move(each.host));
    std::erase_if(agreed_, [&](const std::string& host) { return !may_be_translated(host); });
}

bool OwnAddresses::listens_on(const Address& address) const {
    const Address plain{without_zone(address.host), address.port};
    return std::find(listening_.begin(), listening_.end(), plain) != listening_.end();
}

bool OwnAddresses::is_local(std::string_view host) const {
    return std::any_of(listening_.begin(), listening_.end(), [&](const Address& each) { return each.host == host; });
}

/// Whether peers can reach this node at `host` although no interface has it. If no interface has an address of this
/// kind, there is nothing to translate to.
bool OwnAddresses::may_be_translated(std::string_view host) const {
    if (!is_numeric(host) || is_unspecified(host) || is_loopback(host) || is_link_local(host)) return false;
    return !is_local(host) && std::any_of(listening_.begin(), listening_.end(), [&](const Address& each) {
        return is_ipv6(each.host) == is_ipv6(host) && !is_loopback(each.host) && !is_link_local(each.host);
    });
}

std::size_t OwnAddresses::witnesses(std::string_view host) const {
    return static_cast<std::size_t>(
        std::count_if(words_.begin(), words_.end(), [&](const auto& entry) { return entry.second.host == host; }));
}

void OwnAddresses::observed(const PeerId& witness, std::string_view from, std::string_view host) {
    Word& word = words_[witness];
    Word now{without_zone(std::string(from)), without_zone(std::string(host))};
    const std::string before = std::exchange(word, std::move(now)).host;
    weigh(before);
    weigh(word.host);
}

void OwnAddresses::forget(const PeerId& witness) {
    const auto word = words_.extract(witness);
    if (word) weigh(word.mapped().host);
}

/// The words of witnesses about `host` have changed.
void OwnAddresses::weigh(const std::string& host) {
    std::set<std::string> from;
    for (const auto& [witness, word] : words_) {
        if (word.host == host) from.insert(word.from);
    }
    if (from.empty()) {
        agreed_.erase(host);
    } else if (from.size() >= 2 && may_be_translated(host)) {
        agreed_.insert(host);
    }
}

std::vector<Address> OwnAddresses::published() const {
    if (listening_.empty()) return {};
    std::vector<Address> seen;
    std::vector<Address> unseen;
    for (const Address& each : listening_) {
        // Every interface has an address that needs a zone. It is of use only if somebody saw this node there.
        const bool was_seen = witnesses(each.host) != 0;
        if (was_seen || !needs_zone(each.host)) (was_seen ? seen : unseen).push_back(each);
    }
    const auto is_elsewhere = [](const Address& each) { return !is_loopback(each.host); };
    std::stable_partition(unseen.begin(), unseen.end(), is_elsewhere);
    std::vector<Address> all = std::move(seen);
    for (const std::string& host : agreed_) all.push_back({host, listening_.front().port});
    all.insert(all.end(), unseen.begin(), unseen.end());
    if (all.size() > max_addresses) all.resize(max_addresses);
    std::stable_partition(all.begin(), all.end(), is_elsewhere);
    return all;
}

}  // namespace cluster::core
