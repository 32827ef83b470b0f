#pragma once

#include <cluster/export.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cluster {

/// What is to be sent: a view that must stay valid during the call, or a buffer that is handed over.
///
/// Made implicitly from text, bytes, or an rvalue `std::string` or `std::vector<std::byte>`. A handed-over buffer of
/// 16 KiB or more is sent from where it lies, without a copy. If the call fails, the buffer is gone all the same.
class Payload {
public:
    Payload(const char* text) : view_(as_bytes(text)) {}
    Payload(std::string_view text) : view_(as_bytes(text)) {}
    Payload(const std::string& text) : view_(as_bytes(text)) {}
    Payload(std::span<const std::byte> bytes) : view_(bytes) {}
    Payload(const std::vector<std::byte>& bytes) : view_(bytes) {}
    Payload(std::string&& text) : text_(std::move(text)), view_(as_bytes(text_)), owner_(Owner::text) {}
    Payload(std::vector<std::byte>&& bytes) : bytes_(std::move(bytes)), view_(bytes_), owner_(Owner::bytes) {}
    Payload(const Payload&) = delete;
    Payload& operator=(const Payload&) = delete;

    std::span<const std::byte> view() const noexcept { return view_; }

    /// The holder of the memory of `view()`.
    enum class Owner : std::uint8_t { caller, text, bytes };
    Owner owner() const noexcept { return owner_; }
    std::string take_text() noexcept { return std::move(text_); }
    std::vector<std::byte> take_bytes() noexcept { return std::move(bytes_); }
    /// Takes them where they can be taken, and copies them otherwise.
    std::vector<std::byte> to_bytes() {
        if (owner_ == Owner::bytes) return take_bytes();
        return {view_.begin(), view_.end()};
    }

private:
    static std::span<const std::byte> as_bytes(std::string_view text) noexcept {
        return std::as_bytes(std::span<const char>(text.data(), text.size()));
    }

    std::string text_;
    std::vector<std::byte> bytes_;
    std::span<const std::byte> view_;
    Owner owner_ = Owner::caller;
};

}  // namespace cluster
