#pragma once

// What the services of the fault tests have in common.

#include "process.hpp"

#include <cluster/service.hpp>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <string>
#include <string_view>

namespace cluster::faults {

/// Numbers, as few pairs of the first and the last of those that follow each other.
class Ranges {
public:
    /// Whether it was new.
    bool add(std::uint64_t number) {
        const auto after = ranges_.upper_bound(number);
        if (after != ranges_.begin() && std::prev(after)->second >= number) return false;
        std::uint64_t last = number;
        if (after != ranges_.end() && after->first == number + 1) last = after->second;
        const auto before = after == ranges_.begin() ? ranges_.end() : std::prev(after);
        if (last != number) ranges_.erase(after);
        if (before != ranges_.end() && before->second + 1 == number) {
            before->second = last;
        } else {
            ranges_.emplace(number, last);
        }
        return true;
    }
    std::uint64_t last() const { return ranges_.empty() ? 0 : ranges_.rbegin()->second; }
    std::string text() const {
        std::string text;
        for (const auto& [first, last] : ranges_) {
            text += (text.empty() ? "[" : ",[") + std::to_string(first) + ',' + std::to_string(last) + ']';
        }
        return '[' + text + ']';
    }
    void save(SnapshotWriter& out) const {
        out.write(ranges_.size());
        for (const auto& [first, last] : ranges_) {
            out.write(first);
            out.write(last);
        }
    }
    void load(SnapshotReader& in) {
        ranges_.clear();
        std::size_t size = 0;
        for (in.read(size); size != 0; --size) {
            std::uint64_t first = 0;
            in.read(first);
            in.read(ranges_[first]);
        }
    }

private:
    std::map<std::uint64_t, std::uint64_t> ranges_;
};

/// Which numbers a service has had of whom: of lives, words that stand for one process or session each.
class Applied {
public:
    void add(const std::string& life, std::uint64_t number) {
        Submitter& from = submitters_[life];
        if (number < from.numbers.last()) ++from.disordered;
        if (!from.numbers.add(number)) ++from.doubled;
    }
    void save(SnapshotWriter& out) const {
        out.write(submitters_.size());
        for (const auto& [life, from] : submitters_) {
            out.write(life);
            out.write(from.doubled);
            out.write(from.disordered);
            from.numbers.save(out);
        }
    }
    void load(SnapshotReader& in) {
        submitters_.clear();
        std::size_t size = 0;
        for (in.read(size); size != 0; --size) {
            std::string life;
            in.read(life);
            Submitter& from = submitters_[life];
            in.read(from.doubled);
            in.read(from.disordered);
            from.numbers.load(in);
        }
    }
    std::string text() const {
        std::string lives;
        for (const auto& [life, from] : submitters_) {
            lives += (lives.empty() ? "" : ",") + quoted(life) + ":{\"doubled\":" + std::to_string(from.doubled) +
                     ",\"disordered\":" + std::to_string(from.disordered) + ",\"numbers\":" + from.numbers.text() + '}';
        }
        return '{' + lives + '}';
    }

private:
    struct Submitter {
        Ranges numbers;
        std::uint64_t doubled = 0;
        std::uint64_t disordered = 0;  ///< came after a greater one
    };

    std::map<std::string, Submitter> submitters_;
};

/// A hash of all that is added, in its order.
class Chain {
public:
    void add(std::string_view text) {
        for (const char each : text) step(static_cast<unsigned char>(each));
        step(256);
    }
    void add(std::uint64_t number) { step(number); }
    std::uint64_t value() const { return value_; }
    void save(SnapshotWriter& out) const { out.write(value_); }
    void load(SnapshotReader& in) { in.read(value_); }

private:
    void step(std::uint64_t what) { value_ = (value_ ^ what) * 0x100000001b3; }

    std::uint64_t value_ = 0xcbf29ce484222325;
};

/// A service whose state can be shown, on any thread.
class Shown : public Service {
public:
    virtual std::string text() const = 0;
};

}  // namespace cluster::faults
