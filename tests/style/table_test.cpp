#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

/// The first group of each match of `pattern` in `text`.
std::set<std::string> matches(const std::string& text, const std::string& pattern) {
    std::set<std::string> found;
    const std::regex expression(pattern);
    for (std::sregex_iterator at(text.begin(), text.end(), expression), end; at != end; ++at) found.insert((*at)[1]);
    return found;
}

}  // namespace

TEST_CASE("style: every test that a page names exists") {
    std::set<std::string> tests;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(fs::path(CLUSTER_SOURCE_DIR) / "tests")) {
        if (!entry.path().string().ends_with("_test.cpp")) continue;
        tests.merge(matches(text_of(entry.path()), R"re(TEST_CASE(?:_TEMPLATE|_FIXTURE)?\((?:\w+, )?"([^"]*)"\))re"));
    }
    std::size_t named = 0;
    const std::string page = text_of(fs::path(CLUSTER_SOURCE_DIR) / "tests/README.md");
    for (const std::string& row : matches(page, "(\\|[^\\n]*)\\n")) {
        for (const std::string& name : matches(row, "\"([^\"]*)\"")) {
            INFO(name);
            ++named;
            CHECK(tests.contains(name));
        }
    }
    CHECK(named > 0);
}
