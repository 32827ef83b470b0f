#include <cluster/options.hpp>

#include "core/frame.hpp"
#include "node/options_check.hpp"
#include "value/address.hpp"

#include <cluster/error.hpp>

#include <algorithm>
#include <system_error>

namespace cluster {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

namespace {

constexpr std::uint64_t kib = 1024;
constexpr std::uint64_t mib = 1024 * kib;
constexpr nanoseconds shortest = milliseconds(1);
constexpr nanoseconds longest = std::chrono::hours(24 * 3652);
constexpr nanoseconds warm_longest = std::chrono::hours(9);  // what Linux takes
constexpr std::size_t max_seeds = 64;
constexpr std::size_t max_path = 4000;
constexpr std::uint64_t most_peers = 4096;
constexpr std::uint64_t most_guests = 100000;
constexpr std::uint64_t inbox_per_peer = 256 * kib;
constexpr std::uint64_t outbox_for_headers = 64 * kib;

void require(bool holds, const std::string& otherwise) {
    if (!holds) throw std::system_error(make_error_code(errc::invalid_options), otherwise);
}

std::string text_of(nanoseconds value) {
    if (value % seconds(1) == nanoseconds(0)) return std::to_string(value / seconds(1)) + " s";
    if (value % milliseconds(1) == nanoseconds(0)) return std::to_string(value / milliseconds(1)) + " ms";
    return std::to_string(value.count()) + " ns";
}

std::string text_of(std::uint64_t bytes) {
    return std::to_string(bytes) + " bytes";
}

void check_text(std::string_view option, std::string_view text, std::size_t max) {
    require(text.size() <= max,
            std::string(option) + " has " + text_of(text.size()) + "; use at most " + std::to_string(max));
    require(std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }),
            std::string(option) + " contains a control character; use printable text");
}

void check_duration(std::string_view option, nanoseconds value, bool may_be_zero = false) {
    if (may_be_zero && value == nanoseconds(0)) return;
    require(value >= shortest && value <= longest, std::string(option) + " is " + text_of(value) + "; use " +
                                                       (may_be_zero ? "0, or " : "") +
                                                       "at least 1 ms and at most 10 years");
}

enum class Use : std::uint8_t { listen, advertise, dial };

void check_address(const std::string& option, std::string_view text, Use use) {
    const auto fail = [&](const std::string& problem) {
        throw std::system_error(make_error_code(errc::invalid_address), option + ": " + problem);
    };
    Address address;
    if (const std::string problem = detail::read_address(text, address); !problem.empty()) fail(problem);
    if (use != Use::listen && detail::is_wildcard(address.host)) {
        fail(address.to_string() + " is no address that can be dialled; write that of one interface, or a name");
    }
    if (use == Use::dial && address.port == 0) fail(address.to_string() + " has port 0; write the port it listens on");
}

void check_addresses(const std::string& option, const std::vector<std::string>& texts, std::size_t max, Use use) {
    require(texts.size() <= max,
            option + " has " + std::to_string(texts.size()) + " addresses; use at most " + std::to_string(max));
    for (std::size_t i = 0; i < texts.size(); ++i) {
        check_address(option + "[" + std::to_string(i) + "]", texts[i], use);
    }
}

void check_durations(const Options& options) {
    check_duration("heartbeat", options.heartbeat);
    check_duration("suspicion", options.suspicion);
    check_duration("reconnect_min", options.reconnect_min);
    check_duration("reconnect_max", options.reconnect_max);
    check_duration("resume_for", options.resume_for);
    check_duration("forget_after", options.forget_after);
    check_duration("connect_timeout", options.connect_timeout);
    check_duration("handshake_timeout", options.handshake_timeout);
    check_duration("attach_timeout", options.attach_timeout);
    check_duration("send_timeout", options.send_timeout, true);
    check_duration("linger", options.linger, true);

    const bool warm = options.keep_warm >= seconds(1) && options.keep_warm <= warm_longest;
    require(warm || options.keep_warm == nanoseconds(0),
            "keep_warm (" + text_of(options.keep_warm) + ") is out of range; use 0, or at least 1 s, at most 9 hours");
    require(options.suspicion >= 2 * options.heartbeat,
            "suspicion (" + text_of(options.suspicion) + ") must be at least twice heartbeat (" +
                text_of(options.heartbeat) + "); raise suspicion or lower heartbeat");
    require(options.reconnect_min <= options.reconnect_max,
            "reconnect_min (" + text_of(options.reconnect_min) + ") must not be more than reconnect_max (" +
                text_of(options.reconnect_max) + "); lower the first or raise the second");
    require(options.handshake_timeout > 2 * options.attach_timeout,
            "handshake_timeout (" + text_of(options.handshake_timeout) + ") must be more than twice attach_timeout (" +
                text_of(options.attach_timeout) + "); raise the first or lower the second");
    require(options.resume_for > options.handshake_timeout,
            "resume_for (" + text_of(options.resume_for) + ") must be more than handshake_timeout (" +
                text_of(options.handshake_timeout) + "); raise the first or lower the second");
    require(options.forget_after > options.resume_for,
            "forget_after (" + text_of(options.forget_after) + ") must be more than resume_for (" +
                text_of(options.resume_for) + "); raise the first or lower the second");
}

void check_sizes(const Options& options) {
    require(options.max_message >= 64 * kib && options.max_message <= 512 * mib,
            "max_message is " + text_of(options.max_message) + "; use 64 KiB to 512 MiB");
    require(options.max_peers >= 1 && options.max_peers <= most_peers,
            "max_peers is " + std::to_string(options.max_peers) + "; use 1 to 4096");
    require(options.max_guests <= most_guests,
            "max_guests is " + std::to_string(options.max_guests) + "; use at most 100000");
    require(options.max_member_data <= core::max_member_data,
            "max_member_data is " + text_of(options.max_member_data) + "; use at most 64 KiB");
    require(options.members_bytes >= 64 * kib,
            "members_bytes is " + text_of(options.members_bytes) + "; use at least 64 KiB");
    require(options.inbox_bytes >= inbox_per_peer * options.max_peers,
            "inbox_bytes (" + text_of(options.inbox_bytes) + ") must be at least 256 KiB for each of max_peers (" +
                std::to_string(options.max_peers) + "), which is " + text_of(inbox_per_peer * options.max_peers) +
                "; raise inbox_bytes or lower max_peers");
    require(options.inbox_bytes / 4 >= options.max_message,
            "inbox_bytes (" + text_of(options.inbox_bytes) + ") must be at least four times max_message (" +
                text_of(options.max_message) + "); raise inbox_bytes or lower max_message");
    require(options.outbox_bytes >= options.max_message + outbox_for_headers,
            "outbox_bytes (" + text_of(options.outbox_bytes) + ") must be at least max_message (" +
                text_of(options.max_message) + ") and 64 KiB; raise outbox_bytes or lower max_message");
    require(options.total_outbox_bytes >= options.outbox_bytes,
            "total_outbox_bytes (" + text_of(options.total_outbox_bytes) + ") must be at least outbox_bytes (" +
                text_of(options.outbox_bytes) + "); raise the first or lower the second");
}

}  // namespace

namespace detail {

Secrets secrets_of(const Options& options) {
    Secrets secrets{{}, options.guest_secrets};
    if (!options.secret.empty()) secrets.peers.push_back(options.secret);
    secrets.peers.insert(secrets.peers.end(), options.more_secrets.begin(), options.more_secrets.end());
    return secrets;
}

void check(const Secrets& secrets) {
    const std::string problem = secrets.problem("secret or more_secrets", "guest_secrets");
    require(problem.empty(), problem);
}

void check(const Tags& tags) {
    require(tags.size() <= core::max_tags,
            "tags has " + std::to_string(tags.size()) + " entries; use at most " + std::to_string(core::max_tags));
    for (const auto& [key, value] : tags) {
        check_text("a key of tags", key, core::max_tag_key);
        require(value.size() <= core::max_tag_value, "tags[\"" + key + "\"] has " + text_of(value.size()) +
                                                         "; use at most " + std::to_string(core::max_tag_value));
    }
}

void check(const Options& options) {
    check_address("listen", options.listen, Use::listen);
    check_addresses("advertise", options.advertise, core::max_addresses, Use::advertise);
    check_addresses("seeds", options.seeds, max_seeds, Use::dial);
    check_text("peers_file", options.peers_file, max_path);
    check_text("cluster", options.cluster, core::max_name);
    check_text("name", options.name, core::max_name);
    check(options.tags);
    require(!options.secret.empty() || options.more_secrets.empty(),
            "more_secrets needs a secret in secret, with which this node dials");
    check(secrets_of(options));
    check_durations(options);
    check_sizes(options);
}

}  // namespace detail

Options Options::local() {
    Options options;
    options.heartbeat = milliseconds(200);
    options.suspicion = seconds(1);
    options.reconnect_min = milliseconds(20);
    options.reconnect_max = seconds(2);
    options.connect_timeout = seconds(2);
    return options;
}

Options Options::lan() {
    return {};
}

Options Options::wan() {
    Options options;
    options.heartbeat = seconds(3);
    options.suspicion = seconds(10);
    options.connect_timeout = seconds(15);
    options.handshake_timeout = seconds(15);
    options.attach_timeout = seconds(6);
    options.linger = seconds(10);
    options.inbox_bytes = 256 * mib;
    return options;
}

}  // namespace cluster
