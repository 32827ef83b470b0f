// Five processes become a cluster, and show what it does when one crashes, returns, loses a link, or leaves. Then three
// keep one state, whichever of them fails.
//
// Everything that is shown is checked: if something is missing, the demo says what, and fails.

#include "member.hpp"
#include "process.hpp"
#include "relay.hpp"
#include "replicas.hpp"
#include "voter.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <poll.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

const std::vector<std::string> names = {"ann", "bob", "cleo", "dan", "eve"};
constexpr auto patience = 8s;       // with one thing
constexpr auto all_patience = 18s;  // with all of them

/// A broadcast by each of the five to the four others.
struct Step {
    int number;
    std::uint64_t messages;
    std::size_t size;

    std::uint64_t deliveries() const { return messages * names.size() * (names.size() - 1); }
};
constexpr Step first_step{1, 1'000, 0};
constexpr Step cut_step{2, 4'000, 200};
constexpr std::size_t cut_after = std::size_t{256} << 10;

struct Counts {
    std::uint64_t delivered = 0;
    std::uint64_t lost = 0;
    std::uint64_t disordered = 0;
};

/// What the parent knows of one process, from the lines it wrote.
struct Member {
    std::string name;
    std::unique_ptr<Process> process;
    std::string address;
    std::map<std::string, std::string> removed;  ///< names, and why
    std::vector<std::string> peers;
    std::map<int, Counts> counts;  ///< by step
    std::uint64_t links = 0;
    std::uint64_t unacknowledged_bytes = 0;
    std::map<std::string, int> attachments;
    bool has_stats = false;
    std::string left;
    std::deque<std::string> log;

    bool lists(const std::string& peer) const { return std::find(peers.begin(), peers.end(), peer) != peers.end(); }
    bool lists_all_others() const {
        return peers.size() == names.size() - 1 &&
               std::all_of(names.begin(), names.end(), [&](const auto& each) { return each == name || lists(each); });
    }

    void take(const std::string& line) {
        std::istringstream words(line);
        std::string word;
        words >> word;
        if (word == "listening") {
            words >> address;
        } else if (word == "added") {
            words >> word;
            peers.push_back(word);
        } else if (word == "removed") {
            words >> word;
            words >> removed[word];
            std::erase(peers, word);
        } else if (word == "counted") {
            int step = 0;
            words >> step;
            Counts& last = counts[step];
            words >> last.delivered >> last.lost >> last.disordered;
        } else if (word == "stats") {
            words >> links >> unacknowledged_bytes;
            while (words >> word) {
                const std::size_t equals = word.find('=');
                attachments[word.substr(0, equals)] = std::stoi(word.substr(equals + 1));
            }
            has_stats = true;
        } else if (word == "left") {
            words >> left;
        } else if (word == "log") {
            constexpr std::size_t kept = 10;
            log.push_back(line.substr(4));
            if (log.size() > kept) log.pop_front();
        }
    }
};

/// 20000 as 20,000.
std::string grouped(std::uint64_t number) {
    std::string text = std::to_string(number);
    for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
    return text;
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
    return text;
}

std::string milliseconds(Clock::duration time) {
    return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(time + 999us).count()) + " ms";
}

class Demo {
public:
    void run() {
        begin();
        complete_the_tables();
        broadcast_from_all();
        kill_one();
        start_it_again();
        cut_a_link();
        let_one_leave();
        end();
        const std::string sum =
            show_replicas([this](const std::string& label, const std::string& text) { show(label, text); });
        std::printf("demo: %s\n", sum.c_str());
    }

    /// What the nodes had to say, for when something went wrong.
    void show_logs() const {
        for (const Member& member : members_) {
            for (const std::string& line : member.log) {
                std::fprintf(stderr, "%s: %s\n", member.name.c_str(), line.c_str());
            }
        }
    }

private:
    // The steps.

    void begin() {
        for (const std::string& name : names) members_.emplace_back().name = name;
        const std::string relay = "127.0.0.1:" + std::to_string(relay_.port());
        start(ann(), "127.0.0.2:" + std::to_string(relay_.port()), relay, "-");
        wait_until("start", [&] { return !ann().address.empty(); }, [] { return "ann is starting"; });
        show("start", "five processes: " + joined(names) + "; each is given one address, ann's: " + ann().address);
    }

    void complete_the_tables() {
        const auto begin = Clock::now();
        for (std::size_t i = 1; i < members_.size(); ++i) start(members_[i], "127.0.0.1:0", "-", ann().address);
        wait_for_full_tables("peers");
        const auto time = Clock::now() - begin;
        const auto links = [&] {
            std::uint64_t ends = 0;
            for (const Member& member : members_) ends += member.links;
            return ends / 2;
        };
        const std::uint64_t pairs = names.size() * (names.size() - 1) / 2;
        wait_for_stats("peers", [&] { return links() == pairs; }, [&] { return std::to_string(links()) + " links"; });
        show("peers", "every process lists the four others " + milliseconds(time) + " after the start; links made: " +
                          std::to_string(links()) + ", one for each pair");
    }

    void broadcast_from_all() {
        const auto begin = Clock::now();
        send(first_step);
        const auto end = wait_for_delivery("messages", first_step);
        show("messages", "5 x " + grouped(first_step.messages) + " numbered broadcasts: " +
                             grouped(first_step.deliveries()) + " received by the others, in order, in " +
                             milliseconds(end - begin));
    }

    void kill_one() {
        const auto begin = Clock::now();
        Member& cleo = member("cleo");
        cleo.process->kill();
        const Removal removal = wait_for_removal("crash", cleo, "failed");
        require(cleo.process->wait() == "signal 9", "cleo ended before it was killed");
        cleo.process.reset();
        show("crash", "cleo was killed (SIGKILL); " + removal.text(begin, "saw it fail"));
    }

    void start_it_again() {
        const auto begin = Clock::now();
        Member& cleo = member("cleo");
        cleo.peers.clear();
        cleo.attachments.clear();
        start(cleo, "127.0.0.1:0", "-", ann().address);
        wait_for_full_tables("return");
        show("return", "cleo was started again and is a peer of all four after " + milliseconds(Clock::now() - begin));
    }

    void cut_a_link() {
        wait_for_stats("cut", [] { return true; }, [] { return ""; });
        std::map<std::string, int> before = ann().attachments;
        relay_.cut_after(cut_after);
        send(cut_step);
        wait_until("cut", [&] { return relay_.has_cut(); }, [&] { return delivered(cut_step) + "; not yet cut"; });
        std::string other;
        const auto resumed = [&] {
            for (const auto& [name, attachments] : ann().attachments) {
                if (attachments > before[name] && member(name).attachments["ann"] > 1) other = name;
            }
            return !other.empty();
        };
        wait_for_stats("cut", resumed, [&] { return delivered(cut_step) + "; the link is cut"; });
        const auto time = Clock::now() - relay_.cut_at();
        wait_for_delivery("cut", cut_step);
        show("cut", "during 5 x " + grouped(cut_step.messages) + " broadcasts the link ann-" + other +
                        " was reset, and resumed " + milliseconds(time) + " later: " +
                        grouped(cut_step.deliveries()) + " received in order");
    }

    void let_one_leave() {
        const auto begin = Clock::now();
        Member& eve = member("eve");
        eve.process->tell("leave");
        const Removal removal = wait_for_removal("leave", eve, "left");
        wait_for_end(eve);
        show("leave", "eve left gracefully; " + removal.text(begin, "saw it leave"));
    }

    void end() {
        const std::map<std::string, std::string> gone = {{"cleo", "failed"}, {"eve", "left"}};
        for (const Member& each : members_) {
            if (each.process == nullptr) continue;
            for (const auto& [name, why] : each.removed) {
                require(gone.contains(name) && gone.at(name) == why, each.name + " saw " + name + " go: " + why);
            }
        }
        for (const Member& each : members_) {
            if (each.process != nullptr) each.process->tell("leave");
        }
        for (Member& each : members_) {
            if (each.process != nullptr) wait_for_end(each);
        }
        const std::uint64_t sent = first_step.deliveries() + cut_step.deliveries();
        Counts sum;
        for (const Member& each : members_) {
            for (const auto& [step, counts] : each.counts) {
                sum.delivered += counts.delivered;
                sum.lost += counts.lost;
                sum.disordered += counts.disordered;
            }
        }
        // A broadcast to four counts as four here.
        clear_line();
        std::printf("demo: %zu nodes, %lu messages sent, %lu delivered, %lu lost, %lu out of order\n", names.size(),
                    sent, sum.delivered, sum.lost, sum.disordered);
        require(sum.delivered == sent && sum.lost == 0 && sum.disordered == 0, "these numbers are wrong");
    }

    // What the steps are made of.

    Member& ann() { return members_.front(); }
    Member& member(const std::string& name) {
        return *std::find_if(members_.begin(), members_.end(), [&](const Member& each) { return each.name == name; });
    }
    std::vector<std::string> names_of(const std::function<bool(const Member&)>& chosen) const {
        std::vector<std::string> result;
        for (const Member& each : members_) {
            if (chosen(each)) result.push_back(each.name);
        }
        return result;
    }

    static void start(Member& member, const std::string& listen, const std::string& advertise,
                      const std::string& known) {
        member.process = std::make_unique<Process>(
            std::vector<std::string>{"member", member.name, listen, advertise, known});
    }

    void send(const Step& step) {
        for (const Member& each : members_) {
            each.process->tell("broadcast " + std::to_string(step.number) + ' ' + std::to_string(step.messages) + ' ' +
                               std::to_string(step.size));
        }
    }

    std::string delivered(const Step& step) {
        std::uint64_t sum = 0;
        for (Member& each : members_) sum += each.counts[step.number].delivered;
        return grouped(sum) + " of " + grouped(step.deliveries()) + " received";
    }

    /// When it was complete.
    Clock::time_point wait_for_delivery(const std::string& label, const Step& step) {
        const std::uint64_t each_gets = step.messages * (names.size() - 1);
        const auto complete = [&] {
            return std::all_of(members_.begin(), members_.end(), [&](Member& each) {
                const Counts& counts = each.counts[step.number];
                require(counts.lost == 0, each.name + " misses messages: " + std::to_string(counts.lost));
                require(counts.disordered == 0, each.name + " received messages twice or out of order: " +
                                                    std::to_string(counts.disordered));
                return counts.delivered == each_gets;
            });
        };
        wait_until(label, complete, [&] { return delivered(step); });
        const auto end = Clock::now();
        // The senders learn it a little later.
        const auto settled = [&] {
            return std::all_of(members_.begin(), members_.end(), [](const Member& each) {
                return each.unacknowledged_bytes == 0;
            });
        };
        wait_for_stats(label, settled, [&] { return delivered(step) + ", not yet acknowledged"; });
        return end;
    }

    void wait_for_full_tables(const std::string& label) {
        const auto complete = [&] {
            return std::all_of(members_.begin(), members_.end(), [](const Member& each) {
                return each.lists_all_others();
            });
        };
        wait_until(label, complete, [&] {
            std::string text = "peers known:";
            for (const Member& each : members_) text += ' ' + each.name + ' ' + std::to_string(each.peers.size());
            return text;
        });
    }

    /// When the first and the last of the others saw one go.
    struct Removal {
        Clock::time_point first;
        Clock::time_point last;
        std::vector<std::string> others;

        std::string text(Clock::time_point begin, const std::string& what) const {
            return "the first of " + joined(others) + " " + what + " after " + milliseconds(first - begin) +
                   ", the last after " + milliseconds(last - begin);
        }
    };

    Removal wait_for_removal(const std::string& label, const Member& gone, const std::string& why) {
        const auto blind = [&](const Member& each) { return &each != &gone && each.lists(gone.name); };
        Removal removal;
        removal.others = names_of([&](const Member& each) { return &each != &gone; });
        const auto some = [&] { return names_of(blind).size() < removal.others.size(); };
        const auto progress = [&] { return gone.name + " is still listed by " + joined(names_of(blind)); };
        wait_until(label, some, progress);
        removal.first = Clock::now();
        wait_until(label, [&] { return names_of(blind).empty(); }, progress);
        removal.last = Clock::now();
        for (Member& each : members_) {
            if (&each == &gone) continue;
            const std::string& seen = each.removed[gone.name];
            require(seen == why, each.name + " takes " + gone.name + " for " + seen);
        }
        return removal;
    }

    void wait_for_end(Member& member) {
        wait_until("leave", [&] { return member.process->at_end(); }, [&] { return member.name + " is leaving"; });
        const std::string how = member.process->wait();
        require(how == "exit 0", member.name + " ended with " + how);
        require(member.left == "0", member.name + " left unacknowledged: " + member.left);
        member.process.reset();
    }

    /// Asks now and then.
    void wait_for_stats(const std::string& label, const std::function<bool()>& condition,
                        const std::function<std::string()>& progress) {
        constexpr int pause = 2;  // milliseconds
        const auto deadline = Clock::now() + patience;
        for (;;) {
            for (Member& each : members_) {
                each.has_stats = false;
                each.process->tell("stats");
            }
            const auto all_have = [&] {
                return std::all_of(members_.begin(), members_.end(), [](const Member& each) { return each.has_stats; });
            };
            wait_until(label, all_have, progress);
            if (condition()) return;
            require(Clock::now() < deadline, label + ": given up: " + progress());
            ::poll(nullptr, 0, pause);
        }
    }

    /// Reads what the processes write until `condition` holds; shows `progress` on a terminal.
    void wait_until(const std::string& label, const std::function<bool()>& condition,
                    const std::function<std::string()>& progress) {
        const auto deadline = std::min(Clock::now() + patience, begin_ + all_patience);
        for (;;) {
            read_lines();
            if (condition()) return;
            if (terminal_) rewrite_line(label, progress());
            for (const Member& each : members_) {
                const bool may_end = each.process == nullptr || !each.left.empty() || each.name == "cleo";
                require(may_end || !each.process->at_end(), each.name + " has ended unexpectedly");
            }
            require(Clock::now() < deadline, label + ": given up: " + progress());
        }
    }

    /// Waits a moment for them.
    void read_lines() {
        constexpr int moment = 20;  // milliseconds; also how often progress is shown, and the relay asked
        std::vector<pollfd> wanted;
        for (const Member& each : members_) {
            const bool open = each.process != nullptr && !each.process->at_end();
            wanted.push_back({open ? each.process->descriptor() : -1, POLLIN, 0});
        }
        ::poll(wanted.data(), wanted.size(), moment);
        for (Member& each : members_) {
            if (each.process == nullptr) continue;
            for (const std::string& line : each.process->lines()) each.take(line);
        }
    }

    static void require(bool holds, const std::string& otherwise) {
        if (!holds) throw std::runtime_error(otherwise);
    }

    void clear_line() const {
        if (terminal_) std::printf("\r\033[K");
    }
    void rewrite_line(const std::string& label, const std::string& text) {
        if (text == std::exchange(progress_, text)) return;
        clear_line();
        std::printf("%-10s%s...", label.c_str(), text.c_str());
        std::fflush(stdout);
    }
    void show(const std::string& label, const std::string& text) const {
        clear_line();
        std::printf("%-10s%s\n", label.c_str(), text.c_str());
        std::fflush(stdout);
    }

    const bool terminal_ = ::isatty(STDOUT_FILENO) == 1;
    const Clock::time_point begin_ = Clock::now();
    Relay relay_;
    std::vector<Member> members_;
    std::string progress_;  ///< as shown last
};

}  // namespace

int main(int count, char** values) {
    std::signal(SIGPIPE, SIG_IGN);
    const std::vector<std::string> arguments(values + 1, values + count);
    try {
        if (arguments.size() == 5 && arguments[0] == "member") return run_member(std::span(arguments).subspan(1));
        if (arguments.size() >= 4 && arguments[0] == "voter") return run_voter(std::span(arguments).subspan(1));
        if (!arguments.empty()) {
            std::fprintf(stderr, "usage: cluster-demo\n");
            return 2;
        }
        Demo demo;
        try {
            demo.run();
        } catch (...) {
            std::printf("\n");
            demo.show_logs();
            throw;
        }
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "demo: FAILED: %s\n", error.what());
        return 1;
    }
}
