#include "consensus/submissions.hpp"

#include <algorithm>
#include <utility>

namespace cluster::consensus {

void Submissions::add(std::uint64_t number, Bytes command, Time deadline) {
    items_.emplace_hint(items_.end(), number, Item{std::move(command), deadline, 0});
    waiting_.insert(waiting_.end(), number);
    deadlines_.emplace(deadline, number);
}

void Submissions::done(std::uint64_t number, Time now) {
    const auto found = items_.find(number);
    if (found != items_.end()) erase(found, now);
}

void Submissions::erase(Items::iterator at, Time now) {
    const auto& [number, item] = *at;
    deadlines_.erase({item.deadline, number});
    waiting_.erase(number);
    if (item.term == term_ && term_ != 0) bytes_ -= item.command.size();
    items_.erase(at);
    shorten(now);
}

/// Lets go of what is done at the front of what was passed on.
void Submissions::shorten(Time now) {
    while (!passed_on_.empty()) {
        const auto found = items_.find(passed_on_.front());
        if (found != items_.end() && found->second.term == term_) return;
        passed_on_.pop_front();
        sent_ = std::max(sent_, ++base_);
        moved_ = now;
        full_ = false;
    }
}

void Submissions::wait_again(std::uint64_t number, Item& item) {
    if (item.term == term_) bytes_ -= item.command.size();
    item.term = 0;
    waiting_.insert(number);
}

void Submissions::applied(Term term, Time now) {
    // Nobody can have got one from then on in an earlier term.
    if (std::exchange(applied_, term) == term) return;
    for (auto& [number, item] : items_) {
        if (item.term != 0 && item.term < term) wait_again(number, item);
    }
    shorten(now);
}

std::vector<std::uint64_t> Submissions::skipped(Term term, Time now) {
    std::vector<std::uint64_t> numbers;
    for (const auto& [number, item] : items_) {
        if (item.term != 0 && item.term <= term) numbers.push_back(number);
    }
    for (const std::uint64_t number : numbers) done(number, now);
    return numbers;
}

std::vector<Submissions::Expired> Submissions::expire(Time now) {
    std::vector<Expired> expired;
    while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
        const auto found = items_.find(deadlines_.begin()->second);
        expired.push_back({found->first, found->second.term != 0});
        erase(found, now);
    }
    return expired;
}

std::vector<Bytes> Submissions::waiting(std::size_t most) const {
    std::vector<Bytes> commands;
    std::size_t bytes = 0;
    for (const std::uint64_t number : waiting_) {
        const Bytes& command = items_.at(number).command;
        bytes += command.size() + Entry::overhead;
        if (!commands.empty() && bytes > most) break;
        commands.push_back(command);
    }
    return commands;
}

void Submissions::proposed(std::size_t count, Term term) {
    for (; count != 0; --count) {
        Item& item = items_.at(*waiting_.begin());
        item.term = term;
        waiting_.erase(waiting_.begin());
    }
}

std::optional<Submit> Submissions::next(Term term, Time now) {
    if (term != term_) {
        term_ = term;
        passed_on_.clear();
        base_ = sent_ = bytes_ = 0;
        not_before_ = {};
        full_ = false;
        answered_.reset();
    }
    while (!waiting_.empty() && bytes_ < most_passed_on) {
        const std::uint64_t number = *waiting_.begin();
        Item& item = items_.at(number);
        item.term = term;
        bytes_ += item.command.size();
        if (passed_on_.empty()) moved_ = now;
        passed_on_.push_back(number);
        waiting_.erase(waiting_.begin());
    }
    if (passed_on_.empty()) return std::nullopt;
    if (sent_ == end() && now >= moved_ + patience_) {
        sent_ = base_;
        moved_ = now;
        answered_.reset();
    }
    if (sent_ == end() || now < not_before_) return std::nullopt;
    Submit submit{life_, base_, sent_, {}};
    for (std::size_t bytes = 0; sent_ < end(); ++sent_) {
        const auto found = items_.find(passed_on_[sent_ - base_]);
        const bool wanted = found != items_.end() && found->second.term == term_;
        const Bytes command = wanted ? found->second.command : Bytes();
        bytes += command.size() + Entry::overhead;
        if (!submit.commands.empty() && bytes > most_) break;
        submit.commands.push_back(command);
    }
    return submit;
}

void Submissions::answered(Term term, const SubmitAnswer& answer, Time now) {
    if (term != term_ || answer.life != life_ || answer.expected >= sent_) return;
    // Each message that was under way gets the same answer. One is enough.
    if (!answer.full && answered_ == answer.expected) return;
    answered_ = answer.expected;
    sent_ = std::max(answer.expected, base_);
    full_ = answer.full;
    if (full_) not_before_ = now + pause;
}

void Submissions::lost(Term term) {
    if (term != term_) return;
    sent_ = base_;
    answered_.reset();
}

void Submissions::not_sent(Term term, Time now) {
    lost(term);
    if (term == term_) not_before_ = now + stall;
}

Time Submissions::due() const {
    if (sent_ < end() || (!waiting_.empty() && bytes_ < most_passed_on)) return not_before_;
    return passed_on_.empty() ? never : moved_ + patience_;
}

Origins::Verdict Origins::judge(const DiskId& from, Submit submit) {
    Origin& origin = origins_[from];
    if (origin.life != submit.life) origin = {submit.life, 0};
    origin.expected = std::max(origin.expected, submit.oldest);
    if (submit.first > origin.expected) return {{}, SubmitAnswer{submit.life, origin.expected, false}};
    const std::size_t known = std::min<std::size_t>(origin.expected - submit.first, submit.commands.size());
    auto& commands = submit.commands;
    commands.erase(commands.begin(), commands.begin() + static_cast<std::ptrdiff_t>(known));
    origin.expected += commands.size();
    return {std::move(commands), std::nullopt};
}

SubmitAnswer Origins::refuse(const DiskId& from, std::size_t count) {
    Origin& origin = origins_[from];
    origin.expected -= count;
    return {origin.life, origin.expected, true};
}

}  // namespace cluster::consensus
