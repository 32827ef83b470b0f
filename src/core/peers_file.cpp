#include "core/peers_file.hpp"

#include "base/siphash.hpp"
#include "core/frame.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <set>
#include <utility>

namespace cluster::core {

namespace {

constexpr std::string_view heading = "cluster-peers 1 ";
constexpr std::size_t checksum_digits = 16;

using std::chrono::seconds;

bool control(char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

/// Cuts off and returns the text before the first `separator`, which goes, too. Without a separator that is all of it.
std::string_view cut(std::string_view& text, char separator) {
    const std::size_t at = text.find(separator);
    const std::string_view head = text.substr(0, at);
    text = at == std::string_view::npos ? std::string_view() : text.substr(at + 1);
    return head;
}

std::optional<Address> dialable(std::string_view text) {
    std::error_code error;
    Address address = Address::parse(text, error);
    if (error || address.port == 0) return std::nullopt;
    return address;
}

}  // namespace

std::string KnownPeers::checksum(std::string_view rest) const {
    std::string covered = std::string(heading) + cluster_ + '\n';
    covered += rest;
    const auto sum = siphash128({}, {reinterpret_cast<const std::uint8_t*>(covered.data()), covered.size()});
    static constexpr char digits[] = "0123456789abcdef";
    std::string text;
    for (std::size_t i = 0; i < checksum_digits / 2; ++i) {
        text += digits[sum[i] >> 4];
        text += digits[sum[i] & 15];
    }
    return text;
}

std::string KnownPeers::line_of(const Entry& entry, const Moment& now) const {
    const Duration seen = now.wall - (now.steady - entry.seen);
    std::string rest = std::to_string(std::max<std::int64_t>(0, std::chrono::round<seconds>(seen).count())) + ' ';
    for (const Address& address : entry.addresses) {
        if (rest.back() != ' ') rest += ',';
        rest += address.to_string();
    }
    rest += ' ';
    for (const char c : entry.name.substr(0, max_name)) rest += control(c) ? '?' : c;
    return checksum(rest) + ' ' + rest + '\n';
}

std::optional<KnownPeers::Entry> KnownPeers::entry_of(std::string_view line, const Moment& now) const {
    const std::string_view sum = cut(line, ' ');
    if (sum.size() != checksum_digits || sum != checksum(line)) return std::nullopt;
    const std::string_view seen = cut(line, ' ');
    std::string_view addresses = cut(line, ' ');
    Entry entry;
    std::uint32_t when = 0;
    const auto [end, error] = std::from_chars(seen.data(), seen.data() + seen.size(), when);
    if (error != std::errc() || end != seen.data() + seen.size()) return std::nullopt;
    entry.seen = now.steady - std::max(Duration(0), now.wall - seconds(when));
    entry.name = line;
    while (!addresses.empty()) {
        auto address = dialable(cut(addresses, ','));
        if (!address || entry.addresses.size() >= max_addresses_each) return std::nullopt;
        entry.addresses.push_back(std::move(*address));
    }
    if (entry.addresses.empty()) return std::nullopt;
    return entry;
}

KnownPeers::Findings KnownPeers::read(std::string_view text, const Moment& now) {
    Findings findings;
    bool any = false;
    std::optional<std::string> other;
    text = text.substr(0, max_bytes);
    for (bool first = true; !text.empty(); first = false) {
        const std::string_view line = cut(text, '\n');
        if (line.empty()) continue;
        if (first && line.starts_with(heading)) {
            const std::string_view name = line.substr(heading.size());
            if (name == cluster_) continue;
            if (name.size() <= max_name && std::none_of(name.begin(), name.end(), control)) other = name;
        }
        if (auto entry = entry_of(line, now)) {
            any = true;
            entries_.push_back(std::move(*entry));
        } else {
            ++findings.damaged;
        }
    }
    if (!any) findings.other_cluster = std::move(other);
    tidy(now.steady);
    return findings;
}

bool KnownPeers::observe(std::vector<Whereabouts> view, Time now) {
    // Before those of the same age, so that rule 1 keeps the present peer rather than the former one.
    std::vector<Entry> entries;
    std::set<PeerId> here;
    std::set<PeerId> before;
    for (const Whereabouts& peer : view_) before.insert(peer.id);
    for (const Whereabouts& peer : view) {
        here.insert(peer.id);
        Entry entry{peer.id, peer.name, {}, now};
        for (const Address& address : peer.addresses) {
            // A peer may publish anything; an entry takes only addresses that read back unchanged.
            const bool fits = entry.addresses.size() < max_addresses_each;
            if (fits && dialable(address.to_string()) == address) entry.addresses.push_back(address);
        }
        if (!entry.addresses.empty()) entries.push_back(std::move(entry));
    }
    for (Entry& entry : entries_) {
        if (entry.id && here.contains(*entry.id)) continue;
        if (entry.id && before.contains(*entry.id)) entry.seen = now;
        entries.push_back(std::move(entry));
    }
    entries_ = std::move(entries);
    tidy(now);
    const bool changed = view != view_;
    view_ = std::move(view);
    return changed;
}

bool KnownPeers::forget(const PeerId& id) {
    return std::erase_if(entries_, [&](const Entry& entry) { return entry.id == id; }) != 0;
}

/// Newest first, without those that are too old, too many or say nothing new.
void KnownPeers::tidy(Time now) {
    std::erase_if(entries_, [&](const Entry& entry) { return now - entry.seen > keep_; });
    std::stable_sort(entries_.begin(), entries_.end(),
                     [](const Entry& a, const Entry& b) { return a.seen > b.seen; });
    std::set<Address> dialled;
    std::vector<Entry> kept;
    for (Entry& entry : entries_) {
        if (kept.size() == max_entries) break;
        bool news = false;
        for (const Address& address : entry.addresses) news = dialled.insert(address).second || news;
        if (news) kept.push_back(std::move(entry));
    }
    entries_ = std::move(kept);
}

std::vector<Address> KnownPeers::addresses(std::span<const Address> except, std::size_t most) const {
    std::set<Address> taken(except.begin(), except.end());
    std::vector<Address> addresses;
    for (std::size_t i = 0; i < max_addresses_each; ++i) {
        for (const Entry& entry : entries_) {
            if (addresses.size() == most) return addresses;
            if (i < entry.addresses.size() && taken.insert(entry.addresses[i]).second) {
                addresses.push_back(entry.addresses[i]);
            }
        }
    }
    return addresses;
}

std::string KnownPeers::text(const Moment& now) {
    tidy(now.steady);
    std::string text = std::string(heading) + cluster_ + '\n';
    for (const Entry& entry : entries_) {
        const std::string line = line_of(entry, now);
        if (text.size() + line.size() > max_bytes) break;
        text += line;
    }
    return text;
}

}  // namespace cluster::core
