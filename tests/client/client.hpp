#pragma once

#include "client/machine.hpp"

#include "base/overloaded.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace cluster::client {

inline PeerId peer(std::uint8_t number) {
    PeerId id;
    id.bytes.fill(number);
    return id;
}

inline Address address(std::uint8_t number) {
    return {"host" + std::to_string(number), 7000};
}

inline Bytes bytes(std::string_view text) {
    return Bytes(text);
}

/// A machine, and what it has wanted so far.
class Client {
public:
    explicit Client(MachineOptions options = {}, Time start = std::chrono::seconds(1000))
        : now(start), machine(named(std::move(options)), start) {
        take();
    }

    void take() {
        Machine::Output output;
        while (machine.has_output() && machine.take_output(output)) {
            for (Effect& effect : output.effects) note(effect);
        }
    }
    /// Lets so much time go by.
    void run(Duration duration) {
        const Time end = now + duration;
        while (machine.deadline() <= end) {
            now = std::max(now, machine.deadline());
            machine.tick(now);
            take();
        }
        now = end;
    }
    template <class Event>
    void at(Event&& event) {
        event();
        take();
    }
    void came(std::uint8_t who) {
        at([&] { machine.came(peer(who), std::nullopt, now); });
    }
    void came(std::uint8_t who, const Address& dialled) {
        at([&] { machine.came(peer(who), dialled, now); });
    }
    void went(std::uint8_t who) {
        at([&] { machine.went(peer(who), now); });
    }
    void dial_failed(const Address& dialled, const std::string& why = "connection refused") {
        at([&] { machine.dial_failed(dialled, why, now); });
    }
    void not_sent(std::uint8_t who) {
        at([&] { machine.not_sent(peer(who), now); });
    }
    void hears(std::uint8_t from, ToClient message) {
        at([&] { machine.received(peer(from), std::move(message), now); });
    }
    void call(std::uint64_t ticket, std::string_view message, Duration within = std::chrono::hours(1)) {
        at([&] { machine.call(ticket, bytes(message), now + within, now); });
    }
    errc cast(std::string_view message) {
        errc error{};
        at([&] { error = machine.cast(bytes(message), now); });
        return error;
    }
    void query(std::uint64_t ticket, std::string_view text, Duration within = std::chrono::hours(1)) {
        at([&] { machine.query(ticket, bytes(text), true, 0, now + within, now); });
    }
    void taken(std::size_t messages, std::size_t size) {
        at([&] { machine.taken(messages, size, now); });
    }
    void respond(std::uint64_t number, std::string response) {
        at([&] { machine.respond(number, std::move(response), now); });
    }
    void close() {
        at([&] { machine.close(now); });
    }

    /// What it has told anybody since it was asked last, as one text: `Open`, `Attach(replies,pushes)`, `Ask 1 text`.
    std::string told() {
        std::string text;
        for (const Tell& each : std::exchange(tells, {})) {
            if (!text.empty()) text += "; ";
            text += std::to_string(each.to.bytes[0]) + ": " + shown(each.message);
        }
        return text;
    }
    /// Dials and drops since then.
    std::string linked() { return std::exchange(links, {}); }
    /// How its calls have ended since then, and with which state.
    std::string happened() { return std::exchange(events, {}); }

    Time now;
    Machine machine;
    std::vector<Tell> tells;
    std::vector<Bytes> pushes;
    StateChanged state;
    std::vector<ChallengeCame> challenges;
    std::vector<std::string> lines;
    int rooms = 0;
    int ends = 0;

private:
    static MachineOptions named(MachineOptions options) {
        options.group = "orders";
        options.key = {1, 2, 3};
        return options;
    }
    static std::string shown(const ToNode& message) {
        const auto all = [](const group::Received& received) {
            return "(" + std::to_string(received.replies) + "," + std::to_string(received.pushes) + ")";
        };
        return std::visit(
            Overloaded{
                [](const Open&) { return std::string("Open"); },
                [](const Response& each) { return "Response " + each.response; },
                [&](const Attach& each) { return "Attach " + std::to_string(each.session) + all(each.received); },
                [&](const Ask& each) {
                    return "Ask " + std::to_string(each.number) + all(each.received) + " " +
                           std::string(each.message.text().substr(0, 8));
                },
                [&](const Alive& each) { return "Alive" + all(each.received); },
                [](const Leave&) { return std::string("Leave"); },
                [](const Query& each) {
                    return "Query " + std::to_string(each.number) + " " + std::string(each.query.text());
                },
            },
            message);
    }
    void add(std::string& to, const std::string& text) { to += (to.empty() ? "" : "; ") + text; }
    void note(Effect& effect) {
        std::visit(Overloaded{
                       [&](Dial& dial) { add(links, "dial " + dial.address.host); },
                       [&](Drop& drop) { add(links, "drop " + std::to_string(drop.peer.bytes[0])); },
                       [&](Tell& tell) { tells.push_back(std::move(tell)); },
                       [&](Replied& replied) {
                           add(events, std::to_string(replied.ticket) + " " + std::string(replied.message.text()));
                       },
                       [&](Failed& failed) {
                           add(events, std::to_string(failed.ticket) + " failed: " + name(failed.error) +
                                           (failed.why.empty() ? "" : " " + failed.why));
                       },
                       [&](Pushed& pushed) { pushes.push_back(std::move(pushed.message)); },
                       [&](StateChanged& changed) {
                           static constexpr const char* names[] = {"connecting", "attached", "seeking", "ended"};
                           add(events, std::string(names[static_cast<int>(changed.state)]) +
                                           (changed.error == errc{} ? "" : " " + name(changed.error)));
                           state = std::move(changed);
                       },
                       [&](ChallengeCame& challenge) { challenges.push_back(std::move(challenge)); },
                       [&](RoomFreed&) { ++rooms; },
                       [&](Ended&) {
                           add(events, "over");
                           ++ends;
                       },
                       [&](LogLine& line) { lines.push_back(std::move(line.text)); },
                   },
                   effect);
    }
    static std::string name(errc error) {
        switch (error) {
            case errc::no_leader: return "no_leader";
            case errc::overloaded: return "overloaded";
            case errc::timed_out: return "timed_out";
            case errc::closed: return "closed";
            case errc::outcome_unknown: return "outcome_unknown";
            case errc::too_many_requests: return "too_many_requests";
            case errc::message_too_large: return "message_too_large";
            case errc::rejected: return "rejected";
            case errc::too_many_sessions: return "too_many_sessions";
            case errc::session_expired: return "session_expired";
            case errc::closed_by_service: return "closed_by_service";
            case errc::too_slow: return "too_slow";
            default: return make_error_code(error).message();
        }
    }

    std::string links;
    std::string events;
};

}  // namespace cluster::client
