#include "lab.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

namespace {

using Texts = std::vector<std::string>;

struct WithObserver : Lab {
    Node& ann;
    Node& bob;
    Node& top;

    WithObserver() : ann(start(1)), bob(start(2)), top(start_observer()) {
        join(ann, bob);
        join(ann, top);
        join(bob, top);
    }

private:
    Node& start_observer() {
        options.observer = true;
        Node& node = start(9);
        options.observer = false;
        return node;
    }
};

}  // namespace

TEST_CASE("an observer is in view, sends, asks, is sent to and asked, and gets no broadcast") {
    WithObserver lab;
    CHECK(lab.ann.sees(lab.top.id));
    CHECK(lab.ann->peer(lab.top.id)->observer);
    CHECK_FALSE(lab.ann->peer(lab.bob.id)->observer);
    CHECK(lab.ann.broadcast("to all").count == 1);
    CHECK(lab.bob.inbox == Texts{"to all"});
    CHECK(lab.top.inbox.empty());
    CHECK(lab.ann->audience() == std::vector{*lab.ann->peer(lab.bob.id)});

    lab.ann.send(lab.top.id, "to one");
    lab.ann.ask(lab.top.id, 7, "asked");
    CHECK(lab.top.inbox == Texts{"to one", "7: asked"});
    lab.top.reply(lab.ann.id, 7, "reply");
    CHECK(lab.ann.replies == Texts{"7: reply"});
    CHECK(lab.top.broadcast("from above").count == 2);
    CHECK(lab.bob.inbox == Texts{"to all", "from above"});
    lab.top.ask(lab.bob.id, 1, "and you?");
    CHECK(lab.bob.inbox.back() == "1: and you?");
}

TEST_CASE("an observer that reads nothing stops nobody's broadcast") {
    WithObserver lab;
    lab.top.reads = false;
    while (lab.ann.send(lab.top.id, std::string(max_chunk, 'x')).error == errc{}) {
    }
    const auto full = lab.ann.send(lab.top.id, std::string(max_chunk, 'x'));
    CHECK(full.full == std::vector{lab.top.id});
    CHECK(lab.ann->who(full.full[0]) == "peer=" + lab.top.id.to_string() + " name=\"node 9\"");
    CHECK(lab.ann.broadcast("still").count == 1);
    CHECK(lab.bob.inbox == Texts{"still"});
}

TEST_CASE("an observer remains one when its link breaks, and is gone from the audience of none when it leaves") {
    WithObserver lab;
    lab.cut(*lab.wires(&lab.ann, &lab.top).at(0));
    CHECK(lab.ann.broadcast("while cut").count == 1);
    REQUIRE(lab.wait([&] { return lab.ann.state_of(lab.top.id) == PeerState::alive; }));
    CHECK(lab.ann.broadcast("healed").count == 1);
    lab.top->leave(lab.now);
    lab.settle();
    CHECK_FALSE(lab.ann.sees(lab.top.id));
    CHECK(lab.ann.broadcast("alone").count == 1);
    lab.bob->leave(lab.now);
    lab.settle();
    CHECK(lab.ann.broadcast("nobody").count == 0);
    CHECK(lab.top.inbox.empty());
}

TEST_CASE("what is sent to several goes to all of them or to none, once to each") {
    WithObserver lab;
    const auto send = [&](const std::vector<PeerId>& to, std::string_view text) {
        const auto outcome = lab.ann->send(to, {std::as_bytes(std::span(text)), {}}, Engine::Skip::nobody);
        lab.settle();
        return outcome;
    };
    CHECK(send({lab.bob.id, lab.top.id, lab.bob.id}, "both").count == 2);
    CHECK(lab.bob.inbox == Texts{"both"});
    CHECK(lab.top.inbox == Texts{"both"});
    CHECK(send({lab.top.id}, "one").count == 1);
    CHECK(send({}, "none").error == errc{});
    CHECK(send({lab.bob.id, PeerId{}}, "a stranger").error == errc::not_in_view);
    CHECK(send({lab.bob.id, lab.ann.id}, "oneself").error == errc::not_in_view);

    lab.top.reads = false;
    while (lab.ann.send(lab.top.id, std::string(max_chunk, 'x')).error == errc{}) {
    }
    lab.bob.inbox.clear();
    const std::string large(max_chunk, 'l');
    const auto full = send({lab.bob.id, lab.top.id}, large);
    CHECK(full.error == errc::outbox_full);
    CHECK(full.full == std::vector{lab.top.id});
    CHECK(lab.bob.inbox.empty());
    lab.ann->leave(lab.now);
    CHECK(send({lab.bob.id, lab.top.id}, "late").error == errc::closed);
}
