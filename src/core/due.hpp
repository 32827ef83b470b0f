#pragma once

#include "core/frame.hpp"
#include "core/outbox.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace cluster::core {

/// What one link has to write, apart from the messages and members of its session. Not thread-safe; lives in its link.
///
/// 1. Each kind is due at most once, even if it is asked for often, and goes out in the order of `pull`.
/// 2. A frame that states the present is made by the author when it is written.
/// 3. After the last words, a REFUSE or a GOODBYE, nothing is written.
struct Due {
    /// Answers that wait on one link.
    static constexpr std::size_t most_findings = 256;

    bool hello = false;
    bool offer = false;
    bool attach = false;
    std::optional<Attached> attached;
    bool ack = false;
    std::optional<std::uint64_t> pong;
    bool ping = false;
    bool list = false;         ///< of those in view
    std::vector<PeerId> news;  ///< of these only, if no list is due
    std::vector<Gap> gaps;     ///< before the goodbye
    std::optional<Goodbye> goodbye;
    std::optional<Refuse> refuse;
    bool of_others = true;  ///< if not, nothing is written about other nodes, whatever was asked for

    void inquire(const PeerId& id, bool wants_answer) {
        const auto found =
            std::find_if(inquiries_.begin(), inquiries_.end(), [&](const Inquiry& each) { return each.id == id; });
        if (found == inquiries_.end()) {
            inquiries_.push_back({id, wants_answer});
        } else if (wants_answer) {
            found->wants_answer = true;
        }
    }
    /// False if too many wait: a peer that asks so much and does not read gets no answer.
    bool answer(const PeerId& id, bool heard) {
        std::erase_if(findings_, [&](const Finding& each) { return each.id == id; });
        if (findings_.size() == most_findings) return false;
        findings_.push_back({id, heard});
        return true;
    }
    void announce(const PeerId& id) {
        if (std::find(news.begin(), news.end(), id) == news.end()) news.push_back(id);
    }

    /// Writes all of it. `author` makes the frames `hello`, `offer`, `attach`, `ack` and `ping`, and writes a `list`
    /// and the `news`. It also knows whether the link is `attached` and its session `owes_ack`. False: the session
    /// writes nothing.
    template <class Author>
    bool pull(Author&& author, OutputSink& sink) {
        if (over_) return false;
        if (std::exchange(hello, false)) sink.frame(author.hello());
        if (refuse) return end(*refuse, sink);
        // First, even if the session has ended since: the peer knows of no session before it has read this.
        if (attached) sink.frame(*std::exchange(attached, std::nullopt));
        if (goodbye) {
            for (const Gap& gap : gaps) sink.frame(gap);
            return end(*goodbye, sink);
        }
        if (std::exchange(offer, false)) sink.frame(author.offer());
        if (std::exchange(attach, false)) sink.frame(author.attach());
        if (!author.attached()) return false;
        if (std::exchange(ack, false) || author.owes_ack()) sink.frame(author.ack());
        if (pong) sink.frame(Pong{*std::exchange(pong, std::nullopt)});
        if (std::exchange(ping, false)) sink.frame(author.ping());
        if (!of_others) {
            inquiries_.clear();
            findings_.clear();
            news.clear();
            list = false;
        }
        for (const Inquiry& inquiry : std::exchange(inquiries_, {})) sink.frame(inquiry);
        for (const Finding& finding : std::exchange(findings_, {})) sink.frame(finding);
        if (std::exchange(list, false)) {
            news.clear();
            author.list(sink);
        } else if (!news.empty()) {
            author.news(std::exchange(news, {}), sink);
        }
        return true;
    }

private:
    bool end(const Control& last_words, OutputSink& sink) {
        sink.frame(last_words);
        over_ = true;
        return false;
    }

    std::vector<Inquiry> inquiries_;
    std::vector<Finding> findings_;
    bool over_ = false;
};

}  // namespace cluster::core
