#pragma once

#include "base/bytes.hpp"

#include <cluster/operation.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cluster::detail {

/// The calls of one kind that wait for a reply, by their numbers. Not thread-safe.
class OpenCalls {
public:
    /// Calls at a time.
    static constexpr std::size_t most = 65536;

    /// `most_bytes`: that they may hold together, unless a single one holds more.
    explicit OpenCalls(std::size_t most_bytes) : most_bytes_(most_bytes) {}

    /// What the call holds. False if there are too many.
    bool add(std::uint64_t number, std::shared_ptr<RequestOperation> operation, Bytes bytes) {
        const std::size_t size = bytes.size();
        if ((bytes_ != 0 && bytes_ + size > most_bytes_) || calls_.size() >= most) return false;
        calls_.emplace(number, Call{std::move(operation), std::move(bytes)});
        bytes_ += size;
        return true;
    }
    /// What it holds. Nothing if it has ended.
    std::optional<Bytes> bytes(std::uint64_t number) const {
        const auto found = calls_.find(number);
        return found == calls_.end() ? std::nullopt : std::optional(found->second.bytes);
    }
    /// Null if it has ended.
    std::shared_ptr<RequestOperation> take(std::uint64_t number) {
        const auto found = calls_.find(number);
        if (found == calls_.end()) return nullptr;
        auto operation = std::move(found->second.operation);
        bytes_ -= found->second.bytes.size();
        calls_.erase(found);
        return operation;
    }
    std::vector<std::shared_ptr<RequestOperation>> take_all() {
        std::vector<std::shared_ptr<RequestOperation>> all;
        for (auto& [number, each] : calls_) all.push_back(std::move(each.operation));
        calls_.clear();
        bytes_ = 0;
        return all;
    }

private:
    struct Call {
        std::shared_ptr<RequestOperation> operation;
        Bytes bytes;
    };
    const std::size_t most_bytes_;
    std::unordered_map<std::uint64_t, Call> calls_;
    std::size_t bytes_ = 0;
};

}  // namespace cluster::detail
