#include "sim/replicas/text.hpp"

#include "base/overloaded.hpp"

#include <cstdio>
#include <variant>

namespace cluster::sim::replicas {

using namespace consensus;

std::string text(Duration duration) {
    char buffer[32];
    std::snprintf(buffer, sizeof buffer, "%.3f s", std::chrono::duration<double>(duration).count());
    return buffer;
}

std::string text(const DiskId& id) {
    return id ? "#" + std::to_string(id.bytes[15]) : "nobody";
}

std::string text(const LogId& id) {
    return std::to_string(id.index) + "/" + std::to_string(id.term);
}

namespace {

std::string count(std::uint64_t number) {
    return std::to_string(number);
}

std::string range(const std::vector<Entry>& entries) {
    if (entries.empty()) return "no entries";
    std::string result = "entries " + text(entries.front().id);
    return entries.size() == 1 ? result : result + " to " + text(entries.back().id);
}

std::string said(const Body& body) {
    return std::visit(
        Overloaded{
            [](const VoteRequest& request) {
                return std::string(request.trial != 0 ? "asks for a trial vote" : "asks for a vote") +
                       ", its log ends at " + text(request.last) + (request.appointed ? ", it is appointed" : "");
            },
            [](const VoteAnswer& answer) {
                return std::string(answer.granted ? "grants" : "refuses") +
                       (answer.trial != 0 ? " a trial vote" : " its vote");
            },
            [](const Append& append) {
                return range(append.entries) + " behind " + text(append.before) + ", commit " + count(append.commit);
            },
            [](const AppendAnswer& answer) {
                if (answer.rejected == 0) return "has all up to " + count(answer.matched);
                return "does not have " + count(answer.rejected) + ", perhaps " + text(answer.hint);
            },
            [](const Heartbeat& beat) { return "heartbeat " + count(beat.round) + ", commit " + count(beat.commit); },
            [](const HeartbeatAnswer& answer) { return "answers heartbeat " + count(answer.round); },
            [](const Appoint&) { return std::string("appoints"); },
            [](const Chunk& chunk) {
                return "snapshot " + text(chunk.snapshot.last) + ", " + count(chunk.bytes.size()) + " bytes at " +
                       count(chunk.offset) + " of " + count(chunk.size);
            },
            [](const ChunkAnswer& answer) {
                return "has " + count(answer.next) + " bytes of snapshot " + text(answer.snapshot) +
                       (answer.installed ? ", all" : "");
            },
        },
        body);
}

}  // namespace

std::string text(const consensus::Message& message) {
    return "to " + text(message.to) + " in term " + count(message.term) + ": " + said(message.body);
}

std::string text(const Effect& effect) {
    return std::visit(
        Overloaded{
            [](const Write& write) {
                std::string result = "writes " + count(write.number) + ":";
                if (write.state) {
                    result += " term " + count(write.state->term) + ", vote for " + text(write.state->vote) +
                              ", commit " + count(write.state->commit) + ";";
                }
                if (write.begin_after) result += " the log begins after " + text(write.begin_after->last) + ";";
                return result + " " + range(write.entries);
            },
            [](const Send& send) {
                return text(send.message) + (send.after == 0 ? "" : " (after write " + count(send.after) + ")");
            },
            [](const Apply& apply) { return "commits " + range(apply.entries); },
            [](const Load& load) { return "loads " + text(load.snapshot.last); },
            [](const Fetch& fetch) {
                return "fetches " + count(fetch.from) + " to " + count(fetch.end - 1) + " for " + text(fetch.reader);
            },
            [](const FetchChunk& fetch) {
                return "fetches snapshot " + text(fetch.snapshot) + " at " + count(fetch.offset) + " for " +
                       text(fetch.reader);
            },
            [](const StoreChunk& stored) {
                return "stores a piece of snapshot " + text(stored.chunk.snapshot.last) + " at " +
                       count(stored.chunk.offset);
            },
            [](const ReadReady& ready) { return "read " + count(ready.number) + " may see " + count(ready.index); },
            [](const ReadRefused& refused) { return "read " + count(refused.number) + " is refused"; },
            [](const TransferEnded& ended) {
                return std::string(ended.done ? "has handed over" : "could not hand over");
            },
            [](const StatusChanged& status) {
                static constexpr const char* roles[] = {"follower", "candidate", "LEADER"};
                return "is " + std::string(roles[static_cast<std::size_t>(status.role)]) + " in term " +
                       count(status.term) + ", leader " + text(status.leader);
            },
            [](const Stopped& stopped) { return "stops: " + stopped.reason; },
        },
        effect);
}

}  // namespace cluster::sim::replicas
