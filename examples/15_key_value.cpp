// Keys and values that three processes keep, with compare-and-set, values that expire, and clients that watch.
//
//     example-15_key_value serve NAME DIRECTORY LISTEN SEED...    one of three voters: ann, bob or eve
//     example-15_key_value put KEY VALUE [MILLISECONDS]           the value goes after so long
//     example-15_key_value cas KEY OLD NEW                        puts NEW if the value is OLD
//     example-15_key_value get KEY
//     example-15_key_value watch PREFIX                           says what becomes of keys that begin so
//
// Clients find the voters at the addresses in CLUSTER_KEY_VALUE, with spaces between them. Keys and values are words.
// Without arguments the program checks all of it, with three voters of its own.

#include "voters.hpp"

#include <cluster/client.hpp>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <stdexcept>

using namespace std::chrono_literals;

class KeyValue final : public cluster::Service {
public:
    void on_message(cluster::Context& context, std::span<const std::byte> message) override {
        std::istringstream words(std::string(reinterpret_cast<const char*>(message.data()), message.size()));
        std::string verb, key, first, second;
        words >> verb >> key >> first >> second;
        if (verb == "put" && !first.empty()) {
            context.reply(put(context, key, first, second));
        } else if (verb == "cas" && !second.empty()) {
            const auto found = entries_.find(key);
            const std::string value = found == entries_.end() ? "" : found->second.value;
            context.reply(value == first ? put(context, key, second, "") : "it is " + value);
        } else if (verb == "watch" && context.session() != nullptr) {
            watches_[context.session()->id] = key;
            context.reply("ok");
        } else {
            context.reply("put KEY VALUE [MILLISECONDS], cas KEY OLD NEW, or watch PREFIX");  // never throw
        }
    }
    void on_timer(cluster::Context& context, std::uint64_t timer) override {
        const std::string key = timers_.at(timer);
        timers_.erase(timer), entries_.erase(key);
        tell(context, key, key + " is gone");
    }
    void on_session_close(cluster::Context& context, cluster::CloseReason) override {
        watches_.erase(context.session()->id);
    }
    void on_query(cluster::QueryContext& context, std::span<const std::byte> key) const override {
        const auto found = entries_.find(std::string(reinterpret_cast<const char*>(key.data()), key.size()));
        if (found != entries_.end()) context.reply(found->second.value);
    }
    void save(cluster::SnapshotWriter& out) const override {
        out.write(std::uint32_t{1});  // of this form, so that a later program can tell
        out.write(last_timer_), out.write(entries_.size());
        for (const auto& [key, entry] : entries_) out.write(key), out.write(entry.value), out.write(entry.timer);
        out.write(watches_.size());
        for (const auto& [session, prefix] : watches_) out.write(session), out.write(prefix);
    }
    void load(cluster::SnapshotReader& in) override {
        entries_.clear(), timers_.clear(), watches_.clear();
        std::uint32_t version = 0;
        std::size_t size = 0;
        std::uint64_t session = 0;
        std::string key;
        in.read(version), in.read(last_timer_);
        for (in.read(size); size != 0; --size) {
            in.read(key);
            Entry& entry = entries_[key];
            in.read(entry.value), in.read(entry.timer);
            if (entry.timer != 0) timers_[entry.timer] = key;  // the timers themselves are in every snapshot
        }
        for (in.read(size); size != 0; --size) in.read(session), in.read(watches_[session]);
    }

private:
    struct Entry {
        std::string value;
        std::uint64_t timer = 0;  ///< 0: it stays
    };

    std::string put(cluster::Context& context, const std::string& key, std::string value, const std::string& time) {
        if (entries_.size() >= most_keys && !entries_.contains(key)) return "full";
        const std::chrono::milliseconds lasts(std::strtoul(time.c_str(), nullptr, 10));
        if (lasts != 0ms && !context.schedule(last_timer_ + 1, context.time() + lasts)) return "too many expire";
        Entry& entry = entries_[key];
        if (entry.timer != 0) context.cancel(entry.timer), timers_.erase(entry.timer);
        entry = {std::move(value), lasts == 0ms ? 0 : ++last_timer_};
        if (entry.timer != 0) timers_[entry.timer] = key;
        tell(context, key, key + " is " + entry.value);
        return "ok";
    }
    void tell(cluster::Context& context, const std::string& key, const std::string& what) {
        for (const auto& [session, prefix] : watches_) {
            if (key.starts_with(prefix)) context.send(session, what);
        }
    }

    static constexpr std::size_t most_keys = 1'000'000;
    // Ordered: a snapshot has the same bytes on every replica, and watchers are told in the same order.
    std::map<std::string, Entry> entries_;
    std::map<std::uint64_t, std::string> timers_;
    std::map<std::uint64_t, std::string> watches_;  ///< of each session
    std::uint64_t last_timer_ = 0;
};

constexpr auto usage =
    "serve NAME DIRECTORY LISTEN SEED..., put KEY VALUE [MILLISECONDS], cas KEY OLD NEW, get KEY, watch PREFIX";

int serve(const std::vector<std::string>& words) {
    cluster::Node node({.listen = words.at(3), .name = words.at(1), .seeds = {words.begin() + 4, words.end()}});
    KeyValue state;
    cluster::Replica replica(node, state, {.directory = words.at(2), .voters = {"ann", "bob", "eve"}});
    replica.wait_until_stopped();
    return std::cout << replica.status().why << '\n', 1;
}

int command(const std::vector<std::string>& words) {
    const char* const listed = std::getenv("CLUSTER_KEY_VALUE");
    std::istringstream addresses(listed == nullptr ? "127.0.0.1:7000" : listed);
    std::string text, address;
    cluster::ClientOptions options;
    while (addresses >> address) options.addresses.push_back(address);
    cluster::Client client(options);
    for (const std::string& word : words) text += word + ' ';
    const bool get = words.at(0) == "get";
    std::cout << (get ? client.read(words.at(1), 10s) : client.call(text, 10s)).text() << std::endl;
    while (words.at(0) == "watch") {
        const auto change = client.receive();
        if (!change) return std::cout << client.status().why << '\n', 1;
        std::cout << change->text() << std::endl;
    }
    return 0;
}

bool check() {
    Voters<KeyValue> voters;
    cluster::Client client({.addresses = voters.addresses(), .name = "writer"});
    cluster::Client watcher({.addresses = voters.addresses(), .name = "watcher"});
    bool right = true;
    const auto expect = [&right](std::string_view found, std::string_view expected) {
        if (found != expected) std::cout << "NOT \"" << expected << "\" BUT \"" << found << "\"\n", right = false;
    };
    const auto call = [&](const char* text, const char* reply) { expect(client.call(text, 20s).text(), reply); };
    const auto get = [&](const char* key, const char* value) { expect(client.read(key, 20s).text(), value); };
    const auto hear = [&](const char* what) {
        const auto change = watcher.receive_for(20s);
        expect(change ? change->text() : "nothing", what);
    };
    expect(watcher.call("watch colour", 20s).text(), "ok");
    call("put colour.sky blue", "ok");
    call("put shape.sky flat", "ok");  // not watched
    call("cas colour.sky green red", "it is blue");
    call("cas colour.sky blue red", "ok");
    call("put colour.leaf green 1500", "ok");
    get("colour.sky", "red");
    hear("colour.sky is blue"), hear("colour.sky is red"), hear("colour.leaf is green");

    for (auto& [name, voter] : voters.all) voter.replica->snapshot();
    const std::string lost = voters.lose_leader();
    hear("colour.leaf is gone");  // whoever leads, when its time has come
    const cluster::Message last = client.call("put colour.leaf brown", 20s);
    hear("colour.leaf is brown");
    voters.start(lost);  // begins with its snapshot, and comes to what the others have
    const cluster::ReadOptions own{cluster::Consistency::stale, last.position()};
    expect(voters.all.at(lost).replica->read("colour.leaf", 20s, own).text(), "brown");
    std::cout << lost << " led, was lost, and is back: " << (right ? "all right\n" : "NOT RIGHT\n");
    return right;
}

int main(int argument_count, char** arguments) try {
    const std::vector<std::string> words(arguments + 1, arguments + argument_count);
    if (words.empty()) return check() ? 0 : 1;
    if (words.size() < (words[0] == "serve" ? 4 : 2)) throw std::runtime_error(usage);
    return words[0] == "serve" ? serve(words) : command(words);
} catch (const std::exception& error) {
    return std::cout << error.what() << '\n', 1;
}
