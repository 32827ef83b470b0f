#include "storage/writer.hpp"

#include "base/quiet_writing.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace cluster::storage {

using consensus::Index;
using consensus::Write;

namespace {

std::size_t cost_of(const Write& write) {
    std::size_t bytes = consensus::Entry::overhead;
    for (const consensus::Entry& each : write.entries) bytes += each.cost();
    return bytes;
}

}  // namespace

Writer::Writer(Log& log, Options options, Callbacks callbacks)
    : log_(log), options_(options), callbacks_(std::move(callbacks)), thread_([this] { run(); }) {}

Writer::~Writer() {
    close();
}

bool Writer::submit(Write write) {
    const std::size_t cost = cost_of(write);
    detail::Lock lock(mutex_);
    if (closed_ || failed_ || (bytes_ != 0 && bytes_ + cost > options_.most_waiting)) return false;
    bytes_ += cost;
    queue_.push_back(std::move(write));
    const bool wakes = queue_.size() == 1;
    lock.unlock();  // the thread that is woken needs it
    if (wakes) condition_.notify_all();
    return true;
}

void Writer::cut(Index index) {
    const detail::Lock lock(mutex_);
    cut_ = std::max(cut_.value_or(0), index);
    if (!queue_.empty()) cut_after_ = queue_.back().number;
    condition_.notify_all();
}

bool Writer::busy() const {
    const detail::Lock lock(mutex_);
    return busy_;
}

std::size_t Writer::waiting() const {
    const detail::Lock lock(mutex_);
    return queue_.size();
}

bool Writer::ended() const {
    const detail::Lock lock(mutex_);
    return failed_ || closed_;
}

void Writer::close() {
    {
        const detail::Lock lock(mutex_);
        closed_ = true;
        condition_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
}

/// All that waits, or about as much as one group should have.
std::deque<Write> Writer::take() {
    std::deque<Write> group;
    for (std::size_t bytes = 0; !queue_.empty() && bytes < options_.most_in_group;) {
        const std::size_t cost = cost_of(queue_.front());
        bytes += cost;
        bytes_ -= cost;
        group.push_back(std::move(queue_.front()));
        queue_.pop_front();
    }
    return group;
}

void Writer::run() {
    const detail::QuietWriting quiet;
    for (;;) {
        std::deque<Write> group;
        std::optional<Index> cut_to;
        {
            const detail::Lock lock(mutex_);
            busy_ = false;
            while (queue_.empty() && !cut_ && !closed_ && !idle_work_) condition_.wait(mutex_);
            if (queue_.empty() && closed_) return;
            group = take();
            if (queue_.empty() || queue_.front().number > cut_after_) cut_to = std::exchange(cut_, std::nullopt);
            busy_ = true;
        }
        work(std::move(group), cut_to);
    }
}

void Writer::work(std::deque<Write> group, std::optional<Index> cut_to) {
    if (failed_before_) {
        idle_work_ = false;
        return;
    }
    std::error_code error;
    if (!group.empty()) {
        const std::vector<Write> writes(std::make_move_iterator(group.begin()), std::make_move_iterator(group.end()));
        error = log_.write(writes);
        if (!error) callbacks_.durable(writes.back().number);
        // If there is no time at all to prepare the next segment, the writes that reach it wait for it.
        if (!error && log_.half_full()) log_.prepare();
        if (!error) error = log_.error();
        idle_work_ = true;
    } else if (!cut_to && idle_work_) {
        error = log_.mark();
        idle_work_ = !error && log_.prepare();
        if (!error) error = log_.error();
    }
    if (!error && cut_to) error = log_.cut(*cut_to);
    if (!error) return;
    failed_before_ = true;
    {
        const detail::Lock lock(mutex_);
        failed_ = true;
        queue_.clear();
        bytes_ = 0;
    }
    callbacks_.failed(error);
}

}  // namespace cluster::storage
