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

constexpr std::size_t header_size = 8;
constexpr std::size_t write_limit = 65'000;
constexpr std::size_t read_size = std::size_t{128} << 10;

/// A broadcast of `count` messages of `size` bytes to `peers` other processes.
struct Load {
    std::size_t size = 0;
    std::size_t count = 0;
    std::size_t peers = 0;
};

/// All receivers together get a gibibyte, or four million messages where that is less.
Load load_of(std::size_t size, std::size_t peers) {
    return {.size = size, .count = std::min(std::size_t{4'000'000}, (std::size_t{1} << 30) / size) / peers,
            .peers = peers};
}

/// Before the clock starts: memory is mapped, windows have opened.
std::size_t warm_up(const Load& load) {
    return load.count / 10;
}

/// Both kinds of children: a line tells how long messages are, and how many come before the first and the second
/// answer.
struct Expected {
    std::uint64_t size = 0;
    std::uint64_t first = 0;
    std::uint64_t second = 0;

    static Expected read() {
        Expected expected;
        const std::string line = bench::read_line();
        if (std::sscanf(line.c_str(), "%lu %lu %lu", &expected.size, &expected.first, &expected.second) != 3) {
            bench::fail("bad line");
        }
        return expected;
    }
    static std::string line(const Load& load) {
        return std::to_string(load.size) + " " + std::to_string(warm_up(load)) + " " +
               std::to_string(warm_up(load) + load.count);
    }
};

// With the library.

void cluster_receiver() {
    cluster::Node node(bench::options());
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
    cluster::Node node(bench::options());
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
    std::vector<std::byte> buffer(2 * read_size + 2 * (header_size + expected.size));
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

/// Over all receivers.
struct Outcome {
    bench::Series cluster;  ///< messages per second
    bench::Series bare;
    bench::Series cluster_cpu;  ///< seconds of all processes of a run
    bench::Series bare_cpu;

    double ratio() const { return cluster.median() / bare.median(); }
};

Outcome measure(const Load& load, std::size_t rounds) {
    const auto messages = static_cast<double>(load.count * load.peers);
    Outcome outcome;
    for (std::size_t i = 0; i < rounds; ++i) {
        bench::restart_time_limit();
        const double begin = bench::cpu_seconds();
        outcome.bare.add(messages / bare_stream(load));
        const double between = bench::cpu_seconds();
        outcome.cluster.add(messages / cluster_stream(load));
        outcome.bare_cpu.add(between - begin);
        outcome.cluster_cpu.add(bench::cpu_seconds() - between);
    }
    return outcome;
}

std::string size_text(std::size_t size) {
    if (size < 1024) return std::to_string(size) + " B";
    return size < 1024 * 1024 ? std::to_string(size / 1024) + " KiB" : std::to_string(size / 1024 / 1024) + " MiB";
}

/// What must be reached, where something must be.
struct Bar {
    double messages = 0;  ///< per second
    double ratio = 0;

    std::string text() const {
        if (messages != 0) return "≥ " + bench::text_of(messages / 1e6) + " M/s";
        return ratio != 0 ? "≥ " + bench::text_of(100 * ratio) + " % of bare" : "–";
    }
};

void measure_and_print(std::size_t size, std::size_t peers, Bar bar, std::size_t rounds) {
    const Outcome outcome = measure(load_of(size, peers), rounds);
    const std::string name =
        "stream of " + size_text(size) + " to " + std::to_string(peers) + (peers == 1 ? " peer" : " peers");
    const auto bytes = static_cast<double>(size);
    const bool has_bar = bar.messages != 0 || bar.ratio != 0;
    const bool good = outcome.cluster.median() >= bar.messages && outcome.ratio() >= bar.ratio;
    bench::Json json;
    json.add("bench", name)
        .add("placement", "sender and receivers in a process each, all cores")
        .add("unit", "messages/s over all receivers")
        .add("median", outcome.cluster.median())
        .add("bare_median", outcome.bare.median())
        .add("bytes_per_s", outcome.cluster.median() * bytes)
        .add("bare_bytes_per_s", outcome.bare.median() * bytes)
        .add("ratio", outcome.ratio())
        .add("cpu_s", outcome.cluster_cpu.median())
        .add("bare_cpu_s", outcome.bare_cpu.median())
        .add("values", outcome.cluster)
        .add("bare_values", outcome.bare);
    if (has_bar) json.add("met", good);
    json.print();
    const auto text = [&](double messages) {
        return size < 1024 * 64 ? bench::text_of(messages / 1e6) + " M msg/s"
                                : bench::text_of(messages * bytes / 1e9) + " GB/s";
    };
    bench::print_row({name,
                      text(outcome.cluster.median()) + " (" + bench::text_of(100 * outcome.ratio()) + " % of bare)",
                      text(outcome.bare.median()), bar.text(), has_bar ? bench::met(good) : "–"});
}

}  // namespace

int main(int count, char** values) {
    const bench::Parts parts = {{"cluster-receiver", cluster_receiver}, {"bare-receiver", bare_receiver}};
    return bench::run(count, values, parts, [](std::span<char*> arguments) {
        const std::size_t rounds = bench::option(arguments, "--rounds", 5);
        for (const std::size_t size : {64u, 1u << 10, 64u << 10, 1u << 20}) {
            for (const std::size_t peers : {1u, 4u, 8u}) {
                Bar bar;
                if (size == 64 && peers == 1) bar.messages = 5e6;
                if (size == 64 << 10 && peers == 4) bar.ratio = 0.6;
                measure_and_print(size, peers, bar, rounds);
            }
        }
    });
}
