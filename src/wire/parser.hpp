#pragma once

#include "base/block.hpp"
#include "core/frame.hpp"

#include <cstddef>
#include <variant>

namespace cluster::wire {

/// Splits the bytes of one connection into frames. Does no I/O and keeps none of the bytes: the reader keeps what is
/// left of an incomplete frame, and reads on after it. Not thread-safe; one per connection.
///
///     for (;;) {
///         Parser::Item item = parser.next(block, begin, end);
///         if (auto* run = std::get_if<core::DataRun>(&item)) ...
///         else if (auto* frame = std::get_if<core::Control>(&item)) ...
///         else if (auto* rule = std::get_if<core::Rule>(&item)) ...    // close the connection
///         else break;                                                  // keep [begin, end) and read on behind it
///     }
///
/// 1. The borders between reads decide only where a run of DATA ends.
/// 2. A rule that the header breaks is found before the body has come.
/// 3. The longest incomplete frame is shorter than `core::max_data_frame`.
class Parser {
public:
    /// All complete frames have been handed out.
    struct Incomplete {
        /// How many bytes the next frame lacks; 0 if not even its header is there.
        std::size_t missing = 0;
    };
    /// A `DataRun` is as long as possible and holds a reference to the block.
    using Item = std::variant<Incomplete, core::DataRun, core::Control, core::Rule>;

    /// What comes next in the bytes of `block` from `begin` to `end`; moves `begin` after it. After a broken rule there
    /// is nothing more to ask.
    Item next(const detail::BlockRef& block, std::size_t& begin, std::size_t end);

private:
    bool greeted_ = false;  ///< the HELLO has been read, so that longer frames may follow
};

}  // namespace cluster::wire
