#include "core/frame.hpp"
#include "node/inbox_state.hpp"

#include <cluster/inbox.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

using cluster::Inbox;
using cluster::Message;
using cluster::PeerId;
using cluster::core::Batch;
using cluster::detail::Block;
using cluster::core::FrameHeader;
using cluster::detail::InboxReader;
using cluster::detail::InboxState;
using cluster::detail::no_wait;
using namespace std::chrono_literals;

namespace {

PeerId sender(std::uint64_t number) {
    PeerId id;
    std::memcpy(id.bytes.data(), &number, sizeof number);
    return id;
}

Batch batch_of(std::uint64_t session, const std::vector<std::string>& texts) {
    std::string frames;
    for (const std::string& text : texts) {
        std::byte header[FrameHeader::size];
        FrameHeader{static_cast<std::uint32_t>(text.size())}.write(header);
        frames.append(reinterpret_cast<const char*>(header), sizeof header).append(text);
    }
    Batch batch;
    batch.from = sender(session);
    batch.session = session;
    batch.block = Block::adopt(std::move(frames));
    batch.frames = {batch.block->data(), batch.block->size()};
    batch.messages = texts.size();
    batch.charge = batch.frames.size();
    return batch;
}

Batch gap_of(std::uint64_t session, std::uint64_t lost) {
    Batch batch;
    batch.from = sender(session);
    batch.session = session;
    batch.lost = lost;
    return batch;
}

struct Fixture {
    std::shared_ptr<InboxState> state = std::make_shared<InboxState>([this] { ++calls; });
    Inbox inbox{state};
    std::atomic<int> calls{0};

    bool push(Batch batch) { return state->push({&batch, 1}); }
    bool push(std::uint64_t session, const std::vector<std::string>& texts) { return push(batch_of(session, texts)); }

    std::vector<std::string> rest() {
        std::vector<std::string> texts;
        while (auto message = inbox.try_receive()) texts.emplace_back(message->text());
        return texts;
    }

    void await_waiting(std::size_t readers) {
        while (state->waiting() != readers) std::this_thread::yield();
    }
};

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE_FIXTURE(Fixture, "messages are read in the order of their sender, and senders take turns") {
    std::vector<Batch> batches = {batch_of(1, {"a", "", "b"}), batch_of(2, {"c"})};
    CHECK(state->push(batches));
    push(1, {"d"});
    state->end();
    Texts texts;
    std::vector<PeerId> from;
    for (const Message& message : inbox) {
        texts.emplace_back(message.text());
        from.push_back(message.from());
        CHECK(message.lost() == 0);
    }
    CHECK(texts == Texts{"a", "", "b", "d", "c"});
    CHECK(from == std::vector{sender(1), sender(1), sender(1), sender(1), sender(2)});
}

namespace {

/// As much as a session may have unread, in messages of `size` bytes.
std::vector<std::string> flood(std::size_t size) {
    return std::vector<std::string>((std::size_t{128} << 10) / size, std::string(size, 'f'));
}

}  // namespace

TEST_CASE_FIXTURE(Fixture, "who sends little waits for at most one turn of each of those who flood") {
    constexpr std::uint64_t floods = 4;
    constexpr std::uint64_t light = 9;
    for (int i = 0; i < 8; ++i) {
        for (std::uint64_t session = 1; session <= floods; ++session) push(session, flood(64));
    }
    std::size_t worst = 0;
    for (int i = 0; i < 50; ++i) {
        for (int reads = 0; reads < 11 * i; ++reads) REQUIRE(inbox.try_receive());
        push(light, {"light"});
        std::size_t bytes = 0;
        for (;;) {
            const auto message = inbox.try_receive();
            REQUIRE(message);
            if (message->from() == sender(light)) break;
            bytes += FrameHeader::size + message->size();
        }
        worst = std::max(worst, bytes);
    }
    CHECK(worst <= floods * (InboxState::quantum + 64 + FrameHeader::size));
}

TEST_CASE_FIXTURE(Fixture, "senders of short and of long messages are given equal parts, in bytes") {
    for (int i = 0; i < 64; ++i) {
        push(1, flood(64));
        push(2, {std::string(std::size_t{128} << 10, 'l')});
        push(3, {"small"});
    }
    std::size_t given[4] = {};
    std::size_t apart = 0;
    while (given[2] < std::size_t{4} << 20) {
        const auto message = inbox.try_receive();
        REQUIRE(message);
        given[message->from() == sender(1) ? 1 : message->from() == sender(2) ? 2 : 3] +=
            FrameHeader::size + message->size();
        if (given[1] > given[2]) apart = std::max(apart, given[1] - given[2]);
        if (given[2] > given[1]) apart = std::max(apart, given[2] - given[1]);
    }
    CHECK(apart <= (std::size_t{128} << 10) + 2 * InboxState::quantum);
    CHECK(given[3] == 64 * (FrameHeader::size + 5));
}

TEST_CASE_FIXTURE(Fixture, "gaps and the messages of a sender's next session keep their places over its turns") {
    std::vector<std::string> expected;
    for (std::uint64_t session = 1; session <= 3; ++session) {
        Batch batch = batch_of(session, Texts(500, std::to_string(session)));
        batch.from = sender(1);
        push(std::move(batch));
        expected.insert(expected.end(), 500, std::to_string(session));
        Batch gap = gap_of(session, session);
        gap.from = sender(1);
        push(std::move(gap));
        expected.push_back("lost " + std::to_string(session));
        push(10 + session, flood(64));
    }
    std::vector<std::string> read;
    while (const auto message = inbox.try_receive()) {
        if (message->from() != sender(1)) continue;
        read.push_back(message->lost() == 0 ? std::string(message->text()) : "lost " + std::to_string(message->lost()));
    }
    CHECK(read == expected);
    CHECK(state->bytes() == 0);
}

TEST_CASE_FIXTURE(Fixture, "any number of senders that come and go all have their turns") {
    std::size_t read = 0;
    for (std::uint64_t round = 0; round < 3; ++round) {
        for (std::uint64_t session = 1; session <= 2000; ++session) push(session + 1000 * round, {"x"});
        for (int i = 0; i < 1500; ++i) read += inbox.try_receive() ? 1 : 0;
    }
    read += rest().size();
    CHECK(read == 6000);
    CHECK(state->bytes() == 0);
}

TEST_CASE_FIXTURE(Fixture, "a gap is read in its place, and says how many are missing") {
    push(1, {"before"});
    push(gap_of(1, 12));
    push(1, {"after"});
    CHECK(inbox.receive()->text() == "before");
    const auto gap = inbox.receive();
    CHECK(gap->lost() == 12);
    CHECK(gap->size() == 0);
    CHECK(gap->from() == sender(1));
    CHECK(inbox.receive()->text() == "after");
    CHECK(!inbox.try_receive());
}

TEST_CASE_FIXTURE(Fixture, "gaps without end in an unread inbox are put together in their place") {
    REQUIRE(push(1, {"before"}));
    for (int i = 0; i < 20000; ++i) {
        REQUIRE(push(gap_of(1, 2)));
        REQUIRE(push(gap_of(2, 1)));
    }
    REQUIRE(push(1, {"after"}));
    std::uint64_t lost[2] = {0, 0};
    std::size_t gaps = 0;
    std::vector<std::string> texts;
    while (auto message = inbox.try_receive()) {
        if (message->lost() == 0) {
            texts.emplace_back(message->text());
        } else {
            ++gaps;
            lost[message->from() == sender(1) ? 0 : 1] += message->lost();
        }
    }
    CHECK(lost[0] == 40000);
    CHECK(lost[1] == 20000);
    CHECK(gaps < 100);
    CHECK(texts == std::vector<std::string>{"before", "after"});
}

TEST_CASE_FIXTURE(Fixture, "small messages that wait are put together, in order and with their charge") {
    std::vector<std::string> sent;
    std::uint64_t charge = 0;
    for (int i = 0; i < 3000; ++i) {
        sent.push_back("m" + std::to_string(i));
        Batch batch = batch_of(1, {sent.back()});
        charge += batch.charge;
        REQUIRE(push(std::move(batch)));
        if (i % 100 == 50) REQUIRE(push(2, {"between"}));
    }
    CHECK(state->bytes() == charge + 30 * (FrameHeader::size + 7));
    std::vector<std::string> read;
    std::size_t blocks = 0;
    const std::byte* end = nullptr;
    state->end();
    for (const Message& message : inbox) {
        if (message.from() != sender(1)) continue;
        read.emplace_back(message.text());
        if (end == nullptr || message.bytes().data() != end + FrameHeader::size) ++blocks;
        end = message.bytes().data() + message.size();
    }
    CHECK(blocks < 100);
    CHECK(read == sent);
    CHECK(state->bytes() == 0);
}

TEST_CASE_FIXTURE(Fixture, "leaving the loop early loses nothing") {
    push(1, {"a", "b", "c"});
    push(1, {"d"});
    Texts texts;
    for (const char* last : {"a", "c"}) {
        for (const Message& message : inbox) {
            texts.emplace_back(message.text());
            if (message.text() == last) break;
        }
    }
    CHECK(inbox.receive()->text() == "d");
    CHECK(texts == Texts{"a", "b", "c"});
}

TEST_CASE_FIXTURE(Fixture, "the end comes after the last message, and stays") {
    push(1, {"a"});
    state->end();
    CHECK(!inbox.at_end());
    CHECK(inbox.receive()->text() == "a");
    CHECK(inbox.at_end());
    CHECK(!inbox.receive());
    CHECK(!inbox.receive_for(1h));
    CHECK(inbox.begin() == inbox.end());
}

TEST_CASE_FIXTURE(Fixture, "what is pushed after the end is refused") {
    state->end();
    CHECK(!push(1, {"late"}));
    CHECK(inbox.at_end());
    CHECK(state->bytes() == 0);
}

TEST_CASE_FIXTURE(Fixture, "the end wakes all who wait") {
    std::atomic<int> ended{0};
    std::vector<std::thread> readers;
    readers.emplace_back([&] { ended += inbox.receive().has_value() ? 0 : 1; });
    readers.emplace_back([&] { ended += inbox.receive_for(1h).has_value() ? 0 : 1; });
    readers.emplace_back([&] {
        for (const Message& message : inbox) ended -= static_cast<int>(message.size());
        ++ended;
    });
    await_waiting(3);
    state->end();
    for (std::thread& reader : readers) reader.join();
    CHECK(ended == 3);
}

TEST_CASE_FIXTURE(Fixture, "one message wakes one of those who wait, several wake the others") {
    std::atomic<int> got{0};
    std::vector<std::thread> readers;
    for (int i = 0; i < 3; ++i) {
        readers.emplace_back([&] { got += inbox.receive()->text() == "x" ? 1 : 0; });
    }
    await_waiting(3);
    push(1, {"x"});
    await_waiting(2);
    push(1, {"x", "x"});
    for (std::thread& reader : readers) reader.join();
    CHECK(got == 3);
    CHECK(state->waiting() == 0);
}

TEST_CASE_FIXTURE(Fixture, "a reader that waits gets what comes while it waits") {
    std::thread reader([&] {
        for (const Message& message : inbox) {
            if (message.text() == "stop") break;
        }
    });
    for (int i = 0; i < 200; ++i) {
        await_waiting(1);
        push(1, {"x"});
    }
    await_waiting(1);
    push(1, {"stop"});
    reader.join();
    CHECK(state->bytes() == 0);
}

TEST_CASE_FIXTURE(Fixture, "with several readers each message goes to one, in the order of its sender") {
    constexpr std::uint64_t senders = 3;
    constexpr std::uint32_t per_batch = 1000;
    constexpr std::size_t enough = 100000;
    struct Claim {
        std::uint64_t sender = 0;
        std::uint32_t number = 0;
    };
    struct Reader {
        std::vector<Claim> claims;
        std::atomic<std::size_t> count{0};
        std::thread thread;
    };
    std::array<Reader, 3> readers;
    for (Reader& reader : readers) {
        reader.thread = std::thread([&] {
            for (const Message& message : inbox) {
                Claim claim;
                std::memcpy(&claim.sender, message.from().bytes.data(), sizeof claim.sender);
                std::memcpy(&claim.number, message.bytes().data(), sizeof claim.number);
                reader.claims.push_back(claim);
                reader.count.fetch_add(1, std::memory_order_relaxed);
            }
        });
    }
    // Goes on until every reader had its part: a few messages would all be taken by the first one to start.
    const auto all_busy = [&] {
        return std::all_of(readers.begin(), readers.end(), [](const Reader& reader) { return reader.count >= enough; });
    };
    std::uint32_t pushed = 0;
    for (; !all_busy(); pushed += per_batch) {
        for (std::uint64_t session = 1; session <= senders; ++session) {
            Texts texts;
            for (std::uint32_t i = pushed; i < pushed + per_batch; ++i) {
                texts.emplace_back(reinterpret_cast<const char*>(&i), sizeof i);
            }
            push(session, texts);
        }
        while (state->bytes() > 1000000) std::this_thread::yield();
    }
    state->end();
    for (Reader& reader : readers) reader.thread.join();

    std::vector<std::vector<int>> seen(senders + 1, std::vector<int>(pushed));
    bool in_order = true;
    for (const Reader& reader : readers) {
        std::vector<std::int64_t> last(senders + 1, -1);
        for (const Claim& claim : reader.claims) {
            ++seen[claim.sender][claim.number];
            in_order = in_order && claim.number > last[claim.sender];
            last[claim.sender] = claim.number;
        }
    }
    CHECK(in_order);
    for (std::uint64_t session = 1; session <= senders; ++session) {
        CHECK(std::all_of(seen[session].begin(), seen[session].end(), [](int times) { return times == 1; }));
    }
    CHECK(state->bytes() == 0);
    std::vector<InboxState::Taken> taken;
    state->taken(taken);
    CHECK(taken.size() == senders);
    for (const auto& [session, bytes] : taken) CHECK(bytes == pushed * (FrameHeader::size + 4));
}

TEST_CASE_FIXTURE(Fixture, "two readers that take turns are handed the messages in order") {
    push(1, {"a", "b", "c", "d"});
    push(1, {"e", "f"});
    InboxReader one(state);
    InboxReader two(state);
    Texts texts;
    for (int i = 0; i < 3; ++i) {
        for (InboxReader* reader : {&one, &two}) {
            CHECK(reader->next(no_wait));
            texts.emplace_back(reader->message().text());
        }
    }
    CHECK(texts == Texts{"a", "b", "c", "d", "e", "f"});
    CHECK(!one.next(no_wait));
}

TEST_CASE_FIXTURE(Fixture, "a message stays readable when other readers have finished its batch and the node is gone") {
    Batch batch = batch_of(1, {"first", "second"});
    const cluster::detail::BlockRef block = batch.block;
    push(std::move(batch));
    {
        const auto looking = inbox.begin();
        CHECK(inbox.receive()->text() == "second");
        state->end();
        state->detach();
        state.reset();
        CHECK(inbox.at_end());
        CHECK(looking->text() == "first");
        CHECK(block->shared());
    }
    CHECK(!block->shared());
}

TEST_CASE_FIXTURE(Fixture, "a copied message outlives its place in the loop") {
    const std::string large(5000, 'l');
    push(1, {"small", large, ""});
    state->end();
    std::vector<Message> kept;
    for (const Message& message : inbox) kept.push_back(message);
    REQUIRE(kept.size() == 3);
    CHECK(kept[0].text() == "small");
    CHECK(kept[1].text() == large);
    CHECK(kept[2].text().empty());
}

TEST_CASE_FIXTURE(Fixture, "a received message keeps its block alive, and only as long as it lives") {
    Batch batch = batch_of(1, {"first", ""});
    const cluster::detail::BlockRef block = batch.block;
    push(std::move(batch));
    auto first = inbox.receive();
    const auto second = inbox.receive();
    CHECK(block->shared());
    CHECK(first->text() == "first");
    first.reset();
    CHECK(!block->shared());
    CHECK(second->text().empty());
}

TEST_CASE_FIXTURE(Fixture, "a reader that waits for more does not hold what it has read") {
    Batch batch = batch_of(1, {"a"});
    const cluster::detail::BlockRef block = batch.block;
    push(std::move(batch));
    std::thread reader([&] {
        for (const Message& message : inbox) CHECK(message.size() == 1);
    });
    await_waiting(1);
    CHECK(!block->shared());
    state->end();
    reader.join();
}

TEST_CASE_FIXTURE(Fixture, "a wait ends when its time is over") {
    CHECK(!inbox.receive_for(1ms));
    CHECK(!inbox.receive_for(0ns));
    CHECK(!inbox.receive_for(-1h));
    CHECK(!inbox.receive_for(std::chrono::nanoseconds::min()));
    CHECK(!inbox.at_end());
    push(1, {"a"});
    CHECK(inbox.receive_for(-1h)->text() == "a");
}

TEST_CASE_FIXTURE(Fixture, "a wait of any length is cut short by a message") {
    for (const std::chrono::nanoseconds duration : {std::chrono::nanoseconds::max(), std::chrono::nanoseconds(1h)}) {
        std::thread reader([&] { CHECK(inbox.receive_for(duration)->text() == "a"); });
        await_waiting(1);
        push(1, {"a"});
        reader.join();
    }
}

TEST_CASE_FIXTURE(Fixture, "what was taken is reported by session, once, when the last of a batch is taken") {
    push(7, {"aa", "bb"});
    push(8, {"cc"});
    push(7, {"dd"});
    push(gap_of(9, 1));
    CHECK(state->bytes() == 4 * (FrameHeader::size + 2));
    std::vector<InboxState::Taken> taken{{99, 99}};
    inbox.receive();
    state->taken(taken);
    CHECK(taken.empty());
    CHECK(rest().size() == 4);
    CHECK(state->bytes() == 0);
    state->taken(taken);
    std::sort(taken.begin(), taken.end(), [](const auto& a, const auto& b) { return a.session < b.session; });
    REQUIRE(taken.size() == 2);
    CHECK(taken[0].session == 7);
    CHECK(taken[0].bytes == 3 * (FrameHeader::size + 2));
    CHECK(taken[1].session == 8);
    CHECK(taken[1].bytes == FrameHeader::size + 2);
    state->taken(taken);
    CHECK(taken.empty());
}

TEST_CASE_FIXTURE(Fixture, "the node is told once that much was taken, and again only after it has asked") {
    const std::string half(InboxState::report_from / 2 - FrameHeader::size, 'h');
    push(1, {half});
    push(2, {half});
    for (int i = 0; i < 6; ++i) push(1, {half});
    inbox.receive();
    inbox.receive();
    CHECK(calls == 0);
    inbox.receive();
    CHECK(calls == 1);
    inbox.receive();
    inbox.receive();
    CHECK(calls == 1);
    std::vector<InboxState::Taken> taken;
    state->taken(taken);
    inbox.receive();
    CHECK(calls == 1);
    inbox.receive();
    CHECK(calls == 2);
}

TEST_CASE_FIXTURE(Fixture, "detaching waits for the reader that is telling the node, and nobody tells it again") {
    std::atomic<bool> inside{false};
    std::atomic<bool> may_leave{false};
    std::atomic<int> told{0};
    const auto shared = std::make_shared<InboxState>([&] {
        inside = true;
        while (!may_leave) std::this_thread::yield();
        ++told;
    });
    Inbox handle(shared);
    std::vector<Batch> batches;
    for (int i = 0; i < 2; ++i) batches.push_back(batch_of(1, {std::string(InboxState::report_from, 'x')}));
    shared->push(batches);
    std::thread reader([&] { handle.receive(); });
    while (!inside) std::this_thread::yield();
    may_leave = true;
    shared->detach();
    CHECK(told == 1);
    reader.join();
    std::vector<InboxState::Taken> taken;
    shared->taken(taken);
    handle.receive();
    CHECK(told == 1);
}

TEST_CASE("a reader who waits when the node lets go of the inbox finds its end") {
    auto node = std::make_shared<InboxState>([] {});
    std::thread reader([inbox = Inbox(node)]() mutable {
        int messages = 0;
        for (const Message& message : inbox) messages += message.text() == "last" ? 1 : 0;
        CHECK(messages == 1);
    });
    while (node->waiting() == 0) std::this_thread::yield();
    Batch batch = batch_of(1, {"last"});
    node->push({&batch, 1});
    node->end();
    node->detach();
    node.reset();
    reader.join();
}

namespace {

/// Counts how often it is woken.
struct Sleeper final : cluster::detail::Operation {
    void wake() noexcept override { ++woken; }
    std::atomic<int> woken{0};
};

}  // namespace

TEST_CASE("inbox: an operation is woken once there is something to claim, at once if there is already") {
    Fixture fixture;
    const auto first = std::make_shared<Sleeper>();
    fixture.state->wait(first);
    CHECK(first->woken == 0);
    fixture.push(1, {"one"});
    CHECK(first->woken == 1);
    const auto second = std::make_shared<Sleeper>();
    fixture.state->wait(second);
    CHECK(second->woken == 1);
    CHECK(fixture.rest() == std::vector<std::string>{"one"});
    fixture.push(1, {"two"});
    CHECK(first->woken == 1);
    CHECK(second->woken == 1);
}

TEST_CASE("inbox: as many operations are woken as messages come, the longest waiting first") {
    Fixture fixture;
    std::vector<std::shared_ptr<Sleeper>> sleepers;
    for (int i = 0; i < 4; ++i) fixture.state->wait(sleepers.emplace_back(std::make_shared<Sleeper>()));
    fixture.push(1, {"one", "two"});
    fixture.push(gap_of(2, 5));
    const std::vector<int> expected{1, 1, 1, 0};
    for (std::size_t i = 0; i < expected.size(); ++i) CHECK(sleepers[i]->woken == expected[i]);
    CHECK(fixture.state->stop_waiting(*sleepers[3]));
    CHECK_FALSE(fixture.state->stop_waiting(*sleepers[3]));
    CHECK_FALSE(fixture.state->stop_waiting(*sleepers[0]));
}

TEST_CASE("inbox: an operation that was woken for nothing wakes another in its place") {
    Fixture fixture;
    const auto first = std::make_shared<Sleeper>();
    const auto second = std::make_shared<Sleeper>();
    fixture.state->wait(first);
    fixture.state->wait(second);
    fixture.state->pass_on();
    CHECK(second->woken == 0);
    fixture.push(1, {"one"});
    fixture.state->pass_on();
    CHECK(second->woken == 1);
    fixture.state->pass_on();
    CHECK(fixture.rest() == std::vector<std::string>{"one"});
}

TEST_CASE("inbox: the end wakes every operation, also those that come later") {
    Fixture fixture;
    const auto first = std::make_shared<Sleeper>();
    const auto second = std::make_shared<Sleeper>();
    fixture.state->wait(first);
    fixture.state->wait(second);
    fixture.state->end();
    CHECK(first->woken == 1);
    CHECK(second->woken == 1);
    fixture.state->wait(first);
    CHECK(first->woken == 2);
}
