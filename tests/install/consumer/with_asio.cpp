// A program that uses Asio itself, all at once with the library: the same classes, of another version perhaps.

#define ASIO_STANDALONE
#include <asio.hpp>
#include <cluster/cluster.hpp>

#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>
#include <thread>

static_assert(ASIO_VERSION == EXPECTED_ASIO_VERSION);

namespace {

constexpr int rounds = 500;
using asio::ip::tcp;

/// Sends a line back and forth between two sockets while a timer ticks, and runs what the library's thread posts.
class Program {
public:
    explicit Program(asio::io_context& context)
        : context_(context), timer_(context), here_(context), there_(context) {
        tcp::acceptor acceptor(context, tcp::endpoint(asio::ip::make_address("127.0.0.1"), 0));
        here_.connect(acceptor.local_endpoint());
        acceptor.accept(there_);
        exchange(here_, there_);
        tick();
    }

    /// From any thread.
    void message_arrived() {
        asio::post(context_, [this] { ++messages_; });
    }

    bool complete() const { return exchanged_ == rounds && ticks_ == rounds && messages_ == rounds; }
    std::string text() const {
        return std::to_string(exchanged_) + " exchanged, " + std::to_string(ticks_) + " ticks, " +
               std::to_string(messages_) + " messages";
    }

private:
    void exchange(tcp::socket& from, tcp::socket& to) {
        asio::async_write(from, asio::buffer(line_), [this, &from, &to](std::error_code write_error, std::size_t) {
            asio::async_read(to, asio::buffer(reply_), [=, this, &from, &to](std::error_code error, std::size_t) {
                if (write_error || error || std::string_view(reply_, sizeof reply_) != line_) return;
                if (++exchanged_ < rounds) exchange(to, from);
            });
        });
    }

    void tick() {
        timer_.expires_after(std::chrono::microseconds(100));
        timer_.async_wait([this](std::error_code error) {
            if (!error && ++ticks_ < rounds) tick();
        });
    }

    asio::io_context& context_;
    asio::steady_timer timer_;
    tcp::socket here_;
    tcp::socket there_;
    const std::string line_ = "Hello, world!";
    char reply_[13] = {};
    int exchanged_ = 0;
    int ticks_ = 0;
    int messages_ = 0;
};

}  // namespace

int main() {
    asio::io_context context;
    auto work = asio::make_work_guard(context);
    Program program(context);
    std::thread thread([&] { context.run(); });

    cluster::Node ann("127.0.0.1:0");
    cluster::Node bob("127.0.0.1:0");
    ann.add(bob.address());
    bob.on_message([&](const cluster::Message&) { program.message_arrived(); });
    for (int i = 0; i < rounds; ++i) ann.broadcast("Hello, world!");
    const cluster::Unacknowledged left = ann.close();
    bob.close();

    work.reset();
    thread.join();
    std::printf("Asio %d: %s\n", ASIO_VERSION, program.text().c_str());
    return program.complete() && !left ? 0 : 1;
}
