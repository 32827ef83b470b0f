#include "consensus/questions.hpp"

namespace cluster::consensus {

void Questions::add(std::uint64_t number, Time deadline) {
    reads_.emplace(number, Read{deadline, asked_ + 1, 0});
    asking_.insert(number);
    deadlines_.emplace(deadline, number);
}

void Questions::add(std::uint64_t number, Time deadline, Index at_least) {
    reads_.emplace(number, Read{deadline, 0, at_least});
    seeing_.emplace(at_least, number);
    deadlines_.emplace(deadline, number);
}

void Questions::done(std::uint64_t number) {
    const auto found = reads_.find(number);
    if (found != reads_.end()) erase(found);
}

void Questions::erase(Reads::iterator at) {
    const auto& [number, read] = *at;
    deadlines_.erase({read.deadline, number});
    seeing_.erase({read.index, number});
    asking_.erase(number);
    reads_.erase(at);
}

std::vector<Questions::Expired> Questions::expire(Time now) {
    std::vector<Expired> expired;
    while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
        const auto found = reads_.find(deadlines_.begin()->second);
        expired.push_back({found->first, !asking_.contains(found->first)});
        erase(found);
    }
    return expired;
}

std::optional<ReadIndex> Questions::next(Time now) {
    if (now >= asked_at_ + patience_) under_way_ = false;
    if (asking_.empty() || under_way_ || now < not_before_) return std::nullopt;
    under_way_ = true;
    asked_at_ = now;
    return ReadIndex{life_, ++asked_, true};
}

void Questions::answered(const ReadIndexAnswer& answer) {
    if (answer.life != life_ || answer.number > asked_) return;
    if (answer.number == asked_) under_way_ = false;
    for (auto each = asking_.begin(); each != asking_.end();) {
        Read& read = reads_.at(*each);
        if (read.question > answer.number) {
            ++each;
            continue;
        }
        read.index = answer.index;
        seeing_.emplace(read.index, *each);
        each = asking_.erase(each);
    }
}

void Questions::not_sent(Time now) {
    under_way_ = false;
    not_before_ = now + stall;
}

void Questions::begin_anew() noexcept {
    under_way_ = false;
    not_before_ = {};
}

Time Questions::due() const {
    if (asking_.empty()) return never;
    return under_way_ ? asked_at_ + patience_ : not_before_;
}

std::vector<std::uint64_t> Questions::take(Index applied) {
    std::vector<std::uint64_t> numbers;
    while (ready(applied)) {
        numbers.push_back(seeing_.begin()->second);
        seeing_.erase(seeing_.begin());
    }
    return numbers;
}

std::uint64_t Askers::asks(const DiskId& from, const ReadIndex& question) {
    std::erase_if(asked_, [&](const auto& each) { return each.second.from == from; });
    asked_.emplace_hint(asked_.end(), ++last_, Asked{from, question});
    return last_;
}

std::optional<Askers::Answer> Askers::ready(std::uint64_t number, Index index) {
    const auto found = asked_.find(number);
    if (found == asked_.end()) return std::nullopt;
    const Asked asked = found->second;
    asked_.erase(found);
    return Answer{asked.from, {asked.question.life, asked.question.number, index}};
}

}  // namespace cluster::consensus
