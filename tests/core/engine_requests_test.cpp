#include "lab.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

namespace {

using Texts = std::vector<std::string>;

struct Two : Lab {
    Node& ann = start(1);
    Node& bob = start(2);

    Two() { join(ann, bob); }
};

/// One DATA frame; with a `call` the payload begins with it.
std::vector<std::byte> frame(std::uint16_t channel, std::uint8_t flags, std::uint64_t call, std::string_view text) {
    std::vector<std::byte> bytes(FrameHeader::size + call_size + text.size());
    FrameHeader{static_cast<std::uint32_t>(call_size + text.size()), FrameKind::data, flags, channel}.write(
        bytes.data());
    write_call(call, bytes.data() + FrameHeader::size);
    if (!text.empty()) std::memcpy(bytes.data() + FrameHeader::size + call_size, text.data(), text.size());
    return bytes;
}

}  // namespace

TEST_CASE("requests come among the messages, in order, and replies to whoever asked") {
    Two lab;
    lab.ann.send(lab.bob.id, "first");
    CHECK(lab.ann.ask(lab.bob.id, 7, "second").error == errc{});
    lab.ann.broadcast("third");
    lab.ann.ask(lab.bob.id, 8, "");
    CHECK(lab.bob.inbox == Texts{"first", "7: second", "third", "8: "});
    CHECK(lab.bob.reply(lab.ann.id, 8, "").error == errc{});
    lab.bob.reply(lab.ann.id, 7, "done");
    CHECK(lab.ann.replies == Texts{"8: ", "7: done"});
    CHECK(lab.ann.inbox.empty());
    CHECK(lab.bob.replies.empty());
    CHECK(lab.bob.send(PeerId{}, "").error == errc::not_in_view);
    CHECK(lab.bob.reply(PeerId{}, 7, "").error == errc::not_in_view);
}

TEST_CASE("long requests and replies come in chunks and count against the longest message with their number") {
    Two lab;
    const std::size_t longest = lab.options.max_message - call_size;
    for (const std::size_t size : {max_chunk - call_size, max_chunk - call_size + 1, 3 * max_chunk, longest}) {
        const std::string text(size, 'x');
        lab.ann.inbox.clear();
        lab.bob.replies.clear();
        CHECK(lab.bob.ask(lab.ann.id, 5, text).error == errc{});
        REQUIRE(lab.wait([&] { return !lab.ann.inbox.empty(); }));
        CHECK((lab.ann.inbox[0] == "5: " + text));
        CHECK(lab.ann.reply(lab.bob.id, 5, text).error == errc{});
        REQUIRE(lab.wait([&] { return !lab.bob.replies.empty(); }));
        CHECK((lab.bob.replies[0] == "5: " + text));
    }
    const std::string longer(longest + 1, 'x');
    CHECK(lab.bob.ask(lab.ann.id, 6, longer).error == errc::message_too_large);
    CHECK(lab.bob.reply(lab.ann.id, 6, longer).error == errc::message_too_large);
    CHECK(lab.bob.send(lab.ann.id, longer).error == errc{});
}

TEST_CASE("an inbox that nobody reads holds up messages and requests, but no reply") {
    Two lab;
    lab.ann.reads = false;
    const std::string text(max_chunk, 'x');
    while (lab.bob.send(lab.ann.id, text).error == errc{}) {
    }
    CHECK(lab.bob.ask(lab.ann.id, 1, text).error == errc::outbox_full);
    const std::size_t count = 3 * reply_window / max_chunk;
    for (std::size_t i = 0; i < count; ++i) {
        CHECK(lab.bob.reply(lab.ann.id, i + 1, std::string(max_chunk - call_size, 'r')).error == errc{});
        lab.advance(10ms);
    }
    CHECK(lab.ann.replies.size() == count);
}

TEST_CASE("replies have an outbox of their own, and what is given up of it is reported") {
    Lab lab;
    lab.options.outbox_bytes = 1 << 20;
    lab.options.max_message = 1 << 16;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    lab.join(ann, bob);
    Wire& wire = *lab.wires(&ann, &bob).at(0);
    wire.held[0] = wire.held[1] = true;
    const std::string text(60000, 'r');
    std::uint64_t sent = 0;
    while (bob.reply(ann.id, ++sent, text).error == errc{}) {
    }
    CHECK(bob.reply(ann.id, sent, text).error == errc::outbox_full);
    CHECK(bob.reply(ann.id, sent, text).full == std::vector<PeerId>{ann.id});
    CHECK(bob.send(ann.id, "has room").error == errc{});
    CHECK(bob->gauges().at(0).outbox_bytes >= (sent - 1) * text.size());
    lab.kill(ann);
    REQUIRE(lab.wait([&] { return !bob.surrendered.empty(); }, lab.options.resume_for + 60s));
    CHECK(bob.surrendered[0].messages == sent);
    CHECK(bob.surrendered[0].bytes > (sent - 1) * text.size());
}

TEST_CASE("messages that fill all outboxes leave room for replies") {
    Lab lab;
    lab.options.outbox_bytes = 1 << 20;
    lab.options.total_outbox_bytes = 1 << 20;
    lab.options.max_message = 1 << 16;
    Node& ann = lab.start(1);
    Node& bob = lab.start(2);
    Node& eve = lab.start(3);
    lab.join(ann, bob);
    lab.join(bob, eve);
    for (Node* node : {&ann, &eve}) node->reads = false;
    const std::string text(60000, 'm');
    for (const PeerId& to : {ann.id, eve.id}) {
        while (bob.send(to, text).error == errc{}) {
        }
    }
    CHECK(bob.send(ann.id, text).error == errc::outbox_full);
    CHECK(bob.send(eve.id, text).error == errc::outbox_full);
    CHECK(bob.reply(ann.id, 1, text).error == errc{});
    CHECK(bob.reply(eve.id, 2, text).error == errc{});
    CHECK(ann.replies.size() == 1);
    CHECK(eve.replies.size() == 1);
}

TEST_CASE("replies survive the loss of links, each comes once and in order") {
    Two lab;
    Texts expected;
    for (std::uint64_t call = 1; call <= 200; ++call) {
        const std::string text(call % 7 == 0 ? 100000 : 10, static_cast<char>('a' + call % 26));
        REQUIRE(lab.bob.reply(lab.ann.id, call, text).error == errc{});
        expected.push_back(std::to_string(call) + ": " + text);
        if (call % 10 != 0) continue;
        for (Wire* wire : lab.wires(&lab.ann, &lab.bob)) {
            wire->held[0] = wire->held[1] = call % 20 == 0;
            if (call % 20 != 0) lab.cut(*wire);
        }
        REQUIRE(lab.wait([&] { return lab.bob.sees(lab.ann.id) && !lab.wires(&lab.ann, &lab.bob).empty(); }));
    }
    for (Wire* wire : lab.wires(&lab.ann, &lab.bob)) lab.cut(*wire);
    CHECK(lab.wait([&] { return lab.ann.replies.size() >= expected.size(); }));
    CHECK((lab.ann.replies == expected));
    CHECK(lab.wait([&] { return lab.bob->gauges().at(0).outbox_bytes == 0; }, 1s));
}

TEST_CASE("a node that leaves waits for its replies to arrive") {
    Two lab;
    Wire& wire = *lab.wires(&lab.ann, &lab.bob).at(0);
    wire.held[0] = wire.held[1] = true;
    lab.bob.reply(lab.ann.id, 3, "last words");
    lab.bob->leave(lab.now);
    lab.settle();
    CHECK_FALSE(lab.bob.left);
    wire.held[0] = wire.held[1] = false;
    REQUIRE(lab.wait([&] { return lab.bob.left.has_value(); }));
    CHECK(lab.bob.left->messages == 0);
    CHECK(lab.ann.replies == Texts{"3: last words"});
}

TEST_CASE("replies that a leaving node could not get acknowledged are counted as such") {
    Two lab;
    lab.hold_wires = true;
    for (Wire* wire : lab.wires(&lab.ann, &lab.bob)) wire->held[0] = wire->held[1] = true;
    lab.bob.reply(lab.ann.id, 3, "last words");
    lab.bob->leave(lab.now);
    REQUIRE(lab.wait([&] { return lab.bob.left.has_value(); }));
    CHECK(lab.bob.left->messages == 1);
    CHECK(lab.bob.left->peers == 1);
}

TEST_CASE("a peer that knows no requests is asked nothing") {
    Lab lab;
    Node& ann = lab.start(1);
    Puppet& old = lab.puppet(ann, 2);
    old.join();
    CHECK(ann.ask(old.id, 1, "text").error == errc::unsupported);
    CHECK(ann.reply(old.id, 1, "text").error == errc::unsupported);
    CHECK(ann.send(old.id, "text").error == errc{});
    CHECK(old.payloads() == Texts{"text"});
}

TEST_CASE("an error instead of a reply goes to whoever asked, among replies, with its code and text") {
    Two lab;
    for (std::uint64_t call = 1; call <= 3; ++call) lab.ann.ask(lab.bob.id, call, "");
    CHECK(lab.bob.reply_error(lab.ann.id, 1, -5, std::string(max_error_text, 'x')).error == errc{});
    lab.bob.reply(lab.ann.id, 2, "done");
    lab.bob.reply_error(lab.ann.id, 3, 0, "");
    CHECK(lab.ann.replies == Texts{"1! -5 " + std::string(max_error_text, 'x'), "2: done", "3! 0 "});
}

TEST_CASE("a peer that does not know errors is sent none") {
    Lab lab;
    Node& ann = lab.start(1);
    Puppet& old = lab.puppet(ann, 2);
    old.hello.features = feature_calls;
    old.join();
    CHECK(ann.reply_error(old.id, 1, 7, "text").error == errc::unsupported);
    CHECK(ann.reply(old.id, 1, "text").error == errc{});
}

TEST_CASE("requests and replies that break a rule cost their link") {
    struct Case {
        const char* what;
        std::vector<std::vector<std::byte>> frames;
        const char* rule;
    };
    const std::vector<Case> cases = {
        {"a request without room for its number",
         {[] {
             auto bytes = frame(user_channel, flag_call, 1, "");
             bytes.pop_back();
             FrameHeader{call_size - 1, FrameKind::data, flag_call, user_channel}.write(bytes.data());
             return bytes;
         }()},
         "malformed_body"},
        {"a request in chunks that goes on as a message",
         {frame(user_channel, flag_call | flag_more, 1, "a"), frame(user_channel, 0, 1, "b")},
         "wrong_flags"},
        {"a message in chunks that goes on as a request",
         {frame(user_channel, flag_more, 1, "a"), frame(user_channel, flag_call, 1, "b")},
         "wrong_flags"},
        {"a reply in chunks that has no room for its number in the end",
         {[] {
              std::vector<std::byte> bytes(FrameHeader::size + 1);
              FrameHeader{1, FrameKind::data, flag_call | flag_more, reply_channel}.write(bytes.data());
              return bytes;
          }(),
          [] {
              std::vector<std::byte> bytes(FrameHeader::size + 1);
              FrameHeader{1, FrameKind::data, flag_call, reply_channel}.write(bytes.data());
              return bytes;
          }()},
         "malformed_body"},
        {"an error without room for its code",
         {frame(reply_channel, flag_call | flag_error, 1, "abc")},
         "malformed_body"},
        {"an error with a text that is too long, behind one that is not",
         {[] {
             auto bytes = frame(reply_channel, flag_call | flag_error, 1, "code");
             const auto longer =
                 frame(reply_channel, flag_call | flag_error, 2, std::string(code_size + max_error_text + 1, 'x'));
             bytes.insert(bytes.end(), longer.begin(), longer.end());
             return bytes;
         }()},
         "malformed_body"},
        {"a reply in chunks that goes on as an error",
         {frame(reply_channel, flag_call | flag_more, 1, "a"), frame(reply_channel, flag_call | flag_error, 1, "code")},
         "wrong_flags"},
    };
    for (const Case& each : cases) {
        CAPTURE(each.what);
        Lab lab;
        Node& ann = lab.start(1);
        Puppet& peer = lab.puppet(ann, 2);
        peer.join();
        for (const auto& bytes : each.frames) peer.say_data(bytes);
        CHECK(peer.closed());
        CHECK(ann.said(each.rule) == 1);
        CHECK(ann.inbox.empty());
        CHECK(ann.replies.empty());
    }
}

TEST_CASE("what a peer gives up of its replies is skipped in silence, and later ones come") {
    Lab lab;
    Node& ann = lab.start(1);
    Puppet& peer = lab.puppet(ann, 2);
    peer.hello.features = feature_calls;
    peer.join();
    peer.say_data(frame(reply_channel, flag_call, 1, "one"));
    peer.say_data(frame(reply_channel, flag_call | flag_more, 2, "begun"));
    peer.say(Gap{reply_channel, 1000, 4});
    peer.say_data(frame(reply_channel, flag_call, 5, "five"));
    CHECK(ann.replies == Texts{"1: one", "5: five"});
    CHECK(ann.inbox.empty());
    CHECK(ann->counters().messages_lost == 4);
    lab.advance(10ms);
    const std::vector<Offset>& offsets = peer.last<Ack>().offsets;
    REQUIRE(offsets.size() == 1);
    const std::uint64_t received = 1000 + FrameHeader::size + call_size + 4;
    CHECK(offsets[0].channel == reply_channel);
    CHECK(offsets[0].received == received);
    CHECK(offsets[0].limit >= received + reply_window);
}
