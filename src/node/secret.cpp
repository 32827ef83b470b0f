#include <cluster/secret.hpp>

#include "net/system.hpp"
#include "value/secret.hpp"

#include <array>
#include <cstdint>

namespace cluster {

std::string make_secret() {
    constexpr std::string_view digits = "0123456789abcdef";
    for (;;) {
        std::array<std::uint8_t, 16> random{};
        net::fill_random(random);
        std::string secret;
        for (const std::uint8_t byte : random) {
            secret += digits[byte >> 4];
            secret += digits[byte & 15];
        }
        // Chance may make a run, which would be refused.
        if (problem_of_secret(secret).empty()) return secret;
    }
}

}  // namespace cluster
