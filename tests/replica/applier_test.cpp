#include "replica/applier.hpp"

#include "group/memory_streams.hpp"
#include "replica/snapshot_stream.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <deque>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

namespace cluster::applier_test {

// What the log does to services, sessions, timers and letters, without a replica around it.

using namespace std::chrono_literals;
using cluster::Bytes;
using cluster::CloseReason;
using cluster::Context;
using cluster::Service;
using cluster::SnapshotReader;
using cluster::SnapshotWriter;
using cluster::consensus::DiskId;
using cluster::consensus::Entry;
using cluster::consensus::EntryKind;
using cluster::consensus::SnapshotId;
using cluster::group::Acknowledge;
using cluster::group::CloseSession;
using cluster::group::Command;
using cluster::group::OpenSession;
using cluster::group::Received;
using cluster::group::Session;
using cluster::group::SessionClosed;
using cluster::group::SessionCommand;
using cluster::group::SessionKey;
using cluster::group::SessionOpened;
using cluster::group::SessionPushed;
using cluster::group::SessionReplied;
using cluster::group::Submitted;
using cluster::replica::Applier;
using cluster::replica::SectionReader;
using cluster::replica::SectionWriter;
using cluster::support::MemoryReader;
using cluster::support::MemoryWriter;

namespace {

std::string_view text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text));
}

/// Writes down what happens to it, and does what messages tell it.
class Script final : public Service {
public:
    void on_message(Context& context, std::span<const std::byte> message) override {
        const std::string text(text_of(message));
        std::string line = "message " + text;
        if (context.session() != nullptr) line += " of " + context.session()->name;
        if (!context.from_service().empty()) line += " from " + std::string(context.from_service());
        note(context, line);
        for (std::istringstream words(text); words;) obey(context, words);
    }
    void on_session_open(Context& context) override {
        note(context, "opened " + context.session()->name + " for " + context.session()->principal);
    }
    void on_session_close(Context& context, CloseReason reason) override {
        note(context, "closed " + context.session()->name + ": " + std::string(to_string(reason)));
    }
    void on_timer(Context& context, std::uint64_t timer) override {
        note(context, "timer " + std::to_string(timer));
        if (timer >= 1000) scheduled = context.schedule(timer, context.time());
    }
    void on_term(Context& context) override { note(context, "term " + std::to_string(context.term())); }
    void save(SnapshotWriter& out) const override {
        out.write(seen.size());
        for (const std::string& each : seen) out.write(each);
    }
    void load(SnapshotReader& in) override {
        std::size_t size = 0;
        in.read(size);
        seen.assign(size, {});
        for (std::string& each : seen) in.read(each);
    }

    std::vector<std::string> take() { return std::exchange(seen, {}); }
    std::vector<std::string> seen;
    bool scheduled = true;
    bool told = true;

private:
    void note(Context& context, const std::string& what) {
        seen.push_back(std::to_string(context.position()) + "@" + std::to_string(context.time().count()) + " " + what);
    }
    void obey(Context& context, std::istringstream& words) {
        std::string word;
        words >> word;
        std::uint64_t number = 0;
        std::int64_t at = 0;
        std::string text;
        if (word == "timer") {
            words >> number >> at;
            scheduled = context.schedule(number, std::chrono::nanoseconds(at));
        } else if (word == "cancel") {
            words >> number;
            note(context, context.cancel(number) ? "cancelled" : "not there");
        } else if (word == "tell") {
            words >> text;
            const std::string rest(std::istreambuf_iterator<char>(words), {});
            told = context.submit(rest.substr(std::min<std::size_t>(1, rest.size())), text);
        } else if (word == "letters") {
            words >> number >> text;
            for (; number != 0; --number) told = context.submit("x", text) && told;
        } else if (word == "send") {
            words >> number >> text;
            note(context, context.send(number, text) ? "sent" : "nobody");
        } else if (word == "flood") {
            words >> number >> at;
            for (; at != 0; --at) context.send(number, std::string(1024, 'x'));
        } else if (word == "close") {
            words >> number;
            note(context, context.close(number) ? "closing" : "nobody");
        } else if (word == "find") {
            words >> number;
            const cluster::ClientSession* const found = context.find_session(number);
            note(context, found == nullptr ? "nobody" : found->name);
        } else if (word == "all") {
            for (const cluster::ClientSession& each : context.sessions())
                note(context, std::to_string(each.id) + " " + each.name + " " + std::to_string(each.opened.count()));
        } else if (word == "random") {
            note(context, std::to_string(context.random()) + " " + std::to_string(context.random()));
        } else if (word == "reply") {
            words >> text;
            context.reply(text);
        } else if (word == "throw") {
            throw std::runtime_error("as it was told");
        }
    }
};

/// A log, and what applies it.
struct Applied {
    explicit Applied(const std::vector<std::string>& names = {"service"}) {
        for (const std::string& name : names) all.push_back({name, scripts.emplace_back()});
        applier.emplace(all, self, life, [this](std::uint64_t call, const std::vector<std::byte>& reply) {
            replies.push_back(std::to_string(call) + " " + std::string(text_of(reply)));
        });
    }
    /// Returns its place in the log.
    std::uint64_t apply(Entry entry) {
        entry.id = {term, ++index};
        entry.time = std::chrono::nanoseconds(time);
        applier->apply(entry);
        return index;
    }
    std::uint64_t nothing() { return apply(Entry()); }
    std::uint64_t apply(const Command& command) {
        Entry entry;
        entry.kind = EntryKind::command;
        entry.body = pack(command);
        return apply(entry);
    }
    std::uint64_t submit(std::string_view text) { return apply(Submitted{self, life, ++number, bytes_of(text)}); }
    std::uint64_t open(std::uint8_t key, std::string name = "ann", std::uint64_t most = 10) {
        return apply(OpenSession{SessionKey{key}, 1000, most, std::move(name), "staff"});
    }
    std::uint64_t ask(std::uint64_t session, std::uint64_t command, std::string_view text, Received received = {}) {
        return apply(SessionCommand{session, command, received, bytes_of(text)});
    }
    std::vector<std::string> seen(std::size_t place = 0) { return scripts[place].take(); }
    std::vector<std::string> outcomes() {
        std::vector<std::string> texts;
        for (const auto& each : applier->take_outcomes()) {
            const auto* change = std::get_if<cluster::group::SessionChange>(&each);
            const auto* opened = change == nullptr ? nullptr : std::get_if<SessionOpened>(change);
            const auto* closed = change == nullptr ? nullptr : std::get_if<SessionClosed>(change);
            if (opened != nullptr)
                texts.push_back("open " + std::to_string(opened->key[0]) + " " + std::to_string(opened->facts.session));
            if (const auto* replied = std::get_if<SessionReplied>(&each))
                texts.push_back("reply " + std::to_string(replied->session) + " " +
                                std::to_string(replied->reply.number) + " " + std::string(replied->reply.bytes.text()));
            if (const auto* pushed = std::get_if<SessionPushed>(&each))
                texts.push_back("push " + std::to_string(pushed->session) + " " + std::to_string(pushed->push.number) +
                                " " + std::string(pushed->push.bytes.text()));
            if (closed != nullptr)
                texts.push_back("closed " + std::to_string(closed->session) + " " +
                                std::string(to_string(closed->reason)));
        }
        return texts;
    }
    std::vector<std::byte> save() const {
        MemoryWriter out;
        applier->save(out);
        return std::move(out.out);
    }
    void load(const Applied& other) {
        const std::vector<std::byte> bytes = other.save();
        MemoryReader in(bytes);
        SnapshotId id;
        id.last = other.applier->last();
        id.time = other.applier->time();
        applier->load(in, cluster::replica::snapshot_version, id);
        index = other.index;
        time = other.time;
        number = other.number;
    }

    const DiskId self{{7}};
    const std::uint64_t life = 5;
    std::deque<Script> scripts;
    std::vector<cluster::NamedService> all;
    std::optional<Applier> applier;
    std::vector<std::string> replies;
    std::uint64_t term = 1;
    std::uint64_t index = 0;
    std::uint64_t number = 0;
    std::int64_t time = 100;
};

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("applier: timers fire before the entry that is as late, by deadline and then by number") {
    Applied replica;
    replica.submit("timer 9 150 timer 2 200 timer 1 200 timer 3 300");
    CHECK(replica.applier->wants_entry_at() == 150ns);
    replica.seen();
    replica.time = 149;
    replica.nothing();
    CHECK(replica.seen().empty());
    replica.time = 200;
    replica.submit("hello");
    CHECK(replica.seen() == Lines{"3@200 timer 9", "3@200 timer 1", "3@200 timer 2", "3@200 message hello"});
    CHECK(replica.applier->wants_entry_at() == 300ns);
}

TEST_CASE("applier: a timer that is scheduled again is moved, and one that is cancelled does not fire") {
    Applied replica;
    replica.submit("timer 1 200 timer 2 200 timer 3 500");
    replica.submit("timer 1 400 timer 3 210 cancel 2 cancel 2");
    replica.seen();
    replica.time = 399;
    replica.nothing();
    CHECK(replica.seen() == Lines{"3@399 timer 3"});
    replica.time = 400;
    replica.nothing();
    CHECK(replica.seen() == Lines{"4@400 timer 1"});
    CHECK(replica.applier->wants_entry_at() == cluster::never);
}

TEST_CASE("applier: each service has timers of its own") {
    Applied replica({"a", "b"});
    replica.submit("tell b timer 1 300");
    replica.submit("timer 1 200");
    replica.submit("cancel 1");
    CHECK(replica.applier->wants_entry_at() == cluster::never);
}

TEST_CASE("applier: a timer that schedules itself at once does not hold up the log") {
    Applied replica;
    replica.submit("timer 1000 0");
    replica.seen();
    replica.nothing();
    CHECK(replica.seen().size() == Applier::most_timers);
    CHECK(replica.applier->wants_entry_at() <= 100ns);
}

TEST_CASE("applier: a timer's number is used again across a snapshot, and fires once each time") {
    Applied whole;
    whole.submit("timer 1 200");
    whole.time = 200;
    whole.nothing();
    whole.submit("timer 1 300");
    Applied restored;
    restored.load(whole);
    restored.seen();
    restored.time = 299;
    restored.nothing();
    CHECK(restored.seen().empty());
    restored.time = 300;
    restored.submit("timer 1 400");
    CHECK(restored.seen() == Lines{"5@300 timer 1", "5@300 message timer 1 400"});
    restored.time = 400;
    restored.nothing();
    restored.nothing();
    CHECK(restored.seen() == Lines{"6@400 timer 1"});
    CHECK(restored.applier->wants_entry_at() == cluster::never);
}

TEST_CASE("applier: letters come after the event that made them, in order, and each once") {
    Applied replica({"a", "b"});
    // Both services have the message, so both write.
    replica.submit("tell b 1");
    CHECK(replica.seen(0) == Lines{"1@100 term 1", "1@100 message tell b 1"});
    CHECK(replica.seen(1) ==
          Lines{"1@100 term 1", "1@100 message tell b 1", "1@100 message 1 from a", "1@100 message 1 from b"});
    replica.submit("tell c 1");
    CHECK_FALSE(replica.scripts[0].told);
}

TEST_CASE("applier: of many letters some wait for the next entry, which is wanted at once") {
    Applied replica;
    replica.submit("tell service tell service tell service last");
    CHECK(replica.seen().back() == "1@100 message last from service");
    replica.submit("tell service timer 5 90");
    CHECK(replica.applier->wants_entry_at() == 90ns);

    Applied busy({"a", "b"});
    for (std::size_t i = 0; i < Applier::most_letters; ++i) busy.submit("tell b 1");
    CHECK(busy.applier->state().letters.empty());
    class Chatter final : public Service {
    public:
        void on_message(Context& context, std::span<const std::byte>) override {
            ++count;
            if (context.from_service().empty()) {
                for (int i = 0; i < 100; ++i) fits = fits && context.submit("x", "chatter");
            }
        }
        int count = 0;
        bool fits = true;
    };
    Chatter chatter;
    Applier applier({{"chatter", chatter}}, {}, 1, [](auto, auto) {});
    Entry entry{{1, 1}, EntryKind::command, 50ns, pack(Submitted{})};
    applier.apply(entry);
    CHECK(chatter.count == 1 + static_cast<int>(Applier::most_letters));
    CHECK(applier.wants_entry_at() == 50ns);
    entry = {{1, 2}, EntryKind::empty, 60ns, {}};
    applier.apply(entry);
    CHECK(chatter.count == 101);
    CHECK(chatter.fits);
    CHECK(applier.wants_entry_at() == cluster::never);
}

TEST_CASE("applier: letters that wait for the next entry are in a snapshot, and each comes once") {
    Applied whole({"a", "b"});
    whole.submit("letters 50 b");  // both have the message, so both write
    const std::size_t waiting = 2 * 50 - Applier::most_letters;
    Applied restored({"a", "b"});
    restored.load(whole);
    for (Applied* each : {&whole, &restored}) {
        CHECK(each->applier->wants_entry_at() == each->applier->time());
        const std::size_t before = each->scripts[1].seen.size();
        each->nothing();
        CHECK(each->scripts[1].seen.size() == before + waiting);
        each->nothing();
        CHECK(each->scripts[1].seen.size() == before + waiting);
        CHECK(each->applier->wants_entry_at() == cluster::never);
    }
    CHECK(restored.scripts[1].seen == whole.scripts[1].seen);
}

TEST_CASE("applier: beyond the limit a letter is refused, its writer is told, and those before it come") {
    Applied replica;
    const std::size_t most = cluster::group::Letters::most;
    replica.submit("letters " + std::to_string(most) + " service");
    CHECK(replica.scripts[0].told);
    replica.submit("letters " + std::to_string(2 * Applier::most_letters + 1) + " service");
    CHECK_FALSE(replica.scripts[0].told);
    // The second message has found the room of those that came with the first one.
    const std::size_t letters = most + Applier::most_letters;
    while (!replica.applier->state().letters.empty()) replica.nothing();
    CHECK(replica.seen().size() == 1 + 2 + letters);
}

TEST_CASE("applier: who submits gets the last reply of all services") {
    Applied replica({"a", "b"});
    replica.submit("reply one");
    CHECK(replica.replies == Lines{"1 one"});
    replica.submit("timer 1 0");
    replica.submit("silence");
    CHECK(replica.replies.back() == "3 ");
}

TEST_CASE("applier: a session is opened once, however often its client asks, and not beyond the limit") {
    Applied replica;
    const std::uint64_t ann = replica.open(1);
    CHECK(replica.seen().back() == "1@100 opened ann for staff");
    replica.open(1);
    CHECK(replica.seen().empty());
    replica.open(2, "bob", 1);
    CHECK(replica.seen().empty());
    CHECK(replica.outcomes() == Lines{"open 1 " + std::to_string(ann), "open 1 " + std::to_string(ann), "open 2 0"});
}

TEST_CASE("applier: a service sees which sessions are open, since when, and whether one is") {
    Applied replica;
    const std::uint64_t ann = replica.open(1);
    replica.time = 120;
    const std::uint64_t bob = replica.open(2, "bob");
    CHECK((ann == 1 && bob == 2));
    replica.seen();
    replica.submit("all find 1 find 2 find 3");
    CHECK(replica.seen() == Lines{"3@120 message all find 1 find 2 find 3", "3@120 1 ann 100", "3@120 2 bob 120",
                                  "3@120 ann", "3@120 bob", "3@120 nobody"});
    replica.submit("close 1");
    replica.seen();
    replica.submit("all find 1");
    CHECK(replica.seen() == Lines{"5@120 message all find 1", "5@120 2 bob 120", "5@120 nobody"});
}

TEST_CASE("applier: a command takes effect once, in the order of the numbers") {
    Applied replica;
    const std::uint64_t ann = replica.open(1);
    replica.seen();
    replica.ask(ann, 2, "too early");
    replica.ask(ann, 1, "reply one");
    replica.ask(ann, 1, "reply another");
    replica.ask(ann, 2, "reply two");
    CHECK(replica.seen() == Lines{"3@100 message reply one of ann", "5@100 message reply two of ann"});
    const auto attached = replica.applier->attach(ann, SessionKey{1}, {});
    REQUIRE(attached);
    CHECK(attached->applied == 2);
    REQUIRE(attached->replies.size() == 2);
    CHECK(attached->replies[0].bytes.text() == "one");
    CHECK(attached->replies[1].bytes.text() == "two");
    CHECK(attached->replies[1].position == 5);
}

TEST_CASE("applier: what a client has received is not kept, and not told again") {
    Applied replica;
    const std::uint64_t ann = replica.open(1);
    replica.ask(ann, 1, "send 1 a send 1 b reply one");
    replica.ask(ann, 2, "reply two", {1, 1});
    auto attached = replica.applier->attach(ann, SessionKey{1}, {});
    REQUIRE(attached);
    REQUIRE(attached->replies.size() == 1);
    CHECK(attached->replies[0].number == 2);
    REQUIRE(attached->pushes.size() == 1);
    CHECK(attached->pushes[0].number == 2);
    CHECK(attached->pushes[0].bytes.text() == "b");
    attached = replica.applier->attach(ann, SessionKey{1}, {2, 2});
    CHECK((attached && attached->replies.empty() && attached->pushes.empty()));
    replica.apply(Acknowledge{ann, {2, 2}});
    CHECK(replica.applier->state().sessions.find(ann)->bytes == 0);
    replica.outcomes();
    replica.apply(Acknowledge{77, {}});
    CHECK(replica.outcomes() == Lines{"closed 77 timed out"});
}

TEST_CASE("applier: only who has the key of a session is told about it, from then on") {
    Applied replica;
    const std::uint64_t ann = replica.open(1);
    replica.outcomes();
    CHECK_FALSE(replica.applier->attach(ann, SessionKey{2}, {}));
    CHECK_FALSE(replica.applier->attach(ann + 1, SessionKey{1}, {}));
    replica.ask(ann, 1, "reply one send 1 early");
    CHECK(replica.outcomes().empty());
    CHECK(replica.applier->attach(ann, SessionKey{1}, {}));
    replica.ask(ann, 2, "reply two send 1 late");
    CHECK(replica.outcomes() == Lines{"push 1 2 late", "reply 1 2 two"});
    replica.applier->detach(ann);
    replica.ask(ann, 3, "reply three");
    CHECK(replica.outcomes().empty());
}

TEST_CASE("applier: a session that is closed ends after the event, and all services hear of it") {
    Applied replica({"a", "b"});
    const std::uint64_t ann = replica.open(1);
    const std::uint64_t bob = replica.open(2, "bob");
    replica.outcomes();
    replica.seen(0);
    replica.seen(1);
    replica.ask(bob, 1, "close 1 send 1 x");
    CHECK(replica.seen(0) ==
          Lines{"3@100 message close 1 send 1 x of bob", "3@100 closing", "3@100 sent", "3@100 closed ann: service"});
    CHECK(replica.seen(1).back() == "3@100 closed ann: service");
    CHECK(replica.outcomes() == Lines{"closed 1 service"});
    replica.ask(ann, 1, "anything");
    CHECK(replica.seen(0).empty());
    replica.apply(CloseSession{bob, CloseReason::timed_out});
    replica.apply(CloseSession{bob, CloseReason::timed_out});
    CHECK(replica.seen(0) == Lines{"5@100 closed bob: timed out"});
    replica.submit("send 1 x close 1");
    CHECK(replica.seen(0) == Lines{"7@100 message send 1 x close 1", "7@100 nobody", "7@100 nobody"});
}

TEST_CASE("applier: who does not take what it is sent is closed, and nobody else") {
    Applied replica;
    const std::uint64_t ann = replica.open(1);
    const std::uint64_t bob = replica.open(2, "bob");
    replica.outcomes();
    replica.submit("flood 1 16384");
    CHECK(replica.outcomes().empty());
    replica.submit("send 1 x send 2 y");
    CHECK(replica.outcomes() == Lines{"closed 1 slow"});
    CHECK(replica.applier->state().sessions.find(ann) == nullptr);
    CHECK(replica.applier->state().sessions.find(bob)->pushes.size() == 1);
}

TEST_CASE("applier: nothing is told of an event that a service has not handled to its end") {
    Applied replica;
    const std::uint64_t ann = replica.open(1);
    replica.applier->attach(ann, SessionKey{1}, {});
    replica.outcomes();
    CHECK_THROWS_AS(replica.ask(ann, 1, "send 1 x throw"), std::runtime_error);
    CHECK(replica.outcomes().empty());
}

TEST_CASE("applier: who begins with a snapshot goes on exactly as who has applied all") {
    Applied whole({"a", "b"});
    const std::uint64_t ann = whole.open(1);
    whole.open(2, "bob");
    whole.ask(ann, 1, "reply one send 2 hello timer 4 700");
    whole.submit("timer 1000 0");
    whole.submit("random tell b random");
    Applied restored({"a", "b"});
    restored.load(whole);
    CHECK(restored.save() == whole.save());
    for (Applied* each : {&whole, &restored}) {
        each->time = 800;
        each->ask(ann, 1, "reply twice");
        each->ask(ann, 2, "random reply two close 2");
        each->submit("tell a random cancel 1000");
        each->open(1);
        each->nothing();
    }
    CHECK(restored.save() == whole.save());
    CHECK(restored.applier->attach(ann, SessionKey{1}, {})->replies ==
          whole.applier->attach(ann, SessionKey{1}, {})->replies);
    CHECK(whole.scripts[0].seen.size() > 3000);
}

TEST_CASE("applier: the same event has the same random numbers everywhere, and others have others") {
    Applied one({"a", "b"});
    Applied two({"a", "b"});
    for (Applied* each : {&one, &two}) {
        each->submit("random");
        each->submit("random");
    }
    CHECK(one.scripts[0].seen == two.scripts[0].seen);
    CHECK(one.scripts[1].seen == two.scripts[1].seen);
    const auto number = [](const std::string& line) { return line.substr(line.find(' ') + 1); };
    const Lines a = one.seen(0);
    const Lines b = one.seen(1);
    CHECK(number(a[2]) != number(b[2]));
    CHECK(number(a[2]) != number(a[4]));
}

TEST_CASE("applier: a snapshot of other services is refused, and one from before there were sections is not") {
    Applied two({"a", "b"});
    two.submit("hello");
    for (const std::vector<std::string>& names :
         std::vector<std::vector<std::string>>{{"a"}, {"b", "a"}, {"a", "b", "c"}}) {
        Applied other(names);
        CHECK_THROWS_WITH(other.load(two), doctest::Contains("service"));
    }
    Applied former;
    former.submit("hello");
    MemoryWriter out;
    former.scripts[0].save(out);
    Applied replica;
    MemoryReader in(out.out);
    replica.applier->load(in, 1, {});
    CHECK(replica.seen() == former.seen());
}

TEST_CASE("applier: equal states have equal hashes, and a byte more or less makes another one") {
    const auto hash = [](const std::vector<std::string>& messages) {
        Applied replica;
        for (const std::string& each : messages) replica.submit(each);
        replica.apply(cluster::group::CheckState{});
        return replica.applier->take_checked().at(0).hash;
    };
    CHECK(hash({"a", "b"}) == hash({"a", "b"}));
    CHECK(hash({"a", "b"}) != hash({"a", "c"}));
    CHECK(hash({"a", "timer 1 900"}) != hash({"a", "timer 1 901"}));
    Applied whole;
    whole.submit("a");
    Applied restored;
    restored.load(whole);
    for (Applied* each : {&whole, &restored}) each->apply(cluster::group::CheckState{});
    CHECK(whole.applier->take_checked() == restored.applier->take_checked());
    CHECK(whole.applier->unchecked() == 0);
}

TEST_CASE("applier: an entry that it does not know stops it") {
    Applied replica;
    Entry entry;
    entry.kind = EntryKind::command;
    entry.body = Bytes(std::string_view("\x7f and more"));
    CHECK_THROWS_AS(replica.apply(entry), std::runtime_error);
}

TEST_CASE("commands: what is packed is unpacked, and anything shorter is nothing") {
    const Command commands[] = {
        Submitted{DiskId{{1, 2}}, 3, 4, bytes_of("hello")},
        OpenSession{SessionKey{5}, 6, 7, "ann", "staff"},
        CloseSession{8, CloseReason::slow},
        SessionCommand{9, 10, {11, 12}, bytes_of("world")},
        Acknowledge{13, {14, 15}},
        cluster::group::CheckState{},
    };
    for (const Command& command : commands) {
        const Bytes packed = pack(command);
        CHECK(*cluster::group::unpack(packed.view()) == command);
        const bool has_message = command.index() == 0 || command.index() == 3;
        const std::size_t least = packed.size() - (has_message ? 5 : 0);
        for (std::size_t size = 0; size < least; ++size) CHECK_FALSE(cluster::group::unpack(packed.view().first(size)));
    }
    CHECK_FALSE(cluster::group::unpack(pack(CloseSession{8, CloseReason{9}}).view()));
}

TEST_CASE("sections: a service that reads less or more than was written does not disturb the next one") {
    MemoryWriter out;
    for (const char* name : {"a", "b"}) {
        SectionWriter section(out, name);
        section.write(std::string(100'000, name[0]));
        section.end();
    }
    MemoryReader in(out.out);
    SectionReader a(in, "a");
    std::uint32_t size = 0;
    a.read(size);
    a.end();
    CHECK(a.at_end());
    SectionReader b(in, "b");
    std::string text;
    b.read(text);
    CHECK(text == std::string(100'000, 'b'));
    CHECK(b.at_end());
    CHECK_THROWS_AS(b.read(size), std::system_error);
    b.end();
    CHECK(in.at_end());
}

}  // namespace cluster::applier_test
