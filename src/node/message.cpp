#include <cluster/message.hpp>

#include "base/block.hpp"
#include "node/replier.hpp"

#include <cluster/error.hpp>

#include <utility>

namespace cluster {

namespace {

/// From this length on, sharing a block costs less than copying out of it.
constexpr std::size_t shared_from = std::size_t{4} << 10;

}  // namespace

Message::Message(const Message& other)
    : from_(other.from_), lost_(other.lost_), position_(other.position_), question_(other.question_) {
    if (question_ != nullptr) question_->retain();
    if (other.size_ == 0) return;
    if (other.size_ < shared_from) {
        block_ = detail::Block::copy(other.bytes()).detach();
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
      position_(std::exchange(other.position_, 0)),
      question_(std::exchange(other.question_, nullptr)) {}

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
    std::swap(position_, old.position_);
    std::swap(question_, old.question_);
    return *this;
}

Message::~Message() {
    if (block_ != nullptr) block_->release();
    if (question_ != nullptr) question_->release();
}

void Message::reply(Payload payload, std::error_code& error) const {
    error = make_error_code(errc::not_a_request);
    if (question_ != nullptr) question_->reply(0, payload, error);
}

void Message::reply(Payload payload) const {
    std::error_code error = make_error_code(errc::not_a_request);
    if (question_ != nullptr) question_->reply(0, payload, error);
    if (error) throw std::system_error(error, "replying to " + from_.to_string());
}

void Message::reply_error(int code, std::string_view text, std::error_code& error) const {
    error = make_error_code(question_ == nullptr ? errc::not_a_request : errc::malformed_message);
    Payload payload(text);
    if (question_ != nullptr && code != 0) question_->reply(code, payload, error);
}

void Message::reply_error(int code, std::string_view text) const {
    std::error_code error;
    reply_error(code, text, error);
    if (error) throw std::system_error(error, "replying with an error to " + from_.to_string());
}

}  // namespace cluster
