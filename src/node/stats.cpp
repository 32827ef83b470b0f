#include <cluster/stats.hpp>

#include "value/log_line.hpp"

#include <array>
#include <charconv>
#include <cstdint>
#include <string_view>
#include <utility>

namespace cluster {

namespace {

enum class Type : std::uint8_t { counter, gauge };

/// The shortest text that reads back as the same number, in every locale.
std::string number(auto value) {
    std::array<char, 32> text;
    const auto result = std::to_chars(text.data(), text.data() + text.size(), value);
    return {text.data(), result.ptr};
}

class Writer {
public:
    void header(std::string_view name, Type type, std::string_view help) {
        const std::string full = full_name(name, type);
        text_ += "# HELP " + full + " " + std::string(help) + "\n";
        text_ += "# TYPE " + full + (type == Type::counter ? " counter\n" : " gauge\n");
    }

    void value(std::string_view name, Type type, std::uint64_t now) {
        text_ += full_name(name, type) + " " + number(now) + "\n";
    }

    /// The id tells peers apart. The name, which may repeat, is for people.
    void value(std::string_view name, Type type, const PeerStats& peer, std::string_view now) {
        text_ += full_name(name, type) + "{peer=\"" + peer.id.to_string() + "\",name=\"" + label(peer.name) + "\"} " +
                 std::string(now) + "\n";
    }

    std::string take() { return std::move(text_); }

private:
    /// The text between the quotes of a label. Names come from other nodes: what cannot be printed becomes `\xNN`. So
    /// nothing ends the line, and all of it is UTF-8.
    static std::string label(std::string_view text) {
        std::string out;
        for (const char each : escaped(text)) {
            if (each == '\\' || each == '"') out += '\\';
            out += each;
        }
        return out;
    }
    static std::string full_name(std::string_view name, Type type) {
        return "cluster_" + std::string(name) + (type == Type::counter ? "_total" : "");
    }

    std::string text_;
};

struct NodeMetric {
    std::string_view name;
    Type type;
    std::uint64_t Stats::*value;
    std::string_view help;
};

constexpr NodeMetric node_metrics[] = {
    {"peers", Type::gauge, &Stats::peers, "Peers in view."},
    {"suspects", Type::gauge, &Stats::suspects, "Peers in view that are suspected."},
    {"guests", Type::gauge, &Stats::guests, "Clients outside of the cluster that have a session."},
    {"unreachable", Type::gauge, &Stats::unreachable, "Peers out of view from which others still hear."},
    {"slowness", Type::gauge, &Stats::slowness, "How often lately this node ran late itself, 0 to 8."},
    {"links", Type::gauge, &Stats::links, "Open connections, attached or greeting."},
    {"messages_sent", Type::counter, &Stats::messages_sent,
     "Messages and requests accepted for at least one peer, counted once however many receivers there are."},
    {"messages_received", Type::counter, &Stats::messages_received, "Messages put into the inbox or handled."},
    {"messages_given_up", Type::counter, &Stats::messages_given_up,
     "Messages given up by this node as sender, once for each receiver."},
    {"messages_lost", Type::counter, &Stats::messages_lost, "Messages that peers gave up and this node saw as gaps."},
    {"dials", Type::counter, &Stats::dials, "Connection attempts."},
    {"dials_failed", Type::counter, &Stats::dials_failed, "Connection attempts that failed."},
    {"links_accepted", Type::counter, &Stats::links_accepted, "Connections accepted by the listener."},
    {"links_lost", Type::counter, &Stats::links_lost, "Connections that broke."},
    {"sessions_resumed", Type::counter, &Stats::sessions_resumed, "Attachments after the first, over all sessions."},
    {"lists_sent", Type::counter, &Stats::lists_sent, "Peer lists sent."},
    {"lists_received", Type::counter, &Stats::lists_received, "Peer lists received."},
    {"protocol_errors", Type::counter, &Stats::protocol_errors,
     "Links closed because the other side broke a rule of the protocol."},
    {"probes_sent", Type::counter, &Stats::probes_sent, "Probes of peers."},
    {"suspicions", Type::counter, &Stats::suspicions, "Peers that became suspect."},
    {"failures", Type::counter, &Stats::failures, "Peers that this node concluded had failed."},
    {"refusals_sent", Type::counter, &Stats::refusals_sent, "Links refused by this node."},
    {"refusals_received", Type::counter, &Stats::refusals_received, "Links refused by others."},
    {"handler_exceptions", Type::counter, &Stats::handler_exceptions, "Handlers of the application that threw."},
    {"outbox_bytes", Type::gauge, &Stats::outbox_bytes, "Memory held by messages not yet acknowledged."},
    {"inbox_bytes", Type::gauge, &Stats::inbox_bytes, "Memory held by messages not yet taken."},
};

struct PeerMetric {
    std::string_view name;
    Type type;
    std::uint64_t PeerStats::*value;
    std::string_view help;
};

constexpr PeerMetric peer_metrics[] = {
    {"peer_outbox_bytes", Type::gauge, &PeerStats::outbox_bytes, "Bytes accepted for the peer, not yet acknowledged."},
    {"peer_inbox_bytes", Type::gauge, &PeerStats::inbox_bytes, "Bytes received from the peer, not yet taken."},
    {"peer_sent_bytes", Type::counter, &PeerStats::bytes_sent, "Bytes of messages sent to the peer, with headers."},
    {"peer_received_bytes", Type::counter, &PeerStats::bytes_received,
     "Bytes of messages received from the peer, with headers."},
    {"peer_attachments", Type::counter, &PeerStats::attachments, "How often its session was attached to a link."},
};

}  // namespace

std::string to_prometheus(const Stats& stats) {
    Writer out;
    for (const NodeMetric& metric : node_metrics) {
        out.header(metric.name, metric.type, metric.help);
        out.value(metric.name, metric.type, stats.*metric.value);
    }
    for (const PeerMetric& metric : peer_metrics) {
        out.header(metric.name, metric.type, metric.help);
        for (const PeerStats& peer : stats.by_peer) {
            out.value(metric.name, metric.type, peer, number(peer.*metric.value));
        }
    }
    // A peer that was not measured yet has no sample: 0 would read as a very good one.
    out.header("peer_round_trip_seconds", Type::gauge, "The last measured round trip of a probe.");
    for (const PeerStats& peer : stats.by_peer) {
        if (peer.round_trip_seconds > 0) {
            out.value("peer_round_trip_seconds", Type::gauge, peer, number(peer.round_trip_seconds));
        }
    }
    return out.take();
}

}  // namespace cluster
