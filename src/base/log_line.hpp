#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace cluster {

enum class Severity : std::uint8_t { debug, info, warning, error };

/// What happened, as `event key=value ...`. A value that others have a say in is `quoted` or a `token`.
struct LogLine {
    Severity severity = Severity::info;
    std::string text;
    /// Lines with the same cause say the same again: they are put together. Empty: each one counts.
    std::string cause = {};
    /// Who is not a peer in view can bring it about, as often as he likes.
    bool stranger = false;
};

/// `text` with `\xNN` in place of each byte that does not belong to a printable character in UTF-8: of control
/// characters, of what turns the direction of text or ends its line, of what is no UTF-8. The characters in `also` get
/// a backslash before them.
std::string escaped(std::string_view text, std::string_view also = {});

/// `text` between quotes, on one line, whatever it contains; it can be read back.
std::string quoted(std::string_view text);

/// `text` as it is if that is one word of harmless characters, else `quoted`.
std::string token(std::string_view text);

}  // namespace cluster
