#include "client/model.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>

TEST_CASE("client: whatever happens, each command takes effect once and in order, and each caller has one answer") {
    std::uint64_t replied = 0, late = 0, unsent = 0, pushed = 0, resent = 0, attached = 0, ended_early = 0;
    for (std::uint64_t seed = 1; seed <= 10000; ++seed) {
        cluster::client::Model model(seed);
        const std::string failure = model.run();
        CAPTURE(seed);
        REQUIRE(failure == "");
        replied += model.replied;
        late += model.late;
        unsent += model.unsent;
        pushed += model.pushed;
        resent += model.resent;
        attached += model.attached;
        ended_early += model.ended_early ? 1 : 0;
    }
    INFO(replied << " " << late << " " << unsent << " " << pushed << " " << resent << " " << attached << " "
                 << ended_early);
    // All of it has happened.
    CHECK(replied > 100'000);
    CHECK(pushed > 100'000);
    CHECK(late > 1000);
    CHECK(unsent > 1000);
    CHECK(resent > 1000);
    CHECK(attached > 20'000);
    CHECK(ended_early > 100);
    CHECK(ended_early < 3000);
}
