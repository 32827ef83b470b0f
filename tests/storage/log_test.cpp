#include "storage/log.hpp"

#include "storage/support.hpp"

#include <algorithm>

using namespace cluster;
using namespace cluster::consensus;
using namespace cluster::storage;
using namespace cluster::storage::support;
using sim::SimulatedDisk;

namespace {

constexpr std::size_t plenty = std::size_t{1} << 30;

LogOptions small(std::uint64_t segment = 4096) {
    LogOptions options;
    options.segment_bytes = segment;
    options.spares = 2;
    return options;
}

std::unique_ptr<Log> made(SimulatedDisk& disk, const LogOptions& options = small()) {
    std::error_code error;
    auto log = Log::create(disk, disk_id(), options, error);
    REQUIRE_MESSAGE(!error, error.message());
    return log;
}

std::unique_ptr<Log> opened(SimulatedDisk& disk, LogFinding::Condition expected = LogFinding::Condition::whole,
                            const LogOptions& options = small()) {
    LogFinding finding;
    auto log = Log::open(disk, disk_id(), options, finding);
    INFO(finding.where << ' ' << finding.error.message());
    CHECK(finding.condition == expected);
    return log;
}

std::error_code put(Log& log, const Write& write) {
    return log.write({&write, 1});
}

std::vector<Entry> run(Index from, Index to, Term term, std::size_t bytes = 20) {
    std::vector<Entry> list;
    for (Index i = from; i <= to; ++i)
        list.push_back(entry(i, term, std::string(bytes, static_cast<char>('a' + i % 26))));
    return list;
}

std::string segment(std::uint64_t serial) {
    return "log/" + segment_name(serial);
}

}  // namespace

TEST_CASE("storage: a log that is opened again holds what was written") {
    SimulatedDisk disk(1);
    auto log = made(disk);
    const HardState hard{3, disk_id(9), 2};
    CHECK_FALSE(put(*log, state({1, {}, 0})));
    CHECK_FALSE(put(*log, entries(run(1, 3, 1))));
    CHECK_FALSE(put(*log, entries({entry(4, 2, "new ann", EntryKind::configuration)})));
    Write both = entries(run(5, 8, 3));
    both.state = hard;
    CHECK_FALSE(put(*log, both));
    const std::vector<Entry> before = all_of(*log);
    CHECK(before.size() == 8);
    log.reset();

    log = opened(disk);
    REQUIRE(log);
    const LogIndex index = log->index();
    CHECK(index.state() == hard);
    CHECK(index.base() == LogId{});
    CHECK(index.last() == LogId{3, 8});
    CHECK(log->base() == index.base());
    CHECK(log->last() == index.last());
    CHECK(index.time() == before.back().time);
    CHECK(index.terms() == std::vector<LogId>{{1, 1}, {2, 4}, {3, 5}});
    REQUIRE(index.configurations().size() == 1);
    CHECK(index.configurations()[0] == before[3]);
    CHECK(all_of(*log) == before);
    for (Index i = 1; i <= 8; ++i) CHECK(index.term(i) == before[i - 1].id.term);
}

TEST_CASE("storage: an entry with an index that is there replaces all from it on") {
    SimulatedDisk disk(1);
    auto log = made(disk);
    CHECK_FALSE(put(*log, entries(run(1, 9, 1))));
    CHECK_FALSE(put(*log, entries(run(4, 5, 2))));
    CHECK(log->index().last() == LogId{2, 5});
    CHECK(log->index().terms() == std::vector<LogId>{{1, 1}, {2, 4}});
    std::vector<Entry> expected = run(1, 3, 1);
    for (const Entry& each : run(4, 5, 2)) expected.push_back(each);
    CHECK(all_of(*log) == expected);
    log.reset();
    log = opened(disk);
    CHECK(all_of(*log) == expected);
    // Twice in one group, and everything.
    const Write twice[] = {entries(run(3, 6, 3)), entries(run(5, 5, 4)), entries(run(1, 1, 5))};
    CHECK_FALSE(log->write(twice));
    CHECK(all_of(*log) == run(1, 1, 5));
    log.reset();
    CHECK(all_of(*opened(disk)) == run(1, 1, 5));
}

TEST_CASE("storage: what does not follow what is there is refused, and nothing is written after that") {
    for (int kind = 0; kind < 5; ++kind) {
        SimulatedDisk disk(1);
        auto log = made(disk);
        CHECK_FALSE(put(*log, entries(run(1, 4, 5))));
        std::vector<Entry> wrong = run(5, 6, 5);
        if (kind == 0) wrong = run(6, 6, 5);                         // a hole
        if (kind == 1) wrong = run(5, 5, 4);                         // a lower term
        if (kind == 2) wrong[1].id.index = 9;                        // a hole inside
        if (kind == 3) wrong = run(0, 0, 6);                         // before the first
        if (kind == 4) wrong[1].time = wrong[0].time - Duration(1);  // back in time
        INFO(kind);
        CHECK(put(*log, entries(wrong)) == Fault::contradiction);
        CHECK(put(*log, entries(run(5, 5, 5))) == Fault::contradiction);
        CHECK(log->error() == Fault::contradiction);
        log.reset();
        CHECK(all_of(*opened(disk)) == run(1, 4, 5));
    }
}

TEST_CASE("storage: the longest entry fits into a segment, and one byte more does not") {
    for (const std::uint64_t bytes : {std::uint64_t{1024}, std::uint64_t{4096}, std::uint64_t{1} << 20}) {
        SimulatedDisk disk(1);
        auto log = made(disk, small(bytes));
        const std::size_t longest = Log::longest_entry(bytes);
        CHECK(bytes - longest < 450);
        for (Index i = 1; i <= 3; ++i) {
            CHECK_FALSE(put(*log, state({i, {}, 0})));
            CHECK_FALSE(put(*log, entries(run(i, i, i, longest))));
            CHECK_FALSE(log->mark());
        }
        log.reset();
        log = opened(disk, LogFinding::Condition::whole, small(bytes));
        CHECK(all_of(*log).size() == 3);
        CHECK(put(*log, entries(run(4, 4, 4, longest + 1))) == Fault::too_large);
    }
}

TEST_CASE("storage: a log over many segments is read by range, up to a number of bytes") {
    SimulatedDisk disk(1);
    auto log = made(disk, small(1024));
    for (Index i = 1; i <= 60; i += 3) CHECK_FALSE(put(*log, entries(run(i, i + 2, 1 + i / 20, 100))));
    CHECK_FALSE(put(*log, entries(run(41, 60, 9, 100))));
    log.reset();
    log = opened(disk, LogFinding::Condition::whole, small(1024));
    const std::vector<Entry> all = all_of(*log);
    REQUIRE(all.size() == 60);
    std::error_code error;
    for (Index from = 1; from <= 60; ++from) {
        for (Index to = from; to <= 60; to += 7) {
            const std::vector<Entry> part = log->read(from, to, plenty, error);
            REQUIRE_FALSE(error);
            REQUIRE(part ==
                    std::vector<Entry>(all.begin() + std::ptrdiff_t(from - 1), all.begin() + std::ptrdiff_t(to)));
        }
        const std::size_t cost = all[0].cost();
        CHECK(log->read(from, 60, 0, error).size() == 1);
        CHECK(log->read(from, 60, cost, error).size() == 1);
        CHECK(log->read(from, 60, 2 * cost - 1, error).size() == 1);
        CHECK(log->read(from, 60, 5 * cost, error).size() == std::min<std::size_t>(5, 61 - from));
    }
    CHECK(log->read(61, 61, plenty, error).empty());
    CHECK(error == Fault::not_there);
    CHECK(log->read(0, 1, plenty, error).empty());
    CHECK(error == Fault::not_there);
    CHECK(log->read(60, 70, plenty, error).size() == 1);
    CHECK_FALSE(error);
}

TEST_CASE("storage: segments behind an index are let go, some are used again, and what they held does not come back") {
    SimulatedDisk disk(1);
    auto log = made(disk, small(1024));
    for (Index i = 1; i <= 40; ++i) CHECK_FALSE(put(*log, entries(run(i, i, 1 + i / 10, 100))));
    CHECK_FALSE(put(*log, state({7, disk_id(3), 30})));
    const std::uint64_t bytes = log->disk_bytes();
    CHECK_FALSE(log->cut(30));
    const LogId base = log->index().base();
    CHECK(base.index <= 30);
    CHECK(base.index > 20);
    CHECK(base.term == 1 + base.index / 10);
    CHECK(log->disk_bytes() < bytes);
    CHECK(disk.exists("log/spare-0"));
    CHECK(disk.exists("log/spare-1"));
    CHECK_FALSE(disk.exists("log/spare-2"));
    CHECK_FALSE(disk.exists(segment(1)));
    std::error_code error;
    CHECK(log->read(base.index, 40, plenty, error).empty());
    CHECK(error == Fault::not_there);
    const std::vector<Entry> rest = all_of(*log);
    CHECK(rest.size() == 40 - base.index);
    const std::vector<LogId> terms = log->index().terms();
    log.reset();
    log = opened(disk, LogFinding::Condition::whole, small(1024));
    CHECK(log->index().base() == base);
    CHECK(log->index().state() == HardState{7, disk_id(3), 30});
    CHECK(log->index().terms() == terms);
    for (const Entry& each : rest) CHECK(log->index().term(each.id.index) == each.id.term);
    CHECK(all_of(*log) == rest);
    // The spares hold old records, which must not pass for new ones.
    for (Index i = 41; i <= 60; ++i) CHECK_FALSE(put(*log, entries(run(i, i, 6, 60))));
    CHECK_FALSE(disk.exists("log/spare-1"));
    log.reset();
    log = opened(disk, LogFinding::Condition::whole, small(1024));
    CHECK(log->index().last() == LogId{6, 60});
    CHECK(all_of(*log).size() == 60 - base.index);
    // All of it: what stays is the end, and the hard state.
    CHECK_FALSE(log->cut(1000));
    log.reset();
    log = opened(disk, LogFinding::Condition::whole, small(1024));
    CHECK(log->index().last() == LogId{6, 60});
    CHECK(log->index().state() == HardState{7, disk_id(3), 30});
    CHECK_FALSE(put(*log, entries(run(61, 61, 6))));
}

TEST_CASE("storage: entries that replace some of a segment that was let go find the term before them") {
    SimulatedDisk disk(1);
    auto log = made(disk, small(1024));
    for (Index i = 1; i <= 20; ++i) CHECK_FALSE(put(*log, entries(run(i, i, i, 100))));
    CHECK_FALSE(put(*log, entries(run(12, 30, 50, 100))));
    CHECK_FALSE(log->cut(11));
    const LogId base = log->index().base();
    const std::vector<Entry> all = all_of(*log);
    log.reset();
    log = opened(disk, LogFinding::Condition::whole, small(1024));
    CHECK(log->index().base() == base);
    CHECK(all_of(*log) == all);
    CHECK_FALSE(log->cut(12));
    log.reset();
    log = opened(disk, LogFinding::Condition::whole, small(1024));
    CHECK(log->index().base().index >= 11);
    CHECK(log->index().term(log->index().base().index) == log->index().base().term);
    CHECK(log->index().last() == LogId{50, 30});
}

TEST_CASE("storage: a log begins anew behind a snapshot") {
    SimulatedDisk disk(1);
    auto log = made(disk, small(1024));
    for (Index i = 1; i <= 20; ++i) CHECK_FALSE(put(*log, entries(run(i, i, 1, 100))));
    Write write;
    write.begin_after = SnapshotId{{4, 100}, Duration(4'000'100), Bytes("all")};
    write.state = HardState{4, {}, 100};
    write.entries = run(101, 102, 4);
    CHECK_FALSE(put(*log, write));
    for (int again = 0; again < 2; ++again) {
        CHECK(log->index().base() == LogId{4, 100});
        CHECK(log->index().terms() == std::vector<LogId>{{4, 101}});
        CHECK(all_of(*log) == run(101, 102, 4));
        CHECK_FALSE(log->cut(0));
        CHECK_FALSE(disk.exists(segment(1)));
        log.reset();
        log = opened(disk, LogFinding::Condition::whole, small(1024));
    }
    Write only;
    only.begin_after = SnapshotId{{5, 200}, Duration(5'000'200), {}};
    CHECK_FALSE(put(*log, only));
    log.reset();
    log = opened(disk, LogFinding::Condition::whole, small(1024));
    CHECK(log->index().base() == LogId{5, 200});
    CHECK(log->index().last() == LogId{5, 200});
    CHECK(log->index().time() == Duration(5'000'200));
    CHECK(log->index().state().commit == 100);
}

TEST_CASE("storage: segments of another size than today's are read, and are not used again") {
    SimulatedDisk disk(1);
    auto log = made(disk, small(1024));
    for (Index i = 1; i <= 20; ++i) CHECK_FALSE(put(*log, entries(run(i, i, 1, 100))));
    CHECK_FALSE(log->cut(10));
    log.reset();
    log = opened(disk, LogFinding::Condition::whole, small(8192));
    CHECK_FALSE(disk.exists("log/spare-0"));
    for (Index i = 21; i <= 30; ++i) CHECK_FALSE(put(*log, entries(run(i, i, 1, 2000))));
    CHECK_FALSE(log->cut(20));
    CHECK_FALSE(disk.exists("log/spare-0"));
    log.reset();
    log = opened(disk, LogFinding::Condition::whole, small(1024));
    CHECK(log->index().last().index == 30);
}

TEST_CASE("storage: a prepared segment is used next, and preparing stops when it is done or the disk is full") {
    SimulatedDisk disk(1);
    auto log = made(disk, small(std::uint64_t{3} << 20));
    int turns = 1;
    while (log->prepare()) ++turns;
    CHECK(turns == 3);
    CHECK(disk.exists(segment(2)));
    CHECK_FALSE(log->prepare());
    log.reset();
    log = opened(disk, LogFinding::Condition::whole, small(std::uint64_t{3} << 20));
    CHECK_FALSE(log->prepare());
    CHECK_FALSE(disk.exists(segment(3)));
    CHECK_FALSE(put(*log, entries(run(1, 2, 1, std::size_t{2} << 20))));
    CHECK(log->index().place(2).serial == 2);
    disk.set_room(0);
    CHECK_FALSE(log->prepare());
    CHECK_FALSE(log->error());
    CHECK_FALSE(disk.exists("log/making"));
    CHECK_FALSE(put(*log, entries(run(3, 3, 1))));
    CHECK(put(*log, entries(run(4, 5, 1, std::size_t{2} << 20))) == std::errc::no_space_on_device);
    CHECK(put(*log, entries(run(4, 4, 1))) == std::errc::no_space_on_device);
    disk.set_room(UINT64_MAX);
    log.reset();
    log = opened(disk, LogFinding::Condition::whole, small(std::uint64_t{3} << 20));
    CHECK(log->index().last().index >= 3);
}

TEST_CASE("storage: the last group is damage once a mark or a group follows it, and a torn tail before") {
    for (int behind = 0; behind < 3; ++behind) {
        INFO(behind);
        SimulatedDisk disk(1);
        auto log = made(disk);
        CHECK_FALSE(put(*log, entries(run(1, 3, 1))));
        CHECK_FALSE(put(*log, entries(run(4, 6, 1))));
        const auto cut = log->index().place(4);
        const auto place = log->index().place(5);
        if (behind == 1) CHECK_FALSE(log->mark());
        if (behind == 1) CHECK_FALSE(log->mark());
        if (behind == 2) CHECK_FALSE(put(*log, entries(run(7, 7, 1))));
        log.reset();
        disk.flip(segment(1), place.offset + 3, 2);
        log = opened(disk, behind == 0 ? LogFinding::Condition::torn : LogFinding::Condition::damaged);
        CHECK((log != nullptr) == (behind == 0));
        if (!log) continue;
        CHECK(all_of(*log) == run(1, 3, 1));
        const std::vector<std::byte> bytes = disk.contents(segment(1));
        CHECK(std::ranges::all_of(std::span(bytes).subspan(cut.offset), [](std::byte b) { return b == std::byte{0}; }));
    }
}

TEST_CASE("storage: a mark is no part of what is read, and writing goes on behind it") {
    SimulatedDisk disk(1);
    auto log = made(disk, small(1024));
    for (Index i = 1; i <= 30; ++i) {
        CHECK_FALSE(put(*log, entries(run(i, i, 1, i * 9 % 100))));
        CHECK_FALSE(log->mark());
        if (i % 3 == 0) log = opened(disk, LogFinding::Condition::whole, small(1024));
        CHECK(all_of(*log).size() == i);
    }
}

TEST_CASE("storage: what is missing of a log is said, with the file and the byte") {
    SimulatedDisk disk(1);
    auto log = made(disk, small(1024));
    for (Index i = 1; i <= 30; ++i) CHECK_FALSE(put(*log, entries(run(i, i, 1, 100))));
    const auto place = log->index().place(20);
    const std::uint64_t last = log->index().place(30).serial;
    log.reset();
    LogFinding finding;
    const auto where = [&](const std::string& file, auto harm) {
        const std::vector<std::byte> before = disk.contents(file);
        harm();
        CHECK(Log::open(disk, disk_id(), small(1024), finding) == nullptr);
        CHECK(finding.condition == LogFinding::Condition::damaged);
        disk.put(file, before);
        return finding.where;
    };
    const auto remove = [&](std::uint64_t serial) { return [&disk, serial] { disk.remove(segment(serial)); }; };
    CHECK(where(segment(3), remove(3)) == "log/0000000000000002, byte 0: the segment after this one is missing");
    CHECK(where(segment(last), remove(last)).ends_with("the segment after this one is missing"));
    CHECK(where(segment(1), [&] { disk.flip(segment(1), 20, 1); }) ==
          "log/0000000000000001, byte 0: this is not the head of segment 1");
    CHECK(where(segment(2), [&] { disk.put(segment(2), {}); }) == "log/0000000000000002, byte 0: the file has 0 bytes");
    const std::string file = segment(place.serial);
    CHECK(where(file, [&] {
              disk.flip(file, place.offset + 60, 0);
          }).starts_with(file + ", byte " + std::to_string(place.offset) + ": "));
    CHECK(Log::open(disk, disk_id(8), small(1024), finding) == nullptr);
    CHECK(finding.where == "log/0000000000000001, byte 0: the segment belongs to another disk");
    disk.make_unreadable(segment(2));
    CHECK(Log::open(disk, disk_id(), small(1024), finding) == nullptr);
    CHECK(finding.error == std::errc::io_error);
}

TEST_CASE("storage: a segment has the bytes that FORMAT.md draws") {
    SimulatedDisk disk(1);
    auto log = made(disk, small(1024));
    Write first = state({5, disk_id(9), 0});
    first.entries = {entry(1, 5, "hello")};
    CHECK_FALSE(put(*log, first));
    CHECK_FALSE(log->mark());
    CHECK_FALSE(put(*log, entries({entry(1, 6, "world")})));
    Write begin;
    begin.begin_after = SnapshotId{{7, 9}, Duration(70), {}};
    CHECK_FALSE(put(*log, begin));
    const std::string expected =
        "434c5553544c4f470100000000000000010000000000000000040000000000000708090a0b0c0d0e0f10111213141516"  // head
        "0000000000000000000000006c947f7c"
        "20000000010000000100000000000000000000000000000000000000000000000000000000000000000000003cb78042"  // opening
        "46b843c4000000000000000000000000000000000000000000000000000000000000000000000000"
        "2000000002000000010000000000000000000000000000000000000000000000000000000000000046b843c44ec95891"  // state
        "0777fda7000000000500000000000000090a0b0c0d0e0f1011121314151617180000000000000000"
        "0500000005010200010000000000000001000000000000000500000000000000414b4c00000000000777fda76db2a925"  // entry
        "a07de1cd0000000068656c6c6f000000"
        "00000000060000000200000000000000000000000000000000000000000000000000000000000000a07de1cd6c947f7c"  // mark
        "bd2a032300000000"
        "00000000040000000200000000000000000000000000000000000000000000000000000000000000bd2a03236c947f7c"  // truncate
        "1de7ebed00000000"
        "0500000005010200020000000000000001000000000000000600000000000000818d5b00000000001de7ebed6f88728e"  // entry
        "c890c87800000000776f726c64000000"
        "00000000030100000300000000000000090000000000000007000000000000004600000000000000c890c8786c947f7c"  // begin
        "b3c2674700000000";
    const std::vector<std::byte> bytes = disk.contents(segment(1));
    CHECK(hex(std::span(bytes).first(expected.size() / 2)) == expected);
    CHECK(std::ranges::all_of(std::span(bytes).subspan(expected.size() / 2),
                              [](std::byte each) { return each == std::byte{0}; }));
}

TEST_CASE("storage: a record that does not name the one before it, or is of another group, is not taken") {
    SimulatedDisk disk(1);
    auto log = made(disk);
    CHECK_FALSE(put(*log, entries(run(1, 1, 1))));
    const std::uint64_t offset = log->index().place(1).offset;
    log.reset();
    const std::vector<std::byte> before = disk.contents(segment(1));
    const std::uint32_t seed = seed_of(*unpack_segment_head(before));
    const RecordHead last = *read_head(std::span(before).subspan(offset), seed);
    const auto opened_with = [&](std::uint64_t group, std::uint32_t previous) {
        RecordHead head;
        head.last = true;
        head.kind = 2;
        head.id = {1, 2};
        head.time = last.time;
        head.group = group;
        head.previous = previous;
        std::vector<std::byte> record;
        append_record(record, head, {}, seed);
        std::vector<std::byte> bytes = before;
        std::ranges::copy(record, bytes.begin() + static_cast<std::ptrdiff_t>(offset + last.whole()));
        disk.put(segment(1), bytes);
        LogFinding finding;
        const auto found = Log::open(disk, disk_id(), small(), finding);
        return std::pair(finding.condition, found ? found->index().last().index : 0);
    };
    using Condition = LogFinding::Condition;
    CHECK(opened_with(last.group + 1, last.checksum) == std::pair(Condition::whole, Index{2}));
    CHECK(opened_with(last.group + 1, last.checksum + 1) == std::pair(Condition::torn, Index{1}));
    CHECK(opened_with(last.group + 2, last.checksum) == std::pair(Condition::damaged, Index{0}));
    CHECK(opened_with(last.group, last.checksum) == std::pair(Condition::whole, Index{1}));
}

TEST_CASE("storage: a cut keeps what the last segment that says something says, wherever a crash came before") {
    int sealed = 0;
    for (std::uint64_t stop = 1; stop <= 40; ++stop) {
        INFO(stop);
        SimulatedDisk disk(stop);
        auto log = made(disk, small(1024));
        const HardState hard{7, disk_id(3), 1};
        CHECK_FALSE(put(*log, entries(run(1, 1, 7))));
        CHECK_FALSE(put(*log, state(hard)));
        disk.stop_in(disk.operations() + stop);
        for (Index i = 2; !put(*log, entries(run(i, i, 7, 100))); ++i) {
        }
        log.reset();
        disk.end_processes();
        LogFinding finding;
        log = Log::open(disk, disk_id(), small(1024), finding);
        REQUIRE(log);
        const LogId last = log->last();
        sealed += disk.exists(segment(2));
        CHECK_FALSE(log->cut(1000));
        log.reset();
        log = opened(disk, LogFinding::Condition::whole, small(1024));
        REQUIRE(log);
        CHECK(log->last() == last);
        CHECK(log->index().state() == hard);
    }
    CHECK(sealed > 10);
}
