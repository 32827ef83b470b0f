#pragma once

#include "base/time.hpp"
#include "value/log_line.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cluster {

/// Decides which lines of a log are written, and when. So strangers cannot fill a disk, nothing important is lost among
/// other lines, and what happens all the time is logged now and then. Not thread-safe.
///
/// 1. The first line of a level with a cause is written at once. Lines that follow with the same cause are counted.
///    After `first_pause` the newest of them is written with their number, `times=`. While the cause goes on, the pause
///    doubles up to `longest_pause`. A pause without a line ends the cause: the next line is a first one.
/// 2. Of each level, `burst` lines at once and then `rate` per second are written. Lines that strangers cause have a
///    smaller allowance of their own. The next line of the level says with `left_out=` how many were not written.
/// 3. It remembers `most_causes` causes, and as many of strangers. A line with a further cause is written as in rule 2.
class LogGate {
public:
    static constexpr Duration first_pause = std::chrono::minutes(1);
    static constexpr Duration longest_pause = std::chrono::hours(1);
    static constexpr double burst = 200;
    static constexpr double rate = 20;
    static constexpr double burst_of_strangers = 40;
    static constexpr double rate_of_strangers = 1;
    static constexpr std::size_t most_causes = 64;
    /// How much is kept of a line that waits to be written with its count.
    static constexpr std::size_t longest_kept = 1024;

    /// The line as it is to be written now, or nothing.
    std::optional<LogLine> pass(LogLine line, Time now);
    /// When `flush` has something to do; `never` while nothing is counted.
    Time deadline() const noexcept;
    /// The lines whose pause is over, with their counts.
    std::vector<LogLine> flush(Time now);
    /// All lines that are counted and not yet written, for the end of the log.
    std::vector<LogLine> flush_all();

private:
    struct Allowance {
        double lines = 0;
        Time since = never;  ///< `never`: not used yet
    };
    struct Repeated {
        LogLine last;
        std::uint64_t times = 0;  ///< since the last line was written
        Duration pause = first_pause;
        Time until{};
    };
    using Key = std::pair<std::string, LogLevel>;
    using Causes = std::map<Key, Repeated>;

    bool take(bool stranger, LogLevel level, Time now);
    static LogLine told(Repeated& repeated);

    std::array<std::array<Allowance, 4>, 2> allowances_;  ///< by whether it is a stranger's, and by level
    std::array<std::uint64_t, 4> left_out_{};             ///< by level
    std::array<Causes, 2> causes_;                        ///< by whether it is a stranger's
};

}  // namespace cluster
