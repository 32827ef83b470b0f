#pragma once

#include "client/machine.hpp"
#include "client/message.hpp"
#include "sim/replicas/chance.hpp"
#include "sim/replicas/chronicle.hpp"
#include "sim/replicas/plan.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace cluster::sim::replicas {

/// What is around clients.
class Streets {
public:
    virtual Time now() const = 0;
    virtual void at(Duration delay, std::function<void()> work) = 0;
    /// Of the process that runs at that place; none if none does.
    virtual std::optional<PeerId> node_at(std::size_t place) const = 0;
    // In that process, if it runs then.
    virtual void client_said(std::size_t place, const PeerId& node, const client::Seat& seat, Bytes message) = 0;
    virtual void client_gone(std::size_t place, const PeerId& node, const PeerId& client) = 0;
    /// So much of the log somebody was told of.
    virtual consensus::Index told() const = 0;
    virtual void was_told(consensus::Index position) = 0;
    virtual void note(std::uint64_t what, const std::string& text) = 0;

protected:
    ~Streets() = default;
};

/// Clients of the group, each with the shipping `client::Machine`, and their links to the processes of replicas. A link
/// brings all in order until it breaks; then what is on it may be lost. Clients stall, end and come back as others, are
/// closed, and read late what they are sent.
///
/// It is checked what callers are promised: by the `Chronicle`, which knows what has happened, and by what they were
/// told before.
class Customers {
public:
    struct Options {
        std::size_t places = 0;
        bool authenticates = false;
        std::uint64_t max_sessions = 10'000;
    };
    /// What each client answers if it is challenged.
    static constexpr std::string_view proof = "proof";
    static constexpr std::string_view wrong_credentials = "wrong";
    /// At a time.
    static constexpr std::size_t most = 4;
    static std::string principal_of(const std::string& name) { return "the one who is called " + name; }
    static Address address_of(std::size_t place) { return {"place" + std::to_string(place), 1}; }

    Customers(Streets& streets, std::uint64_t seed, Options options, Chronicle& chronicle, Result& result);
    Customers(const Customers&) = delete;
    Customers& operator=(const Customers&) = delete;

    /// `faults`: something goes wrong with them until `heal`.
    void begin(bool faults);
    /// From a replica on that node. An error as a node gives it, if it cannot be sent.
    errc tell(std::size_t place, const PeerId& node, const client::Seat& seat, Bytes message);
    void process_ended(std::size_t place);

    /// Nothing goes wrong any more.
    void heal();
    /// All is well: from now on everything has to be done.
    void expect_all();
    /// Nothing new is asked for.
    void rest();
    bool rests() const noexcept { return rests_; }
    /// Whether all that was asked for is done. If not: why.
    bool content(std::string& why) const;
    void close();
    /// Whether all are closed, and the group knows it.
    bool closed(std::string& why) const;

private:
    struct Line {
        PeerId node;
        std::uint64_t number = 0;  ///< which one to that place
        bool up = false;           ///< the client takes it for good
        bool whole = false;        ///< it is
        bool node_knows = true;    ///< that it is not
        bool lost = false;         ///< with all that was on it
        bool stuck = false;        ///< the node has no room for what it wants to send
        Time silent_until{};       ///< nothing arrives
        Time to_node{};            ///< when the last message arrives there
        Time to_client{};
        std::deque<Bytes> inbox;
    };
    struct Asked {
        std::uint64_t order = 0;  ///< 0: a query
        bool sure = false;
        bool fails = false;  ///< a query at which the service throws
        bool linearizable = false;
        consensus::Index least = 0;
    };
    struct Customer {
        std::string name;
        bool inside = false;  ///< of a node of the group
        PeerId peer;          ///< of its node
        std::map<std::size_t, Line> lines;
        bool strange = false;  ///< its credentials are wrong
        bool lazy = false;     ///< takes pushes late

        // Of one life.
        std::uint64_t life = 0;
        std::uint64_t seat = 0;
        std::unique_ptr<client::Machine> machine;
        group::SessionKey key{};
        bool gives_up = false;
        Time ticks_at = never;
        Time stalls_until{};
        client::StateChanged state;
        std::uint64_t opened = 0;   ///< the session that it was told last
        std::uint64_t session = 0;  ///< that it has
        std::uint64_t tickets = 0;
        std::uint64_t orders = 0;
        std::map<std::uint64_t, Asked> open;
        std::set<std::uint64_t> casts;
        std::uint64_t pushed = 0;
        std::size_t untaken = 0;
        std::size_t untaken_bytes = 0;
        std::uint64_t asked = 0;    ///< the highest number of a command that it has sent
        consensus::Index seen = 0;  ///< so much of the log it was told of
        consensus::Index replied = 0;
    };
    Duration soon(Duration mean) { return chance_.around(mean); }
    void after(Customer& customer, Duration delay, std::function<void()> work);
    void begin(Customer& customer);
    void end_life(Customer& customer);
    void begin_again(Customer& customer, Duration mean);
    void settle(Customer& customer);
    void carry_out(Customer& customer, client::Effect& effect);

    // Links.
    void dial(Customer& customer, const Address& address);
    void link(Customer& customer, std::size_t place, const std::optional<Address>& dialled);
    void link_inside(Customer& customer, std::size_t place, Duration mean);
    void break_line(Customer& customer, std::size_t place, bool loses);
    void node_hears_of_end(Customer& customer, std::size_t place);
    void say(Customer& customer, const PeerId& node, client::ToNode message);
    void look_into(Customer& customer, std::size_t place, std::uint64_t number);
    std::size_t some_line(const Customer& customer);

    // What goes wrong.
    void disturb();

    // What applications do.
    void work(Customer& customer);
    void ask(Customer& customer);
    void take_pushes(Customer& customer, bool all);
    void replied(Customer& customer, const client::Replied& reply);
    void failed(Customer& customer, const client::Failed& failed);
    void pushed(Customer& customer, const client::Pushed& push);
    void changed(Customer& customer, const client::StateChanged& change);
    void ended(const Customer& customer);
    Asked take(Customer& customer, std::uint64_t ticket);
    const Chronicle::Session& session_of(const Customer& customer) const;

    Streets& streets_;
    Chance chance_;
    const Options options_;
    Chronicle& chronicle_;
    Result& result_;
    std::vector<std::unique_ptr<Customer>> customers_;
    std::uint64_t tag_ = 0;
    std::size_t most_under_way_ = 0;
    std::size_t longest_ = 0;  ///< message that a link takes
    bool storm_ = false;       ///< clients come and go all the time
    bool healed_ = true;
    bool all_sure_ = false;
    bool rests_ = false;
    bool closing_ = false;
};

}  // namespace cluster::sim::replicas
