#include "value/log_gate.hpp"

#include <algorithm>
#include <utility>

namespace cluster {

/// True if one more line may be written.
bool LogGate::take(bool stranger, LogLevel level, Time now) {
    const double most = stranger ? burst_of_strangers : burst;
    Allowance& allowance = allowances_[stranger ? 1 : 0][static_cast<std::size_t>(level)];
    if (allowance.since == never) {
        allowance.lines = most;
    } else {
        const double passed = std::chrono::duration<double>(now - allowance.since).count();
        allowance.lines = std::min(most, allowance.lines + passed * (stranger ? rate_of_strangers : rate));
    }
    allowance.since = now;
    if (allowance.lines < 1) return false;
    allowance.lines -= 1;
    return true;
}

/// The newest line, with the number of lines for which it stands.
LogLine LogGate::told(Repeated& repeated) {
    LogLine line = repeated.last;
    line.text += " times=" + std::to_string(std::exchange(repeated.times, 0));
    return line;
}

std::optional<LogLine> LogGate::pass(LogLine line, Time now) {
    Causes& causes = causes_[line.stranger ? 1 : 0];
    const Key key{line.cause, line.level};
    if (const auto found = causes.find(key); found != causes.end()) {
        Repeated& repeated = found->second;
        if (repeated.times != 0 || now < repeated.until) {
            ++repeated.times;
            line.text.resize(std::min(line.text.size(), longest_kept));
            repeated.last = std::move(line);
            return std::nullopt;
        }
        causes.erase(found);  // its cause had ended
    }
    std::uint64_t& left_out = left_out_[static_cast<std::size_t>(line.level)];
    if (!take(line.stranger, line.level, now)) {
        ++left_out;
        return std::nullopt;
    }
    if (!line.cause.empty()) {
        std::erase_if(causes, [now](const auto& each) { return each.second.times == 0 && each.second.until <= now; });
        if (causes.size() < most_causes) causes[key].until = now + first_pause;
    }
    if (left_out != 0) line.text += " left_out=" + std::to_string(std::exchange(left_out, 0));
    return line;
}

Time LogGate::deadline() const noexcept {
    Time first = never;
    for (const Causes& causes : causes_) {
        for (const auto& [cause, repeated] : causes) {
            if (repeated.times != 0) first = std::min(first, repeated.until);
        }
    }
    return first;
}

std::vector<LogLine> LogGate::flush(Time now) {
    std::vector<LogLine> lines;
    for (Causes& causes : causes_) {
        for (auto& [cause, repeated] : causes) {
            if (repeated.times == 0 || now < repeated.until) continue;
            lines.push_back(told(repeated));
            repeated.pause = std::min(2 * repeated.pause, longest_pause);
            repeated.until = now + repeated.pause;
        }
    }
    return lines;
}

std::vector<LogLine> LogGate::flush_all() {
    std::vector<LogLine> lines;
    for (Causes& causes : causes_) {
        for (auto& [cause, repeated] : causes) {
            if (repeated.times != 0) lines.push_back(told(repeated));
        }
    }
    return lines;
}

}  // namespace cluster
