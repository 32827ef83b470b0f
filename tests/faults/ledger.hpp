#pragma once

// The service whose messages the replicas themselves submit.

#include "applied.hpp"

#include <cluster/service.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

namespace cluster::faults {

/// Who submitted which numbers. Each message is `LIFE NUMBER`, a blank, and what fills it up.
class Ledger final : public Shown {
public:
    explicit Ledger(bool freezes) : freezes_(freezes) {}

    void on_message(Context& context, std::span<const std::byte> message) override {
        const std::string_view text(reinterpret_cast<const char*>(message.data()), message.size());
        const std::size_t blank = text.find(' ');
        const std::string_view entry = text.substr(0, text.find(' ', blank + 1));
        const std::uint64_t number = std::stoull(std::string(entry.substr(blank + 1)));
        const std::lock_guard lock(mutex_);
        chain_.add(entry);
        chain_.add(context.position());
        chain_.add(static_cast<std::uint64_t>(context.time().count()));
        ++count_;
        position_ = context.position();
        applied_.add(std::string(text.substr(0, blank)), number);
        context.reply(std::string(entry));
    }
    void on_query(QueryContext& context, std::span<const std::byte>) const override {
        context.reply(std::to_string(position_));
    }
    void save(SnapshotWriter& out) const override {
        out.write(count_);
        out.write(position_);
        chain_.save(out);
        applied_.save(out);
    }
    void load(SnapshotReader& in) override {
        const std::lock_guard lock(mutex_);
        in.read(count_);
        in.read(position_);
        chain_.load(in);
        applied_.load(in);
        if (!in.at_end()) throw std::runtime_error("a snapshot has more than was saved");
    }
    std::function<void(SnapshotWriter&)> freeze() const override {
        if (!freezes_) return {};
        auto copy = std::make_shared<Ledger>(true);
        copy->count_ = count_;
        copy->position_ = position_;
        copy->chain_ = chain_;
        copy->applied_ = applied_;
        return [copy](SnapshotWriter& out) { copy->save(out); };
    }

    std::string text() const override {
        const std::lock_guard lock(mutex_);
        return "{\"count\":" + std::to_string(count_) + ",\"hash\":" + std::to_string(chain_.value()) +
               ",\"lives\":" + applied_.text() + '}';
    }

private:
    const bool freezes_;
    mutable std::mutex mutex_;  // the service thread is the only one that changes anything
    std::uint64_t count_ = 0;
    std::uint64_t position_ = 0;  ///< of the last message
    Chain chain_;
    Applied applied_;
};

}  // namespace cluster::faults
