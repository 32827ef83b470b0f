#include "consensus/raft.hpp"

#include "base/overloaded.hpp"
#include "consensus/invariant.hpp"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

namespace cluster::consensus {

namespace {

Configuration configuration_in(const Bytes& body) {
    auto read = Configuration::decode(body.view());
    require(read.has_value(), "a configuration in the log cannot be read");
    return std::move(*read);
}

}  // namespace

Raft::Raft(RaftOptions options, Recovered recovered, Moment now)
    : options_(std::move(options)),
      dice_(options_.seed),
      term_(recovered.state.term),
      vote_(recovered.state.vote),
      written_state_(recovered.state),
      log_(std::move(recovered.base), std::move(recovered.terms), std::move(recovered.last)),
      last_ordered_(log_.last().index),
      newest_(std::move(recovered.newest)),
      commit_(0),
      handed_(newest_.last.index),
      applied_(newest_.last.index),
      now_(now.steady),
      role_(Following()) {
    if (!log_.contains(newest_.last)) {
        // It was installed, and this process ended before its log said so.
        require(newest_.last.index >= log_.base().last.index, "the log begins behind the newest snapshot");
        log_.reset(newest_);
        last_ordered_ = newest_.last.index;
        begin_after_ = newest_;
        recovered.configurations.clear();
    }
    // A snapshot may be on disk before the term is in which its last entry was made. Nothing was promised in that term
    // then: it would be on disk.
    if (log_.last().term > term_) enter_term(log_.last().term);
    configurations_.push_back({log_.base().last.index, configuration_in(log_.base().configuration)});
    for (const Entry& entry : recovered.configurations) {
        configurations_.push_back({entry.id.index, configuration_in(entry.body)});
    }
    commit_ = std::clamp(recovered.state.commit, newest_.last.index, log_.last().index);
    if (newest_.last.index != 0) {
        loading_ = newest_.last.index;
        emit(Load{newest_});
    }
    follow();
    hand_out();
    report();
}

// Events.

void Raft::stop(const char* reason) {
    stopped_ = true;
    effects_.clear();
    emit(Stopped{reason});
}

void Raft::receive(const Message& message, Moment now) {
    guarded(now, [&] { dispatch(message, now); });
}

void Raft::tick(Moment now) {
    guarded(now, [&] {
        if (std::holds_alternative<Leadership>(role_)) {
            tick_leader();
        } else if (now_ >= deadline()) {
            campaign(true, false, now);
        }
    });
}

void Raft::written(std::uint64_t number, Moment now) {
    guarded(now, [&] {
        require(number <= last_write_, "a write was done that nobody has ordered");
        written_ = std::max(written_, number);
        last_written_ = now_;
        while (!under_way_.empty() && under_way_.front().number <= written_) under_way_.pop_front();
        log_.written(number);
        log_.forget(options_.memory);
        if (std::holds_alternative<Candidacy>(role_)) count_votes(now);
        if (std::holds_alternative<Leadership>(role_)) advance();
    });
}

void Raft::fetched(const DiskId& reader, std::vector<Entry> entries, Moment now) {
    guarded(now, [&] {
        // Meanwhile other entries may have taken their place.
        while (!entries.empty() && !log_.contains(entries.back().id)) entries.pop_back();
        if (reader == options_.self) {
            const Index from = std::exchange(fetching_, 0);
            std::erase_if(entries, [&](const Entry& entry) { return entry.id.index > commit_; });
            // If the disk has none, the next commit tries again.
            if (entries.empty() && from == handed_ + 1) return;
            if (!entries.empty() && entries.front().id.index == handed_ + 1) hand(std::move(entries));
            return hand_out();
        }
        Progress* progress = member(reader);
        if (progress == nullptr) return;
        progress->fetching = false;
        dirty_ = true;
        // If the log has been cut behind them meanwhile, a snapshot is offered.
        const bool wanted = !entries.empty() && entries.front().id.index == progress->next() &&
                            log_.term_at(progress->next() - 1);
        if (wanted && progress->may_send(options_.max_in_flight)) send_entries(reader, *progress, std::move(entries));
    });
}

void Raft::applied(Index index, Moment now) {
    guarded(now, [&] {
        require(index <= handed_, "an entry was applied that was not handed out");
        applied_ = std::max(applied_, index);
        if (index >= loading_) loading_ = 0;
        applying_.remove(applied_);
        hand_out();
    });
}

void Raft::snapshot_taken(const SnapshotId& newest, const SnapshotId& base, Moment now) {
    guarded(now, [&] {
        require(newest.last.index <= applied_, "a snapshot holds what was not applied");
        if (newest.last.index > newest_.last.index) newest_ = newest;
        log_.rebase(base);
        forget_configurations();
    });
}

void Raft::gone(const DiskId& disk, Moment now) {
    guarded(now, [&] {
        auto* following = std::get_if<Following>(&role_);
        if (following != nullptr && following->leader && following->leader != disk) return;
        // One after the other, so that they do not take each other's votes. Whoever comes first may lack entries, or
        // the others may not know yet: then it is the turn of the next.
        hint_ = {disk, now_ + options_.election_timeout};
        if (auto* candidacy = std::get_if<Candidacy>(&role_)) {
            candidacy->votes.try_emplace(disk, false);
            return count_votes(now);
        }
        if (following == nullptr) return;
        // The candidate that has this replica's vote is about to lead, so it is not disturbed. If no member is named,
        // all begin anew, and the vote is an old one.
        const bool voted = vote_ && vote_ != disk && vote_ != options_.self;
        const bool about = disk && !following->leader && voted;
        following->leader = {};
        if (!about) following->deadline = std::min(following->deadline, now_ + turn(disk));
    });
}

/// How long this replica waits when `gone` is gone: by its place behind that one in the circle of voters.
Duration Raft::turn(const DiskId& gone) const {
    const auto& voters = configuration().voters;
    Duration wait{};
    auto each = voters.upper_bound(gone);
    for (std::size_t i = 0; i < voters.size(); ++i, ++each) {
        if (each == voters.end()) each = voters.begin();
        if (*each == options_.self) break;
        if (*each != gone) wait += step;
    }
    return wait;
}

/// How long it takes until each has had its turn.
Duration Raft::round_of_turns() const {
    return step * static_cast<int>(configuration().voters.size());
}

Time Raft::deadline() const {
    if (stopped_) return never;
    return std::visit(Overloaded{
                          [](const Following& following) { return following.deadline; },
                          [](const Candidacy& candidacy) { return candidacy.deadline; },
                          [](const Leadership& leading) {
                              const Time next = std::min(leading.next_heartbeat, leading.next_check);
                              return leading.transfer ? std::min(next, leading.transfer->deadline) : next;
                          },
                      },
                      role_);
}

bool Raft::take_output(Output& output) {
    if (std::exchange(dirty_, false)) guarded({now_, {}}, [this] { flush(); });
    output = std::exchange(effects_, {});
    return !output.empty();
}

// Messages.

void Raft::dispatch(const Message& message, Moment now) {
    if (message.to != options_.self || message.from == options_.self) return;
    if (message.from == hint_.gone) hint_.gone = {};  // it is back, and may vote
    const auto* request = std::get_if<VoteRequest>(&message.body);
    const auto* answer = std::get_if<VoteAnswer>(&message.body);
    const bool from_leader = std::holds_alternative<Append>(message.body) ||
                             std::holds_alternative<Heartbeat>(message.body) ||
                             std::holds_alternative<Chunk>(message.body);
    // A trial is about a term that has not begun. Who refuses one names its own, and if that is higher, it counts.
    const bool trial = (request != nullptr && request->trial != 0) ||
                       (answer != nullptr && answer->trial != 0 && (answer->granted || message.term <= term_));
    if (!trial && message.term > term_) {
        if (request != nullptr && !request->appointed && loyal()) return;
        enter_term(message.term);
        follow();
    }
    if (!trial && message.term < term_) {
        // A leader of a term that is over, or a candidate for one, is told of the present one.
        if (from_leader) send(message.from, HeartbeatAnswer{0, now.wall, commit_, options_.may_vote}, after_state());
        if (request != nullptr && options_.may_vote) send(message.from, VoteAnswer{0, false}, after_state());
        return;
    }
    std::visit([&](const auto& body) { on(message, body, now); }, message.body);
}

void Raft::send(const DiskId& to, Term term, Body body, std::uint64_t after) {
    emit(Send{{options_.self, to, term, std::move(body)}, after});
}

// Writing.

/// Orders to be written what has not been yet. The number of the newest write.
std::uint64_t Raft::write() {
    // No more is called committed than what the writes before this one hold: of this one, a crash may leave the state
    // without the entries, and then others stand in their places.
    const HardState state{term_, vote_, std::min(commit_, last_ordered_)};
    const bool promised = term_ != written_state_.term || vote_ != written_state_.vote;
    const Index last = log_.last().index;
    if (!promised && !begin_after_ && last_ordered_ == last) return last_write_;
    Write write{++last_write_, {}, std::exchange(begin_after_, {}), {}};
    if (state != std::exchange(written_state_, state)) write.state = state;
    write.entries = log_.copy(last_ordered_ + 1, last + 1, std::numeric_limits<std::size_t>::max());
    last_ordered_ = last;
    log_.ordered(last_write_);
    under_way_.push_back({last_write_, now_});
    if (promised) last_state_write_ = last_write_;
    emit(std::move(write));
    return last_write_;
}

/// For messages that depend on everything that this replica knows now.
std::uint64_t Raft::after_all() {
    const std::uint64_t number = write();
    return number > written_ ? number : 0;
}

/// For messages that depend on its term and vote.
std::uint64_t Raft::after_state() {
    if (term_ != written_state_.term || vote_ != written_state_.vote) write();
    return last_state_write_ > written_ ? last_state_write_ : 0;
}

bool Raft::disk_hangs() const {
    return now_ - writes_since() > options_.election_timeout;
}

// Terms and roles.

void Raft::enter_term(Term term) {
    require(term > term_, "a term was to begin again");
    term_ = term;
    vote_ = {};
    agreed_ = 0;
}

/// Follows nobody yet.
void Raft::follow() {
    stop_leading();
    const Time deadline = hinted() ? now_ + round_of_turns() + turn(hint_.gone) : election_deadline();
    role_ = Following{{}, {}, deadline};
}

Time Raft::election_deadline() {
    const auto spread = static_cast<std::uint64_t>((options_.election_timeout * 2 / 5).count());
    return now_ + options_.election_timeout + Duration(spread == 0 ? 0 : dice_.below(spread));
}

Role Raft::role() const noexcept {
    return static_cast<Role>(role_.index());
}

DiskId Raft::leader() const {
    if (const auto* following = std::get_if<Following>(&role_)) return following->leader;
    return std::holds_alternative<Leadership>(role_) ? options_.self : DiskId();
}

void Raft::report() {
    const StatusChanged status{role(), term_, leader()};
    if (std::exchange(reported_, status) != status) emit(status);
}

bool Raft::sends(const LogId& snapshot) const {
    const auto* leading = std::get_if<Leadership>(&role_);
    return leading != nullptr && std::any_of(leading->members.begin(), leading->members.end(), [&](const auto& each) {
        return each.second.mode() == Progress::Mode::snapshot && each.second.snapshot() == snapshot;
    });
}

const Progress* Raft::progress(const DiskId& disk) const {
    const auto* leading = std::get_if<Leadership>(&role_);
    if (leading == nullptr) return nullptr;
    const auto found = leading->members.find(disk);
    return found == leading->members.end() ? nullptr : &found->second;
}

// The log.

void Raft::append(Entry entry) {
    if (entry.kind == EntryKind::configuration) {
        configurations_.push_back({entry.id.index, configuration_in(entry.body)});
    }
    log_.append(std::move(entry));
}

/// Those that were not in force any more where the log begins.
void Raft::forget_configurations() {
    while (configurations_.size() > 1 && configurations_[1].index <= log_.base().last.index) {
        configurations_.pop_front();
    }
}

void Raft::truncate(Index index) {
    require(index > commit_, "a committed entry was to be replaced");
    log_.truncate(index);
    last_ordered_ = std::min(last_ordered_, index - 1);
    while (configurations_.back().index >= index) configurations_.pop_back();
}

void Raft::committed(Index index) {
    require(index >= commit_, "what was committed is not any more");
    require(index <= log_.last().index, "an entry is committed that is not there");
    commit_ = index;
    hand_out();
}

/// Hands out what is committed, as far as the service keeps up.
void Raft::hand_out() {
    while (handed_ < commit_ && applying_.bytes() < options_.max_applying && fetching_ == 0) {
        const std::size_t room = options_.max_applying - applying_.bytes();
        std::vector<Entry> entries = log_.copy(handed_ + 1, commit_ + 1, room);
        if (entries.empty()) {
            fetching_ = handed_ + 1;
            return emit(Fetch{options_.self, handed_ + 1, commit_ + 1, room});
        }
        hand(std::move(entries));
    }
}

void Raft::hand(std::vector<Entry> entries) {
    for (const Entry& entry : entries) applying_.add(entry);
    handed_ = entries.back().id.index;
    emit(Apply{std::move(entries)});
}

SnapshotId Raft::snapshot_at(const LogId& id, Duration time) const {
    require(id.index >= configurations_.front().index, "a snapshot of a state before the log");
    const auto behind = std::find_if(configurations_.begin(), configurations_.end(),
                                     [&](const Configured& each) { return each.index > id.index; });
    return {id, time, std::prev(behind)->value.encode()};
}

}  // namespace cluster::consensus
