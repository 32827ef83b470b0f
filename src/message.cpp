#include <cluster/message.hpp>

#include "core/block.hpp"
#include "replier.hpp"

#include <cluster/error.hpp>

#include <utility>

namespace cluster {

namespace {

/// From this length on, sharing a block costs less than copying out of it.
constexpr std::size_t shared_from = std::size_t{4} << 10;

}  // namespace

Message::Message(const Message& other)
    : from_(other.from_), lost_(other.lost_), replier_(other.replier_), call_(other.call_) {
    if (replier_ != nullptr) replier_->retain();
    if (other.size_ == 0) return;
    if (other.size_ < shared_from) {
        block_ = core::Block::copy(other.bytes()).detach();
        data_ = block_->data();
    } else {
        other.block_->retain();
        block_ = other.block_;
        data_ = other.data_;
    }
    size_ = other.size_;
}

Message::Message(Message&& other) noexcept
    : from_(other.from_),
      block_(std::exchange(other.block_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      lost_(std::exchange(other.lost_, 0)),
      replier_(std::exchange(other.replier_, nullptr)),
      call_(std::exchange(other.call_, 0)) {}

Message& Message::operator=(const Message& other) {
    if (this != &other) *this = Message(other);
    return *this;
}

Message& Message::operator=(Message&& other) noexcept {
    Message old(std::move(other));
    std::swap(from_, old.from_);
    std::swap(block_, old.block_);
    std::swap(data_, old.data_);
    std::swap(size_, old.size_);
    std::swap(lost_, old.lost_);
    std::swap(replier_, old.replier_);
    std::swap(call_, old.call_);
    return *this;
}

Message::~Message() {
    if (block_ != nullptr) block_->release();
    if (replier_ != nullptr) replier_->release();
}

void Message::reply(Payload payload, std::error_code& error) const {
    error = make_error_code(errc::not_a_request);
    if (replier_ != nullptr) replier_->reply(from_, call_, payload, error);
}

void Message::reply(Payload payload) const {
    std::error_code error = make_error_code(errc::not_a_request);
    if (replier_ != nullptr) replier_->reply(from_, call_, payload, error);
    if (error) throw std::system_error(error, "replying to " + from_.to_string());
}

}  // namespace cluster
