#include "storage/writer.hpp"

#include "storage/support.hpp"

#include <atomic>
#include <future>

using namespace cluster;
using namespace cluster::consensus;
using namespace cluster::storage;
using namespace cluster::storage::support;
using sim::SimulatedDisk;

namespace {

constexpr auto patience = std::chrono::seconds(30);

/// What a writer reports, for whoever waits.
class Reports {
public:
    Writer::Callbacks callbacks() {
        return {[this](std::uint64_t number) {
                    const detail::Lock lock(mutex_);
                    CHECK(number > durable_);
                    durable_ = number;
                    ++groups_;
                    condition_.notify_all();
                },
                [this](std::error_code error) {
                    const detail::Lock lock(mutex_);
                    CHECK_FALSE(failed_);
                    failed_ = error;
                    condition_.notify_all();
                }};
    }
    bool wait_for(std::uint64_t number) {
        const auto deadline = std::chrono::steady_clock::now() + patience;
        const detail::Lock lock(mutex_);
        while (durable_ < number) {
            if (!condition_.wait_until(mutex_, deadline)) return false;
        }
        return true;
    }
    std::error_code wait_for_failure() {
        const auto deadline = std::chrono::steady_clock::now() + patience;
        const detail::Lock lock(mutex_);
        while (!failed_ && condition_.wait_until(mutex_, deadline)) {
        }
        return failed_;
    }
    std::uint64_t durable() {
        const detail::Lock lock(mutex_);
        return durable_;
    }
    int groups() {
        const detail::Lock lock(mutex_);
        return groups_;
    }

private:
    detail::Mutex mutex_;
    detail::Condition condition_;
    std::uint64_t durable_ GUARDED_BY(mutex_) = 0;
    int groups_ GUARDED_BY(mutex_) = 0;
    std::error_code failed_ GUARDED_BY(mutex_);
};

LogOptions writer_options() {
    LogOptions options;
    options.segment_bytes = 65536;
    return options;
}

Write numbered(std::uint64_t number, std::size_t bytes = 50) {
    Write write = entries({entry(number, 1, std::string(bytes, 'w'))});
    write.number = number;
    return write;
}

struct WriterFixture {
    std::error_code error;
    SimulatedDisk disk{1};
    std::unique_ptr<Log> log = Log::create(disk, disk_id(), writer_options(), error);
    Reports reports;
};

template <class What>
bool becomes_true(What what) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!what()) {
        if (std::chrono::steady_clock::now() > deadline) return false;
        std::this_thread::yield();
    }
    return true;
}

/// From when the writer has nothing to do, every sync waits, until `end`.
class Hanging {
public:
    Hanging(SimulatedDisk& disk, const Writer& writer) : disk_(disk) {
        REQUIRE(becomes_true([&] { return disk.exists("log/" + segment_name(2)) && !writer.busy(); }));
        disk_.hang(true);
    }
    Hanging(const Hanging&) = delete;
    Hanging& operator=(const Hanging&) = delete;
    ~Hanging() { end(); }
    void end() { disk_.hang(false); }

private:
    SimulatedDisk& disk_;
};

}  // namespace

TEST_CASE("storage: a writer reports what is on disk, in order, and closes when all of it is") {
    WriterFixture f;
    {
        Writer writer(*f.log, {}, f.reports.callbacks());
        for (std::uint64_t i = 1; i <= 2000; ++i) REQUIRE(writer.submit(numbered(i)));
        CHECK(f.reports.wait_for(1));
        writer.close();
        CHECK_FALSE(writer.submit(numbered(2001)));
        CHECK(writer.waiting() == 0);
    }
    CHECK(f.reports.durable() == 2000);
    f.log.reset();
    f.disk.lose_power();
    LogFinding finding;
    CHECK(Log::open(f.disk, disk_id(), writer_options(), finding)->index().last().index == 2000);
}

TEST_CASE("storage: writes that wait for a disk that hangs become one group") {
    WriterFixture f;
    Writer writer(*f.log, {}, f.reports.callbacks());
    Hanging hanging(f.disk, writer);
    REQUIRE(writer.submit(numbered(1)));
    REQUIRE(becomes_true([&] { return writer.waiting() == 0; }));
    CHECK(writer.busy());
    for (std::uint64_t i = 2; i <= 500; ++i) REQUIRE(writer.submit(numbered(i)));
    CHECK(writer.waiting() == 499);
    CHECK(f.reports.durable() == 0);
    hanging.end();
    CHECK(f.reports.wait_for(500));
    CHECK(f.reports.groups() == 2);
    CHECK(becomes_true([&] { return !writer.busy(); }));
}

TEST_CASE("storage: a writer takes no more than may wait, nor more at once than makes a group") {
    WriterFixture f;
    Writer writer(*f.log, {.most_waiting = 10'000, .most_in_group = 1000}, f.reports.callbacks());
    Hanging hanging(f.disk, writer);
    REQUIRE(writer.submit(numbered(1, 20'000)));  // one is taken, however long it is
    REQUIRE(becomes_true([&] { return writer.waiting() == 0; }));
    std::uint64_t last = 1;
    while (writer.submit(numbered(last + 1, 100))) ++last;
    CHECK(last > 30);
    CHECK(last < 100);
    CHECK(writer.waiting() == last - 1);
    hanging.end();
    CHECK(f.reports.wait_for(last));
    CHECK(f.reports.groups() > 5);
    CHECK(writer.submit(numbered(last + 1)));
    CHECK(f.reports.wait_for(last + 1));
}

TEST_CASE("storage: a writer whose disk fails says so once, and reports nothing after that") {
    WriterFixture f;
    Writer writer(*f.log, {}, f.reports.callbacks());
    REQUIRE(writer.submit(numbered(1)));
    REQUIRE(f.reports.wait_for(1));
    f.disk.set_room(0);
    std::uint64_t last = 1;
    while (writer.submit(numbered(last + 1, 20'000))) ++last;
    CHECK(f.reports.wait_for_failure() == std::errc::no_space_on_device);
    const std::uint64_t durable = f.reports.durable();
    CHECK(durable < last);
    CHECK_FALSE(writer.submit(numbered(last + 1)));
    writer.cut(1);
    writer.close();
    CHECK(f.reports.durable() == durable);
    f.log.reset();
    LogFinding finding;
    CHECK(Log::open(f.disk, disk_id(), writer_options(), finding)->index().last().index >= durable);
}

TEST_CASE("storage: a writer cuts the log, prepares the next segment and marks what is on disk, when it has time") {
    WriterFixture f;
    Writer writer(*f.log, {}, f.reports.callbacks());
    for (std::uint64_t i = 1; i <= 100; ++i) {
        REQUIRE(writer.submit(numbered(i, 5000)));
        REQUIRE(f.reports.wait_for(i));
    }
    writer.cut(80);
    CHECK(becomes_true([&] { return f.log->index().base().index > 60; }));
    const std::uint64_t last = f.log->index().place(100).serial;
    CHECK(becomes_true([&] { return f.disk.exists("log/" + segment_name(last + 1)); }));
    const auto place = f.log->index().place(100);
    writer.close();
    f.log.reset();
    f.disk.flip("log/" + segment_name(place.serial), place.offset + 70, 1);
    LogFinding finding;
    CHECK(Log::open(f.disk, disk_id(), writer_options(), finding) == nullptr);
    CHECK(finding.condition == LogFinding::Condition::damaged);
}

TEST_CASE("storage: a writer does not cut off what a write that waited before may replace") {
    WriterFixture f;
    Writer writer(*f.log, {.most_in_group = 1}, f.reports.callbacks());
    for (std::uint64_t i = 1; i <= 4; ++i) REQUIRE(writer.submit(numbered(i, 40'000)));  // each has its own segment
    REQUIRE(f.reports.wait_for(4));
    Hanging hanging(f.disk, writer);
    REQUIRE(writer.submit(numbered(5)));
    REQUIRE(becomes_true([&] { return writer.waiting() == 0; }));
    REQUIRE(writer.submit(numbered(6)));
    Write replacing = entries({entry(3, 2, "other")});
    replacing.number = 7;
    REQUIRE(writer.submit(replacing));
    writer.cut(4);
    hanging.end();
    CHECK(f.reports.wait_for(7));
    CHECK(f.log->index().last() == LogId{2, 3});
    CHECK(becomes_true([&] { return f.log->index().base().index == 2; }));
}

TEST_CASE("storage: entries are read by one thread while another one writes, cuts and uses segments again") {
    WriterFixture f;
    Writer writer(*f.log, {}, f.reports.callbacks());
    std::atomic<bool> done = false;
    std::atomic<std::uint64_t> read = 0;
    auto reader = std::async(std::launch::async, [&] {
        Dice dice(1);
        while (!done) {
            const Index base = f.log->base().index, last = f.log->last().index;
            if (base >= last) continue;
            const Index from = base + 1 + dice.below(last - base);
            std::error_code error;
            const std::vector<Entry> found = f.log->read(from, from + 20, 1 << 20, error);
            if (error ? error != Fault::not_there : found.front().id.index != from) return false;
            read += found.size();
        }
        return true;
    });
    std::uint64_t last = 0;
    while (last < 2000 || read < 2000) {
        if (!writer.submit(numbered(last + 1, 300))) break;
        ++last;
        if (last % 100 == 0) {
            if (!f.reports.wait_for(last)) break;
            if (last > 150) writer.cut(last - 150);
        }
        if (last > 20'000) break;
    }
    done = true;
    CHECK(reader.get());
    CHECK(last >= 2000);
}
