#include "value/secret.hpp"

#include <doctest/doctest.h>
#include <cluster/secret.hpp>

#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cluster::secret_test {

using Texts = std::vector<std::pair<std::string_view, std::string_view>>;

TEST_CASE("secret: what can be guessed is refused with the reason, how to make one, and never the secret itself") {
    const Texts refused = {
        {"hunter2", "has 7 bytes and must have at least 16"},
        {"7d3f0a9c41e85b2", "has 15 bytes"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "has only 1 different characters"},
        {"abcabcabcabcabcabcabcabcabcabcab", "has only 3 different characters"},
        {"0123456789abcdef0123456789abcdef", "consists of runs or repetitions"},
        {"abcdefghijklmnopqrstuvwxyz", "consists of runs or repetitions"},
        {"zyxwvutsrqponmlkjihgfedcba", "consists of runs or repetitions"},
        {"passwordpassword", "has only 7 different characters"},
        {"orange!1orange!1", "consists of runs or repetitions"},
        {"4915973862048261", "is too short for so few kinds of characters"},
        {"7d3f0a9c41e85b26", "is too short for so few kinds of characters"},
    };
    for (const auto& row : refused) {
        const std::string_view secret = row.first;
        const std::string_view reason = row.second;
        const std::string problem = problem_of_secret(secret);
        INFO(secret, " -> ", problem);
        CHECK(problem.find(reason) != std::string::npos);
        CHECK(problem.find("millions of secrets a second") != std::string::npos);
        CHECK(problem.find("cluster::make_secret()") != std::string::npos);
        CHECK(problem.find(secret) == std::string::npos);
    }
    CHECK(problem_of_secret("").starts_with("is empty"));
    CHECK(problem_of_secret(std::string(1025, 'x')).find("more than 1024 bytes") != std::string::npos);
}

TEST_CASE("secret: what a file or a form adds is refused by its name, not trimmed") {
    const std::string good = "9f27c04be1d8536a0c7e4b19d2f56a83";
    CHECK(problem_of_secret(good) == "");
    CHECK(problem_of_secret(good + "\n").find("ends with a line break") != std::string::npos);
    CHECK(problem_of_secret(good + "\r\n").find("ends with a line break") != std::string::npos);
    CHECK(problem_of_secret(" " + good).find("begins or ends with a space") != std::string::npos);
    CHECK(problem_of_secret(good + " ").find("begins or ends with a space") != std::string::npos);
    CHECK(problem_of_secret(std::string("9f27\0c04be1d8536a0c7e4b19d2f56a83", 33)).find("control character") !=
          std::string::npos);
}

TEST_CASE("secret: random text of the usual kinds is accepted") {
    for (const std::string_view secret : {"9f27c04be1d8536a0c7e4b19d2f56a83", "9F27C04BE1D8536A0C7E4B19D2F56A83",
                                          "kX8vRw2mQpZ7tLs9", "3J0nq5T9WbQfYkHdRzVxLA", "Zm9vYmFyLXVuZ3Vlc3NhYmxl+/==",
                                          "a quiet heron counts seven lamps", "c56a4180-65aa-42ec-a945-5fd21dec0538"}) {
        INFO(secret);
        CHECK(problem_of_secret(secret) == "");
    }
}

TEST_CASE("secret: make_secret makes 32 hexadecimal digits, each time others, and all are accepted") {
    std::set<std::string> made;
    for (int i = 0; i < 10000; ++i) {
        const std::string secret = make_secret();
        REQUIRE(secret.size() == 32);
        REQUIRE(secret.find_first_not_of("0123456789abcdef") == std::string::npos);
        REQUIRE(problem_of_secret(secret) == "");
        REQUIRE(made.insert(secret).second);
    }
}

TEST_CASE("secret: several must be different, and guests need a secret of peers beside theirs") {
    const std::string a = make_secret();
    const std::string b = make_secret();
    CHECK(Secrets{{a}, {b}}.problem("peers", "guests") == "");
    CHECK(Secrets{{a, a}, {}}.problem("peers", "guests").find("stands there or in another option") !=
          std::string::npos);
    CHECK(Secrets{{a}, {a}}.problem("peers", "guests").find("guests has a secret that stands") != std::string::npos);
    CHECK(Secrets{{}, {a}}.problem("peers", "guests").starts_with("guests needs a secret in peers"));
    CHECK(Secrets{{a}, {"short"}}.problem("peers", "guests").starts_with("a secret of guests has 5 bytes"));
    CHECK(Secrets{std::vector<std::string>(17, a), {}}.problem("peers", "guests") == "peers has more than 16 secrets");
}

}  // namespace cluster::secret_test
