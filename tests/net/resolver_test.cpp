#include "net/resolver.hpp"
#include "net/support.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <pthread.h>

using namespace cluster;
using namespace cluster::net;
using namespace cluster::support;
using namespace std::chrono_literals;

namespace {

/// A name server that answers with 10.0.0.1, but for names that begin with "slow" only once it is released.
struct NameServer {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<std::string> asked;
    std::size_t most_at_once = 0;
    std::size_t at_once = 0;
    bool released = false;

    Resolver::Endpoints look_up(const Address& name) {
        std::unique_lock lock(mutex);
        asked.push_back(name.host);
        most_at_once = std::max(most_at_once, ++at_once);
        changed.notify_all();
        if (name.host.starts_with("slow")) changed.wait(lock, [this] { return released; });
        --at_once;
        return {asio::ip::tcp::endpoint(asio::ip::make_address("10.0.0.1"), name.port)};
    }
    void release() {
        const std::lock_guard lock(mutex);
        released = true;
        changed.notify_all();
    }
    bool wait_until_asked(std::size_t times) {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, patience, [&] { return asked.size() >= times; });
    }
};

/// A resolver whose I/O thread is the test's own.
struct Names {
    std::shared_ptr<NameServer> server = std::make_shared<NameServer>();
    asio::io_context io;
    asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
    std::shared_ptr<int> owner = std::make_shared<int>();
    std::optional<Resolver> resolver;
    std::vector<std::string> found;
    std::vector<std::string> not_found;

    Names() {
        resolver.emplace(io, [server = server](const Address& name) { return server->look_up(name); });
    }
    ~Names() { server->release(); }

    void ask(const std::string& host) {
        resolver->look_up({host, 7000}, owner, [this, host](const Resolver::Endpoints& endpoints) {
            (endpoints.empty() ? not_found : found).push_back(host);
        });
    }
    bool wait(std::size_t answers) {
        const auto end = std::chrono::steady_clock::now() + patience;
        while (found.size() + not_found.size() < answers && io.run_one_until(end) != 0) {
        }
        return found.size() + not_found.size() == answers;
    }
};

/// While it lives no thread can be made.
class NoThreads {
public:
    NoThreads() {
        pthread_getattr_default_np(&before_);
        pthread_attr_t none;
        pthread_attr_init(&none);
        pthread_attr_setstacksize(&none, std::size_t{1} << 50);
        pthread_setattr_default_np(&none);
        pthread_attr_destroy(&none);
    }
    ~NoThreads() {
        pthread_setattr_default_np(&before_);
        pthread_attr_destroy(&before_);
    }
    NoThreads(const NoThreads&) = delete;
    NoThreads& operator=(const NoThreads&) = delete;

private:
    pthread_attr_t before_{};
};

}  // namespace

TEST_CASE("resolver: a name whose server is silent delays nobody but itself") {
    Names names;
    names.ask("slow");
    REQUIRE(names.server->wait_until_asked(1));
    names.ask("quick");
    REQUIRE(names.wait(1));
    CHECK(names.found == std::vector<std::string>{"quick"});
    names.server->release();
    REQUIRE(names.wait(2));
    CHECK(names.found.back() == "slow");
}

TEST_CASE("resolver: so many names are looked up at once, so many wait, and those beyond are not found") {
    Names names;
    const std::size_t most = Resolver::most_at_once + Resolver::most_waiting;
    for (std::size_t i = 0; i < most; ++i) {
        names.ask("slow" + std::to_string(i));
        // Or else it would depend on the threads how many have begun.
        if (i < Resolver::most_at_once) REQUIRE(names.server->wait_until_asked(i + 1));
    }
    names.ask("one too many");
    REQUIRE(names.wait(1));
    CHECK(names.not_found == std::vector<std::string>{"one too many"});
    names.server->release();
    REQUIRE(names.wait(most + 1));
    CHECK(names.found.size() == most);
    CHECK(names.server->most_at_once == Resolver::most_at_once);
}

TEST_CASE("resolver: however many ask for a name, it is looked up once at a time, and each time anew") {
    Names names;
    for (int i = 0; i < 3; ++i) names.ask("slow");
    names.server->release();
    REQUIRE(names.wait(3));
    CHECK(names.server->asked.size() == 1);
    names.ask("slow");
    REQUIRE(names.wait(4));
    CHECK(names.server->asked.size() == 2);
}

TEST_CASE("resolver: who is gone when the answer comes is not called, and what only they wait for is not looked up") {
    Names names;
    for (std::size_t i = 0; i < Resolver::most_at_once; ++i) {
        names.ask("slow" + std::to_string(i));
        REQUIRE(names.server->wait_until_asked(i + 1));
    }
    names.ask("never");
    names.owner.reset();
    names.owner = std::make_shared<int>();
    names.ask("last");
    names.server->release();
    REQUIRE(names.wait(1));
    CHECK(names.found == std::vector<std::string>{"last"});
    CHECK(std::count(names.server->asked.begin(), names.server->asked.end(), "never") == 0);
}

TEST_CASE("resolver: its end waits for no look-up") {
    Names names;
    names.ask("slow");
    REQUIRE(names.server->wait_until_asked(1));
    names.resolver.reset();  // would never return if it waited
    names.server->release();
    CHECK(names.found.empty());
}

TEST_CASE("resolver: without a thread a name is not found, and is found when there are threads again") {
    Names names;
    {
        const NoThreads none;
        names.ask("quick");
        REQUIRE(names.wait(1));
        CHECK(names.not_found == std::vector<std::string>{"quick"});
    }
    names.ask("quick");
    REQUIRE(names.wait(2));
    CHECK(names.found == std::vector<std::string>{"quick"});
}

TEST_CASE("bad input: without a thread numeric addresses are dialled, names fail, and a seed is tried again") {
    Node bob(quick());
    const std::uint16_t port = bob.address().port;
    Options options = eager();
    Lines lines;
    options.log = lines.sink();
    const Runtime runtime;  // has its threads before there are no more
    options.runtime = runtime;
    std::optional<NoThreads> none(std::in_place);
    options.seeds = {"localhost:" + std::to_string(port)};
    Node ann(options);
    REQUIRE(lines.wait_for("seed_unreachable"));
    CHECK(add_error(ann, "localhost:" + std::to_string(port)) == errc::unresolvable_host);
    options = quick();
    options.runtime = runtime;
    Node eve(options);
    CHECK(add_error(eve, bob.address().to_string()) == std::error_code());
    none.reset();
    CHECK(bob.wait_for_peers(2, patience));
}
