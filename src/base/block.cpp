#include "base/block.hpp"

#include <cstring>
#include <new>

namespace cluster::detail {

namespace {

/// Header and bytes in one allocation.
class InlineBlock final : public Block {
public:
    explicit InlineBlock(std::size_t size) noexcept
        : Block(reinterpret_cast<std::byte*>(this) + sizeof(InlineBlock), size, [](Block* block) noexcept {
              auto* self = static_cast<InlineBlock*>(block);
              self->~InlineBlock();
              ::operator delete(static_cast<void*>(self));
          }) {}
};

template <class Buffer>
class AdoptedBlock final : public Block {
public:
    explicit AdoptedBlock(Buffer&& buffer)
        : Block(nullptr, 0, [](Block* block) noexcept { delete static_cast<AdoptedBlock*>(block); }),
          buffer_(std::move(buffer)) {
        set_bytes(reinterpret_cast<std::byte*>(buffer_.data()), buffer_.size());
    }

private:
    Buffer buffer_;
};

}  // namespace

BlockRef Block::allocate(std::size_t size) {
    void* memory = ::operator new(sizeof(InlineBlock) + size);
    return BlockRef(new (memory) InlineBlock(size));
}

BlockRef Block::copy(std::span<const std::byte> bytes) {
    BlockRef block = allocate(bytes.size());
    if (!bytes.empty()) std::memcpy(block->data(), bytes.data(), bytes.size());
    return block;
}

BlockRef Block::adopt(std::string&& text) {
    return BlockRef(new AdoptedBlock<std::string>(std::move(text)));
}

BlockRef Block::adopt(std::vector<std::byte>&& bytes) {
    return BlockRef(new AdoptedBlock<std::vector<std::byte>>(std::move(bytes)));
}

}  // namespace cluster::detail
