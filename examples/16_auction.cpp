// Two services on one log that talk to each other: an auction, and a bank that keeps the bidders' money.
//
// A bid reserves money at the bank. When the bank has answered, the auction lets the bid stand or gives the money back.
// At the end, whoever has bid most pays. Three clients bid while the leader is lost, and the program checks that no
// money is.

#include "voters.hpp"

#include <cluster/client.hpp>

#include <chrono>
#include <deque>
#include <iostream>
#include <sstream>
#include <stdexcept>

using namespace std::chrono_literals;

std::istringstream words_of(std::span<const std::byte> bytes) {
    return std::istringstream(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

/// Each has some money, of which a part may be reserved.
class Bank final : public cluster::Service {
public:
    void on_message(cluster::Context& context, std::span<const std::byte> message) override {
        std::istringstream words = words_of(message);
        std::string verb, name, to;
        std::uint64_t bid = 0, amount = 0;
        words >> verb;
        if (context.from_service().empty()) {  // of a client, which may not say what only the auction may
            if (verb != "deposit" || !(words >> name >> amount)) return;  // for the auction
            const bool fits = amount <= 1'000'000 && (accounts_.size() < 1000 || accounts_.contains(name));
            if (fits) accounts_[name].free += amount;
            context.reply(fits ? "ok" : "too much");
        } else if (verb == "reserve" && words >> bid >> name >> amount) {
            const auto account = accounts_.find(name);
            const bool enough = account != accounts_.end() && account->second.free >= amount;
            if (enough) account->second.free -= amount, account->second.reserved += amount;
            const std::string answer = (enough ? "reserved " : "refused ") + std::to_string(bid);
            // There is room: what this answers was longer, and has just left.
            if (!context.submit(answer, "auction")) throw std::logic_error("no room for an answer of the bank");
        } else if (verb == "release" && words >> name >> amount) {
            accounts_[name].reserved -= amount, accounts_[name].free += amount;
        } else if (verb == "pay" && words >> name >> amount >> to) {
            accounts_[name].reserved -= amount, accounts_[to].free += amount;
        }
    }
    /// What all have, and how much of it is reserved.
    void on_query(cluster::QueryContext& context, std::span<const std::byte>) const override {
        Account all;
        for (const auto& [name, each] : accounts_) all.free += each.free, all.reserved += each.reserved;
        context.reply(std::to_string(all.free + all.reserved) + ' ' + std::to_string(all.reserved));
    }
    void save(cluster::SnapshotWriter& out) const override {
        out.write(accounts_.size());
        for (const auto& [name, each] : accounts_) out.write(name), out.write(each.free), out.write(each.reserved);
    }
    void load(cluster::SnapshotReader& in) override {
        accounts_.clear();
        std::size_t size = 0;
        std::string name;
        for (in.read(size); size != 0; --size) {
            in.read(name);
            in.read(accounts_[name].free), in.read(accounts_[name].reserved);
        }
    }

private:
    struct Account {
        std::uint64_t free = 0, reserved = 0;
    };
    std::map<std::string, Account> accounts_;
};

/// Sells one thing. A bid has its reply at once. What becomes of it is sent when the bank has answered.
class Auction final : public cluster::Service {
public:
    void on_message(cluster::Context& context, std::span<const std::byte> message) override {
        std::istringstream words = words_of(message);
        std::string verb;
        Bid bid;
        std::uint64_t number = 0;
        words >> verb;
        if (context.from_service().empty()) {
            if (verb == "close") ends(context);
            if (verb != "bid" || context.session() == nullptr || !(words >> bid.name >> bid.amount)) return;
            bid.session = context.session()->id;  // the answer of the bank is no message of this client
            bids_[++last_] = bid;
            tell_bank(context, "reserve " + std::to_string(last_) + ' ' + bid.name + ' ' + std::to_string(bid.amount));
            context.reply(std::to_string(last_));
        } else if (words >> number && bids_.contains(number)) {
            bid = bids_.extract(number).mapped();
            const bool stands = verb == "reserved" && !over_ && bid.amount > best_.amount;
            const Bid loser = stands ? std::exchange(best_, bid) : bid;
            if (loser.amount != 0 && verb == "reserved") release(context, loser);
            context.send(bid.session, verb == "refused" ? "no money" : stands ? "leads" : "too low");
        }
        tell_bank(context, "");
    }
    void save(cluster::SnapshotWriter& out) const override {
        out.write(last_), out.write(over_), save(out, best_), out.write(bids_.size());
        for (const auto& [number, bid] : bids_) out.write(number), save(out, bid);
        out.write(unsent_.size());
        for (const std::string& each : unsent_) out.write(each);
    }
    void load(cluster::SnapshotReader& in) override {
        bids_.clear();
        std::size_t size = 0;
        std::uint64_t number = 0;
        in.read(last_), in.read(over_), load(in, best_);
        for (in.read(size); size != 0; --size) in.read(number), load(in, bids_[number]);
        in.read(size), unsent_.assign(size, {});
        for (std::string& each : unsent_) in.read(each);
    }

private:
    struct Bid {
        std::string name;
        std::uint64_t amount = 0, session = 0;
    };
    static void save(cluster::SnapshotWriter& out, const Bid& bid) {
        out.write(bid.name), out.write(bid.amount), out.write(bid.session);
    }
    static void load(cluster::SnapshotReader& in, Bid& bid) {
        in.read(bid.name), in.read(bid.amount), in.read(bid.session);
    }
    void release(cluster::Context& context, const Bid& bid) {
        tell_bank(context, "release " + bid.name + ' ' + std::to_string(bid.amount));
    }
    void ends(cluster::Context& context) {
        if (!std::exchange(over_, true) && best_.amount != 0) {
            tell_bank(context, "pay " + best_.name + ' ' + std::to_string(best_.amount) + " seller");
        }
        context.reply(best_.name);
    }
    /// Keeps what finds no room, and sends it with a later event.
    void tell_bank(cluster::Context& context, std::string text) {
        if (!text.empty()) unsent_.push_back(std::move(text));
        while (!unsent_.empty() && context.submit(unsent_.front(), "bank")) unsent_.pop_front();
    }

    std::uint64_t last_ = 0;
    bool over_ = false;
    Bid best_;
    std::map<std::uint64_t, Bid> bids_;  ///< of which the bank has said nothing yet
    std::deque<std::string> unsent_;
};

struct House {
    Auction auction;
    Bank bank;
    std::vector<cluster::NamedService> services() { return {{"auction", auction}, {"bank", bank}}; }
};

int main() {
    Voters<House> voters;
    const std::vector<std::string> names = {"kim", "lea", "max"};
    std::map<std::string, std::unique_ptr<cluster::Client>> clients;
    for (const std::string& name : names) {
        const cluster::ClientOptions options{.addresses = voters.addresses(), .name = name};
        clients[name] = std::make_unique<cluster::Client>(options);
        clients[name]->send("deposit " + name + " 1000");  // takes effect before what this client sends next
    }
    const auto bid = [&](const std::string& name, int amount) {
        clients[name]->send("bid " + name + ' ' + std::to_string(amount));
    };
    for (int amount = 1; amount <= 90; ++amount) {
        for (int i = 0; i < 3; ++i) bid(names[static_cast<std::size_t>(i)], amount + i);  // max bids up to 92
        if (amount == 45) std::cout << voters.lose_leader() << " led and was lost\n";
    }
    for (const std::string& name : names) bid(name, 1001);
    std::map<std::string, int> heard;
    for (int i = 0; i < 3 * 91; ++i) {
        const auto what = clients[names[static_cast<std::size_t>(i % 3)]]->receive_for(20s);
        ++heard[what ? std::string(what->text()) : "nothing"];
    }
    cluster::Client& client = *clients["kim"];
    const std::string before(client.read("", 20s).text());
    const std::string winner(client.call("close", 20s).text());
    const std::string after(client.read("", 20s).text());
    for (const auto& [what, times] : heard) std::cout << times << " bids: " << what << '\n';
    std::cout << winner << " has bid most; all money and what is reserved: " << before << ", then " << after << '\n';
    const bool right = winner == "max" && before == "3000 92" && after == "3000 0" && heard["no money"] == 3 &&
                       !heard.contains("nothing");
    std::cout << (right ? "no money is lost\n" : "MONEY IS LOST\n");
    return right ? 0 : 1;
}
