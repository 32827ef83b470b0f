// One process broadcasts as fast as it can, others take every message from their inbox and add up its payload. The time
// ends when the sender has read from each of them how many there were and what their sum is, and both are right.
//
// The bare program does the same over plain sockets: it packs frames of an 8-byte header and the payload into writes of
// at most 65,000 bytes, and reads 128 KiB at a time.

#include "bench/support.hpp"

#include <cluster/cluster.hpp>

#include <memory>

namespace {

using namespace std::chrono_literals;

constexpr std::size_t rounds = 5;
constexpr std::size_t header_size = 8;
constexpr std::size_t write_limit = 65'000;
constexpr std::size_t read_size = std::size_t{128} << 10;

/// A broadcast of `count` messages of `size` bytes to `peers` other processes.
struct Load {
    std::size_t size = 0;
    std::size_t count = 0;
    std::size_t peers = 0;
};

constexpr Load small{.size = 64, .count = 4'000'000, .peers = 1};
constexpr Load large{.size = std::size_t{64} << 10, .count = 4'000, .peers = 4};

/// Before the clock starts: memory is mapped, windows have opened.
std::size_t warm_up(const Load& load) {
    return load.count / 20;
}

/// Both kinds of children: a line tells how many messages come before the first and the second answer.
struct Expected {
    std::uint64_t first = 0;
    std::uint64_t second = 0;

    static Expected read() {
        Expected expected;
        const std::string line = bench::read_line();
        if (std::sscanf(line.c_str(), "%lu %lu", &expected.first, &expected.second) != 2) bench::fail("bad line");
        return expected;
    }
    static std::string line(const Load& load) {
        return std::to_string(warm_up(load)) + " " + std::to_string(warm_up(load) + load.count);
    }
};

// With the library.

void cluster_receiver() {
    cluster::Node node("127.0.0.1:0");
    bench::write_line(node.address().to_string());
    const Expected expected = Expected::read();
    bench::Tally tally;
    for (const cluster::Message& message : node.inbox()) {
        tally.add(message.bytes());
        if (tally.messages != expected.first && tally.messages != expected.second) continue;
        node.send(message.from(), tally.to_string());
        if (tally.messages == expected.second) break;
    }
    bench::read_line();  // the sender has the answer
}

void expect_answers(cluster::Node& node, const bench::Source& source, const Load& load) {
    for (std::size_t i = 0; i < load.peers; ++i) {
        const auto answer = node.inbox().receive_for(30s);
        if (!answer) bench::fail("stream: a receiver gives no answer");
        if (answer->text() != source.tally().to_string()) bench::fail("stream: a receiver has other bytes");
    }
}

double cluster_stream(const Load& load) {
    std::vector<std::unique_ptr<bench::Child>> children;
    cluster::Node node("127.0.0.1:0");
    for (std::size_t i = 0; i < load.peers; ++i) {
        bench::Child& child = *children.emplace_back(std::make_unique<bench::Child>("cluster-receiver"));
        node.add(child.line());
        child.tell(Expected::line(load));
    }
    bench::Source source(load.size);
    for (std::size_t i = 0; i < warm_up(load); ++i) node.broadcast(source.next());
    expect_answers(node, source, load);

    const auto begin = bench::Clock::now();
    for (std::size_t i = 0; i < load.count; ++i) {
        if (node.broadcast(source.next()) != load.peers) bench::fail("stream: a peer is out of view");
    }
    expect_answers(node, source, load);
    const double seconds = bench::seconds_since(begin);
    for (const auto& child : children) child->tell("done");
    for (const auto& child : children) child->join();
    return seconds;
}

// With plain sockets.

void bare_receiver() {
    const bench::Socket listener = bench::Socket::listening();
    bench::write_line(std::to_string(listener.port()));
    const bench::Socket socket = listener.accept();
    const Expected expected = Expected::read();
    bench::Tally tally;
    std::vector<std::byte> buffer(3 * read_size);
    std::size_t begin = 0;
    std::size_t end = 0;
    while (tally.messages < expected.second) {
        if (buffer.size() - end < read_size) {
            std::memmove(buffer.data(), buffer.data() + begin, end - begin);
            end -= begin;
            begin = 0;
        }
        end += socket.read_some(buffer.data() + end, read_size);
        while (end - begin >= header_size) {
            std::uint64_t size = 0;
            std::memcpy(&size, buffer.data() + begin, header_size);
            if (end - begin < header_size + size) break;
            tally.add({buffer.data() + begin + header_size, size});
            begin += header_size + size;
            if (tally.messages == expected.first || tally.messages == expected.second) {
                const std::string text = tally.to_string() + "\n";
                socket.write(std::as_bytes(std::span(text)));
            }
        }
        if (begin == end) begin = end = 0;
    }
    bench::read_line();
}

/// Gathers frames and writes the same bytes to all sockets.
class BareSender {
public:
    explicit BareSender(const std::vector<bench::Socket>& sockets) : sockets_(sockets) { packed_.reserve(capacity); }

    void send(std::span<const std::byte> payload) {
        if (packed_.size() + header_size + payload.size() > capacity) flush();
        const std::uint64_t size = payload.size();
        const auto* header = reinterpret_cast<const std::byte*>(&size);
        packed_.insert(packed_.end(), header, header + header_size);
        packed_.insert(packed_.end(), payload.begin(), payload.end());
    }
    void flush() {
        for (std::size_t at = 0; at < packed_.size(); at += write_limit) {
            const auto part = std::span(packed_).subspan(at, std::min(write_limit, packed_.size() - at));
            for (const bench::Socket& socket : sockets_) socket.write(part);
        }
        packed_.clear();
    }

private:
    /// Whole writes of the limit, and of large messages a few at a time, so that few writes are short ones.
    static constexpr std::size_t capacity = 4 * write_limit;

    const std::vector<bench::Socket>& sockets_;
    std::vector<std::byte> packed_;
};

void expect_answers(const std::vector<bench::Socket>& sockets, const bench::Source& source) {
    const std::string expected = source.tally().to_string() + "\n";
    for (const bench::Socket& socket : sockets) {
        std::string answer(expected.size(), ' ');
        socket.read(std::as_writable_bytes(std::span(answer)));
        if (answer != expected) bench::fail("stream: a bare receiver has other bytes");
    }
}

double bare_stream(const Load& load) {
    std::vector<std::unique_ptr<bench::Child>> children;
    std::vector<bench::Socket> sockets;
    for (std::size_t i = 0; i < load.peers; ++i) {
        bench::Child& child = *children.emplace_back(std::make_unique<bench::Child>("bare-receiver"));
        sockets.push_back(bench::Socket::connected(static_cast<std::uint16_t>(std::stoul(child.line()))));
        child.tell(Expected::line(load));
    }
    BareSender sender(sockets);
    bench::Source source(load.size);
    for (std::size_t i = 0; i < warm_up(load); ++i) sender.send(source.next());
    sender.flush();
    expect_answers(sockets, source);

    const auto begin = bench::Clock::now();
    for (std::size_t i = 0; i < load.count; ++i) sender.send(source.next());
    sender.flush();
    expect_answers(sockets, source);
    const double seconds = bench::seconds_since(begin);
    for (const auto& child : children) child->tell("done");
    for (const auto& child : children) child->join();
    return seconds;
}

/// In messages, or in bytes over all peers, for each second.
struct Outcome {
    bench::Series cluster;
    bench::Series bare;
    bench::Series cluster_cpu;  ///< seconds of all processes of a run
    bench::Series bare_cpu;

    double ratio() const { return cluster.median() / bare.median(); }
};

Outcome measure(const Load& load, double amount) {
    Outcome outcome;
    for (std::size_t i = 0; i < rounds; ++i) {
        const double begin = bench::cpu_seconds();
        outcome.bare.add(amount / bare_stream(load));
        const double between = bench::cpu_seconds();
        outcome.cluster.add(amount / cluster_stream(load));
        outcome.bare_cpu.add(between - begin);
        outcome.cluster_cpu.add(bench::cpu_seconds() - between);
    }
    return outcome;
}

void print(const std::string& name, const std::string& unit, const Outcome& outcome, const std::string& placement,
           bool good) {
    bench::Json()
        .add("bench", name)
        .add("placement", placement)
        .add("unit", unit)
        .add("median", outcome.cluster.median())
        .add("bare_median", outcome.bare.median())
        .add("ratio", outcome.ratio())
        .add("cpu_s", outcome.cluster_cpu.median())
        .add("bare_cpu_s", outcome.bare_cpu.median())
        .add("values", outcome.cluster)
        .add("bare_values", outcome.bare)
        .add("met", good)
        .print();
}

std::string percent(double ratio) {
    return bench::text_of(100 * ratio) + " % of bare";
}

void measure_small() {
    const Outcome outcome = measure(small, static_cast<double>(small.count));
    const bool good = outcome.cluster.median() >= 5e6;
    print("stream 64 B", "messages/s", outcome, "sender and receiver in a process each, all cores", good);
    bench::print_row({"64 B broadcast to 1 peer in another process",
                      bench::text_of(outcome.cluster.median() / 1e6) + " M msg/s (" + percent(outcome.ratio()) + ")",
                      bench::text_of(outcome.bare.median() / 1e6) + " M msg/s", "≥ 5 M msg/s", bench::met(good)});
}

void measure_large() {
    const Outcome outcome = measure(large, static_cast<double>(large.count * large.size * large.peers));
    const bool good = outcome.ratio() >= 0.6;
    print("stream 64 KiB", "bytes/s", outcome, "sender and 4 receivers in a process each, all cores", good);
    bench::print_row({"64 KiB broadcast to 4 peers in a process each, total",
                      bench::text_of(outcome.cluster.median() / 1e9) + " GB/s (" + percent(outcome.ratio()) + ")",
                      bench::text_of(outcome.bare.median() / 1e9) + " GB/s", "≥ 60 % of bare", bench::met(good)});
}

}  // namespace

int main(int count, char** values) {
    const bench::Parts parts = {{"cluster-receiver", cluster_receiver}, {"bare-receiver", bare_receiver}};
    return bench::run(count, values, parts, [](std::span<char*>) {
        measure_small();
        measure_large();
    });
}
