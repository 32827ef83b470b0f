#pragma once

#include <cluster/options.hpp>

#include <cstddef>
#include <functional>
#include <string_view>

namespace cluster::net {

/// Standard error, for lines that may get lost but that must make nobody wait. Not thread-safe.
///
/// It may be any kind of file, and the rest of the program or other processes use it, too. So nothing of it is changed:
/// a file that may block (a pipe, a terminal) is opened once more for each line. Only a disk is waited for.
class StandardError {
public:
    /// The longest line, which a pipe takes as a whole or not at all.
    static constexpr std::size_t longest = 4096;

    /// Writes a line that ends with a newline; what exceeds `longest` is cut. False if the line is lost: the reader is
    /// gone or does not read, or standard error is closed. Raises no signal.
    bool write(std::string_view line);

private:
    bool torn_ = false;  ///< the line before was written in part
};

/// Writes the log, with the time, for an application that sets no `Options::log`. Counts the lines that were lost.
std::function<void(LogLevel, std::string_view)> log_to_standard_error();

}  // namespace cluster::net
