#include "replica/support.hpp"

#include <cluster/client.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace cluster::client_test {

// Clients of a replicated service, over real sockets: from outside and from inside.

using namespace cluster;
using namespace cluster::replica_support;
using namespace std::chrono_literals;

namespace {

/// Counts what it is asked, and sends what it is told to.
class Desk final : public Service {
public:
    void on_message(Context& context, std::span<const std::byte> message) override {
        std::istringstream words(std::string(reinterpret_cast<const char*>(message.data()), message.size()));
        std::string word;
        words >> word;
        ++count_;
        const ClientSession* const client = context.session();
        if (word == "who") return context.reply(client->name + " " + client->principal);
        if (word == "sessions") return context.reply(std::to_string(context.sessions().size()));
        if (word == "echo") return context.reply(message);
        if (word == "close") context.close(client->id);
        if (word == "back") context.send(client->id, message);
        std::uint64_t number = 0;
        words >> number;
        if (word == "push") {
            for (std::uint64_t i = 1; i <= number; ++i) context.send(client->id, std::to_string(++pushed_));
        }
        if (word == "later") {
            waiting_ = client->id;
            fits = fits && context.schedule(1, context.time() + std::chrono::milliseconds(number));
        }
        context.reply(std::to_string(count_));
    }
    void on_timer(Context& context, std::uint64_t) override { context.send(waiting_, "now"); }
    void on_session_open(Context& context) override { opened.put(context.session()->name); }
    void on_session_close(Context&, CloseReason reason) override { closed.put(reason); }
    void on_query(QueryContext& context, std::span<const std::byte>) const override {
        context.reply(std::to_string(count_));
    }
    void save(SnapshotWriter& out) const override {
        out.write(count_);
        out.write(pushed_);
        out.write(waiting_);
    }
    void load(SnapshotReader& in) override {
        ++loaded;
        in.read(count_);
        in.read(pushed_);
        in.read(waiting_);
    }

    support::Events<std::string> opened;
    support::Events<CloseReason> closed;
    std::atomic<bool> fits{true};
    std::atomic<int> loaded{0};

private:
    std::uint64_t count_ = 0;
    std::uint64_t pushed_ = 0;
    std::uint64_t waiting_ = 0;
};

struct Voters {
    explicit Voters(std::size_t count = 3, ReplicaOptions replica_options = {}) : options(std::move(replica_options)) {
        for (std::size_t i = 0; i < count; ++i) options.voters.push_back("n" + std::to_string(i));
        options.election_timeout = 300ms;
        places = std::vector<Place>(count);
        for (std::size_t i = 0; i < count; ++i) start(i);
        REQUIRE(places[0].replica->wait_for_leader(patience));
    }
    void start(std::size_t at) {
        Options node = support::quick();
        node.name = options.voters[at];
        node.seeds = addresses();
        if (!places[at].address.empty()) node.listen = places[at].address;
        places[at].node = std::make_unique<Node>(node);
        places[at].address = places[at].node->address().to_string();
        options.directory = places[at].folder / "data";
        places[at].desk = std::make_unique<Desk>();
        places[at].replica = std::make_unique<Replica>(*places[at].node, *places[at].desk, options);
    }
    void stop(std::size_t at) {
        places[at].replica.reset();
        places[at].node.reset();
    }
    std::vector<std::string> addresses() const {
        std::vector<std::string> all;
        for (const Place& each : places) {
            if (!each.address.empty()) all.push_back(each.address);
        }
        return all;
    }
    std::size_t leader() {
        for (const auto deadline = std::chrono::steady_clock::now() + patience;
             std::chrono::steady_clock::now() < deadline; std::this_thread::yield()) {
            for (std::size_t i = 0; i < places.size(); ++i) {
                if (places[i].replica && places[i].replica->status().role == Role::leader) return i;
            }
        }
        FAIL("nobody leads");
        return 0;
    }
    ClientOptions client(std::string name = "client") const {
        ClientOptions client;
        client.addresses = addresses();
        client.name = std::move(name);
        return client;
    }

    struct Place {
        storage::support::Folder folder;
        std::string address;
        std::unique_ptr<Desk> desk;
        std::unique_ptr<Node> node;
        std::unique_ptr<Replica> replica;
    };
    ReplicaOptions options;
    std::vector<Place> places;
};

std::string call(Client& client, const std::string& command) {
    return std::string(client.call(command, patience).text());
}

}  // namespace

TEST_CASE("client: from outside it calls the service, whichever node it is given, and nobody has it in view") {
    Voters voters;
    for (std::size_t i = 0; i < 3; ++i) {
        ClientOptions options = voters.client();
        options.addresses = {voters.places[i].address};
        Client client(options);
        CHECK(client.wait_until_open(patience));
        CHECK(call(client, "count") == std::to_string(i + 1));
        CHECK(voters.places[0].node->peers().size() == 2);
    }
    CHECK(voters.places[0].desk->closed.take() == CloseReason::client);
}

TEST_CASE("client: from inside it calls the service, from the leader's node and from others") {
    Voters voters;
    for (std::size_t i = 0; i < 3; ++i) {
        Client client(*voters.places[i].node);
        CHECK(call(client, "count") == std::to_string(i + 1));
    }
}

TEST_CASE("client: commands take effect once and in order, across the loss of leader after leader") {
    Voters voters;
    Client client(voters.client());
    constexpr std::uint64_t many = 3000;
    std::atomic<std::uint64_t> answered{0};
    std::atomic<bool> in_order{true};
    std::promise<void> done;
    const auto ask = [&](std::uint64_t number) {
        client.call("count", patience, [&, number](std::error_code error, const Message& reply) {
            if (error || reply.text() != std::to_string(number)) in_order = false;
            if (++answered == many) done.set_value();
        });
    };
    std::uint64_t asked = 0;
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 1000; ++i) ask(++asked);
        const std::size_t leader = voters.leader();
        voters.stop(leader);
        voters.start(leader);
    }
    CHECK(done.get_future().wait_for(patience) == std::future_status::ready);
    CHECK(in_order);
    CHECK(call(client, "count") == std::to_string(many + 1));
    CHECK(client.status().phase == ClientStatus::Phase::open);
}

TEST_CASE("client: what the service sends comes once and in order, across failovers, and from timers") {
    Voters voters;
    Client client(voters.client());
    std::uint64_t expected = 0;
    for (int round = 0; round < 3; ++round) {
        call(client, "push 100");
        const std::size_t leader = voters.leader();
        voters.stop(leader);
        for (int i = 0; i < 100; ++i) {
            const auto message = client.receive_for(patience);
            REQUIRE(message);
            CHECK(message->text() == std::to_string(++expected));
        }
        voters.start(leader);
    }
    call(client, "later 50");
    voters.stop(voters.leader());
    const auto message = client.receive_for(patience);
    REQUIRE(message);
    CHECK(message->text() == "now");
}

TEST_CASE("client: reads see what was written, and cost no entry of the log") {
    Voters voters;
    Client client(voters.client());
    CHECK(call(client, "count") == "1");
    const std::uint64_t before = voters.places[0].replica->status().appended;
    for (int i = 0; i < 100; ++i) CHECK(client.read("", patience).text() == "1");
    ReadOptions stale;
    stale.consistency = Consistency::stale;
    CHECK(client.read("", patience, stale).text() == "1");
    CHECK(voters.places[0].replica->status().appended <= before + 2);
}

TEST_CASE("client: a session that is silent for its timeout is closed, and one that is idle is not") {
    support::Events<int> goes_on;
    Voters voters;
    ClientOptions options = voters.client("idle");
    options.session_timeout = 1s;
    Client idle(options);
    CHECK(call(idle, "count") == "1");
    CHECK_FALSE(idle.receive_for(2500ms));
    CHECK(call(idle, "count") == "2");
    CHECK(idle.status().phase == ClientStatus::Phase::open);

    options.name = "silent";
    Client silent(options);
    silent.call("count", patience, [&](std::error_code, const Message&) { goes_on.take(); });  // its only thread
    CHECK(voters.places[0].desk->closed.take() == CloseReason::timed_out);
    CHECK(call(idle, "sessions") == "1");
    goes_on.put(1);
    CHECK_FALSE(silent.receive());
    CHECK(silent.status().error == errc::session_expired);
}

TEST_CASE("client: its status is told at once, and each change, and last of all why it ended") {
    support::Events<ClientStatus> told;
    Voters voters;
    Client client(voters.client());
    const Subscription subscription = client.on_status([&](const ClientStatus& status) { told.put(status); });
    const auto reaches = [&](ClientStatus::Phase phase) {
        auto status = told.take();
        while (status && status->phase != phase) status = told.take();
        return status;
    };
    CHECK(told.take());
    CHECK(call(client, "count") == "1");
    for (std::size_t i = 0; i < 3; ++i) voters.stop(i);
    CHECK(reaches(ClientStatus::Phase::seeking));
    for (std::size_t i = 0; i < 3; ++i) voters.start(i);
    CHECK(reaches(ClientStatus::Phase::open));
    call(client, "close");
    const auto last = reaches(ClientStatus::Phase::ended);
    REQUIRE(last);
    CHECK(last->error == errc::closed_by_service);
}

TEST_CASE("client: what is sent without waiting for replies takes effect once, in its turn") {
    Voters voters;
    Client client(voters.client());
    for (int i = 0; i < 100; ++i) client.send("count");
    CHECK(call(client, "count") == "101");
}

TEST_CASE("client: the longest command, reply and message come whole, and a longer command is refused") {
    Voters voters;
    Client client(voters.client());
    const std::string much(voters.options.max_message - 5, 'x');
    CHECK((call(client, "echo " + much) == "echo " + much));
    call(client, "back " + much);
    const auto message = client.receive_for(patience);
    REQUIRE(message);
    CHECK((message->text() == "back " + much));
    std::error_code error;
    client.call("echo x" + much, patience, error);
    CHECK(error == errc::message_too_large);
}

TEST_CASE("client: when nobody has led for as long as it is to wait it ends, and so does what it asks") {
    Voters voters;
    ClientOptions options = voters.client();
    options.give_up_after = 500ms;
    Client client(options);
    CHECK(call(client, "count") == "1");
    for (std::size_t i = 0; i < 3; ++i) voters.stop(i);
    std::error_code error;
    client.call("count", patience, error);
    CHECK((error == errc::no_leader || error == errc::outcome_unknown));
    CHECK_FALSE(client.receive());
    CHECK(client.status().phase == ClientStatus::Phase::ended);
    CHECK(client.status().error == errc::no_leader);
}

TEST_CASE("client: the service sees who it is, and the leader lets in whom the application accepts") {
    ReplicaOptions options;
    options.authenticate = [](const Credentials& shown) {
        if (shown.credentials == "nobody") return Authentication::reject("not in the list");
        if (shown.credentials == "suspect" && shown.response != "echo of riddle") {
            return shown.challenge.empty() ? Authentication::challenge("riddle") : Authentication::reject("wrong");
        }
        return Authentication::accept("the " + std::string(shown.credentials));
    };
    Voters voters(3, options);
    ClientOptions staff = voters.client("ann");
    staff.credentials = "staff";
    Client ann(staff);
    CHECK(call(ann, "who") == "ann the staff");

    ClientOptions suspect = voters.client("bob");
    suspect.credentials = "suspect";
    suspect.respond = [](std::string_view challenge) { return "echo of " + std::string(challenge); };
    Client bob(suspect);
    CHECK(call(bob, "who") == "bob the suspect");

    ClientOptions nobody = voters.client("eve");
    nobody.credentials = "nobody";
    Client eve(nobody);
    CHECK_FALSE(eve.wait_until_open(patience));
    CHECK(eve.status().phase == ClientStatus::Phase::ended);
    CHECK(eve.status().why.find("not in the list") != std::string::npos);
    std::error_code error;
    eve.call("count", patience, error);
    CHECK(error == eve.status().error);
}

TEST_CASE("client: nobody is let in while it cannot be found out who that is") {
    ReplicaOptions options;
    options.authenticate = [](const Credentials&) -> Authentication {
        throw std::runtime_error("the list cannot be read");
    };
    Voters voters(1, options);
    Client client(voters.client());
    CHECK_FALSE(client.wait_until_open(patience));
    CHECK(client.status().error == errc::rejected);
    CHECK(voters.places[0].desk->opened.size() == 0);
}

TEST_CASE("client: a session that the service closes ends, and says so") {
    Voters voters;
    Client client(voters.client());
    call(client, "close");
    CHECK_FALSE(client.receive());
    CHECK(client.status().phase == ClientStatus::Phase::ended);
    std::error_code error;
    client.call("count", patience, error);
    CHECK(error == client.status().error);
    CHECK(voters.places[0].desk->closed.take() == CloseReason::service);
}

TEST_CASE("client: nothing fails because the session has ended before the status says so") {
    Voters voters(1);
    support::Events<std::pair<std::error_code, ClientStatus>> sent;
    Client* sender = nullptr;
    ClientOptions options = voters.client();
    options.log = [&](LogLevel, std::string_view text) {
        if (!text.starts_with("client_ended")) return;
        std::error_code error;
        sender->send("count", error);
        sent.put({error, sender->status()});
    };
    Client client(options);
    sender = &client;
    CHECK(call(client, "close") == "1");
    const auto [error, status] = sent.take().value();
    CHECK((!error || status.phase == ClientStatus::Phase::ended));
    while (client.status().phase != ClientStatus::Phase::ended) std::this_thread::yield();
    std::error_code late;
    client.send("count", late);
    CHECK(late == errc::closed_by_service);
}

TEST_CASE("client: beyond the limit of sessions the next one is refused, and says so") {
    ReplicaOptions options;
    options.max_sessions = 2;
    Voters voters(1, options);
    Client ann(voters.client("ann"));
    Client bob(voters.client("bob"));
    CHECK(call(ann, "count") == "1");
    CHECK(call(bob, "sessions") == "2");
    Client eve(voters.client("eve"));
    CHECK_FALSE(eve.wait_until_open(patience));
    CHECK(eve.status().error == errc::too_many_sessions);
    ann.close();
    Client late(voters.client("late"));
    CHECK(late.wait_until_open(patience));
}

TEST_CASE("client: a session survives the restart of all, with a snapshot") {
    Voters voters;
    Client client(voters.client());
    CHECK(call(client, "push 3") == "1");
    for (auto& place : voters.places) place.replica->snapshot();
    for (std::size_t i = 0; i < 3; ++i) voters.stop(i);
    for (std::size_t i = 0; i < 3; ++i) voters.start(i);
    CHECK(call(client, "sessions") == "1");
    CHECK(client.receive_for(patience)->text() == "1");
}

TEST_CASE("client: a session is served by one that got it in a snapshot, and misses nothing") {
    ReplicaOptions options;
    options.snapshot_every = std::size_t{64} << 10;
    Voters voters(3, options);
    Client client(voters.client());
    CHECK(call(client, "push 3") == "1");
    const std::size_t away = (voters.leader() + 1) % 3;
    voters.stop(away);
    const std::string much(10'000, 'x');
    for (int i = 0; i < 50; ++i) call(client, "count " + much);
    voters.start(away);
    const std::uint64_t position = client.call("count", patience).position();
    const Replica& behind = *voters.places[away].replica;
    for (const auto deadline = std::chrono::steady_clock::now() + patience;
         behind.status().applied < position && std::chrono::steady_clock::now() < deadline;) {
        std::this_thread::yield();
    }
    CHECK(voters.places[away].desk->loaded == 1);
    const std::size_t leads = voters.leader();
    if (leads != away) voters.places[leads].replica->transfer(voters.options.voters[away]);
    CHECK(call(client, "sessions") == "1");
    CHECK(call(client, "push 2") == "54");
    for (const char* each : {"1", "2", "3", "4", "5"}) {
        const auto message = client.receive_for(patience);
        REQUIRE(message);
        CHECK(message->text() == each);
    }
}

TEST_CASE("client: a hundred that come and go at once each have their session, and nothing is left of them") {
    Voters voters(1);
    ClientOptions options = voters.client();
    options.runtime = Runtime();
    std::vector<std::unique_ptr<Client>> clients;
    for (int i = 0; i < 100; ++i) clients.push_back(std::make_unique<Client>(options));
    for (const auto& each : clients) call(*each, "count");
    Client last(voters.client());
    CHECK(call(last, "sessions") == "101");
    clients.clear();
    std::string open;
    for (const auto deadline = std::chrono::steady_clock::now() + patience;
         open != "1" && std::chrono::steady_clock::now() < deadline;) {
        open = call(last, "sessions");
    }
    CHECK(open == "1");
    CHECK(voters.places[0].node->stats().guests == 1);
}

TEST_CASE("client: without anybody to serve it calls fail in their time, and have taken no effect") {
    ClientOptions options;
    options.addresses = {"127.0.0.1:1"};
    Client client(options);
    std::error_code error;
    client.call("count", 100ms, error);
    CHECK(error == errc::no_leader);
    CHECK(client.status().phase == ClientStatus::Phase::connecting);
    client.close();
    CHECK(client.status().error == errc::closed);
}

TEST_CASE("client: what is sent when too much waits already waits for room, in its turn") {
    Voters voters(1);
    voters.stop(0);
    Client client(voters.client());
    std::uint64_t taken = 0;
    std::error_code error;
    for (client.send("count", error); !error; client.send("count", error)) ++taken;
    CHECK(error == errc::too_many_requests);
    CHECK(taken == 65536);
    client.send("count", 20ms, error);
    CHECK(error == errc::too_many_requests);
    auto waiting = std::async(std::launch::async, [&] { client.send("push 1", patience); });
    voters.start(0);
    waiting.get();
    const auto pushed = client.receive_for(patience);
    REQUIRE(pushed);
    CHECK(pushed->text() == "1");
    CHECK(call(client, "count") == std::to_string(taken + 2));
    CHECK_FALSE(client.try_receive());
}

TEST_CASE("client: a send that waits for room ends when its client does") {
    ClientOptions options;
    options.addresses = {"127.0.0.1:1"};
    Client client(options);
    std::error_code error;
    while (!error) client.send("x", error);
    auto waiting = std::async(std::launch::async, [&] {
        std::error_code ended;
        client.send("x", patience, ended);
        return ended;
    });
    support::Events<errc> on_io;
    client.read("x", 20ms, [&](std::error_code, const Message&) {
        std::error_code refused;
        client.send("x", patience, refused);
        on_io.put(static_cast<errc>(refused.value()));
    });
    CHECK(on_io.take() == errc::would_block);
    client.close();
    CHECK(waiting.get() == errc::closed);
}

TEST_CASE("client: a node without a replica of its group says so, to guests and to its own, and another one is asked") {
    Node node(support::quick());
    ClientOptions options;
    options.addresses = {node.address().to_string()};
    const auto says_so = [](const ClientStatus& status) {
        return status.why == "no replica of group \"group\" runs on any node that was asked";
    };
    Client outside(options);
    Client inside(node);
    for (Client* const client : {&outside, &inside}) {
        support::Events<bool> said;
        const Subscription subscription = client->on_status([&](const ClientStatus& status) {
            if (says_so(status)) said.put(true);
        });
        CHECK(said.take());
    }

    Voters voters(1);
    voters.places[0].replica.reset();
    ClientOptions both = voters.client();
    both.addresses.push_back(options.addresses[0]);
    Client late(both);
    std::error_code error;
    late.call("count", 300ms, error);
    CHECK(error == errc::no_leader);
    CHECK(says_so(late.status()));
    voters.places[0].replica =
        std::make_unique<Replica>(*voters.places[0].node, *voters.places[0].desk, voters.options);
    CHECK(call(late, "count") == "1");
}

TEST_CASE("client: what is called after it was closed, or after its node was, fails at once") {
    Voters voters(1);
    Client outside(voters.client());
    Client inside(*voters.places[0].node);
    CHECK(call(outside, "count") == "1");
    CHECK(call(inside, "count") == "2");
    outside.close();
    voters.stop(0);
    for (Client* client : {&outside, &inside}) {
        std::error_code error;
        client->call("count", patience, error);
        CHECK(error == errc::closed);
        client->read("", patience, error);
        CHECK(error == errc::closed);
        client->send("count", error);
        CHECK(error == errc::closed);
        std::promise<std::error_code> told;
        client->call("count", patience, [&](std::error_code why, const Message&) { told.set_value(why); });
        CHECK(told.get_future().get() == errc::closed);
        CHECK_FALSE(client->receive());
    }
}

TEST_CASE("client: bad options are refused, and the text says which") {
    ClientOptions options;
    CHECK_THROWS_WITH(Client{options}, doctest::Contains("ClientOptions::addresses"));
    options.addresses = {"nowhere"};
    CHECK_THROWS_WITH(Client{options}, doctest::Contains("nowhere"));
    options.addresses = {"127.0.0.1:1"};
    options.max_outstanding = 0;
    CHECK_THROWS_WITH(Client{options}, doctest::Contains("max_outstanding"));
    const auto names = [&](const char* option, const auto& change) {
        ClientOptions bad;
        bad.addresses = {"127.0.0.1:1"};
        change(bad);
        CHECK_THROWS_WITH(Client{bad}, doctest::Contains(option));
    };
    names("addresses", [](ClientOptions& bad) { bad.addresses.assign(65, "127.0.0.1:1"); });
    names("group", [](ClientOptions& bad) { bad.group = ""; });
    names("cluster", [](ClientOptions& bad) { bad.cluster = std::string(65, 'x'); });
    names("name", [](ClientOptions& bad) { bad.name = std::string(65, 'x'); });
    names("credentials", [](ClientOptions& bad) { bad.credentials = std::string((16 << 10) + 1, 'x'); });
    names("session_timeout", [](ClientOptions& bad) { bad.session_timeout = 99ms; });
    names("give_up_after", [](ClientOptions& bad) { bad.give_up_after = -1s; });
    names("max_outstanding", [](ClientOptions& bad) { bad.max_outstanding = 1025; });
    names("inbox_bytes", [](ClientOptions& bad) { bad.inbox_bytes = 0; });
    Node node(support::quick());
    CHECK_THROWS_WITH((Client{node, options}), doctest::Contains("addresses must be empty"));
}

}  // namespace cluster::client_test
