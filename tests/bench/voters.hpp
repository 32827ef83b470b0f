#pragma once

#include "bench/folder.hpp"
#include "bench/support.hpp"

#include <cluster/cluster.hpp>
#include <cluster/replica.hpp>

#include <atomic>
#include <deque>
#include <fstream>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <thread>

// Replicas in processes of their own: the part that such a process plays, and how it is spoken to.

namespace bench::voters {

using namespace std::chrono_literals;

constexpr auto patience = 20s;

/// Counts messages and adds up their bytes.
class Sum final : public cluster::Service {
public:
    void on_message(cluster::Context& context, std::span<const std::byte> message) override {
        ++count_;
        for (const std::byte each : message) sum_ += static_cast<std::uint64_t>(each);
        context.reply(std::as_bytes(std::span(&count_, 1)));
    }
    void on_query(cluster::QueryContext& context, std::span<const std::byte>) const override {
        context.reply(std::as_bytes(std::span(&count_, 1)));
    }
    void save(cluster::SnapshotWriter& out) const override {
        out.write(count_);
        out.write(sum_);
    }
    void load(cluster::SnapshotReader& in) override {
        in.read(count_);
        in.read(sum_);
    }

private:
    std::uint64_t count_ = 0;
    std::uint64_t sum_ = 0;
};

/// Callers that each submit one message after the other, or read, until the time is over.
class Callers {
public:
    Callers(cluster::Replica& replica, std::size_t count, std::size_t size, double seconds)
        : replica_(replica), seconds_(seconds), message_(size, std::byte{7}), callers_(count) {}

    /// Each is a chain of handlers: the one that gets a reply submits the next.
    Load as_chains() {
        open_ = callers_.size();
        begin_ = Clock::now();
        for (Caller& each : callers_) next(each);
        if (done_.get_future().wait_for(std::chrono::duration<double>(seconds_) + patience) !=
            std::future_status::ready) {
            fail("replies do not come");
        }
        return result();
    }
    /// Each is a thread that waits.
    Load as_threads() {
        return in_threads([this](std::error_code& error) { replica_.submit(message_, patience, error); });
    }
    /// Each is a thread that reads.
    Load as_readers(const cluster::ReadOptions& options) {
        return in_threads([&](std::error_code& error) { replica_.read(message_, patience, error, options); });
    }

private:
    Load in_threads(const std::function<void(std::error_code&)>& call) {
        begin_ = Clock::now();
        std::vector<std::thread> threads;
        for (Caller& each : callers_) {
            threads.emplace_back([&] {
                while (seconds_since(begin_) < seconds_) {
                    each.begun = Clock::now();
                    std::error_code error;
                    call(error);
                    came(each, error);
                }
            });
        }
        for (std::thread& thread : threads) thread.join();
        return result();
    }

    struct Caller {
        Clock::time_point begun;
        std::vector<double> times;
        std::map<std::string, std::size_t> errors;
    };

    void next(Caller& caller) {
        caller.begun = Clock::now();
        replica_.submit(message_, patience, [this, &caller](std::error_code error, const cluster::Message&) {
            came(caller, error);
            if (seconds_since(begin_) < seconds_) return next(caller);
            if (--open_ == 0) done_.set_value();
        });
    }
    static void came(Caller& caller, std::error_code error) {
        if (error) {
            ++caller.errors[error.message()];
        } else {
            caller.times.push_back(microseconds_since(caller.begun));
        }
    }
    Load result() {
        const double passed = seconds_since(begin_);
        std::vector<double> times;
        for (const Caller& each : callers_) {
            times.insert(times.end(), each.times.begin(), each.times.end());
            for (const auto& [text, count] : each.errors)
                fail("a call: " + text + ", " + std::to_string(count) + " times");
        }
        return Load::of(times, passed);
    }

    cluster::Replica& replica_;
    const double seconds_;
    const std::vector<std::byte> message_;
    std::vector<Caller> callers_;
    Clock::time_point begin_;
    std::atomic<std::size_t> open_{0};
    std::promise<void> done_;
};

/// A thread that submits one message after the other, and remembers when replies came.
class Stream {
public:
    explicit Stream(cluster::Replica& replica) : replica_(replica), thread_([this] { run(); }) {}
    ~Stream() {
        ends_ = true;
        thread_.join();
    }

    /// The longest time between two replies, of those that come after `from`, or between `from` and the first. Waits
    /// for twenty after `until`. In milliseconds.
    std::string gap(Clock::time_point from, Clock::time_point until) {
        for (const auto begin = Clock::now();;) {
            pause(5ms);
            const std::lock_guard lock(mutex_);
            if (seconds_since(begin) > 20) fail("no reply comes any more");
            if (replies_.size() < 20 || replies_[replies_.size() - 20] < until) continue;
            double longest = 0;
            for (auto before = from; const auto reply : replies_) {
                if (reply <= from) continue;
                longest = std::max(longest, std::chrono::duration<double, std::milli>(reply - before).count());
                before = reply;
            }
            return std::to_string(longest) + " " + errors_;
        }
    }

private:
    void run() {
        const std::vector<std::byte> message(256, std::byte{7});
        while (!ends_) {
            std::error_code error;
            replica_.submit(message, patience, error);
            const std::lock_guard lock(mutex_);
            if (error) {
                errors_ += error.message() + "; ";
            } else {
                replies_.push_back(Clock::now());
            }
        }
    }

    cluster::Replica& replica_;
    std::mutex mutex_;
    std::vector<Clock::time_point> replies_;
    std::string errors_;
    std::atomic<bool> ends_{false};
    std::thread thread_;
};

inline std::string text_of_time(Clock::time_point time) {
    return std::to_string(time.time_since_epoch().count());
}

inline std::istream& operator>>(std::istream& in, Clock::time_point& time) {
    Clock::rep count = 0;
    in >> count;
    time = Clock::time_point(Clock::duration(count));
    return in;
}

inline std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> parts;
    std::istringstream in(text);
    for (std::string part; std::getline(in, part, ',');) parts.push_back(part);
    return parts;
}

inline std::string joined(const std::vector<std::string>& parts) {
    std::string text;
    for (const std::string& part : parts) text += (text.empty() ? "" : ",") + part;
    return text;
}

/// A process with one node and one replica, which does what it is told.
class Player {
public:
    Player() {
        const std::string log = read_line();
        const std::string kind = read_line();
        cluster::Options options = kind == "resting" ? cluster::Options() : cluster::Options::local();
        options.secret = bench::options().secret;
        options.name = read_line();
        options.listen = read_line();
        options.seeds = split(read_line());
        replica_options_.voters = split(read_line());
        replica_options_.directory = read_line();
        if (kind == "filling") {
            replica_options_.durability = cluster::Durability::os_buffers;
            replica_options_.snapshot_every = std::size_t{1} << 40;
        }
        log_.open(log, std::ios::app);
        options.log = [this](cluster::LogLevel level, std::string_view text) {
            const std::lock_guard lock(mutex_);
            const bool complains = level >= cluster::LogLevel::warning;
            log_ << Clock::now().time_since_epoch().count() / 1000 << (complains ? " complains " : " tells ") << text
                 << std::endl;
        };
        node_ = std::make_unique<cluster::Node>(options);
        write_line(node_->address().to_string());
    }

    void play() {
        open();
        for (;;) {
            ::alarm(0);  // it ends with its parent
            std::istringstream in(read_line());
            restart_time_limit();
            std::string word;
            in >> word;
            if (word == "end") break;
            write_line(answer(word, in));
        }
        stream_.reset();
        replica_.reset();
        node_.reset();
    }

private:
    void open() { replica_ = std::make_unique<cluster::Replica>(*node_, service_.emplace(), replica_options_); }

    std::string answer(std::string word, std::istream& in) {
        std::size_t count = 0;
        std::size_t size = 0;
        double seconds = 0;
        if (word == "status") return status();
        if (word == "wait") {
            std::uint64_t position = 0;
            in >> position;
            return wait_until_applied(position);
        }
        if (word == "chains" && in >> count >> size >> seconds) {
            return Callers(*replica_, count, size, seconds).as_chains().to_string();
        }
        if (word == "threads" && in >> count >> size >> seconds) {
            return Callers(*replica_, count, size, seconds).as_threads().to_string();
        }
        if (word == "readers" && in >> word >> count >> seconds) {
            cluster::ReadOptions options;
            if (word == "stale") options.consistency = cluster::Consistency::stale;
            return Callers(*replica_, count, 8, seconds).as_readers(options).to_string();
        }
        if (word == "fill" && in >> count) return fill(count);
        if (word == "stream") {
            stream_.emplace(*replica_);
            return "begun";
        }
        if (word == "gap") {
            Clock::time_point from, until;
            in >> from >> until;
            std::string text = stream_.value().gap(from, until);
            stream_.reset();
            return text;
        }
        if (word == "transfer") return timed([&] { replica_->transfer(); });
        if (word == "close") return timed([&] { replica_->close(); });
        if (word == "open") {
            replica_.reset();
            open();
            return "begun";
        }
        if (word == "cpu") return std::to_string(cpu_seconds());
        fail("nobody knows what this is: " + word);
    }
    std::string status() const {
        const cluster::ReplicaStatus status = replica_->status();
        const auto in_view =
            std::count_if(status.voters.begin(), status.voters.end(), [](const auto& each) { return each.in_view; });
        return (status.leader.empty() ? "nobody" : status.leader) + " " + std::to_string(status.term) + " " +
               std::to_string(status.committed) + " " + std::to_string(status.applied) + " " + std::to_string(in_view);
    }
    std::string wait_until_applied(std::uint64_t position) const {
        while (replica_->status().applied < position) pause(1ms);
        return text_of_time(Clock::now());
    }
    /// Until so many messages more are in the log.
    std::string fill(std::size_t count) {
        const std::uint64_t end = replica_->status().applied + count;
        while (replica_->status().applied < end) Callers(*replica_, 4096, 256, 0.5).as_chains();
        return status();
    }
    static std::string timed(const std::function<void()>& action) {
        const auto begin = Clock::now();
        action();
        return text_of_time(begin) + " " + text_of_time(Clock::now());
    }

    cluster::ReplicaOptions replica_options_;
    std::mutex mutex_;
    std::ofstream log_;
    std::unique_ptr<cluster::Node> node_;
    std::optional<Sum> service_;
    std::unique_ptr<cluster::Replica> replica_;
    std::optional<Stream> stream_;
};

inline void play() {
    Player().play();
}

struct Status {
    std::string leader;
    std::uint64_t term = 0;
    std::uint64_t committed = 0;
    std::uint64_t applied = 0;
    std::size_t in_view = 0;
};

/// The other end of a player.
struct Voter {
    std::string name;
    std::string address = "127.0.0.1:0";
    std::optional<Child> child;

    std::string ask(const std::string& line) {
        child.value().tell(line);
        return child->line();
    }
    Status status() {
        Status status;
        std::istringstream in(ask("status"));
        in >> status.leader >> status.term >> status.committed >> status.applied >> status.in_view;
        return status;
    }
};

/// A group whose members are processes.
class Group {
public:
    /// `kind`: what is special about them, see `Player`.
    Group(const Folder& folder, const std::string& name, std::vector<std::string> names, std::string kind = "usual")
        : path_(folder / name), names_(std::move(names)), kind_(std::move(kind)), voters_(names_.size()) {
        std::filesystem::create_directory(path_);
        for (std::size_t i = 0; i < names_.size(); ++i) voters_[i].name = names_[i];
        for (Voter& each : voters_) start(each);
    }
    Group(const Group&) = delete;
    Group& operator=(const Group&) = delete;
    /// What it has written is removed, so that the disk has less to do for the next one.
    ~Group() {
        if (std::uncaught_exceptions() != 0) show_logs();
        voters_.clear();
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    void start(Voter& voter) {
        voter.child.emplace("voter");
        std::vector<std::string> seeds;
        for (const Voter& each : voters_) {
            if (&each != &voter && !each.address.ends_with(":0")) seeds.push_back(each.address);
        }
        for (const std::string& line : {(path_ / (voter.name + ".log")).string(), kind_, voter.name, voter.address,
                                        joined(seeds), joined(names_), (path_ / voter.name).string()}) {
            voter.child->tell(line);
        }
        voter.address = voter.child->line();
    }

    /// The one that leads, as soon as all follow it, see each other, and have applied what was committed.
    Voter& settled() {
        for (const auto begin = Clock::now(); seconds_since(begin) < 30; pause(5ms)) {
            std::uint64_t committed = 0;
            std::vector<Status> all;
            for (Voter& each : voters_) all.push_back(each.status());
            for (const Status& each : all) committed = std::max(committed, each.committed);
            const bool same = std::all_of(all.begin(), all.end(), [&](const Status& each) {
                return each.leader == all[0].leader && each.in_view == all.size() && each.applied >= committed;
            });
            for (Voter& each : voters_) {
                if (same && each.name == all[0].leader) return each;
            }
        }
        std::string text;
        for (Voter& each : voters_) text += " " + each.name + ": " + each.ask("status") + ";";
        fail("the group does not come to rest:" + text);
    }
    Voter& follower() {
        const Voter& leader = settled();
        return &voters_.front() == &leader ? voters_.back() : voters_.front();
    }
    std::vector<Voter>& voters() { return voters_; }
    /// What each has used, in seconds.
    std::vector<double> processor() {
        std::vector<double> used;
        for (Voter& each : voters_) used.push_back(std::stod(each.ask("cpu")));
        return used;
    }

    /// How many warnings and errors the nodes have written.
    std::map<std::string, std::size_t> complaints() const {
        std::map<std::string, std::size_t> found;
        for (const Voter& each : voters_) {
            std::ifstream log(path_ / (each.name + ".log"));
            for (std::string line; std::getline(log, line);) {
                std::istringstream words(line);
                std::string time, kind, event;
                words >> time >> kind >> event;
                if (kind == "complains") ++found[event];
            }
        }
        return found;
    }

    /// The last lines of each, on standard error.
    void show_logs() const {
        for (const Voter& each : voters_) {
            std::ifstream log(path_ / (each.name + ".log"));
            std::deque<std::string> last;
            for (std::string line; std::getline(log, line);) {
                last.push_back(line);
                if (last.size() > 25) last.pop_front();
            }
            for (const std::string& line : last) std::fprintf(stderr, "%s: %s\n", each.name.c_str(), line.c_str());
        }
    }

private:
    const std::filesystem::path path_;
    const std::vector<std::string> names_;
    const std::string kind_;
    std::vector<Voter> voters_;
};

}  // namespace bench::voters
