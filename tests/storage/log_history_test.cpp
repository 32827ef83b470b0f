#include "storage/log.hpp"

#include "storage/support.hpp"

#include <algorithm>

using namespace cluster;
using namespace cluster::consensus;
using namespace cluster::storage;
using namespace cluster::storage::support;
using sim::SimulatedDisk;

// Random histories of writes, crashes and recoveries, against a log that is a vector.

namespace {

/// A log as plainly as it can be put. `base` is where it began; what is cut is not forgotten here.
struct LogModel {
    HardState state;
    LogId base;
    Duration base_time{};
    std::vector<Entry> entries;

    LogId last() const { return entries.empty() ? base : entries.back().id; }
    Duration time() const { return entries.empty() ? base_time : entries.back().time; }
    Term term(Index index) const { return index == base.index ? base.term : entries[index - base.index - 1].id.term; }
    void drop_from(Index index) {
        if (index <= last().index) entries.resize(index - base.index - 1);
    }
};

/// What is there after each record of `writes`, in order.
std::vector<LogModel> steps(LogModel model, const std::vector<Write>& writes) {
    std::vector<LogModel> found{model};
    for (const Write& write : writes) {
        if (write.state) {
            model.state = *write.state;
            model.state.commit = std::min(model.state.commit, model.last().index);
            if (!write.entries.empty()) {
                model.state.commit = std::min(model.state.commit, write.entries[0].id.index - 1);
            }
            found.push_back(model);
        }
        if (write.begin_after) {
            model.base = write.begin_after->last;
            model.base_time = write.begin_after->time;
            model.entries.clear();
            found.push_back(model);
        }
        for (const Entry& each : write.entries) {
            if (each.id.index <= model.last().index) {
                model.drop_from(each.id.index);
                found.push_back(model);
            }
            model.entries.push_back(each);
            found.push_back(model);
        }
        if (write.state && model.state != *write.state) {
            model.state = *write.state;
            found.push_back(model);
        }
    }
    return found;
}

class LogHistory {
public:
    LogHistory(std::uint64_t seed, bool one_group) : dice_(seed), disk_(dice_.next()), one_group_(one_group) {
        options_.segment_bytes = one_group ? 65536 : 1024 + 512 * dice_.below(6);
        options_.spares = dice_.below(3);
    }

    void run() {
        std::error_code error;
        log_ = Log::create(disk_, disk_id(), options_, error);
        REQUIRE_FALSE(error);
        for (std::uint64_t turns = 20 + dice_.below(40); turns > 0; --turns) turn();
    }

    int crashes = 0;
    int torn = 0;
    int undone = 0;

private:
    void turn() {
        if (dice_.below(6) == 0) disk_.stop_in(disk_.operations() + 1 + dice_.below(8));
        if (dice_.below(40) == 0) disk_.fail_sync_in(disk_.operations() + 1 + dice_.below(4));
        std::error_code error;
        candidates_ = {model_};
        switch (dice_.below(12)) {
            case 0: log_->prepare(); break;
            case 1: error = log_->mark(); break;
            case 2: {
                const Index index = model_.base.index + dice_.below(model_.last().index - model_.base.index + 1);
                cut_ = std::max(cut_, index);
                error = log_->cut(index);
                break;
            }
            default: {
                std::vector<Write> writes;
                LogModel after = model_;
                for (std::uint64_t count = 1 + dice_.below(3); count > 0; --count) {
                    writes.push_back(some(after));
                    after = steps(after, {writes.back()}).back();
                }
                candidates_ = steps(model_, writes);
                error = log_->write(writes);
                if (!error) {
                    model_ = candidates_.back();
                    candidates_ = {model_};
                } else if (one_group_) {
                    candidates_ = {candidates_.front(), candidates_.back()};
                }
                if (dice_.below(2) == 0 && !error) error = log_->mark();
            }
        }
        INFO(log_->error().message());
        REQUIRE((!log_->error() || log_->error() == std::errc::io_error));
        if (!log_->error() && !disk_.stopped() && dice_.below(8) != 0) return check(*log_);
        crash();
    }

    Write some(const LogModel& at) {
        Write write;
        if (dice_.below(3) == 0) {
            write.state = HardState{dice_.below(100), disk_id(static_cast<std::uint8_t>(dice_.below(9))),
                                    std::max(at.state.commit, dice_.below(at.last().index + 1) / 2)};
        }
        LogModel model = at;
        if (dice_.below(30) == 0) {
            const Index index = at.last().index + dice_.below(20);
            write.begin_after = SnapshotId{{highest_ += dice_.below(2), index}, at.time(), {}};
            model = steps(at, {write}).back();
            write.state = HardState{write.begin_after->last.term, {}, index};
        }
        // Nothing that is committed is ever replaced.
        const Index lowest =
            std::max({model.base.index, cut_, at.state.commit, write.state ? write.state->commit : 0}) + 1;
        if (dice_.below(3) == 0 && lowest < model.last().index && !write.begin_after) {
            model.drop_from(lowest + dice_.below(model.last().index - lowest + 1));
        }
        // An entry has a term that tells it from all that ever had its index.
        highest_ += dice_.below(2);
        if (model.last() != at.last() || model.last().term == 0) ++highest_;
        const Term term = highest_;
        for (std::uint64_t count = dice_.below(5); count > 0; --count) {
            Entry entry{{term, model.last().index + 1},
                        EntryKind(1 + dice_.below(3)),
                        model.time() + Duration(static_cast<std::int64_t>(dice_.below(5))),
                        {}};
            std::string body(dice_.below(dice_.below(8) == 0 ? 600 : 80), 'x');
            for (char& each : body) each = static_cast<char>(dice_.below(256));
            entry.body = Bytes(std::string_view(body));
            write.entries.push_back(entry);
            model.entries.push_back(entry);
        }
        if (write.state && !write.entries.empty() && dice_.below(4) == 0) {
            write.state->commit = write.entries.back().id.index;
        }
        return write;
    }

    void crash() {
        ++crashes;
        log_.reset();
        // Reading may be interrupted as well.
        for (;;) {
            dice_.below(3) == 0 ? disk_.end_processes() : disk_.lose_power();
            if (dice_.below(4) == 0) disk_.stop_in(disk_.operations() + 1 + dice_.below(3));
            LogFinding finding;
            log_ = Log::open(disk_, disk_id(), options_, finding);
            if (!log_ && finding.error) continue;
            INFO(finding.where);
            REQUIRE(finding.condition != LogFinding::Condition::damaged);
            REQUIRE(log_);
            torn += finding.condition == LogFinding::Condition::torn;
            disk_.stop_in(0);
            break;
        }
        const LogIndex index = log_->index();
        for (auto each = candidates_.rbegin(); each != candidates_.rend(); ++each) {
            if (!is(*each, index)) continue;
            undone += each != candidates_.rbegin();
            model_ = *each;
            return check(*log_);
        }
        FAIL("what was found was never there: last entry " << index.last().index << " of term " << index.last().term
                                                           << ", acknowledged " << candidates_.front().last().index);
    }

    bool is(const LogModel& model, const LogIndex& index) {
        if (index.last() != model.last() || index.state() != model.state || index.base() < model.base) return false;
        if (index.base() != model.base && index.base().index > cut_) return false;
        for (Index i = index.base().index + 1; i <= index.last().index; ++i) {
            if (index.term(i) != model.term(i)) return false;
        }
        return true;
    }

    void check(const Log& log) {
        const LogIndex index = log.index();
        REQUIRE(is(model_, index));
        REQUIRE(index.time() == model_.time());
        std::vector<Entry> expected(
            model_.entries.begin() + static_cast<std::ptrdiff_t>(index.base().index - model_.base.index),
            model_.entries.end());
        REQUIRE(all_of(log) == expected);
        std::erase_if(expected, [](const Entry& each) { return each.kind != EntryKind::configuration; });
        REQUIRE(index.configurations() == expected);
    }

    Dice dice_;
    SimulatedDisk disk_;
    const bool one_group_;
    LogOptions options_;
    std::unique_ptr<Log> log_;
    LogModel model_;                    ///< what is acknowledged
    std::vector<LogModel> candidates_;  ///< what may be found after a crash
    Index cut_ = 0;
    Term highest_ = 0;
};

}  // namespace

TEST_CASE("storage: after any crash a log holds what was acknowledged, and a part of what was being written") {
    int crashes = 0, torn = 0, undone = 0;
    const std::uint64_t histories = sanitized ? 150 : 600;
    for (std::uint64_t seed = 1; seed <= histories; ++seed) {
        INFO("seed " << seed);
        LogHistory history(seed, seed % 3 == 0);
        history.run();
        crashes += history.crashes;
        torn += history.torn;
        undone += history.undone;
    }
    MESSAGE(crashes << " crashes, " << torn << " torn tails, " << undone << " times something was undone");
    CHECK(torn > crashes / 50);
    CHECK(undone > crashes / 50);
}

TEST_CASE("storage: harm to what was on disk before the last mark is never taken for a torn tail") {
    int found = 0, harmless = 0;
    const std::uint64_t histories = sanitized ? 500 : 4000;
    for (std::uint64_t seed = 1; seed <= histories; ++seed) {
        INFO("seed " << seed);
        Dice dice(seed);
        SimulatedDisk disk(dice.next());
        LogOptions options;
        options.segment_bytes = 1024 + 512 * dice.below(6);
        std::error_code error;
        auto log = Log::create(disk, disk_id(), options, error);
        const std::uint64_t kind = dice.below(5);
        const Index count = 2 + dice.below(30);
        const Index harmed = 1 + dice.below(count - 1);
        for (Index i = 1; i <= count; ++i) {
            if (i == harmed && kind == 0) disk.lose_in(disk.operations() + 1);
            if (i == harmed && kind == 1) disk.misdirect_in(disk.operations() + 1);
            const Write write = entries({entry(i, 1 + i / 5, std::string(dice.below(200), 'b'))});
            REQUIRE_FALSE(log->write({&write, 1}));
        }
        const std::vector<Entry> before = [&] {
            // A write that was lost or went astray may be in the way of reading.
            std::vector<Entry> list;
            for (Index i = 1; i <= count; ++i) {
                auto one = log->read(i, i, 1, error);
                if (!error) list.push_back(one.at(0));
            }
            return list;
        }();
        const auto place = log->index().place(harmed);
        const auto after = log->index().place(harmed + 1);
        const auto last = log->index().place(count);
        log.reset();
        const std::string name = "log/" + segment_name(place.serial);
        const std::size_t end = after.serial == place.serial ? after.offset : disk.contents(name).size();
        if (kind == 2)
            disk.flip(name, place.offset + dice.below(end - place.offset), static_cast<unsigned>(dice.below(8)));
        if (kind == 3) disk.flip(name, dice.below(place.offset), static_cast<unsigned>(dice.below(8)));
        if (kind == 4) {  // a sector is lost, or has been before
            std::vector<std::byte> bytes = disk.contents(name);
            const std::size_t at = place.offset / 512 * 512;
            // With the last group, nothing shows that any of it was there.
            if (place.serial == last.serial && at + 512 > last.offset) continue;
            std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), 512,
                        dice.below(2) == 0 ? std::byte{0} : std::byte{0x5a});
            disk.put(name, bytes);
        }
        LogFinding finding;
        log = Log::open(disk, disk_id(), options, finding);
        INFO("kind " << kind << ", entry " << harmed << " of " << count << ": " << finding.where);
        REQUIRE(
            (finding.condition == LogFinding::Condition::damaged || finding.condition == LogFinding::Condition::whole));
        if (log) {
            ++harmless;
            REQUIRE(all_of(*log) == before);
            REQUIRE(before.size() == count);
        } else {
            ++found;
        }
    }
    MESSAGE(found << " times harm was found, " << harmless << " times it was none");
    CHECK(found > 9 * harmless);
}
