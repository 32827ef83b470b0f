#pragma once

// The service that clients call.

#include "applied.hpp"

#include <cluster/service.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace cluster::faults {

/// Some registers. Every change is pushed to all sessions, and so is a tick of a timer ten times a second.
///
/// A command is `LIFE NUMBER put KEY VALUE`, `... cas KEY FORMER VALUE`, `... append KEY VALUE`, `... rest`, which ends
/// the ticks, or `... flood BYTES`, which pushes so much. Its reply is what the register then holds. A query is `KEY`;
/// its answer says where in the log the register got its value, and the value. A push has a number, a hash of those
/// before it, and what has happened. Each command is reported to `Audit`.
class Registers final : public Shown {
public:
    static constexpr auto tick_every = std::chrono::milliseconds(100);
    /// Of what was appended, the last ones are kept.
    static constexpr std::ptrdiff_t most_parts = 3;

    explicit Registers(bool freezes) : freezes_(freezes) {}

    void on_session_open(Context& context) override {
        const std::lock_guard lock(mutex_);
        const ClientSession& session = *context.session();
        state_.watchers[session.id] = {session.name, 0, {}};
        ++state_.opened[session.name];
        state_.chain.add("open " + session.name);
        if (state_.due == 0 && !state_.rests) schedule(context, context.time());
    }
    void on_session_close(Context& context, CloseReason reason) override {
        const std::lock_guard lock(mutex_);
        state_.watchers.erase(context.session()->id);
        state_.chain.add("close " + context.session()->name + ' ' + std::string(to_string(reason)));
    }
    void on_message(Context& context, std::span<const std::byte> message) override {
        const std::string text(reinterpret_cast<const char*>(message.data()), message.size());
        std::istringstream words(text);
        std::string life;
        std::string what;
        std::string key;
        std::string value;
        std::uint64_t number = 0;
        words >> life >> number >> what >> key;
        const std::lock_guard lock(mutex_);
        state_.chain.add(text);
        state_.chain.add(context.position());
        state_.applied.add(life, number);
        ++state_.count;
        if (!context.submit(std::to_string(state_.count), "audit")) ++state_.untimely;
        if (what == "flood") {
            push(context, "flood " + std::string(std::stoull(key), '.'));
            return context.reply("flooded");
        }
        if (what == "rest") {
            state_.rests = true;
            if (std::exchange(state_.due, 0) != 0 && !context.cancel(timer)) ++state_.untimely;
            return context.reply("resting");
        }
        Register& at = state_.registers[key];
        if (what == "cas") {
            std::string former;
            words >> former >> value;
            if (at.value != former) return context.reply(at.value);
        } else {
            words >> value;
            if (what == "append") value = with(at.value, value);
        }
        at = {value, context.position()};
        context.reply(value);
        push(context, key + ' ' + std::to_string(at.version) + ' ' + value + ' ' + life + ' ' + std::to_string(number));
    }
    void on_timer(Context& context, std::uint64_t) override {
        const std::lock_guard lock(mutex_);
        if (state_.due == 0 || context.time() < std::chrono::nanoseconds(state_.due)) ++state_.untimely;
        ++state_.ticks;
        state_.chain.add(state_.ticks);
        state_.chain.add(static_cast<std::uint64_t>(context.time().count()));
        push(context, "tick " + std::to_string(state_.ticks));
        schedule(context, context.time());
    }
    void on_query(QueryContext& context, std::span<const std::byte> query) const override {
        const std::string key(reinterpret_cast<const char*>(query.data()), query.size());
        const auto found = state_.registers.find(key);
        const Register at = found == state_.registers.end() ? Register{} : found->second;
        context.reply(std::to_string(at.version) + ' ' + at.value);
    }

    void save(SnapshotWriter& out) const override { state_.save(out); }
    void load(SnapshotReader& in) override {
        const std::lock_guard lock(mutex_);
        state_.load(in);
        if (!in.at_end()) throw std::runtime_error("a snapshot has more than was saved");
    }
    std::function<void(SnapshotWriter&)> freeze() const override {
        if (!freezes_) return {};
        return [copy = state_](SnapshotWriter& out) { copy.save(out); };
    }

    std::string text() const override {
        const std::lock_guard lock(mutex_);
        return state_.text();
    }

private:
    static constexpr std::uint64_t timer = 7;

    struct Register {
        std::string value = "nothing";
        std::uint64_t version = 0;  ///< where in the log it came
    };
    struct Watcher {
        std::string name;
        std::uint64_t pushes = 0;
        Chain chain;
    };
    struct State {
        std::uint64_t count = 0;
        std::uint64_t ticks = 0;
        std::int64_t due = 0;  ///< when the next tick is; 0: never
        bool rests = false;
        std::uint64_t untimely = 0;  ///< ticks that came too early or in vain, and what was not possible
        Chain chain;
        Applied applied;
        std::map<std::string, Register> registers;
        std::map<std::uint64_t, Watcher> watchers;
        std::map<std::string, std::uint64_t> opened;  ///< how many sessions of that name

        void save(SnapshotWriter& out) const {
            out.write(count);
            out.write(ticks);
            out.write(due);
            out.write(rests);
            out.write(untimely);
            chain.save(out);
            applied.save(out);
            out.write(registers.size());
            for (const auto& [key, at] : registers) {
                out.write(key);
                out.write(at.value);
                out.write(at.version);
            }
            out.write(watchers.size());
            for (const auto& [session, watcher] : watchers) {
                out.write(session);
                out.write(watcher.name);
                out.write(watcher.pushes);
                watcher.chain.save(out);
            }
            out.write(opened.size());
            for (const auto& [name, times] : opened) {
                out.write(name);
                out.write(times);
            }
        }
        void load(SnapshotReader& in) {
            *this = {};
            in.read(count);
            in.read(ticks);
            in.read(due);
            in.read(rests);
            in.read(untimely);
            chain.load(in);
            applied.load(in);
            std::size_t size = 0;
            for (in.read(size); size != 0; --size) {
                std::string key;
                in.read(key);
                Register& at = registers[key];
                in.read(at.value);
                in.read(at.version);
            }
            for (in.read(size); size != 0; --size) {
                std::uint64_t session = 0;
                in.read(session);
                Watcher& watcher = watchers[session];
                in.read(watcher.name);
                in.read(watcher.pushes);
                watcher.chain.load(in);
            }
            for (in.read(size); size != 0; --size) {
                std::string name;
                in.read(name);
                in.read(opened[name]);
            }
        }
        std::string text() const {
            std::ostringstream text;
            text << "{\"count\":" << count << ",\"ticks\":" << ticks << ",\"untimely\":" << untimely
                 << ",\"hash\":" << chain.value() << ",\"lives\":" << applied.text();
            const char* separator = "";
            text << ",\"watchers\":{";
            for (const auto& [session, watcher] : watchers) {
                text << std::exchange(separator, ",") << '"' << session << "\":{\"name\":" << quoted(watcher.name)
                     << ",\"pushes\":" << watcher.pushes << ",\"chain\":" << watcher.chain.value() << '}';
            }
            separator = "";
            text << "},\"opened\":{";
            for (const auto& [name, times] : opened) {
                text << std::exchange(separator, ",") << quoted(name) << ':' << times;
            }
            text << "}}";
            return text.str();
        }
    };

    static std::string with(const std::string& held, const std::string& added) {
        const bool full = std::count(held.begin(), held.end(), '+') + 1 == most_parts;
        return (full ? held.substr(held.find('+') + 1) : held) + '+' + added;
    }
    void push(Context& context, const std::string& what) {
        for (auto& [session, watcher] : state_.watchers) {
            ++watcher.pushes;
            context.send(session,
                         std::to_string(watcher.pushes) + ' ' + std::to_string(watcher.chain.value()) + ' ' + what);
            watcher.chain.add(what);
        }
    }
    void schedule(Context& context, std::chrono::nanoseconds now) {
        state_.due = (now + tick_every).count();
        if (!context.schedule(timer, now + tick_every)) ++state_.untimely;
    }

    const bool freezes_;
    mutable std::mutex mutex_;  // the service thread is the only one that changes anything
    State state_;
};

/// The service beside it: has each of its reports once, in order, behind the command itself.
class Audit final : public Shown {
public:
    void on_message(Context& context, std::span<const std::byte> message) override {
        const std::lock_guard lock(mutex_);
        if (context.from_service().empty()) {
            ++commands_;
        } else {
            const std::string text(reinterpret_cast<const char*>(message.data()), message.size());
            if (context.from_service() != "registers" || std::stoull(text) != ++reports_) ++wrong_;
        }
        if (reports_ > commands_) ++wrong_;
    }
    void save(SnapshotWriter& out) const override {
        out.write(commands_);
        out.write(reports_);
        out.write(wrong_);
    }
    void load(SnapshotReader& in) override {
        const std::lock_guard lock(mutex_);
        in.read(commands_);
        in.read(reports_);
        in.read(wrong_);
    }
    std::string text() const override {
        const std::lock_guard lock(mutex_);
        return "{\"commands\":" + std::to_string(commands_) + ",\"reports\":" + std::to_string(reports_) +
               ",\"wrong\":" + std::to_string(wrong_) + '}';
    }

private:
    mutable std::mutex mutex_;
    std::uint64_t commands_ = 0;
    std::uint64_t reports_ = 0;
    std::uint64_t wrong_ = 0;
};

}  // namespace cluster::faults
