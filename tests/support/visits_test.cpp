#include "support/visits.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>

using namespace cluster::detail;

TEST_CASE("visits: who waits goes on when all others have left, and does not wait for itself") {
    struct {
        Mutex mutex;
        Visits visits GUARDED_BY(mutex);
    } shared;
    std::atomic<bool> inside{false};
    std::atomic<bool> left{false};
    std::jthread other([&] {
        {
            const Lock lock(shared.mutex);
            shared.visits.enter();
        }
        inside = true;
        inside.notify_all();
        inside.wait(true);
        left = true;
        const Lock lock(shared.mutex);
        shared.visits.leave();
    });
    inside.wait(false);
    const Lock lock(shared.mutex);
    CHECK(shared.visits.others());
    shared.visits.enter();
    shared.visits.enter({});
    shared.visits.leave({});
    inside = false;
    inside.notify_all();
    shared.visits.wait(shared.mutex);
    CHECK(left);
    CHECK_FALSE(shared.visits.others());
    shared.visits.leave();
}
