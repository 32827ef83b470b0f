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
        std::vector<Step> steps{next_step()};
        while (places_[0].next != end() && tried_.size() < longest) {
            Step& step = steps.back();
            if (step.taken) take_back(step);
            if (step.tried == step.calls.size()) {
                // An operation has returned that has no place yet: something before was wrong.
                steps.pop_back();
                if (steps.empty()) return false;
                continue;
            }
            if (take(step)) {
                most_ = std::max(most_, steps.size());
                steps.push_back(next_step());
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
    /// One of the operations is the next.
    struct Step {
        std::vector<std::size_t> calls;  ///< those that may be
        std::size_t tried = 0;           ///< so many of them were tried
        bool taken = false;              ///< the last one of these is the next
        std::uint64_t value = 0;         ///< before it
    };

    std::size_t end() const { return places_.size() - 1; }
    void flip(std::size_t operation) { done_[operation / 64] ^= std::uint64_t{1} << (operation % 64); }

    /// All that were called before the first of those that are left has returned.
    Step next_step() const {
        Step step;
        for (std::size_t at = places_[0].next; at != end() && places_[at].call; at = places_[at].next) {
            step.calls.push_back(at);
        }
        std::stable_sort(step.calls.begin(), step.calls.end(), [&](std::size_t a, std::size_t b) {
            return operations_[places_[a].operation].hint < operations_[places_[b].operation].hint;
        });
        step.value = value_;
        return step;
    }
    /// Tries the next one. False if its result would be another, or if the same operations have led to the same value
    /// before.
    bool take(Step& step) {
        const std::size_t call = step.calls[step.tried++];
        const std::size_t number = places_[call].operation;
        std::uint64_t value = step.value;
        const std::uint64_t result = operations_[number].command.apply(value);
        if (operations_[number].result.value_or(result) != result) return false;
        flip(number);
        if (!tried_.emplace(done_, value).second) {
            flip(number);
            return false;
        }
        lift(call);
        value_ = value;
        return step.taken = true;
    }
    void take_back(Step& step) {
        const std::size_t call = step.calls[step.tried - 1];
        step.taken = false;
        value_ = step.value;
        flip(places_[call].operation);
        put_back(call);
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
