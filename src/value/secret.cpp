#include "value/secret.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <set>
#include <utility>

namespace cluster {

namespace {

constexpr std::size_t least_size = 16;
constexpr std::size_t most_size = 1024;
constexpr std::size_t most_secrets = 16;
/// Of 32 random hexadecimal digits fewer are different once in some million times.
constexpr std::size_t least_different = 8;
/// The same holds of those that do not continue a run and do not repeat a pair.
constexpr std::size_t least_unexpected = 10;
constexpr double least_bits = 80;

constexpr std::string_view advice =
    "whoever has seen one greeting can try millions of secrets a second; use 32 random hexadecimal digits, which "
    "cluster::make_secret() or \"openssl rand -hex 16\" makes";

bool is_decimal(char c) {
    return c >= '0' && c <= '9';
}
bool is_upper(char c) {
    return c >= 'A' && c <= 'Z';
}
bool is_lower(char c) {
    return c >= 'a' && c <= 'z';
}

/// Bits of a secret of that length if each of its characters was drawn from the smallest usual alphabet that has all.
double most_bits(std::string_view secret) {
    const auto all = [&](auto holds) { return std::all_of(secret.begin(), secret.end(), holds); };
    const auto any = [&](auto holds) { return std::any_of(secret.begin(), secret.end(), holds); };
    const bool hexadecimal = all([](char c) { return is_decimal(c) || (c >= 'a' && c <= 'f'); }) ||
                             all([](char c) { return is_decimal(c) || (c >= 'A' && c <= 'F'); });
    double alphabet = 0;
    if (any(is_decimal)) alphabet += 10;
    if (any(is_upper)) alphabet += 26;
    if (any(is_lower)) alphabet += 26;
    if (any([](char c) { return !is_decimal(c) && !is_upper(c) && !is_lower(c); })) alphabet += 33;
    if (hexadecimal) alphabet = std::min(alphabet, 16.0);
    return static_cast<double>(secret.size()) * std::log2(alphabet);
}

/// Characters that neither repeat the one before or continue its run, nor end a pair that has come before.
std::size_t unexpected(std::string_view secret) {
    std::set<std::pair<char, char>> pairs;
    std::size_t count = 1;
    for (std::size_t i = 1; i < secret.size(); ++i) {
        const int step = secret[i] - secret[i - 1];
        if (pairs.insert({secret[i - 1], secret[i]}).second && (step < -1 || step > 1)) ++count;
    }
    return count;
}

}  // namespace

std::string problem_of_secret(std::string_view secret) {
    const auto because = [](std::string problem) { return std::move(problem) + ": " + std::string(advice); };
    if (secret.empty()) return because("is empty");
    if (secret.ends_with('\n') || secret.ends_with('\r')) {
        return "ends with a line break, as text of a file does; take that off, because it would be part of the secret";
    }
    if (secret.front() == ' ' || secret.back() == ' ') {
        return "begins or ends with a space; take that off, because it would be part of the secret";
    }
    if (std::any_of(secret.begin(), secret.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; })) {
        return "contains a control character; use printable text, such as hexadecimal digits";
    }
    if (secret.size() < least_size) {
        return because("has " + std::to_string(secret.size()) + " bytes and must have at least 16");
    }
    if (secret.size() > most_size) return "has more than 1024 bytes";
    const std::set<char> different(secret.begin(), secret.end());
    if (different.size() < least_different) {
        return because("has only " + std::to_string(different.size()) + " different characters");
    }
    if (unexpected(secret) < least_unexpected) return because("consists of runs or repetitions");
    if (most_bits(secret) < least_bits) return because("is too short for so few kinds of characters");
    return {};
}

std::string Secrets::problem(std::string_view peers_name, std::string_view guests_name) const {
    std::set<std::string_view> seen;
    const auto check = [&](const std::vector<std::string>& all, std::string_view name) -> std::string {
        if (all.size() > most_secrets) return std::string(name) + " has more than 16 secrets";
        for (const std::string& each : all) {
            if (const std::string problem = problem_of_secret(each); !problem.empty()) {
                return "a secret of " + std::string(name) + " " + problem;
            }
            if (!seen.insert(each).second) {
                return std::string(name) + " has a secret that stands there or in another option already";
            }
        }
        return {};
    };
    if (peers.empty() && !guests.empty()) {
        return std::string(guests_name) + " needs a secret in " + std::string(peers_name) +
               ", because nodes would still link without one";
    }
    if (std::string problem = check(peers, peers_name); !problem.empty()) return problem;
    return check(guests, guests_name);
}

}  // namespace cluster
