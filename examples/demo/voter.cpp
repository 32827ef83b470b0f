#include "voter.hpp"

#include <cluster/cluster.hpp>
#include <cluster/replica.hpp>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <iostream>
#include <mutex>
#include <sstream>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include <unistd.h>

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

void say(const std::string& line) {
    const std::string text = line + '\n';
    if (::write(STDOUT_FILENO, text.data(), text.size()) < 0) ::_exit(1);  // the parent has gone
}

/// How often each number came, and a hash of their order.
class Tally final : public cluster::Service {
public:
    void on_message(cluster::Context& context, std::span<const std::byte> message) override {
        const std::string_view text(reinterpret_cast<const char*>(message.data()), message.size());
        std::size_t number = 0;
        std::from_chars(text.data(), text.data() + text.size(), number);
        const std::lock_guard lock(mutex_);
        if (times_.size() <= number) times_.resize(number + 1);
        ++times_[number];
        hash_ = (hash_ ^ number) * 0x100000001b3;
        context.reply(std::string(text));
    }
    void save(cluster::SnapshotWriter& out) const override {
        out.write(hash_);
        out.write(std::uint64_t{times_.size()});
        for (const std::uint32_t each : times_) out.write(each);
    }
    void load(cluster::SnapshotReader& in) override {
        const std::lock_guard lock(mutex_);
        std::uint64_t size = 0;
        in.read(hash_);
        in.read(size);
        times_.assign(size, 0);
        for (std::uint32_t& each : times_) in.read(each);
    }

    std::string text() const {
        const std::lock_guard lock(mutex_);
        const auto count = [&](auto chosen) { return std::count_if(times_.begin(), times_.end(), chosen); };
        return std::to_string(count([](std::uint32_t times) { return times != 0; })) + ' ' +
               std::to_string(count([](std::uint32_t times) { return times > 1; })) + ' ' + std::to_string(hash_);
    }

private:
    mutable std::mutex mutex_;
    std::vector<std::uint32_t> times_;
    std::uint64_t hash_ = 0;
};

/// Submits numbered messages, some at a time, and hears how they ended.
class Submitter {
public:
    explicit Submitter(cluster::Replica& replica) : replica_(replica) {}

    void submit(std::uint64_t count) {
        constexpr std::uint64_t at_a_time = 32;
        std::unique_lock lock(mutex_);
        last_ = Clock::now();
        for (std::uint64_t number = 1; number <= count; ++number) {
            changed_.wait(lock, [&] { return ended_ + at_a_time >= number; });
            lock.unlock();
            const std::string text = std::to_string(number);
            replica_.submit(text, 10s, [this, text](std::error_code error, const cluster::Message& reply) {
                end(!error && reply.text() == text);
            });
            lock.lock();
        }
        changed_.wait(lock, [&] { return ended_ == count; });
        report();
    }

private:
    void end(bool well) {
        constexpr std::uint64_t report_every = 500;
        const std::lock_guard lock(mutex_);
        const auto now = Clock::now();
        longest_ = std::max(longest_, now - last_);
        last_ = now;
        if (!well) ++failed_;
        if (++ended_ % report_every == 0) report();
        changed_.notify_one();
    }
    void report() {
        say("acknowledged " + std::to_string(ended_ - failed_) + ' ' + std::to_string(failed_) + ' ' +
            std::to_string(longest_ / 1ms));
    }

    cluster::Replica& replica_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::uint64_t ended_ = 0;
    std::uint64_t failed_ = 0;
    Clock::time_point last_;
    Clock::duration longest_{};
};

}  // namespace

int run_voter(std::span<const std::string> arguments) {
    cluster::Options options = cluster::Options::local();
    options.name = arguments[0];
    options.listen = arguments[2];
    options.seeds.assign(arguments.begin() + 3, arguments.end());
    options.log = [](cluster::LogLevel level, std::string_view text) {
        if (level >= cluster::LogLevel::warning) say("log " + std::string(text));
    };
    cluster::Node node(options);
    say("listening " + node.address().to_string());

    Tally tally;
    cluster::Replica replica(node, tally, {.directory = arguments[1], .voters = {"ann", "bob", "eve"}});
    const cluster::Subscription changes = replica.on_status([](const cluster::ReplicaStatus& status) {
        if (!status.leader.empty()) say("leader " + status.leader);
    });
    Submitter submitter(replica);
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream words(line);
        std::string command;
        words >> command;
        if (command == "submit") {
            std::uint64_t count = 0;
            words >> count;
            submitter.submit(count);
        } else if (command == "state") {
            say("state " + tally.text());
        } else if (command == "leave") {
            break;
        }
    }
    replica.close();
    node.close();
    return 0;
}
