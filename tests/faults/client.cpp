// One process of the fault tests with clients outside of the group, told what to do by lines on standard input. Every
// line on standard output is a JSON object: an event, stamped in nanoseconds of the steady clock, or the reply to a
// command. clients.py is the other side.
//
// Words `name=value` on the command line: name, addresses (separated by commas), clients (how many), keys (of how many
// registers), seed, log (a file), session_timeout and give_up_after (milliseconds), outstanding (calls of one client at
// a time), inbox_bytes, `deaf`, with which nobody takes what the service sends, and `inside`, with which all clients
// are inside of one node, which listens on host, has the addresses as its seeds, and has no replica.
//
// Commands:
//   load RATE MILLISECONDS   each client calls, sends and reads so often a second, with time-outs up to that; a client
//                            that has ended is replaced by a new one
//   hush                     ends that
//   size BYTES               commands are so long from now on; says nothing
//   rest                     a client has the service end its ticks; says how that ended
//   flood BYTES              a client has the service push so much to all; says how that ended
//   clients                  how each client is, and what it has got
//   close                    closes the clients that are there, and says how each has ended
//
// Each client has a life, a word that no other client has. What it asks for has a number there, and is reported with
// its outcome, when there is one: `done`, `refused` for what has no effect, `unknown` for what may have. What the
// service sends is checked here: each push says its number and a hash of all before it.

#include "applied.hpp"
#include "process.hpp"

#include <cluster/client.hpp>
#include <cluster/cluster.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace cluster;
using namespace cluster::faults;
using namespace std::chrono_literals;

constexpr auto turn = 5ms;

/// What is asked for.
struct Request {
    std::uint64_t number = 0;
    std::string what;  ///< `get`, `stale`, `put`, `cas`, `append`, `rest`, `flood`
    std::string key;
    std::string former;
    std::string value;
    std::chrono::milliseconds timeout{};
    std::int64_t begun = 0;
    std::uint64_t at_least = 0;

    bool reads() const { return what == "get" || what == "stale"; }
};

/// One client of one life, and all that it is told.
class Caller {
public:
    Caller(Output& output, Log& log, Words& words, Node* node, std::string life)
        : output_(output),
          life_(std::move(life)),
          most_open_(words.contains("outstanding") ? std::stoull(words["outstanding"]) : 16),
          keys_(words.contains("keys") ? std::stoull(words["keys"]) : 8),
          client_(client_of(node, options_of(log, words))) {
        std::seed_seq seed(life_.begin(), life_.end());
        chance_.seed(seed);
        chance_.discard(std::stoull(words["seed"].empty() ? "0" : words["seed"]) % 1'000'000);
        states_ = client_.on_status([this](const ClientStatus& status) {
            output_.put(line("phase") + ",\"phase\":" + quoted(to_string(status.phase)) + ",\"error\":" +
                        quoted(status.error ? status.error.message() : "") + ",\"why\":" + quoted(status.why) + '}');
        });
        if (!words.contains("deaf")) receiver_ = std::thread([this] { receive(); });
    }
    ~Caller() {
        client_.close();
        if (receiver_.joinable()) receiver_.join();
    }

    const std::string& life() const { return life_; }
    bool ended() const { return client_.status().phase == ClientStatus::Phase::ended; }
    void close() { client_.close(); }
    void set_size(std::size_t bytes) { size_ = bytes; }

    /// Asks for something by chance, with a time-out up to that, unless too much is open.
    void ask(std::chrono::milliseconds timeout) {
        Request request;
        bool send = false;
        {
            const std::lock_guard lock(mutex_);
            if (open_ >= most_open_) return;
            ++open_;
            request.number = ++number_;
            request.key = "k" + std::to_string(chance_() % keys_);
            request.value = life_ + '.' + std::to_string(request.number);
            request.timeout = chance_() % 4 == 0 ? timeout / 10 : timeout;
            request.at_least = told_;
            const auto what = chance_() % 100;
            request.what = what < 25 ? "get" : what < 35 ? "stale" : what < 65 ? "put" : what < 85 ? "cas" : "append";
            if (request.what == "cas") request.former = seen_.contains(request.key) ? seen_[request.key] : "nothing";
            send = request.what == "put" && chance_() % 4 == 0;
        }
        if (send) return this->send(request);
        start(std::move(request), {});
    }
    /// Has the service do that, and waits for the outcome.
    std::error_code order(std::string what, std::string key) {
        Request request;
        {
            const std::lock_guard lock(mutex_);
            ++open_;
            request.number = ++number_;
            request.what = std::move(what);
            request.key = std::move(key);
            request.timeout = 5s;
        }
        std::mutex mutex;
        std::condition_variable changed;
        std::optional<std::error_code> outcome;
        start(std::move(request), [&](std::error_code error) {
            const std::lock_guard lock(mutex);
            outcome = error;
            changed.notify_one();
        });
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return outcome.has_value(); });
        return *outcome;
    }

    std::string text() const {
        const ClientStatus status = client_.status();
        const std::lock_guard lock(mutex_);
        return quoted(life_) + ":{\"phase\":" + quoted(to_string(status.phase)) +
               ",\"error\":" + quoted(status.error ? status.error.message() : "") + ",\"why\":" + quoted(status.why) +
               ",\"open\":" + std::to_string(open_) + ",\"asked\":" + std::to_string(number_) +
               ",\"pushes\":" + std::to_string(pushes_) + ",\"chain\":" + std::to_string(chain_.value()) + '}';
    }

private:
    static Client client_of(Node* node, ClientOptions options) {
        if (node == nullptr) return Client(std::move(options));
        options.addresses.clear();
        options.log = {};  // it writes to that of its node
        return Client(*node, std::move(options));
    }
    ClientOptions options_of(Log& log, Words& words) const {
        ClientOptions options;
        std::istringstream addresses(words["addresses"]);
        for (std::string each; std::getline(addresses, each, ',');) options.addresses.push_back(each);
        options.name = life_;
        if (words.contains("session_timeout")) {
            options.session_timeout = std::chrono::milliseconds(std::stoi(words["session_timeout"]));
        }
        if (words.contains("give_up_after")) {
            options.give_up_after = std::chrono::milliseconds(std::stoi(words["give_up_after"]));
        }
        if (words.contains("inbox_bytes")) options.inbox_bytes = std::stoull(words["inbox_bytes"]);
        options.log = [&log, life = life_](LogLevel level, std::string_view text) { log.write(life, level, text); };
        return options;
    }
    std::string line(const char* event) const {
        return "{\"at\":" + std::to_string(now()) + ",\"life\":" + quoted(life_) + ",\"event\":\"" + event + '"';
    }
    void problem(const std::string& why) { output_.put(line("problem") + ",\"why\":" + quoted(why) + '}'); }

    std::string command(const Request& request) const {
        std::string text = life_ + ' ' + std::to_string(request.number) + ' ' + request.what + ' ' + request.key + ' ' +
                           (request.what == "cas" ? request.former + ' ' : "") + request.value;
        if (text.size() < size_) text.resize(size_, ' ');
        return text;
    }
    void send(Request& request) {
        request.begun = now();
        std::error_code error;
        client_.send(command(request), error);
        if (error) return ended(request, error, {}, 0);
        report(request, "sent", {}, {}, 0);
        const std::lock_guard lock(mutex_);
        --open_;
    }
    void start(Request request, std::function<void(std::error_code)> then) {
        request.begun = now();
        const auto end = [this, request, then](std::error_code error, const Message& reply) {
            ended(request, error, std::string(reply.text()), reply.position());
            if (then) then(error);
        };
        if (!request.reads()) return client_.call(command(request), request.timeout, end);
        ReadOptions options;
        if (request.what == "stale") options = {Consistency::stale, request.at_least};
        client_.read(request.key, request.timeout, end, options);
    }
    void ended(const Request& request, std::error_code error, std::string reply, std::uint64_t position) {
        std::uint64_t version = 0;
        if (!error && request.reads()) {
            std::istringstream words(reply);
            words >> version >> reply;
            if (version > position) problem("a read is older than what it shows: " + std::to_string(position));
            if (request.what == "stale" && position < request.at_least) problem("a stale read was too old");
        }
        const std::string outcome = outcome_of(request, error);
        report(request, outcome, error, reply, request.reads() ? version : position);
        const bool by_end = error && error != errc::timed_out && error != errc::overloaded && error != errc::no_leader;
        if (by_end && !ended()) problem("failed before the end was told: " + error.message());
        const std::lock_guard lock(mutex_);
        --open_;
        if (error) return;
        told_ = std::max(told_, position);
        if (request.what != "stale") seen_[request.key] = reply;
    }
    std::string outcome_of(const Request& request, std::error_code error) {
        if (!error) return "done";
        const bool has_no_effect = error == errc::no_leader || error == errc::overloaded ||
                                   error == errc::session_expired || error == errc::too_slow;
        if (has_no_effect) return "refused";
        const bool may_have_effect =
            error == errc::timed_out || error == errc::closed || error == errc::outcome_unknown;
        if (!may_have_effect) problem(request.what + " failed: " + error.message());
        return "unknown";
    }
    void report(const Request& request, const std::string& outcome, std::error_code error, const std::string& reply,
                std::uint64_t position) {
        output_.put(
            line("outcome") + ",\"number\":" + std::to_string(request.number) + ",\"what\":" + quoted(request.what) +
            ",\"key\":" + quoted(request.key) + ",\"former\":" + quoted(request.former) +
            ",\"value\":" + quoted(request.value) + ",\"begun\":" + std::to_string(request.begun) +
            ",\"timeout\":" + std::to_string(request.timeout.count()) + ",\"outcome\":" + quoted(outcome) +
            ",\"error\":" + quoted(error ? error.message() : "") + ",\"reply\":" + quoted(reply) +
            ",\"at_least\":" + std::to_string(request.at_least) + ",\"position\":" + std::to_string(position) + '}');
    }

    void receive() {
        std::uint64_t position = 0;
        while (const std::optional<Message> push = client_.receive()) {
            const std::string text(push->text());
            std::istringstream words(text);
            std::uint64_t number = 0;
            std::uint64_t chain = 0;
            words >> number >> chain;
            const std::string what = text.substr(static_cast<std::size_t>(words.tellg()) + 1);
            if (push->position() < position) problem("a push goes back in the log");
            position = push->position();
            const std::lock_guard lock(mutex_);
            if (number != pushes_ + 1) problem("push " + text + " after " + std::to_string(pushes_));
            if (chain != chain_.value()) problem("push " + text + " comes after other ones than it should");
            pushes_ = number;
            chain_.add(what);
            std::string key;
            std::string value;
            std::string life;
            std::uint64_t version = 0;
            std::istringstream parts(what);
            parts >> key >> version >> value >> life >> number;
            if (key == "tick" || key == "flood") continue;
            if (version != position) problem("push " + text + " has another place: " + std::to_string(position));
            seen_[key] = value;
            if (life != life_) continue;
            output_.put(line("pushed") + ",\"number\":" + std::to_string(number) +
                        ",\"position\":" + std::to_string(position) + '}');
        }
        if (!ended()) problem("there are no more pushes, and it has not ended");
    }

    Output& output_;
    const std::string life_;
    const std::uint64_t most_open_;
    const std::uint64_t keys_;
    std::atomic<std::size_t> size_{0};
    mutable std::mutex mutex_;
    std::mt19937_64 chance_;
    std::uint64_t number_ = 0;
    std::uint64_t open_ = 0;
    std::uint64_t told_ = 0;  ///< the greatest place in the log that this client was told of
    std::uint64_t pushes_ = 0;
    Chain chain_;
    std::map<std::string, std::string> seen_;  ///< what a register held when it was last heard of
    Client client_;
    Subscription states_;
    std::thread receiver_;
};

/// All clients of this process, and a thread that has them ask.
class Crowd {
public:
    Crowd(Output& output, Log& log, Words words) : output_(output), log_(log), words_(std::move(words)) {
        if (words_.contains("inside")) {
            Words node = words_;
            node["seeds"] = node["addresses"];
            Options options = options_of(node);
            options.name = words_["name"];
            options.listen = words_["host"] + ":7000";
            options.log = [this](LogLevel level, std::string_view text) { log_.write(words_["name"], level, text); };
            node_.emplace(options);
        }
        const std::uint64_t count = words_.contains("clients") ? std::stoull(words_["clients"]) : 1;
        for (std::uint64_t each = 0; each < count; ++each) callers_.push_back(begin(each));
    }
    ~Crowd() { stop(); }

    void start(double per_second, std::chrono::milliseconds timeout) {
        stop();
        stopped_ = false;
        thread_ = std::thread([this, per_second, timeout] { run(per_second, timeout); });
    }
    void stop() {
        {
            const std::lock_guard lock(mutex_);
            stopped_ = true;
        }
        changed_.notify_one();
        if (thread_.joinable()) thread_.join();
    }

    void set_size(std::size_t bytes) {
        const std::lock_guard lock(mutex_);
        size_ = bytes;
    }

    // When nobody asks.
    std::string order(const std::string& what, const std::string& key) {
        std::string why = "nobody is there to ask";
        for (const auto& each : callers_) {
            if (each->ended()) continue;
            const std::error_code error = each->order(what, key);
            if (!error) return "";
            why = error.message();
        }
        return why;
    }
    std::string text() const {
        std::string text;
        for (const auto* some : {&callers_, &former_}) {
            for (const auto& each : *some) text += (text.empty() ? "" : ",") + each->text();
        }
        return '{' + text + '}';
    }
    void close() {
        for (const auto& each : callers_) each->close();
    }

private:
    std::unique_ptr<Caller> begin(std::uint64_t which) {
        const std::string life = words_["name"] + std::to_string(which) + '-' + std::to_string(++generations_[which]);
        return std::make_unique<Caller>(output_, log_, words_, node_ ? &*node_ : nullptr, life);
    }
    void run(double per_second, std::chrono::milliseconds timeout) {
        const auto begun = Clock::now();
        std::uint64_t asked = 0;
        std::unique_lock lock(mutex_);
        while (!stopped_) {
            const double passed = std::chrono::duration<double>(Clock::now() - begun).count();
            // Who was stopped for a while does not catch up.
            const auto due = static_cast<std::uint64_t>(passed * per_second);
            asked = std::max(asked, due - std::min<std::uint64_t>(due, 10));
            const std::size_t size = size_;
            lock.unlock();
            for (const auto& each : callers_) each->set_size(size);
            for (; asked < due; ++asked) {
                for (const auto& each : callers_) each->ask(timeout);
            }
            for (std::size_t each = 0; each < callers_.size(); ++each) {
                if (!callers_[each]->ended()) continue;
                former_.push_back(std::exchange(callers_[each], begin(each)));
                former_.back()->close();
            }
            lock.lock();
            changed_.wait_for(lock, turn, [this] { return stopped_; });
        }
    }

    Output& output_;
    Log& log_;
    Words words_;
    std::optional<Node> node_;
    std::vector<std::unique_ptr<Caller>> callers_;
    std::vector<std::unique_ptr<Caller>> former_;
    std::map<std::uint64_t, std::uint64_t> generations_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool stopped_ = true;
    std::size_t size_ = 0;
    std::thread thread_;
};

void run(Words words) {
    Output output;
    Log log(words["log"]);
    const auto reply = [&](const std::string& command, const std::string& part) {
        output.put("{\"reply\":" + quoted(command) + ',' + quoted(words["name"]) + ':' + part + '}');
    };
    Crowd crowd(output, log, words);
    reply("started", quoted(words["name"]));
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream command(line);
        std::string what;
        command >> what;
        if (what == "load") {
            double per_second = 0;
            int timeout = 0;
            command >> per_second >> timeout;
            crowd.start(per_second, std::chrono::milliseconds(timeout));
            reply(what, "0");
        } else if (what == "hush") {
            crowd.stop();
            reply(what, "0");
        } else if (what == "size") {
            std::size_t bytes = 0;
            command >> bytes;
            crowd.set_size(bytes);
        } else if (what == "rest") {
            reply(what, quoted(crowd.order("rest", "rest")));
        } else if (what == "flood") {
            std::string bytes;
            command >> bytes;
            reply(what, quoted(crowd.order("flood", bytes)));
        } else if (what == "clients") {
            reply(what, crowd.text());
        } else if (what == "close") {
            crowd.close();
            reply(what, crowd.text());
        } else {
            throw std::runtime_error("unknown command: " + line);
        }
    }
    std::_Exit(EXIT_SUCCESS);  // nobody is there any more to whom a farewell would matter
}

}  // namespace

int main(int count, char** values) {
    return cluster::faults::run_program("fault-client", count, values, run);
}
