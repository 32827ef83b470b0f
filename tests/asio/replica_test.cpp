#include "asio/support.hpp"

#include <cluster/client.hpp>
#include <cluster/replica.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;

namespace {

/// Counts what comes, and tells when it is asked.
class Counter final : public Service {
public:
    void on_message(Context& context, std::span<const std::byte>) override {
        context.reply(std::to_string(++count_));
        if (context.session() != nullptr) context.send(context.session()->id, "pushed " + std::to_string(count_));
    }
    void on_query(QueryContext& context, std::span<const std::byte> query) const override {
        if (query.empty()) throw std::runtime_error("nothing is asked");
        context.reply(std::to_string(count_));
    }

private:
    std::uint64_t count_ = 0;
};

/// A group of one.
struct Alone {
    Alone() {
        std::string pattern = std::filesystem::temp_directory_path() / "cluster-asio-XXXXXX";
        if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no folder can be made");
        folder = pattern;
        Options options = quick();
        options.name = "ann";
        node.emplace(options);
        ReplicaOptions of_replica;
        of_replica.directory = folder / "ann";
        of_replica.voters = {"ann"};
        replica.emplace(*node, counter, of_replica);
        if (!replica->wait_for_leader(patience)) throw std::runtime_error("nobody leads");
    }
    ~Alone() {
        replica.reset();
        node.reset();
        std::error_code ignored;
        std::filesystem::remove_all(folder, ignored);
    }
    std::filesystem::path folder;
    Counter counter;
    std::optional<Node> node;
    std::optional<Replica> replica;
};

constexpr ReadOptions beyond{Consistency::stale, 1'000'000};

}  // namespace

TEST_CASE("async_submit and async_read: futures, callbacks and coroutines get what the service has replied") {
    Alone alone;
    Replica& replica = *alone.replica;
    CHECK(get(replica.async_submit("one", patience, asio::use_future)).text() == "1");
    CHECK(get(replica.async_read("how many", patience, asio::use_future)).text() == "1");
    asio::io_context io;
    std::string seen;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            const Message reply = co_await replica.async_submit(std::string("two"), patience, asio::use_awaitable);
            seen += reply.text();
            const ReadOptions own{Consistency::stale, reply.position()};
            seen += (co_await replica.async_read("how many", patience, own, asio::use_awaitable)).text();
        },
        asio::detached);
    CHECK(run(io));
    CHECK(seen == "22");
    Events<std::string> called;
    replica.async_read("how many", patience, [&](std::error_code error, const Message& reply) {
        called.put(error ? error.message() : std::string(reply.text()));
    });
    CHECK(called.take() == "2");
}

TEST_CASE("async_read: an error comes with its code") {
    Alone alone;
    CHECK(error_of(alone.replica->async_read("", patience, asio::use_future)) == errc::service_failed);
    CHECK(error_of(alone.replica->async_read("how many", 20ms, beyond, asio::use_future)) == errc::timed_out);
    const std::string long_one((std::size_t{1} << 20) + 1, 'x');
    CHECK(error_of(alone.replica->async_read(long_one, patience, asio::use_future)) == errc::message_too_large);
    CHECK(error_of(alone.replica->async_submit(long_one, patience, asio::use_future)) == errc::message_too_large);
}

TEST_CASE("async_read: it can be cancelled while it waits, and ends when its replica closes") {
    Alone alone;
    asio::io_context io;
    asio::cancellation_signal signal;
    std::error_code ended;
    alone.replica->async_read(
        "how many", patience, beyond,
        asio::bind_cancellation_slot(
            signal.slot(), asio::bind_executor(io, [&](std::error_code error, const Message&) { ended = error; })));
    signal.emit(asio::cancellation_type::terminal);
    CHECK(run(io));
    CHECK(ended == asio::error::operation_aborted);
    auto waiting = alone.replica->async_read("how many", patience, beyond, asio::use_future);
    CHECK(waits(waiting));
    alone.replica->close();
    CHECK(error_of(std::move(waiting)) == errc::closed);
}

TEST_CASE("a client's async functions: futures, callbacks and coroutines get what the service has replied and sent") {
    Alone alone;
    Client client(*alone.node);
    CHECK(get(client.async_call("one", patience, asio::use_future)).text() == "1");
    get(client.async_send("two", asio::use_future));
    CHECK(get(client.async_receive(asio::use_future)).text() == "pushed 1");
    asio::io_context io;
    std::string seen;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            seen += (co_await client.async_receive_for(patience, asio::use_awaitable)).text();
            const Message reply = co_await client.async_call(std::string("three"), patience, asio::use_awaitable);
            seen += " " + std::string(reply.text());
            const ReadOptions own{Consistency::stale, reply.position()};
            const Message many = co_await client.async_read("how many", patience, own, asio::use_awaitable);
            seen += " " + std::string(many.text());
        },
        asio::detached);
    CHECK(run(io));
    CHECK(seen == "pushed 2 3 3");
    Events<Result> called;
    client.async_read("how many", patience, into(called));
    CHECK(called.take() == Result({}, "3"));
    client.async_receive(into(called));
    CHECK(called.take() == Result({}, "pushed 3"));
    CHECK(error_of(client.async_receive_for(20ms, asio::use_future)) == errc::timed_out);
    CHECK(error_of(client.async_read("", patience, asio::use_future)) == errc::service_failed);
}

TEST_CASE("a client's async functions: cancelling ends them, loses no message, and closing ends those that wait") {
    Alone alone;
    std::optional<Client> client(std::in_place, *alone.node);
    asio::io_context io;
    asio::cancellation_signal signal;
    Events<Result> cancelled;
    const auto stopped = [&] {
        return asio::bind_cancellation_slot(signal.slot(), asio::bind_executor(io, into(cancelled)));
    };
    client->async_receive(stopped());
    signal.emit(asio::cancellation_type::terminal);
    CHECK(run(io));
    CHECK(cancelled.take()->first == asio::error::operation_aborted);
    client->async_read("how many", patience, beyond, stopped());
    signal.emit(asio::cancellation_type::terminal);
    CHECK(run(io));
    CHECK(cancelled.take()->first == asio::error::operation_aborted);
    CHECK(get(client->async_call("one", patience, asio::use_future)).text() == "1");
    CHECK(get(client->async_receive(asio::use_future)).text() == "pushed 1");
    auto next = client->async_receive(asio::use_future);
    auto waiting = client->async_read("how many", patience, beyond, asio::use_future);
    CHECK(waits(next));
    client.reset();
    CHECK(error_of(std::move(next)) == errc::closed);
    CHECK(error_of(std::move(waiting)) == errc::closed);
}

TEST_CASE("a client's async_send: it waits for room, can be cancelled meanwhile, and has a limit") {
    ClientOptions nobody;
    nobody.addresses = {"127.0.0.1:1"};
    Client client(nobody);
    std::error_code error;
    while (!error) client.send("x", error);
    CHECK(error == errc::too_many_requests);
    asio::io_context io;
    asio::cancellation_signal signal;
    std::error_code ended;
    const auto handler = [&](std::error_code each) { ended = each; };
    client.async_send("x", asio::bind_cancellation_slot(signal.slot(), asio::bind_executor(io, handler)));
    signal.emit(asio::cancellation_type::terminal);
    CHECK(run(io));
    CHECK(ended == asio::error::operation_aborted);
    std::vector<std::future<void>> all;
    for (int i = 0; i < 1024; ++i) all.push_back(client.async_send("x", asio::use_future));
    CHECK(waits(all.back()));
    CHECK(error_of(client.async_send("x", asio::use_future)) == errc::too_many_requests);
    client.close();
    for (auto& each : all) CHECK(error_of(std::move(each)) == errc::closed);
}
