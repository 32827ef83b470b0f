#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstdlib>
#include <iostream>

/// The counter of std::exception_ptr lies in the standard library, which the thread sanitizer does not see into.
extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() {
    return "race:std::__exception_ptr::exception_ptr::_M_release";
}

namespace {

/// CTest runs each test by its name. A name that the filter does not find, because it contains a character with a
/// meaning of its own, would run nothing and pass; this makes it fail.
struct RefuseToRunNothing : doctest::IReporter {
    explicit RefuseToRunNothing(const doctest::ContextOptions&) {}
    void report_query(const doctest::QueryData&) override {}
    void test_run_start() override {}
    void test_run_end(const doctest::TestRunStats& stats) override {
        if (stats.numTestCasesPassingFilters > 0) return;
        std::cerr << "no test has that name\n";
        std::exit(EXIT_FAILURE);
    }
    void test_case_start(const doctest::TestCaseData&) override {}
    void test_case_reenter(const doctest::TestCaseData&) override {}
    void test_case_end(const doctest::CurrentTestCaseStats&) override {}
    void test_case_exception(const doctest::TestCaseException&) override {}
    void subcase_start(const doctest::SubcaseSignature&) override {}
    void subcase_end() override {}
    void log_assert(const doctest::AssertData&) override {}
    void log_message(const doctest::MessageData&) override {}
    void test_case_skipped(const doctest::TestCaseData&) override {}
};

REGISTER_LISTENER("refuse_to_run_nothing", 1, RefuseToRunNothing);

}  // namespace
