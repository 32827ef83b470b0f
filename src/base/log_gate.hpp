#pragma once

#include "base/log_line.hpp"
#include "base/time.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cluster {

/// Decides which lines of a log are written, and when: no stranger fills a disk, nothing of weight drowns, and what
/// goes on and on is said now and then. Not thread-safe.
///
/// 1. The first line of a level with a cause is written at once. What follows with the same cause is counted; after
///    `first_pause` the newest of these lines is written with `times=`, how many there were. While the cause goes on,
///    the pause doubles up to `longest_pause`. A pause in which nothing came ends it: the next line is a first one.
/// 2. Of each level, `burst` lines at once and then `rate` per second are written. What strangers bring about has an
///    allowance of its own, which is smaller. The next line of the level tells with `left_out=` how many were not
///    written.
/// 3. It remembers `most_causes` causes, and as many of strangers. A line with a further one is written as rule 2 says.
class LogGate {
public:
    static constexpr Duration first_pause = std::chrono::minutes(1);
    static constexpr Duration longest_pause = std::chrono::hours(1);
    static constexpr double burst = 200;
    static constexpr double rate = 20;
    static constexpr double burst_of_strangers = 40;
    static constexpr double rate_of_strangers = 1;
    static constexpr std::size_t most_causes = 64;
    /// Of a line that waits to be written with its count, so much is kept.
    static constexpr std::size_t longest_kept = 1024;

    /// The line as it is to be written now, or nothing.
    std::optional<LogLine> pass(LogLine line, Time now);
    /// When `flush` has something to do; `never` while nothing is counted.
    Time deadline() const noexcept;
    /// The lines whose pause is over, with their counts.
    std::vector<LogLine> flush(Time now);
    /// All that is counted and not yet told, for the end.
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
    using Key = std::pair<std::string, Severity>;
    using Causes = std::map<Key, Repeated>;

    bool take(bool stranger, Severity severity, Time now);
    static LogLine told(Repeated& repeated);

    std::array<std::array<Allowance, 4>, 2> allowances_;  ///< by whether it is a stranger's, and by level
    std::array<std::uint64_t, 4> left_out_{};             ///< by level
    std::array<Causes, 2> causes_;                        ///< by whether it is a stranger's
};

}  // namespace cluster
