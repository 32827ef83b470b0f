// Calls that find the member their key belongs to, while members come, leave and crash.
//
// Each service is a member of the cluster, and a ring of all members says whose a key is. Callers ask the owner. While
// members change, views differ for a moment. So a service that is asked for the key of another passes the call on. It
// does so once: two that disagree would send it to and fro. A call that is lost, or that nobody answers, is made again.
//
// So it may be carried out twice. Here that does no harm; elsewhere give each call a number, and remember it.

#include <cluster/cluster.hpp>
#include <cluster/codec.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <future>
#include <initializer_list>
#include <iostream>
#include <iterator>
#include <latch>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;

struct Call {
    std::string key, via;  // by whom it has been passed on, if at all
    void serialize(auto& archive) { archive(key, via); }
};

struct Answer {
    std::string by, via, trouble;  // with trouble it is no answer
    void serialize(auto& archive) { archive(by, via, trouble); }
};

/// Waits until each of them sees so many.
void wait_for_members(std::size_t count, std::initializer_list<const cluster::Node*> nodes) {
    for (const cluster::Node* node : nodes) {
        for (const auto& update : node->members().watch()) {
            if (update.view.size() == count) break;
        }
    }
}

/// Whose each key is, as one node sees it. For one thread.
class Owners {
public:
    explicit Owners(const cluster::Node& node) : watch_(node.members().watch()) { renew(); }

    /// Takes the newest view. If it has that already, it waits at most `patience` for another.
    void renew(std::chrono::milliseconds patience = 0ms) {
        const auto update = watch_.next_for(patience);
        if (!update) return;
        members_ = update->view;
        ring_ = cluster::Ring(members_);
    }
    /// The owner, or the member that is next to own it. Null if there is none.
    const cluster::Member* of(std::string_view key, std::size_t next = 0) const {
        const auto ids = ring_.owners(key, next + 1);
        return ids.size() > next ? members_.find(ids[next]) : nullptr;
    }
    std::size_t count() const { return members_.size(); }

private:
    cluster::MemberWatch watch_;
    cluster::MemberView members_;
    cluster::Ring ring_;
};

class Service {
public:
    /// Enrols when it sees the others: until then it would take their keys for its own.
    Service(const std::string& name, const std::string& seed, std::size_t others) : name_(name) {
        if (others > 0) node.add(seed);
        wait_for_members(others, {&node});
        membership_.set_data(name);
        membership_.enroll(cluster::seen_by::all_peers, 20s);
    }
    ~Service() {
        node.close();  // which ends the inbox
        thread_.join();
    }

    void leave() {
        membership_.withdraw(cluster::seen_by::all_peers, 20s);  // from here on it passes on what it is asked
        node.close();
    }
    std::string address() const { return node.address().to_string(); }

    cluster::Node node{cluster::Options::local()};

private:
    void serve() {
        Owners owners(node);
        for (const cluster::Message& message : node.inbox()) {
            std::error_code error;
            const auto call = message.as<Call>(error);
            owners.renew();
            const cluster::Member* const owner = owners.of(call.key);
            const bool mine = owner && owner->id() == membership_.id();
            if (error || !owner || (!mine && !call.via.empty())) {
                reply(message, {name_, call.via, "neither of two was the owner"});
            } else if (mine) {
                reply(message, {name_, call.via, ""});
            } else {  // without waiting: the owner may be passing on a call to this one
                const auto pass_back = [message, by = name_](std::error_code lost, const cluster::Message& got) {
                    reply(message, lost ? Answer{by, "", "passed on, " + lost.message()} : got.as<Answer>());
                };
                node.request(owner->owner(), cluster::encode(Call{call.key, name_}), 5s, pass_back);
            }
        }
    }
    static void reply(const cluster::Message& message, const Answer& answer) {
        std::error_code gone;  // then nobody waits for it
        message.reply(cluster::encode(answer), gone);
    }

    const std::string name_;
    cluster::Membership membership_ = node.create_membership();
    std::thread thread_{[this] { serve(); }};
};

/// Dan, in a process of his own. He is told whom to join, and ends with this program at the latest.
class Process {
public:
    Process() {
        if (::pipe(ends_) != 0 || (id_ = ::fork()) < 0) std::abort();
        if (id_ != 0) return;
        ::close(ends_[1]);
        char seed[64];
        const ssize_t size = ::read(ends_[0], seed, sizeof seed);
        if (size <= 0) ::_exit(1);
        const Service dan("dan", std::string(seed, static_cast<std::size_t>(size)), 3);
        ::_exit(::read(ends_[0], seed, sizeof seed) == 0 ? 0 : 1);  // waits for the end of the other end
    }
    void join(const std::string& seed) const {
        if (::write(ends_[1], seed.data(), seed.size()) < 0) std::abort();
    }
    void kill() const {
        ::kill(id_, SIGKILL);
        ::waitpid(id_, nullptr, 0);
    }

private:
    int ends_[2] = {};
    pid_t id_ = 0;
};

struct Outcome {
    std::string key, by, via, astray;  // astray: to whom it was sent on purpose, who is not the owner
    std::string trouble, story;        // trouble: why it was made again
};

Outcome call(cluster::Node& node, Owners& owners, const std::string& key, bool astray) {
    Outcome outcome{.key = key, .by = "nobody", .via = "", .astray = "", .trouble = "", .story = "    " + key + ": "};
    owners.renew();
    for (int tries = 0; tries < 100; ++tries) {
        const cluster::Member& to = *owners.of(key, astray ? 1 : 0);
        if (astray) outcome.astray = to.text();
        std::error_code error;
        const cluster::Message reply = node.request(to.owner(), cluster::encode(Call{key, ""}), 10s, error);
        const Answer answer = error ? Answer{"", "", error.message()} : reply.as<Answer>();
        outcome.via = answer.via;
        outcome.story += "asked " + std::string(to.text()) + (answer.via.empty() ? ", " : ", passed on, ");
        if (answer.trouble.empty()) {
            outcome.by = answer.by;
            outcome.story += "answered by " + answer.by;
            break;
        }
        outcome.trouble = answer.trouble;
        outcome.story += answer.trouble + "; ";
        astray = false;
        owners.renew(50ms);  // the sooner it changes, the sooner the next try
    }
    return outcome;
}

/// Four threads make a thousand calls, and more until `change` has returned. One in three goes astray. Prints who has
/// answered; false if it was somebody else than it should.
bool stage(cluster::Node& node, const std::string& title, const std::function<void()>& change) {
    std::latch under_way(4);
    std::atomic<bool> changed = false;
    const auto calls = [&](int first) {
        Owners owners(node);
        std::vector<Outcome> outcomes;
        for (int i = first; i < 1'000 || !changed; i += 4) {
            outcomes.push_back(call(node, owners, "user-" + std::to_string(i), i % 3 == 0));
            if (outcomes.size() == 50) under_way.count_down();
        }
        return outcomes;
    };
    const Owners before(node);
    std::vector<std::future<std::vector<Outcome>>> callers;
    for (int first = 0; first < 4; ++first) callers.push_back(std::async(std::launch::async, calls, first));
    under_way.wait();
    if (change) change();
    changed = true;
    std::vector<Outcome> outcomes;
    for (auto& caller : callers) std::ranges::move(caller.get(), std::back_inserter(outcomes));
    const Owners after(node);

    std::map<std::string, std::size_t> answered;
    std::map<std::string, std::string> samples;
    std::size_t passed_on = 0, retried = 0;
    bool right = true;
    for (const Outcome& each : outcomes) {
        ++answered[each.by];
        passed_on += !each.via.empty();
        retried += !each.trouble.empty();
        if (!each.via.empty() || !each.trouble.empty()) samples.emplace(each.trouble, each.story);
        // While nothing changes, just those that went astray are passed on, once, and none is retried.
        bool good = each.by == after.of(each.key)->text() && each.via == each.astray && each.trouble.empty();
        if (change) good = each.by == before.of(each.key)->text() || each.by == after.of(each.key)->text();
        if (!good) std::cout << "WRONG:\n" << each.story << '\n';
        right = right && good;
    }
    std::cout << title << ": " << outcomes.size() << " calls, " << passed_on << " passed on, " << retried << " retried";
    for (const auto& [name, count] : answered) {
        const std::size_t part = outcomes.size() / after.count();
        const bool fair = change || (count > part / 2 && count < part * 2);
        std::cout << ", " << name << " answered " << count << (fair ? "" : " (WRONG: far from its part)");
        right = right && fair;
    }
    std::cout << '\n';
    for (const auto& [kind, story] : samples) std::cout << story << '\n';
    return right;
}

int main() {
    const Process dan;  // first, as long as there are no other threads
    Service ann("ann", "", 0), bob("bob", ann.address(), 1), cleo("cleo", ann.address(), 2);
    dan.join(ann.address());
    cluster::Node caller(cluster::Options::local());  // sees the members without being one
    caller.add(ann.address());
    wait_for_members(4, {&ann.node, &bob.node, &cleo.node, &caller});

    std::optional<Service> eve;
    bool right = stage(caller, "ann, bob, cleo and dan", {});
    right &= stage(caller, "eve comes", [&] {
        eve.emplace("eve", ann.address(), 4);
        wait_for_members(5, {&caller});
    });
    right &= stage(caller, "all five", {});
    right &= stage(caller, "cleo leaves", [&] { cleo.leave(); });
    right &= stage(caller, "without cleo", {});
    right &= stage(caller, "dan is killed", [&] {
        dan.kill();
        wait_for_members(3, {&ann.node, &bob.node, &eve->node, &caller});
    });
    right &= stage(caller, "without dan", {});
    return right ? 0 : 1;
}
