// A message of 64 bytes goes to another process and comes back, over and over: how long one turn takes. Both sides
// answer from within their `on_message` handler. Then the same as a request, whose reply goes to a handler on the I/O
// thread.
//
// The bare program does the same with Asio alone: one `async_write` and as many `async_read_some` as it takes on each
// side, for a frame of the same length.

#include "bench/support.hpp"
#include "net/asio.hpp"

#include <cluster/cluster.hpp>

#include <future>
#include <optional>

namespace {

using asio::ip::tcp;
using namespace std::chrono_literals;

constexpr std::size_t payload_size = 64;
constexpr std::size_t header_size = 8;
constexpr std::size_t warm_up = 2'000;
constexpr std::size_t turns = 20'000;

/// The asking side of either program: counts the turns, and the time each takes.
class Turns {
public:
    Turns() { times_.reserve(turns); }

    std::span<const std::byte> question() {
        begin_ = bench::Clock::now();
        return source_.next();
    }
    /// Takes the answer to the last question; false after the last one.
    bool answered(std::span<const std::byte> answer) {
        const auto time = bench::Clock::now() - begin_;
        std::uint64_t number = 0;
        if (answer.size() == payload_size) std::memcpy(&number, answer.data(), sizeof number);
        if (number != source_.tally().messages) bench::fail("round trip: a wrong answer");
        if (number > warm_up) times_.push_back(std::chrono::duration<double, std::micro>(time).count());
        return times_.size() < turns;
    }
    /// In microseconds.
    const std::vector<double>& times() const { return times_; }

private:
    bench::Source source_{payload_size};
    bench::Clock::time_point begin_;
    std::vector<double> times_;
};

// With the library.

void cluster_echo() {
    cluster::Node node(bench::options());
    node.on_message([&](const cluster::Message& message) {
        if (message.wants_reply()) {
            message.reply(message.bytes());
        } else {
            node.send(message.from(), message.bytes());
        }
    });
    bench::write_line(node.address().to_string());
    bench::read_line();
}

/// The asking side: `ask` starts a turn, and whoever gets its answer calls `answered`.
struct Asking {
    bench::Child child{"cluster-echo"};
    Turns turns;
    std::promise<void> done;
    cluster::Node node{bench::options()};
    const cluster::PeerId peer = node.add(child.line()).id;

    void answered(const cluster::Message& answer, const std::function<void()>& ask) {
        try {
            if (turns.answered(answer.bytes())) {
                ask();
            } else {
                done.set_value();
            }
        } catch (...) {
            done.set_exception(std::current_exception());
        }
    }
    Turns run(const std::function<void()>& ask) {
        ask();
        std::future<void> future = done.get_future();
        if (future.wait_for(30s) != std::future_status::ready) bench::fail("round trip: no answer");
        future.get();
        node.on_message({});
        child.tell("done");
        child.join();
        return std::move(turns);
    }
};

Turns message_turns() {
    Asking asking;
    const std::function<void()> ask = [&] { asking.node.send(asking.peer, asking.turns.question()); };
    asking.node.on_message([&](const cluster::Message& message) { asking.answered(message, ask); });
    return asking.run(ask);
}

Turns request_turns() {
    Asking asking;
    const std::function<void()> ask = [&] {
        asking.node.request(asking.peer, asking.turns.question(), 30s,
                            [&](std::error_code, const cluster::Message& reply) { asking.answered(reply, ask); });
    };
    return asking.run(ask);
}

// With Asio.

/// Calls `take` with each frame that comes, and writes the frame that it returns, as long as it returns one.
class BareEnd {
public:
    using Frame = std::array<std::byte, header_size + payload_size>;
    using Take = std::function<bool(Frame&)>;

    BareEnd(tcp::socket socket, Take take) : socket_(std::move(socket)), take_(std::move(take)) {
        socket_.set_option(tcp::no_delay(true));
    }
    void write() {
        asio::async_write(socket_, asio::buffer(frame_), [this](const std::error_code& error, std::size_t) {
            if (!error) read(0);
        });
    }
    void read(std::size_t have) {
        socket_.async_read_some(asio::buffer(frame_.data() + have, frame_.size() - have),
                                [this, have](const std::error_code& error, std::size_t count) {
                                    if (error) return;
                                    if (have + count < frame_.size()) return read(have + count);
                                    if (take_(frame_)) write();
                                });
    }
    Frame& frame() { return frame_; }

private:
    tcp::socket socket_;
    Take take_;
    Frame frame_{};
};

void bare_echo() {
    asio::io_context io(1);
    tcp::acceptor acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    bench::write_line(std::to_string(acceptor.local_endpoint().port()));
    BareEnd end(acceptor.accept(), [](BareEnd::Frame&) { return true; });
    end.read(0);
    io.run();
}

Turns bare_turns() {
    bench::Child child("bare-echo");
    Turns result;
    const auto ask = [&](BareEnd::Frame& frame) {
        const std::span<const std::byte> question = result.question();
        std::copy(question.begin(), question.end(), frame.begin() + header_size);
    };
    {
        asio::io_context io(1);
        tcp::socket socket(io);
        const auto port = static_cast<std::uint16_t>(std::stoul(child.line()));
        socket.connect(tcp::endpoint(asio::ip::address_v4::loopback(), port));
        BareEnd end(std::move(socket), [&](BareEnd::Frame& frame) {
            if (!result.answered(std::span(frame).subspan(header_size))) return false;
            ask(frame);
            return true;
        });
        ask(end.frame());
        end.write();
        io.run();
    }
    child.join();
    return result;
}

// What it gives.

struct Percentiles {
    bench::Series p50;
    bench::Series p99;

    void add(const Turns& result) {
        const bench::Series all{result.times()};
        p50.add(all.median());
        p99.add(all.at(0.99));
    }
    std::string text() const {
        return bench::text_of(p50.median()) + " µs, p99 " + bench::text_of(p99.median()) + " µs";
    }
};

void report(const std::string& what, bool one_core, double bar, const Percentiles& cluster, const Percentiles& bare) {
    const std::string name = what + (one_core ? ", both processes on one core" : ", all cores");
    const double ratio = cluster.p50.median() / bare.p50.median();
    const bool good = ratio <= bar;
    bench::Json()
        .add("bench", name)
        .add("placement", one_core ? "two processes pinned to the same core" : "two processes, placed by the system")
        .add("unit", "microseconds")
        .add("p50", cluster.p50.median())
        .add("p99", cluster.p99.median())
        .add("bare_p50", bare.p50.median())
        .add("bare_p99", bare.p99.median())
        .add("ratio", ratio)
        .add("values", cluster.p50)
        .add("bare_values", bare.p50)
        .add("met", good)
        .print();
    bench::print_row({name, cluster.text() + " (" + bench::text_of(ratio) + " x bare)", bare.text(),
                      one_core ? "≤ " + bench::text_of(bar) + " x bare" : "–", one_core ? bench::met(good) : "–"});
}

void measure(bool one_core, std::size_t rounds) {
    Percentiles messages;
    Percentiles requests;
    Percentiles bare;
    {
        std::optional<bench::OneCore> placement;
        if (one_core) placement.emplace();
        for (std::size_t i = 0; i < rounds; ++i) {
            bench::restart_time_limit();
            bare.add(bare_turns());
            messages.add(message_turns());
            requests.add(request_turns());
        }
    }
    report("round trip 64 B", one_core, 1.5, messages, bare);
    report("request and reply 64 B", one_core, 1.6, requests, bare);
}

}  // namespace

int main(int count, char** values) {
    const bench::Parts parts = {{"cluster-echo", cluster_echo}, {"bare-echo", bare_echo}};
    return bench::run(count, values, parts, [](std::span<char*> arguments) {
        const std::size_t rounds = bench::option(arguments, "--rounds", 5);
        measure(true, rounds);
        measure(false, rounds);
    });
}
