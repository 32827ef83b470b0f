#pragma once

#include "consensus/entry.hpp"
#include "storage/record.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

namespace cluster::storage {

/// What the records of a log say in sum, and where each entry lies. A value; not thread-safe. It takes 8 bytes for each
/// entry, and the entries of configurations.
class LogIndex {
public:
    struct Place {
        std::uint32_t serial = 0;  ///< of the segment
        std::uint32_t offset = 0;
    };

    /// Takes over a record, unless it contradicts those before: then nothing has changed, and this is false.
    bool apply(const RecordHead& head, std::span<const std::byte> body, Place place);

    /// The last entry in the segments before `serial`, or `base`.
    consensus::Index last_before(std::uint64_t serial) const;
    /// Forgets the entries up to that one, whose time this is.
    void forget(consensus::Index index, Duration time);

    const consensus::HardState& state() const noexcept { return state_; }
    /// The entry before the first one: one that was cut off, or that of a snapshot. Its index is 0 if there was none.
    const consensus::LogId& base() const noexcept { return base_; }
    const consensus::LogId& last() const noexcept { return last_; }
    Duration base_time() const noexcept { return base_time_; }
    /// That of `last`.
    Duration time() const noexcept { return time_; }
    /// The first entry of each run of entries of one term, in order.
    const std::vector<consensus::LogId>& terms() const noexcept { return terms_; }
    /// All entries of that kind, in order.
    const std::vector<consensus::Entry>& configurations() const noexcept { return configurations_; }

    bool has(consensus::Index index) const noexcept { return index > base_.index && index <= last_.index; }
    /// Of an entry that is there.
    Place place(consensus::Index index) const { return places_[index - base_.index - 1]; }
    /// Of an entry that is there, or of `base`.
    consensus::Term term(consensus::Index index) const;

private:
    void truncate(const consensus::LogId& last, Duration time);

    consensus::HardState state_;
    consensus::LogId base_;
    consensus::LogId last_;
    Duration base_time_{};
    Duration time_{};
    std::vector<consensus::LogId> terms_;
    std::vector<consensus::Entry> configurations_;
    std::deque<Place> places_;
    bool opened_ = false;  ///< an opening has been seen
};

}  // namespace cluster::storage
