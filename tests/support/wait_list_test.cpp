#include "support/wait_list.hpp"

#include <cluster/error.hpp>
#include <doctest/doctest.h>

#include <memory>
#include <system_error>
#include <utility>
#include <vector>

using namespace cluster;
using namespace cluster::detail;

namespace {

/// Notes its number when it is woken.
struct Noting final : WaitOperation {
    Noting(int number_, std::vector<int>& woken_) : number(number_), woken(woken_) {}
    void wake() noexcept override { woken.push_back(number); }

    const int number;
    std::vector<int>& woken;
};

struct Fixture {
    std::vector<int> woken;
    WaitList<Noting, int> list;
    std::vector<std::shared_ptr<Noting>> operations;

    Fixture() {
        for (int i = 0; i < 4; ++i) {
            operations.push_back(std::make_shared<Noting>(i, woken));
            list.add(operations.back(), 10 * i);
        }
    }
};

using Numbers = std::vector<int>;

}  // namespace

TEST_CASE_FIXTURE(Fixture, "wait list: those who wait are taken in the order in which they came") {
    CHECK(list.first() == 0);
    CHECK(list.take_first() == operations[0]);
    CHECK(list.first() == 10);
    list.add(operations[0]);
    const Woken taken = list.take_all();
    CHECK(list.empty());
    CHECK(list.take_first() == nullptr);
}

TEST_CASE_FIXTURE(Fixture, "wait list: who is taken out is woken when the last lock is gone, and not before") {
    {
        Woken all;
        all.add(list.take_first());
        all.add(list.take_first());
        Woken rest = list.take_all();
        all.add(std::move(rest));
        all.add(nullptr);
        CHECK(woken.empty());
    }
    CHECK(woken == Numbers{0, 1, 2, 3});
}

TEST_CASE_FIXTURE(Fixture, "wait list: each is asked in its order whether it is done, and the others go on waiting") {
    Numbers asked;
    list.take_if([&](int what, Noting& operation) {
        CHECK(what == 10 * operation.number);
        asked.push_back(operation.number);
        return what == 10 || what == 30;
    });
    CHECK(asked == Numbers{0, 1, 2, 3});
    CHECK(woken == Numbers{1, 3});
    CHECK(list.size() == 2);
}

TEST_CASE_FIXTURE(Fixture, "wait list: one that is cancelled ends once, and one that does not wait not at all") {
    list.end(*operations[2], errc::cancelled);
    CHECK(operations[2]->error == errc::cancelled);
    CHECK(woken == Numbers{2});
    list.end(*operations[2], errc::closed);
    CHECK(operations[2]->error == errc::cancelled);
    CHECK(list.take(*operations[2]) == nullptr);
    CHECK(woken == Numbers{2});
    CHECK(list.size() == 3);
    WaitList<Noting> other;
    other.add(operations[2]);
    CHECK(list.take(*operations[2]) == nullptr);
    CHECK(other.size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "wait list: the end is told to all, also to who waits for the second time") {
    CHECK(list.take(*operations[0]) == operations[0]);
    list.add(operations[0]);
    list.end_all(errc::closed);
    CHECK(woken == Numbers{1, 2, 3, 0});
    for (const auto& operation : operations) CHECK(operation->error == errc::closed);
    CHECK(list.empty());
}
