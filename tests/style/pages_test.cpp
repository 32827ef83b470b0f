#include <doctest/doctest.h>

#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

// The pages: README.md, the guide, and those beside what they are about.

namespace {

namespace fs = std::filesystem;

fs::path root() {
    return CLUSTER_SOURCE_DIR;
}

std::string text_of(const fs::path& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

std::vector<fs::path> pages() {
    std::vector<fs::path> found = {root() / "README.md"};
    for (const char* folder : {"examples", "include", "src", "tests"}) {
        for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root() / folder)) {
            if (entry.path().extension() == ".md") found.push_back(entry.path());
        }
    }
    return found;
}

/// The first group of each match of `pattern` in `text`.
std::set<std::string> matches(const std::string& text, const std::string& pattern) {
    std::set<std::string> found;
    const std::regex expression(pattern);
    for (std::sregex_iterator at(text.begin(), text.end(), expression), end; at != end; ++at) found.insert((*at)[1]);
    return found;
}

/// What stands between two lines of backquotes is no text.
std::string without_blocks(const std::string& text) {
    std::string result, line;
    bool inside = false;
    for (std::istringstream lines(text); std::getline(lines, line);) {
        if (line.starts_with("```")) {
            inside = !inside;
        } else if (!inside) {
            result += line + '\n';
        }
    }
    return result;
}

/// The sentences of a page, without its tables.
std::vector<std::vector<std::string>> sentences_of(const std::string& page) {
    static const std::regex beginning(R"re(^(- |\d+\. |#|\|| *$).*)re");
    std::vector<std::vector<std::string>> sentences(1);
    const std::string text = without_blocks(page);
    std::string line;
    for (std::istringstream lines(text); std::getline(lines, line);) {
        if (std::regex_match(line, beginning)) sentences.emplace_back();
        if (line.starts_with('|')) continue;
        std::istringstream words(line);
        for (std::string word; words >> word;) {
            if (word == "-") continue;
            sentences.back().push_back(word);
            const std::size_t last = word.find_last_not_of("*)");
            if (last != std::string::npos && std::string_view(".:!?").find(word[last]) != std::string_view::npos)
                sentences.emplace_back();
        }
    }
    return sentences;
}

/// Those of all tables of a page.
std::vector<std::string> rows_of(const fs::path& page) {
    std::vector<std::string> rows;
    const std::string text = without_blocks(text_of(page));
    std::string line;
    for (std::istringstream lines(text); std::getline(lines, line);) {
        if (line.starts_with('|')) rows.push_back(line);
    }
    return rows;
}

/// With a space on either side, if it is not empty.
std::string last_cell(const std::string& row) {
    const std::size_t end = row.find_last_of('|');
    const std::size_t begin = row.find_last_of('|', end - 1) + 1;
    return row.substr(begin, end - begin);
}

/// What proves something and is no single test: files of tests, transcripts, examples, scenarios, benchmarks.
constexpr const char* proof =
    "`(\\w+_test|(?:replica|clients|nemesis)_\\w+|\\d\\d_\\w+|(?:bench|soak)-\\w+|cluster-sim)[ `]";

std::set<std::string> proofs() {
    std::set<std::string> found = {"cluster-sim"};
    for (const char* folder : {"tests", "examples"}) {
        for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root() / folder)) {
            const fs::path& path = entry.path();
            if (path.extension() == ".py") found.merge(matches(text_of(path), R"re(\ndef (\w+)\(here\))re"));
            if (path.extension() != ".cpp" && path.extension() != ".txt") continue;
            found.insert(path.stem().string());
            found.insert(path.parent_path().filename().string() + '-' + path.stem().string());
        }
    }
    return found;
}

/// What a link names a heading by.
std::string anchor_of(const std::string& heading) {
    std::string anchor;
    for (const char each : heading) {
        const auto c = static_cast<unsigned char>(each);
        if (each == ' ') anchor += '-';
        if (std::isalnum(c) || each == '-' || each == '_') anchor += static_cast<char>(std::tolower(c));
    }
    return anchor;
}

std::set<std::string> anchors_in(const fs::path& page) {
    std::set<std::string> anchors;
    for (const std::string& heading : matches(without_blocks(text_of(page)), "(?:^|\\n)#+ ([^\\n]*)")) {
        anchors.insert(anchor_of(heading));
    }
    return anchors;
}

}  // namespace

TEST_CASE("style: README has at most 900 words") {
    std::istringstream words(text_of(root() / "README.md"));
    CHECK(std::distance(std::istream_iterator<std::string>(words), {}) <= 900);
}

TEST_CASE("style: no sentence of README, of the guide and of the proofs has more than 25 words") {
    for (const char* page :
         {"README.md", "examples/README.md", "tests/README.md", "tests/parity/replicated-services.md"}) {
        for (const std::vector<std::string>& sentence : sentences_of(text_of(root() / page))) {
            std::string text;
            for (const std::string& word : sentence) text += word + ' ';
            INFO(page << ": " << text);
            CHECK(sentence.size() <= 25);
        }
    }
}

TEST_CASE("style: the program that README shows is the first example, word for word") {
    const std::string program = text_of(root() / "examples/01_hello.cpp");
    const std::string code = program.substr(program.find("#include"));
    CHECK(text_of(root() / "README.md").find("```cpp\n" + code + "```\n") != std::string::npos);
}

TEST_CASE("style: every link of a page leads to a file that exists, and to a heading if it names one") {
    std::size_t followed = 0;
    for (const fs::path& page : pages()) {
        for (const std::string& link : matches(without_blocks(text_of(page)), "\\]\\(([^)]*)\\)")) {
            if (link.find("://") != std::string::npos) continue;
            INFO(page.string() << ": " << link);
            ++followed;
            const std::string file = link.substr(0, link.find('#'));
            const fs::path target = file.empty() ? page : page.parent_path() / file;
            CHECK(fs::exists(target));
            if (link.find('#') != std::string::npos) CHECK(anchors_in(target).contains(link.substr(file.size() + 1)));
        }
    }
    CHECK(followed > 0);
}

TEST_CASE("style: every test, and every other proof, that a page names exists") {
    std::set<std::string> tests;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root() / "tests")) {
        if (!entry.path().string().ends_with("_test.cpp")) continue;
        tests.merge(
            matches(text_of(entry.path()), R"re(TEST_CASE(?:_TEMPLATE|_FIXTURE)?\(\s*(?:\w+, )?"([^"]*)"\))re"));
    }
    const std::set<std::string> others = proofs();
    for (const char* page : {"tests/README.md", "tests/parity/replicated-services.md"}) {
        std::size_t named = 0;
        for (const std::string& row : rows_of(root() / page)) {
            for (const std::string& name : matches(row, "\"([^\"]*)\"")) {
                INFO(page << ": " << name);
                ++named;
                CHECK(tests.contains(name));
            }
            for (const std::string& name : matches(last_cell(row), proof)) {
                INFO(page << ": " << name);
                CHECK(others.contains(name));
            }
        }
        for (const std::string& name : matches(without_blocks(text_of(root() / page)), "`(\\w+_test)`")) {
            INFO(page << ": " << name);
            CHECK(others.contains(name));
        }
        CHECK(named > 0);
    }
}

TEST_CASE("style: each row of the parity of replicated services names a proof, or says why there is none") {
    for (const std::string& row : rows_of(root() / "tests/parity/replicated-services.md")) {
        const std::string last = last_cell(row);
        if (last.starts_with(" shown by") || last.starts_with("---")) continue;
        INFO(row);
        CHECK((last.find('"') != std::string::npos || !matches(last, proof).empty() || last.ends_with(". ")));
    }
}
