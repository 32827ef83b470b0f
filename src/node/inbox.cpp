#include <cluster/inbox.hpp>

#include "node/inbox_state.hpp"
#include "support/deadline.hpp"

#include <utility>

namespace cluster {

using detail::InboxReader;
using detail::InboxState;

namespace {

std::optional<Message> receive_until(const std::shared_ptr<InboxState>& state, detail::Deadline deadline) {
    InboxReader reader(state);
    if (!reader.next(deadline)) return std::nullopt;
    return reader.take();
}

}  // namespace

Inbox::Inbox(std::shared_ptr<InboxState> state) noexcept : state_(std::move(state)) {}

std::optional<Message> Inbox::receive() {
    return receive_until(state_, InboxState::for_ever);
}

std::optional<Message> Inbox::receive_for(std::chrono::nanoseconds duration) {
    if (duration <= std::chrono::nanoseconds(0)) return try_receive();
    return receive_until(state_, detail::deadline_after(duration));
}

std::optional<Message> Inbox::try_receive() {
    return receive_until(state_, InboxState::no_wait);
}

bool Inbox::at_end() const {
    return state_->at_end();
}

void Inbox::wait(std::shared_ptr<detail::Operation> operation) const {
    state_->wait(std::move(operation));
}

bool Inbox::stop_waiting(const detail::Operation& operation) const {
    return state_->stop_waiting(operation);
}

void Inbox::pass_on() const {
    state_->pass_on();
}

bool Inbox::call_back(std::function<void()> work) const {
    return state_->call_back(std::move(work));
}

Inbox::Iterator Inbox::begin() {
    auto reader = std::make_unique<InboxReader>(state_);
    if (!reader->next(InboxState::for_ever)) reader.reset();
    return Iterator(std::move(reader));
}

Inbox::Iterator::Iterator(std::unique_ptr<InboxReader> reader) : reader_(std::move(reader)) {}
Inbox::Iterator::Iterator(Iterator&&) noexcept = default;
Inbox::Iterator& Inbox::Iterator::operator=(Iterator&&) noexcept = default;
Inbox::Iterator::~Iterator() = default;

const Message& Inbox::Iterator::operator*() const noexcept {
    return reader_->message();
}

Inbox::Iterator& Inbox::Iterator::operator++() {
    if (!reader_->next(InboxState::for_ever)) reader_.reset();
    return *this;
}

}  // namespace cluster
