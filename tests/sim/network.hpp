#pragma once

#include "base/time.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace cluster::sim {

/// Which machine's packets reach which other's. Cuts are counted, so that several may overlap.
class Network {
public:
    explicit Network(std::size_t machines) : machines_(machines), cuts_(machines * machines) {}

    bool passes(std::size_t from, std::size_t to) const { return cuts_[from * machines_ + to] == 0; }
    bool joins(std::size_t a, std::size_t b) const { return passes(a, b) && passes(b, a); }
    void cut(std::size_t from, std::size_t to) { ++cuts_[from * machines_ + to]; }
    void mend(std::size_t from, std::size_t to) {
        if (cuts_[from * machines_ + to] > 0) --cuts_[from * machines_ + to];
    }
    void mend_all() { cuts_.assign(cuts_.size(), 0); }

private:
    std::size_t machines_;
    std::vector<int> cuts_;
};

/// Until when each machine and each pair of machines was last disturbed: what may excuse that one fails another.
class Disturbances {
public:
    enum class Kind {
        cut,   ///< nothing got through, in one direction at least
        link,  ///< a connection was half-open, stalled or slow
        dial,  ///< a dial was refused or swallowed, or what it made broke while the two greeted each other
    };

    explicit Disturbances(std::size_t machines)
        : machines_(machines), alone_(machines, long_ago), pairs_(3 * machines * machines, long_ago) {}

    void machine(std::size_t index, Time until) { alone_[index] = std::max(alone_[index], until); }
    void pair(Kind kind, std::size_t a, std::size_t b, Time until) {
        Time& both = pairs_[place(kind, std::min(a, b), std::max(a, b))];
        both = std::max(both, until);
    }
    Time of_machine(std::size_t index) const { return alone_[index]; }
    Time of_pair(Kind kind, std::size_t a, std::size_t b) const {
        return pairs_[place(kind, std::min(a, b), std::max(a, b))];
    }

private:
    static constexpr Time long_ago = -std::chrono::hours(24);

    std::size_t place(Kind kind, std::size_t a, std::size_t b) const {
        return (static_cast<std::size_t>(kind) * machines_ + a) * machines_ + b;
    }

    std::size_t machines_;
    std::vector<Time> alone_;
    std::vector<Time> pairs_;
};

}  // namespace cluster::sim
