// How long replies take at a fixed rate. Each message is due at its time, whether or not replies have come, and its
// time is counted from then: so what waits behind a pause is counted, too.
//
// `example-14_throughput_client --rate 1000 --size 288 --seconds 10 ADDRESS...` measures a service that is there, such
// as 13_echo_service. Without addresses the program has three voters of its own. FAIL says that the rate was not held.

#include "voters.hpp"

#include <cluster/client.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <latch>
#include <optional>
#include <thread>

using namespace std::chrono_literals;

class Echo final : public cluster::Service {
public:
    void on_message(cluster::Context& context, std::span<const std::byte> message) override { context.reply(message); }
    void save(cluster::SnapshotWriter&) const override {}
    void load(cluster::SnapshotReader&) override {}
};

struct Plan {
    std::size_t rate = 200, size = 288, seconds = 1;
    std::vector<std::string> addresses = {};
};

Plan read(int argument_count, char** arguments) {
    Plan plan;
    for (int i = 1; i < argument_count; ++i) {
        const std::string word = arguments[i];
        std::size_t* const number = word == "--rate"      ? &plan.rate
                                    : word == "--size"    ? &plan.size
                                    : word == "--seconds" ? &plan.seconds
                                                          : nullptr;
        if (number == nullptr) {
            plan.addresses.push_back(word);
        } else {
            *number = std::max(1UL, i + 1 < argument_count ? std::stoul(arguments[++i]) : 0);
        }
    }
    return plan;
}

int main(int argument_count, char** arguments) try {
    Plan plan = read(argument_count, arguments);
    std::optional<Voters<Echo>> own;
    if (plan.addresses.empty()) plan.addresses = own.emplace().addresses();
    cluster::Client client({.addresses = plan.addresses, .name = "load"});
    if (!client.wait_until_open(30s)) return std::puts(client.status().why.c_str()), 1;
    client.call(std::string(plan.size, 'x'), 20s);  // the first one finds the way

    const std::size_t count = plan.rate * plan.seconds;
    std::vector<std::chrono::nanoseconds> took;  // the handlers run on one thread
    took.reserve(count);
    std::latch open(static_cast<std::ptrdiff_t>(count));
    const auto begin = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < count; ++i) {
        const auto due = begin + std::chrono::nanoseconds(1s) / plan.rate * i;
        std::this_thread::sleep_until(due);
        client.call(std::string(plan.size, 'x'), 20s, [&, due](std::error_code error, const cluster::Message& reply) {
            if (!error && reply.size() == plan.size) took.push_back(std::chrono::steady_clock::now() - due);
            open.count_down();
        });
    }
    open.wait();
    client.close();  // its handlers have returned
    const std::chrono::duration<double> all = std::chrono::steady_clock::now() - begin;
    // Held: each has its reply, and the last one came no later than a tenth of the time after it was due.
    const bool held = took.size() == count && all.count() <= 1.1 * static_cast<double>(plan.seconds);
    std::printf("%zu/s of %zu bytes for %zu s: %zu of %zu replies in %.2f s%s\n", plan.rate, plan.size, plan.seconds,
                took.size(), count, all.count(), held ? "" : " FAIL");
    if (took.empty()) return 1;
    std::sort(took.begin(), took.end());
    for (std::size_t from = 0; from < took.size();) {  // each row goes up to twice the time of the one before
        auto limit = 32us;
        while (limit <= took[from]) limit *= 2;
        const auto end = std::lower_bound(took.begin(), took.end(), limit) - took.begin();
        std::printf("%8ld us %8zu\n", limit.count(), static_cast<std::size_t>(end) - from);
        from = static_cast<std::size_t>(end);
    }
    for (const double part : {0.5, 0.99, 0.999}) {
        const auto at = static_cast<std::size_t>(part * static_cast<double>(took.size() - 1));
        std::printf("p%g %.0f us\n", part * 100, std::chrono::duration<double, std::micro>(took[at]).count());
    }
    // A busy machine may not hold the rate. That each has its reply is what the program checks of itself.
    return (own ? took.size() == count : held) ? 0 : 1;
} catch (const std::exception& error) {
    return std::puts(error.what()), 1;
}
