#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace cluster::detail {

class BlockRef;

/// A piece of memory with a reference count. It holds what a read has filled, what frames were appended to, or a buffer
/// from a caller. The count is thread-safe; one thread writes the bytes before they are shared.
class Block {
public:
    static BlockRef allocate(std::size_t size);
    static BlockRef copy(std::span<const std::byte> bytes);
    static BlockRef adopt(std::string&& text);
    static BlockRef adopt(std::vector<std::byte>&& bytes);

    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;

    std::byte* data() noexcept { return data_; }
    const std::byte* data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    bool shared() const noexcept { return references_.load(std::memory_order_acquire) > 1; }

    void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept {
        if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy_(this);
    }

protected:
    using Destroy = void (*)(Block*) noexcept;
    Block(std::byte* data, std::size_t size, Destroy destroy) noexcept : data_(data), size_(size), destroy_(destroy) {}
    ~Block() = default;

    void set_bytes(std::byte* data, std::size_t size) noexcept {
        data_ = data;
        size_ = size;
    }

private:
    std::atomic<std::uint32_t> references_{1};
    std::byte* data_;
    std::size_t size_;
    Destroy destroy_;
};

/// One reference to a block.
class BlockRef {
public:
    BlockRef() noexcept = default;
    /// Takes over one reference.
    explicit BlockRef(Block* block) noexcept : block_(block) {}
    BlockRef(const BlockRef& other) noexcept : block_(other.block_) {
        if (block_ != nullptr) block_->retain();
    }
    BlockRef(BlockRef&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
    BlockRef& operator=(BlockRef other) noexcept {
        std::swap(block_, other.block_);
        return *this;
    }
    ~BlockRef() {
        if (block_ != nullptr) block_->release();
    }

    Block* get() const noexcept { return block_; }
    Block* operator->() const noexcept { return block_; }
    Block& operator*() const noexcept { return *block_; }
    explicit operator bool() const noexcept { return block_ != nullptr; }
    /// Gives up the reference without releasing it.
    Block* detach() noexcept { return std::exchange(block_, nullptr); }

    friend bool operator==(const BlockRef&, const BlockRef&) = default;

private:
    Block* block_ = nullptr;
};

}  // namespace cluster::detail
