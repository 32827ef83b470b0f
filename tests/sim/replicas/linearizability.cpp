#include "sim/replicas/linearizability.hpp"

#include <algorithm>
#include <cstddef>
#include <map>
#include <set>
#include <utility>

namespace cluster::sim::replicas {

namespace {

/// The search for one register.
class Search {
public:
    explicit Search(std::vector<Operation> operations) : operations_(std::move(operations)) {
        std::vector<Event> events;
        for (std::size_t i = 0; i < operations_.size(); ++i) {
            events.push_back({operations_[i].called, i, true});
            events.push_back({operations_[i].returned, i, false});
        }
        std::sort(events.begin(), events.end(), [](const Event& a, const Event& b) {
            return a.at != b.at ? a.at < b.at : std::pair(!a.call, a.operation) < std::pair(!b.call, b.operation);
        });
        // Place 0 is before all, the one behind the last closes the ring.
        places_.resize(events.size() + 2);
        return_of_.resize(operations_.size());
        for (std::size_t i = 0; i < events.size(); ++i) {
            places_[i + 1] = {events[i].operation, events[i].call, i, i + 2};
            if (!events[i].call) return_of_[events[i].operation] = i + 1;
        }
        places_[0].next = 1;
        done_.resize((operations_.size() + 63) / 64);
    }

    bool run() {
        std::size_t at = places_[0].next;
        while (places_[0].next != end() && tried_.size() < longest) {
            const Place& place = places_[at];
            if (place.call) {
                const Operation& operation = operations_[place.operation];
                std::uint64_t value = value_;
                const std::uint64_t result = operation.command.apply(value);
                const bool fits = !operation.result || result == *operation.result;
                if (fits && take(place.operation, value)) {
                    steps_.push_back({at, std::exchange(value_, value)});
                    lift(at);
                    most_ = std::max(most_, steps_.size());
                    at = places_[0].next;
                } else {
                    at = place.next;
                }
            } else {
                // An operation has returned that has no place yet: something before was wrong.
                if (steps_.empty()) return false;
                const Step step = steps_.back();
                steps_.pop_back();
                value_ = step.value;
                flip(places_[step.place].operation);
                put_back(step.place);
                at = places_[step.place].next;
            }
        }
        return true;
    }
    /// Of how many operations the longest order consists that was found.
    std::size_t most() const { return most_; }

private:
    static constexpr std::size_t longest = 1'000'000;

    struct Event {
        std::uint64_t at;
        std::size_t operation;
        bool call;
    };
    struct Place {
        std::size_t operation = 0;
        bool call = false;
        std::size_t before = 0;
        std::size_t next = 0;
    };
    struct Step {
        std::size_t place;
        std::uint64_t value;  ///< before it
    };

    std::size_t end() const { return places_.size() - 1; }
    void flip(std::size_t operation) { done_[operation / 64] ^= std::uint64_t{1} << (operation % 64); }
    /// False if the same set of operations has led to that value before.
    bool take(std::size_t operation, std::uint64_t value) {
        flip(operation);
        if (tried_.emplace(done_, value).second) return true;
        flip(operation);
        return false;
    }
    void lift(std::size_t call) {
        for (const std::size_t each : {call, return_of_[places_[call].operation]}) {
            places_[places_[each].before].next = places_[each].next;
            places_[places_[each].next].before = places_[each].before;
        }
    }
    void put_back(std::size_t call) {
        for (const std::size_t each : {return_of_[places_[call].operation], call}) {
            places_[places_[each].before].next = each;
            places_[places_[each].next].before = each;
        }
    }

    std::vector<Operation> operations_;
    std::vector<Place> places_;
    std::vector<std::size_t> return_of_;
    std::vector<std::uint64_t> done_;
    std::set<std::pair<std::vector<std::uint64_t>, std::uint64_t>> tried_;
    std::vector<Step> steps_;
    std::uint64_t value_ = 0;
    std::size_t most_ = 0;
};

}  // namespace

bool linearizable(const std::vector<Operation>& operations, std::string* why) {
    std::map<std::uint64_t, std::vector<Operation>> by_key;
    for (const Operation& each : operations) by_key[each.command.key].push_back(each);
    for (const auto& [key, of_key] : by_key) {
        Search search(of_key);
        if (search.run()) continue;
        if (why != nullptr) {
            *why = "what was seen of register " + std::to_string(key) + " fits no order: at most " +
                   std::to_string(search.most()) + " of its " + std::to_string(of_key.size()) + " operations";
        }
        return false;
    }
    return true;
}

}  // namespace cluster::sim::replicas
