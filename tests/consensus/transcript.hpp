#pragma once

#include "consensus/raft.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cluster::support {

/// A group of replicas in one hand: it decides which message arrives, which write becomes durable, whose time is up.
/// Each command gives what the replicas then do, a line each; README.md beside this file explains both.
class Transcript {
public:
    Transcript();
    ~Transcript();
    Transcript(const Transcript&) = delete;
    Transcript& operator=(const Transcript&) = delete;

    /// Throws `std::invalid_argument` if it makes no sense.
    std::string run(const std::string& command);

private:
    struct Replica;
    using Flying = consensus::Message;

    using Words = std::vector<std::string>;
    void group(const Words& words);
    void start(Replica& replica);
    void disk(Replica& replica, std::size_t writes);
    void apply(Replica& replica);
    void fetch(Replica& replica);
    std::deque<Flying> take_flying(const std::string& way);
    void deliver(const std::deque<Flying>& arriving, bool lose);
    void settle();
    void snapshot(Replica& replica, consensus::Index keep);
    void status(const Replica& replica);
    void log(const Replica& replica);
    void take(Replica& replica);
    void carry_out(Replica& replica, consensus::Effect&& effect);
    void send(Replica& replica, const consensus::Send& send);
    void refused(const Replica& replica, consensus::Refused why);

    Replica& named(const std::string& name);
    Moment now(const Replica& replica) const;
    std::ostringstream& say(const Replica& replica);

    std::map<std::string, std::unique_ptr<Replica>> replicas_;
    std::deque<Flying> flying_;
    std::set<std::pair<char, char>> cut_;
    Time clock_{std::chrono::seconds(1)};
    bool silent_ = false;
    std::ostringstream out_;
};

}  // namespace cluster::support
