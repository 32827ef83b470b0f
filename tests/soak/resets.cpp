#include "net/support.hpp"

#include <cluster/cluster.hpp>

#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

// Two nodes that send each other numbered messages as fast as they can while their connection is reset again and again:
// soak-resets [--messages N] [--resets N].
//
// A reset comes from the system, at either end in turn, with all that is lost in the buffers of both. Every message
// must arrive once, in order and unaltered, without a gap.

namespace {

using namespace cluster;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

[[noreturn]] void fail(const std::string& what) {
    throw std::runtime_error(what);
}

/// What the message of a number holds: that number, 1 to 50 times.
std::string numbered(std::uint64_t number) {
    std::string text((1 + number % 50) * sizeof number, '\0');
    for (std::size_t at = 0; at < text.size(); at += sizeof number) std::memcpy(&text[at], &number, sizeof number);
    return text;
}

/// One of the two, with a thread that sends and one that reads.
class Side {
public:
    explicit Side(std::uint64_t messages) : node_(support::quick()), seen_(messages) {}

    Node& node() { return node_; }
    void start() {
        reader_ = std::jthread([this] {
            for (const Message& message : node_.inbox()) take(message);
        });
        sender_ = std::jthread([this] {
            for (std::uint64_t number = 0; number < seen_.size(); ++number) {
                std::error_code error;
                if (node_.broadcast(numbered(number), error) != 1) ++refused_;
            }
        });
    }
    void finish_sending() { sender_.join(); }
    void finish_reading() { reader_.join(); }

    std::uint64_t heard() const { return heard_; }
    std::uint64_t refused() const { return refused_; }
    std::uint64_t doubled() const { return doubled_; }
    std::uint64_t out_of_order() const { return out_of_order_; }
    std::uint64_t altered() const { return altered_; }
    std::uint64_t gaps() const { return gaps_; }
    std::uint64_t lost() const { return seen_.size() - heard_; }

private:
    void take(const Message& message) {
        if (message.lost() != 0) {
            ++gaps_;
            return;
        }
        std::uint64_t number = 0;
        if (message.size() >= sizeof number) std::memcpy(&number, message.bytes().data(), sizeof number);
        if (number >= seen_.size() || message.text() != numbered(number)) {
            ++altered_;
        } else if (seen_[number]) {
            ++doubled_;
        } else {
            if (number != next_) ++out_of_order_;
            next_ = number + 1;
            seen_[number] = true;
            ++heard_;
        }
    }

    Node node_;
    std::vector<bool> seen_;
    std::uint64_t next_ = 0;
    std::atomic<std::uint64_t> heard_{0};
    std::atomic<std::uint64_t> refused_{0};
    std::atomic<std::uint64_t> doubled_{0};
    std::atomic<std::uint64_t> out_of_order_{0};
    std::atomic<std::uint64_t> altered_{0};
    std::atomic<std::uint64_t> gaps_{0};
    std::jthread reader_;
    std::jthread sender_;
};

/// Resets one connection of this process, at the end whose port is lower or higher. False if there is none.
bool reset_connection(bool lower) {
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        const int file = std::atoi(entry.path().filename().c_str());
        sockaddr_in near{};
        sockaddr_in far{};
        socklen_t near_size = sizeof near;
        socklen_t far_size = sizeof far;
        if (::getsockname(file, reinterpret_cast<sockaddr*>(&near), &near_size) != 0 || near.sin_family != AF_INET ||
            ::getpeername(file, reinterpret_cast<sockaddr*>(&far), &far_size) != 0 ||
            (ntohs(near.sin_port) < ntohs(far.sin_port)) != lower) {
            continue;
        }
        // To connect to nothing is to disconnect, and a connection in use is then reset. The system itself is called:
        // it orders this and what other threads do with the socket, of which a sanitizer knows nothing.
        const sockaddr nothing{};
        if (::syscall(SYS_connect, file, &nothing, sizeof nothing) == 0) return true;
    }
    return false;
}

void run(std::uint64_t messages, std::uint64_t resets) {
    Side ann(messages);
    Side bob(messages);
    ann.node().add(bob.node().address());
    const auto begun = Clock::now();
    ann.start();
    bob.start();
    const auto heard = [&] { return ann.heard() + bob.heard(); };
    std::uint64_t done = 0;
    for (std::uint64_t i = 1; i <= resets; ++i) {
        const std::uint64_t due = 2 * messages * i / (resets + 1);
        if (!support::wait_for([&] { return heard() >= due; }, 60s)) fail("they stand still");
        // Where it was not the link but a dial that was reset, another is.
        const std::uint64_t before = ann.node().stats().sessions_resumed;
        for (int tries = 0; ann.node().stats().sessions_resumed == before; ++tries) {
            if (tries == 10) fail("the link is not resumed");
            const bool reset = support::wait_for([&] { return reset_connection(i % 2 == 0); }, 10s);
            if (!reset) fail("there is no connection to reset");
            ++done;
            support::wait_for([&] { return ann.node().stats().sessions_resumed > before; }, 1s);
        }
    }
    const bool all_came = support::wait_for([&] { return heard() == 2 * messages; }, 60s);
    const double seconds = std::chrono::duration<double>(Clock::now() - begun).count();
    ann.finish_sending();
    bob.finish_sending();
    const std::uint64_t resumed = ann.node().stats().sessions_resumed;
    const bool acknowledged = !ann.node().close() && !bob.node().close();
    ann.finish_reading();
    bob.finish_reading();

    const auto both = [&](auto what) { return static_cast<unsigned long long>((ann.*what)() + (bob.*what)()); };
    std::printf(
        "%llu messages each way in %.1f s across %llu resets, resumed %llu times: %llu refused, %llu lost, "
        "%llu doubled, %llu out of order, %llu altered, %llu gaps\n",
        static_cast<unsigned long long>(messages), seconds, static_cast<unsigned long long>(done),
        static_cast<unsigned long long>(resumed), both(&Side::refused), both(&Side::lost), both(&Side::doubled),
        both(&Side::out_of_order), both(&Side::altered), both(&Side::gaps));
    std::fflush(stdout);
    for (const auto what :
         {&Side::refused, &Side::lost, &Side::doubled, &Side::out_of_order, &Side::altered, &Side::gaps}) {
        if (both(what) != 0) fail("not every message arrived once, in order and unaltered");
    }
    if (!all_came || !acknowledged) fail("something was not acknowledged");
}

}  // namespace

int main(int count, char** values) {
    try {
        std::uint64_t messages = 1'000'000;
        std::uint64_t resets = 50;
        const std::span<char*> arguments(values + 1, static_cast<std::size_t>(count - 1));
        for (std::size_t at = 0; at < arguments.size(); at += 2) {
            const std::string_view name = arguments[at];
            const std::string_view text = at + 1 < arguments.size() ? arguments[at + 1] : "";
            std::uint64_t& value = name == "--messages" ? messages : resets;
            const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
            if ((name != "--messages" && name != "--resets") || error != std::errc() || text.empty() ||
                end != text.data() + text.size()) {
                fail("usage: soak-resets [--messages N] [--resets N]");
            }
        }
        run(messages, resets);
        return EXIT_SUCCESS;
    } catch (const std::exception& exception) {
        std::fprintf(stderr, "soak-resets: %s\n", exception.what());
        std::fflush(stdout);
        std::_Exit(EXIT_FAILURE);  // threads may wait for each other for ever
    }
}
