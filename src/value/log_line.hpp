#pragma once

#include <cluster/log_level.hpp>

#include <string>
#include <string_view>

namespace cluster {

/// What happened, as `event key=value ...`. A value that others can choose is `quoted` or a `token`.
struct LogLine {
    LogLevel level = LogLevel::info;
    std::string text;
    /// Lines with the same cause repeat each other, so they are put together. Empty: each line counts for itself.
    std::string cause = {};
    /// A node that is not a peer in view can cause it, as often as it likes.
    bool stranger = false;
};

/// `text` with `\xNN` in place of each byte that does not belong to a printable character of UTF-8. That concerns
/// control characters, characters that turn the direction of text or end its line, and bytes that are no UTF-8. The
/// characters in `also` get a backslash before them.
std::string escaped(std::string_view text, std::string_view also = {});

/// `text` between quotes, on one line, whatever it contains. It can be read back.
std::string quoted(std::string_view text);

/// `text` unchanged if it is one word of harmless characters, else `quoted`.
std::string token(std::string_view text);

}  // namespace cluster
