#include "core/due.hpp"

#include "lab.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace cluster;
using namespace cluster::core;
using namespace cluster::core::test;

namespace {

/// Writes down what is written.
struct Paper final : OutputSink {
    std::vector<std::string> words;
    void frame(const Control& frame) override { words.push_back(name_of(frame)); }
    void bytes(const detail::BlockRef&, std::span<const std::byte>) override { words.emplace_back("DATA"); }
};

/// Makes frames that say nothing.
struct Author {
    bool is_attached = true;
    bool owes = false;

    bool attached() const { return is_attached; }
    bool owes_ack() const { return owes; }
    static Hello hello() { return {}; }
    static Offer offer() { return {}; }
    static Attach attach() { return {}; }
    static Ack ack() { return {}; }
    static Ping ping() { return {}; }
    static void list(OutputSink& sink) { sink.frame(PeerList{}); }
    static void news(const std::vector<PeerId>& ids, OutputSink& sink) {
        for (std::size_t i = 0; i < ids.size(); ++i) sink.frame(PeerList{});
    }
};

using Words = std::vector<std::string>;

Words pull(Due& due, const Author& author = {}) {
    Paper paper;
    due.pull(author, paper);
    return paper.words;
}

}  // namespace

TEST_CASE("due: everything goes out once, in one order, whatever was asked for first") {
    Due due;
    due.announce(id_of(4));
    due.answer(id_of(3), true);
    due.inquire(id_of(2), false);
    due.ping = true;
    due.pong = 7;
    due.ack = true;
    due.attached = Attached{};
    due.hello = true;
    CHECK(pull(due) == Words{"HELLO", "ATTACHED", "ACK", "PONG", "PING", "INQUIRY", "FINDING", "PEERS"});
    CHECK(pull(due) == Words{});
}

TEST_CASE("due: before a session is attached nothing of it is written, and nothing of that is forgotten") {
    Due due;
    due.hello = due.offer = due.attach = due.ping = true;
    CHECK(pull(due, {.is_attached = false}) == Words{"HELLO", "OFFER", "ATTACH"});
    CHECK(pull(due) == Words{"PING"});
}

TEST_CASE("due: behind a refusal or a goodbye nothing is written, though a goodbye does not overtake ATTACHED") {
    Due due;
    due.attached = Attached{};
    due.ack = due.ping = due.list = true;
    SUBCASE("a refusal") {
        due.refuse = Refuse{};
        CHECK(pull(due) == Words{"REFUSE"});
    }
    SUBCASE("a goodbye, and the gaps that it counts as sent") {
        due.goodbye = Goodbye{};
        due.gaps = {Gap{}, Gap{}};
        CHECK(pull(due) == Words{"ATTACHED", "GAP", "GAP", "GOODBYE"});
    }
    due.hello = due.offer = true;
    CHECK(pull(due, {.owes = true}) == Words{});
}

TEST_CASE("due: an acknowledgement that the session owes goes along with anything") {
    Due due;
    CHECK(pull(due, {.owes = true}) == Words{"ACK"});
}

TEST_CASE("due: who is asked about twice is asked about once, and answered if either wanted that") {
    struct Asked final : OutputSink {
        std::vector<Inquiry> inquiries;
        void frame(const Control& frame) override { inquiries.push_back(std::get<Inquiry>(frame)); }
        void bytes(const detail::BlockRef&, std::span<const std::byte>) override {}
    } asked;
    Due due;
    due.inquire(id_of(2), false);
    due.inquire(id_of(2), true);
    due.inquire(id_of(2), false);
    due.pull(Author{}, asked);
    CHECK(asked.inquiries == std::vector<Inquiry>{{id_of(2), true}});
}

TEST_CASE("due: answers that wait are bounded, and the newest about one peer replaces the older") {
    Due due;
    for (std::size_t i = 0; i < Due::most_findings; ++i) CHECK(due.answer(id_of(static_cast<std::uint8_t>(i)), false));
    PeerId another = id_of(1);
    another.bytes[1] = 1;
    CHECK_FALSE(due.answer(another, true));
    CHECK(due.answer(id_of(1), true));
    CHECK(pull(due).size() == Due::most_findings);
}

TEST_CASE("due: of a list and of news only the list is written") {
    Due due;
    due.announce(id_of(2));
    due.announce(id_of(2));
    due.announce(id_of(3));
    CHECK(pull(due) == Words{"PEERS", "PEERS"});
    due.announce(id_of(2));
    due.list = true;
    CHECK(pull(due) == Words{"PEERS"});
    CHECK(pull(due) == Words{});
}
