#include "net/support.hpp"

#include <cluster/cluster.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

// Two nodes that answer every message with a message, as fast as they can: soak-echo [--seconds N].
//
// More messages circulate than outboxes and inboxes hold, so whoever only sends would soon wait for ever. Nothing must
// stand still, nothing may be lost or out of order, and no memory may be needed that was not needed after a tenth of
// the time. Each of the three ways to answer that the guide recommends has its turn.

namespace {

using namespace cluster;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::size_t message_size = 1000;
constexpr int in_circulation = 4000;  // of each node: about ten times what both can hold between them
constexpr std::uint64_t growth = std::uint64_t{8} << 20;

[[noreturn]] void fail(const std::string& what) {
    throw std::runtime_error(what);
}

/// One node, and the answers that it still has to give. Answers bear the numbers of their sender from 0 on.
class Echo {
public:
    explicit Echo(int waiting) : node_(support::narrow()), waiting_(waiting) {}
    virtual ~Echo() = default;

    Node& node() { return node_; }
    virtual void start() = 0;
    /// From here on messages are counted, and not answered.
    virtual void stop() { stopped_ = true; }
    /// After the node was closed: what `start` has started ends.
    virtual void finish() = 0;

    std::uint64_t heard() const { return heard_; }
    std::uint64_t said() const { return said_; }
    std::uint64_t out_of_order() const { return out_of_order_; }
    std::uint64_t most_waiting() const { return most_waiting_; }

protected:
    bool stopped() const { return stopped_; }
    /// True if it has to be answered.
    bool take(const Message& message) {
        std::uint64_t number = 0;
        if (message.size() == message_size) std::memcpy(&number, message.bytes().data(), sizeof number);
        if (message.size() != message_size || number != heard_) ++out_of_order_;
        ++heard_;
        return !stopped_;
    }
    /// The next answer as text.
    std::string answer() {
        std::string text(message_size, 'x');
        const std::uint64_t number = said_;
        std::memcpy(text.data(), &number, sizeof number);
        return text;
    }
    void answered() { ++said_; }
    int waiting() const { return waiting_; }
    void wait_one_more() {
        ++waiting_;
        most_waiting_ = std::max(most_waiting_.load(), static_cast<std::uint64_t>(waiting_));
    }
    void wait_one_less() { --waiting_; }

private:
    Node node_;
    int waiting_;
    std::atomic<std::uint64_t> most_waiting_{0};
    std::atomic<std::uint64_t> heard_{0};
    std::atomic<std::uint64_t> said_{0};
    std::atomic<std::uint64_t> out_of_order_{0};
    std::atomic<bool> stopped_{false};
};

/// One thread that reads, and answers with `try_send`: what finds no room is put aside while it reads on.
class InTheLoop final : public Echo {
public:
    using Echo::Echo;
    void start() override {
        thread_ = std::jthread([this] {
            Inbox inbox = node().inbox();
            while (!inbox.at_end()) {
                while (waiting() > 0 && !stopped() && node().try_broadcast(answer())) {
                    answered();
                    wait_one_less();
                }
                const auto message = inbox.receive_for(waiting() > 0 && !stopped() ? 1ms : 1h);
                if (message && take(*message)) wait_one_more();
            }
        });
    }
    void finish() override { thread_.join(); }

private:
    std::jthread thread_;
};

/// Whoever hears a message hands it to a thread of its own, which answers with `broadcast` and may wait.
class WithAThread : public Echo {
public:
    using Echo::Echo;
    void stop() override {
        {
            const std::lock_guard lock(mutex_);
            Echo::stop();
        }
        changed_.notify_all();
        speaker_.join();
    }
    void finish() override {
        if (listener_.joinable()) listener_.join();
    }

protected:
    void start_speaker() {
        speaker_ = std::jthread([this] {
            std::unique_lock lock(mutex_);
            for (;;) {
                changed_.wait(lock, [this] { return stopped() || waiting() > 0; });
                if (stopped()) return;
                wait_one_less();
                lock.unlock();
                if (node().broadcast(answer()) != 1) fail("nobody was there to be answered");
                answered();
                lock.lock();
            }
        });
    }
    void hear(const Message& message) {
        if (!take(message)) return;
        {
            const std::lock_guard lock(mutex_);
            wait_one_more();
        }
        changed_.notify_one();
    }
    std::jthread listener_;

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::jthread speaker_;
};

class LoopAndThread final : public WithAThread {
public:
    using WithAThread::WithAThread;
    void start() override {
        start_speaker();
        listener_ = std::jthread([this] {
            for (const Message& message : node().inbox()) hear(message);
        });
    }
};

class HandlerAndThread final : public WithAThread {
public:
    using WithAThread::WithAThread;
    void start() override {
        start_speaker();
        node().on_message([this](const Message& message) { hear(message); });
    }
};

template <class Way>
void run(const char* name, std::chrono::milliseconds duration) {
    Way ann(in_circulation);
    Way bob(in_circulation);
    ann.node().add(bob.node().address());
    ann.start();
    bob.start();

    const auto begun = Clock::now();
    const auto heard = [&] { return ann.heard() + bob.heard(); };
    const auto until = [&](Clock::time_point end) {
        while (Clock::now() < end) {
            const std::uint64_t before_ann = ann.heard();
            const std::uint64_t before_bob = bob.heard();
            support::wait_for([] { return false; }, std::min<Clock::duration>(1s, end - Clock::now()));
            const bool both =
                support::wait_for([&] { return ann.heard() > before_ann && bob.heard() > before_bob; }, 5s);
            if (!both) fail("they stand still");
        }
    };
    until(begun + duration / 6);
    const std::uint64_t warm = support::process_bytes("VmRSS");
    until(begun + duration);
    const std::uint64_t last = support::process_bytes("VmRSS");
    const double rate = static_cast<double>(heard()) / std::chrono::duration<double>(Clock::now() - begun).count();

    ann.stop();
    bob.stop();
    const auto complete = [&] { return ann.heard() == bob.said() && bob.heard() == ann.said(); };
    const bool all_came = support::wait_for(complete, 10s);
    const bool acknowledged = !ann.node().close() && !bob.node().close();
    ann.finish();
    bob.finish();
    if (!acknowledged) fail("something was not acknowledged");
    if (!all_came || !complete()) {
        fail("something was lost: " + std::to_string(ann.heard()) + " of " + std::to_string(bob.said()) + ", " +
             std::to_string(bob.heard()) + " of " + std::to_string(ann.said()));
    }
    std::printf("%-20s %9.0f messages/s  RSS %.1f MiB, in the end %.1f MiB  at most %llu answers waiting\n", name, rate,
                static_cast<double>(warm) / (1 << 20), static_cast<double>(last) / (1 << 20),
                static_cast<unsigned long long>(std::max(ann.most_waiting(), bob.most_waiting())));
    std::fflush(stdout);
    if (ann.out_of_order() + bob.out_of_order() != 0) fail("the order was not kept");
    if (ann.most_waiting() > 2 * in_circulation || bob.most_waiting() > 2 * in_circulation) fail("answers pile up");
    if (support::memory_is_ours && last > warm + growth) fail("it grows");
}

}  // namespace

int main(int count, char** arguments) {
    try {
        int seconds = 60;
        if (count == 3 && std::string_view(arguments[1]) == "--seconds") seconds = std::atoi(arguments[2]);
        if (seconds <= 0 || (count != 1 && count != 3)) fail("usage: soak-echo [--seconds N]");
        const std::chrono::milliseconds each(1000 * seconds);
        run<InTheLoop>("try_send in the loop", each);
        run<LoopAndThread>("loop and thread", each);
        run<HandlerAndThread>("handler and thread", each);
        return EXIT_SUCCESS;
    } catch (const std::exception& exception) {
        std::fprintf(stderr, "soak-echo: %s\n", exception.what());
        std::fflush(stdout);
        std::_Exit(EXIT_FAILURE);  // threads may wait for each other for ever
    }
}
