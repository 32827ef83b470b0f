#pragma once

#include "base/block.hpp"

#include <algorithm>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace cluster {

/// Bytes that do not change any more, and the block that keeps them alive. Copies share both. Equal if the bytes are.
class Bytes {
public:
    Bytes() = default;
    /// Copies.
    explicit Bytes(std::span<const std::byte> bytes)
        : owner_(bytes.empty() ? detail::BlockRef() : detail::Block::copy(bytes)) {
        if (owner_) view_ = {owner_->data(), bytes.size()};
    }
    explicit Bytes(std::string_view text) : Bytes(std::as_bytes(std::span(text))) {}
    /// `view` lies in `owner`.
    Bytes(detail::BlockRef owner, std::span<const std::byte> view) : owner_(std::move(owner)), view_(view) {}

    /// Without a copy.
    static Bytes adopt(std::vector<std::byte>&& bytes) {
        if (bytes.empty()) return {};
        detail::BlockRef block = detail::Block::adopt(std::move(bytes));
        const std::span<const std::byte> view(block->data(), block->size());
        return {std::move(block), view};
    }

    /// `part` lies within `view`.
    Bytes part(std::span<const std::byte> part) const { return {owner_, part}; }

    std::span<const std::byte> view() const noexcept { return view_; }
    std::string_view text() const noexcept { return {reinterpret_cast<const char*>(view_.data()), view_.size()}; }
    std::size_t size() const noexcept { return view_.size(); }
    bool empty() const noexcept { return view_.empty(); }

    friend bool operator==(const Bytes& a, const Bytes& b) { return std::ranges::equal(a.view_, b.view_); }

private:
    detail::BlockRef owner_;
    std::span<const std::byte> view_;
};

}  // namespace cluster
