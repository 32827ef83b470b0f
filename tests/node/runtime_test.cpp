#include "net/support.hpp"

#include <cluster/cluster.hpp>
#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;

namespace {

enum class Place { io_thread, io_thread_of_another_runtime, callback, user_thread };
constexpr Place places[] = {Place::io_thread, Place::io_thread_of_another_runtime, Place::callback, Place::user_thread};

bool on_io(Place place) {
    return place == Place::io_thread || place == Place::io_thread_of_another_runtime;
}

std::string text_of(Place place) {
    switch (place) {
        case Place::io_thread: return "on the I/O thread";
        case Place::io_thread_of_another_runtime: return "on the I/O thread of another runtime";
        case Place::callback: return "in a callback";
        case Place::user_thread: return "on a user thread";
    }
    return {};
}

/// A node under test with a peer, and a stranger with threads of its own.
struct Stage {
    explicit Stage(bool shared) {
        Options options = quick();
        if (shared) options.runtime.emplace();
        options.send_timeout = 20ms;
        options.linger = 50ms;
        options.inbox_bytes = 1 << 20;
        options.max_message = 1 << 16;
        options.max_peers = 4;
        options.outbox_bytes = 256 << 10;
        ann = std::make_unique<Node>(options);
        bob = std::make_unique<Node>(options);
        ann->add(bob->address());
        eve->add(dan->address());
    }

    /// Calls `what` there and waits until it has returned.
    template <class What>
    auto at(Place place, What what) {
        std::promise<decltype(what())> promise;
        const auto call = [&] {
            try {
                promise.set_value(what());
            } catch (...) {
                promise.set_exception(std::current_exception());
            }
        };
        std::jthread thread;
        Subscription subscription;
        switch (place) {
            case Place::io_thread:
                ann->on_message([&](const Message&) { call(); });
                bob->broadcast("go");
                break;
            case Place::io_thread_of_another_runtime:
                eve->on_message([&](const Message&) { call(); });
                dan->broadcast("go");
                break;
            case Place::callback: subscription = ann->on_peer_added([&](const Peer&) { call(); }); break;
            case Place::user_thread: thread = std::jthread(call); break;
        }
        auto future = promise.get_future();
        if (future.wait_for(patience) != std::future_status::ready) FAIL("it never returned");
        if (ann) ann->on_message({});
        eve->on_message({});
        return future.get();
    }

    std::unique_ptr<Node> ann;
    std::unique_ptr<Node> bob;
    std::unique_ptr<Node> eve = std::make_unique<Node>(quick());
    std::unique_ptr<Node> dan = std::make_unique<Node>(quick());
};

void everywhere(const std::function<void(Stage&, Place)>& test) {
    for (const bool shared : {false, true}) {
        for (const Place place : places) {
            CAPTURE(shared);
            INFO(text_of(place));
            Stage stage(shared);
            test(stage, place);
        }
    }
}

template <class Call>
std::error_code error_of(Call call) {
    try {
        call();
        return {};
    } catch (const std::system_error& error) {
        return error.code();
    }
}

}  // namespace

TEST_CASE("threads: add waits everywhere but on an I/O thread, where it changes nothing") {
    everywhere([](Stage& stage, Place place) {
        const std::string address = stage.dan->address().to_string();
        const std::error_code error = stage.at(place, [&] { return add_error(*stage.ann, address); });
        CHECK(error == (on_io(place) ? make_error_code(errc::would_block) : std::error_code()));
        CHECK(stage.ann->peer(stage.dan->id()).has_value() == !on_io(place));
    });
}

TEST_CASE("threads: wait_for_peers waits everywhere but on an I/O thread, where it may only look") {
    everywhere([](Stage& stage, Place place) {
        CHECK(stage.at(place, [&] { return stage.ann->wait_for_peers(1, patience); }));
        CHECK_FALSE(stage.at(place, [&] { return stage.ann->wait_for_peers(2, 0s); }));
        bool there = false;
        const std::error_code error = stage.at(place, [&] {
            return error_of([&] { there = stage.ann->wait_for_peers(2, 10ms); });
        });
        CHECK_FALSE(there);
        CHECK(error == (on_io(place) ? make_error_code(errc::would_block) : std::error_code()));
    });
}

TEST_CASE("threads: broadcast and send work everywhere, and wait for room everywhere but on an I/O thread") {
    everywhere([](Stage& stage, Place place) {
        const PeerId to = stage.bob->id();
        CHECK(stage.at(place, [&] { return stage.ann->broadcast("hello"); }) == 1);
        stage.at(place, [&] { return error_of([&] { stage.ann->send(to, "hello"); }); });
        const std::string payload(1 << 14, 'x');
        std::error_code full;
        while (!full) stage.ann->broadcast(payload, full);
        CHECK(full == errc::timed_out);
        const errc expected = on_io(place) ? errc::would_block : errc::timed_out;
        CHECK(stage.at(place, [&] { return error_of([&] { stage.ann->broadcast(payload); }); }) == expected);
        CHECK(stage.at(place, [&] { return error_of([&] { stage.ann->send(to, payload); }); }) == expected);
        CHECK(stage.at(place, [&] { return stage.ann->try_broadcast(payload); }).error == errc::outbox_full);
        CHECK(stage.at(place, [&] { return stage.ann->try_send(to, payload); }).full == std::vector<PeerId>{to});
    });
}

TEST_CASE("threads: receiving waits everywhere but on an I/O thread") {
    everywhere([](Stage& stage, Place place) {
        Inbox inbox = stage.ann->inbox();
        CHECK_FALSE(stage.at(place, [&] { return inbox.try_receive().has_value(); }));
        bool received = false;
        const std::error_code timed = stage.at(place, [&] {
            return error_of([&] { received = inbox.receive_for(10ms).has_value(); });
        });
        CHECK_FALSE(received);
        CHECK(timed == (on_io(place) ? make_error_code(errc::would_block) : std::error_code()));
        std::error_code error;
        if (on_io(place)) {
            error = stage.at(place, [&] { return error_of([&] { inbox.receive(); }); });
            CHECK(error == errc::would_block);
        } else {
            std::jthread sender([&] { stage.bob->broadcast("for whoever waits"); });
            CHECK(stage.at(place, [&] { return std::string(inbox.receive()->text()); }) == "for whoever waits");
        }
    });
}

TEST_CASE("threads: close waits everywhere but on an I/O thread, where it starts closing") {
    everywhere([](Stage& stage, Place place) {
        CHECK_FALSE(stage.at(place, [&] { return stage.ann->close(); }));
        CHECK(error_of([&] { stage.ann->broadcast("too late"); }) == errc::closed);
        Inbox inbox = stage.ann->inbox();
        CHECK_FALSE(inbox.receive().has_value());
        if (!on_io(place)) CHECK(stage.ann->stats().links == 0);
    });
}

TEST_CASE("threads: a node may be destroyed anywhere, its own callbacks and handlers included") {
    everywhere([](Stage& stage, Place place) {
        Events<RemovalReason> reasons;
        const Subscription subscription =
            stage.bob->on_peer_removed([&](const Peer&, RemovalReason reason) { reasons.put(reason); });
        Inbox inbox = stage.ann->inbox();
        std::promise<void> ended;
        std::jthread reader;
        CHECK(stage.at(place, [&] {
            // Not earlier: it would take the message that brings a handler here.
            reader = std::jthread([&] {
                while (inbox.receive()) {
                }
                ended.set_value();
            });
            stage.ann.reset();
            return true;
        }));
        CHECK(reasons.take() == RemovalReason::left);
        CHECK(ended.get_future().wait_for(patience) == std::future_status::ready);
    });
}

TEST_CASE("threads: on_message may be set, replaced and cleared everywhere") {
    everywhere([](Stage& stage, Place place) {
        Events<std::string> heard;
        stage.at(place, [&] {
            return error_of([&] {
                stage.ann->on_message([&](const Message& message) { heard.put(std::string(message.text())); });
            });
        });
        // `at` clears the handler in the end; set it once more the same way.
        stage.at(place == Place::io_thread ? Place::user_thread : place, [&] {
            return error_of([&] { stage.ann->on_message({}); });
        });
        stage.bob->broadcast("for the inbox");
        const auto message = stage.ann->inbox().receive_for(patience);
        REQUIRE(message.has_value());
        CHECK(message->text() == "for the inbox");
        CHECK(heard.size() == 0);
    });
}

TEST_CASE("threads: the questions that never wait may be asked everywhere") {
    everywhere([](Stage& stage, Place place) {
        CHECK(stage.at(place, [&] { return stage.ann->peers().size(); }) == 1);
        CHECK(stage.at(place, [&] { return stage.ann->peer(stage.bob->id()).has_value(); }));
        CHECK(stage.at(place, [&] { return stage.ann->stats().peers; }) == 1);
        CHECK(stage.at(place, [&] { return stage.ann->addresses().size(); }) == 1);
        CHECK(stage.at(place, [&] {
            stage.ann->set_tags({{"a", "b"}});
            return true;
        }));
        CHECK(stage.at(place, [&] { return stage.ann->remove(stage.bob->id()); }));
    });
}

TEST_CASE("runtime: many nodes share its threads, and it outlives them") {
    Runtime runtime;
    Options options = quick();
    options.runtime = runtime;
    std::vector<std::unique_ptr<Node>> nodes;
    for (int i = 0; i < 5; ++i) nodes.push_back(std::make_unique<Node>(options));
    Events<std::thread::id> handlers;
    for (const auto& node : nodes) {
        if (node != nodes[0]) node->add(nodes[0]->address());
        node->on_message([&](const Message&) { handlers.put(std::this_thread::get_id()); });
    }
    for (const auto& node : nodes) REQUIRE(node->wait_for_peers(4, patience));
    nodes[0]->broadcast("x");
    const auto first = handlers.take();
    for (int i = 1; i < 4; ++i) CHECK(handlers.take() == first);
    nodes.clear();
    Node late(options);
    CHECK(late.peers().empty());
}

TEST_CASE("runtime: the last handle may be dropped within a callback of its own") {
    Options options = quick();
    options.runtime.emplace();
    auto ann = std::make_unique<Node>(options);
    auto bob = std::make_unique<Node>(options);
    ann->add(bob->address());
    bob.reset();
    options.runtime.reset();
    std::promise<void> done;
    const auto node = std::make_shared<std::unique_ptr<Node>>(std::move(ann));
    Options again = quick();
    Node eve(again);
    Subscription subscription = (*node)->on_peer_added([&](const Peer&) {
        node->reset();
        done.set_value();
    });
    eve.add((*node)->address());
    CHECK(done.get_future().wait_for(patience) == std::future_status::ready);
}

TEST_CASE("runtime: nodes that share one make hardly more links than pairs and lose nobody, however slow it is") {
    constexpr std::size_t count = 40;
    constexpr std::size_t pairs = count * (count - 1) / 2;
    raise_descriptor_limit();  // each pair takes two, and more while it forms
    std::atomic<bool> over{false};
    std::vector<std::thread> busy;
    for (int i = 0; i < 4; ++i) {
        busy.emplace_back([&over] {
            while (!over) {
            }
        });
    }
    {
        Options options;
        options.runtime.emplace();
        options.connect_timeout = 6 * patience;
        options.log = [](LogLevel, std::string_view) {};
        std::atomic<std::size_t> removed{0};
        std::atomic<std::size_t> failed{0};
        std::vector<std::unique_ptr<Node>> nodes;
        std::vector<Subscription> subscriptions;
        for (std::size_t i = 0; i < count; ++i) {
            nodes.push_back(std::make_unique<Node>(options));
            subscriptions.push_back(nodes.back()->on_peer_removed([&](const Peer&, RemovalReason) { ++removed; }));
        }
        std::vector<std::thread> adding;
        for (std::size_t i = 1; i < count; ++i) {
            adding.emplace_back([&, i] {
                std::error_code error;
                nodes[i]->add(nodes[0]->address(), error);
                if (error) ++failed;
            });
        }
        for (const auto& node : nodes) CHECK(node->wait_for_peers(count - 1, 6 * patience));
        for (std::thread& each : adding) each.join();
        std::uint64_t links = 0;
        for (const auto& node : nodes) links += node->stats().links_accepted;
        CHECK(links <= 2 * pairs + pairs / 4);  // each who dialled may have been dialled back already
        CHECK(removed == 0);
        CHECK(failed == 0);
        for (const auto& node : nodes) node->close();
    }
    over = true;
    for (std::thread& each : busy) each.join();
}
