#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace fs = std::filesystem;

struct File {
    std::string path;  ///< from the top of the tree
    std::string text;
    std::vector<std::string> lines;

    bool in(std::string_view folder) const { return path.starts_with(folder); }
    bool header() const { return path.ends_with(".hpp"); }
    bool source() const { return header() || path.ends_with(".cpp"); }
};

fs::path root() {
    return CLUSTER_SOURCE_DIR;
}

File read(const fs::path& path) {
    std::ifstream stream(path, std::ios::binary);
    File file{fs::relative(path, root()).generic_string(), {std::istreambuf_iterator<char>(stream), {}}, {}};
    std::istringstream lines(file.text);
    for (std::string line; std::getline(lines, line);) file.lines.push_back(line);
    return file;
}

bool is_text(const fs::path& path) {
    static const std::set<std::string> extensions = {".cpp", ".hpp", ".md", ".txt", ".cmake"};
    return extensions.contains(path.extension().string()) || fs::relative(path, root()).string().starts_with(".");
}

/// Everything that people read and write: sources, scripts, pages.
const std::vector<File>& files() {
    static const std::vector<File> all = [] {
        std::vector<File> found;
        for (const char* name : {"include", "src", "examples", "tests", ".ci"}) {
            if (!fs::exists(root() / name)) continue;
            for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root() / name)) {
                if (entry.is_regular_file() && is_text(entry.path())) found.push_back(read(entry.path()));
            }
        }
        for (const char* name : {"CMakeLists.txt", "README.md", ".gitignore", ".clang-format"}) {
            if (fs::exists(root() / name)) found.push_back(read(root() / name));
        }
        return found;
    }();
    return all;
}

bool one_of(std::string_view text, std::initializer_list<std::string_view> choices) {
    return std::find(choices.begin(), choices.end(), text) != choices.end();
}

std::string without_comment(const std::string& line) {
    return line.substr(0, line.find("//"));
}

/// The lines of one test's findings, to be compared with "".
class Offences {
public:
    void add(const File& file, std::size_t line, std::string_view what) {
        text_ += file.path + ":" + std::to_string(line + 1) + ": " + std::string(what) + "\n";
    }
    const std::string& text() const { return text_; }

private:
    std::string text_;
};

void refuse_words(Offences& offences, const File& file, const std::regex& words) {
    std::smatch match;
    for (std::size_t i = 0; i < file.lines.size(); ++i) {
        const std::string code = without_comment(file.lines[i]);
        if (std::regex_search(code, match, words)) offences.add(file, i, match.str());
    }
}

struct Include {
    std::string name;
    bool quoted = false;
    std::size_t line = 0;
};

std::vector<Include> includes_of(const File& file) {
    static const std::regex pattern(R"re(^\s*#\s*include\s*([<"])([^>"]+)[>"].*)re");
    std::vector<Include> found;
    std::smatch match;
    for (std::size_t i = 0; i < file.lines.size(); ++i) {
        if (std::regex_match(file.lines[i], match, pattern)) found.push_back({match[2], match[1] == "\"", i});
    }
    return found;
}

/// What an include reaches: std, system, public, a folder of src, "" for a file beside, or another library.
std::string target_of(const Include& include) {
    const std::string& name = include.name;
    const std::string folder = name.substr(0, name.find('/'));
    if (include.quoted) return name.find('/') == std::string::npos ? "" : folder;
    if (name == "asio.hpp") return "asio";
    if (name.find('/') != std::string::npos &&
        one_of(folder, {"asio", "cereal", "spdlog", "fmt", "doctest", "openssl"}))
        return folder;
    if (folder == "cluster") return "public";
    return name.find_first_of("./") == std::string::npos ? "std" : "system";
}

bool may_include(const File& file, const Include& include) {
    const std::string target = target_of(include);
    if (target == "std") return true;
    if (file.in("include/")) {
        if (file.path == "include/cluster/asio.hpp" && target == "asio") return true;
        if (file.path == "include/cluster/archive.hpp" && target == "cereal") return true;
        return target == "public";
    }
    const bool value_header =
        one_of(include.name, {"cluster/address.hpp", "cluster/error.hpp", "cluster/export.hpp", "cluster/log_level.hpp",
                              "cluster/member.hpp", "cluster/peer.hpp", "cluster/session.hpp"});
    const bool value = value_header || one_of(target, {"base", "value"});
    if (file.in("src/base/")) return target == "base";
    if (file.in("src/value/")) return value;
    if (file.in("src/core/")) return value || target == "core";
    if (file.in("src/consensus/")) return one_of(target, {"base", "consensus"});
    if (file.in("src/group/"))
        return value || include.name == "cluster/service.hpp" || one_of(target, {"consensus", "group"});
    if (file.in("src/client/m"))  // machine and message
        return value || one_of(target, {"group", "client"});
    if (file.in("src/wire/"))
        return value || include.name == "cluster/archive.hpp" ||
               one_of(target, {"core", "consensus", "client", "wire"});
    if (file.path == "src/storage/system_disk.cpp" && target == "system") return true;
    if (file.in("src/storage/")) return value || one_of(target, {"consensus", "storage"});
    if (file.path == "src/net/asio.hpp") return target == "asio";
    if (file.in("src/net/tls") && target == "openssl") return true;
    if (file.in("src/net/")) return value || one_of(target, {"public", "core", "wire", "net", "system"});
    if (file.in("src/support/")) return value || one_of(target, {"public", "support", "spdlog"});
    if (file.in("src/node/") || file.in("src/membership/"))
        return one_of(target, {"public", "base", "value", "core", "wire", "net", "support", "node", "membership"});
    if (file.in("src/replica/") || file.in("src/client/"))
        return one_of(target, {"client", "public", "base", "value", "core", "consensus", "group", "wire", "net",
                               "storage", "support", "node", "replica"});
    return false;  // a file of src in no room
}

}  // namespace

TEST_CASE("style: the tree that is checked is the whole tree") {
    CHECK(std::any_of(files().begin(), files().end(), [](const File& file) { return file.in("include/cluster/"); }));
    CHECK(std::any_of(files().begin(), files().end(), [](const File& file) { return file.in("src/core/"); }));
    CHECK(std::any_of(files().begin(), files().end(), [](const File& file) { return file.in(".ci/"); }));
}

TEST_CASE("style: no include points up from the room in which its file lives") {
    Offences offences;
    for (const File& file : files()) {
        if (!file.source() || !(file.in("src/") || file.in("include/"))) continue;
        for (const Include& include : includes_of(file)) {
            if (!may_include(file, include)) offences.add(file, include.line, "must not include " + include.name);
        }
    }
    CHECK(offences.text() == "");
}

TEST_CASE("style: Asio is included in exactly two places") {
    Offences offences;
    for (const File& file : files()) {
        if (!file.source() || one_of(file.path, {"src/net/asio.hpp", "include/cluster/asio.hpp"})) continue;
        // Users, who have an Asio of their own.
        if (file.in("examples/") || file.in("tests/install/") || file.in("tests/asio/")) continue;
        if (file.path == "tests/style/sample.hpp") continue;
        for (const Include& include : includes_of(file)) {
            if (target_of(include) == "asio") offences.add(file, include.line, include.name);
        }
    }
    CHECK(offences.text() == "");
}

TEST_CASE("style: cereal is included in exactly one place, and nobody but wire and users includes that") {
    Offences offences;
    for (const File& file : files()) {
        if (!file.in("src/") && !file.in("include/")) continue;
        for (const Include& include : includes_of(file)) {
            const bool archive = include.name == "cluster/archive.hpp";
            const bool allowed = archive ? file.in("src/wire/") || file.path == "include/cluster/codec.hpp"
                                         : file.path == "include/cluster/archive.hpp";
            if ((archive || include.name == "cluster/codec.hpp" || target_of(include) == "cereal") && !allowed)
                offences.add(file, include.line, include.name);
        }
    }
    CHECK(offences.text() == "");
}

TEST_CASE("style: examples use nothing but the public headers") {
    Offences offences;
    for (const File& file : files()) {
        if (!file.source() || !file.in("examples/")) continue;
        for (const Include& include : includes_of(file)) {
            const bool own = include.quoted && fs::exists((root() / file.path).parent_path() / include.name);
            if (!own && one_of(target_of(include), {"", "base", "value", "core", "wire", "net", "support", "node",
                                                    "membership", "spdlog", "fmt"}))
                offences.add(file, include.line, include.name);
        }
    }
    CHECK(offences.text() == "");
}

TEST_CASE("style: a source file includes its own header first") {
    Offences offences;
    for (const File& file : files()) {
        if (!file.in("src/") || file.header() || !file.source()) continue;
        const std::string own = file.path.substr(4, file.path.size() - 8) + ".hpp";
        std::vector<std::string> expected;
        if (fs::exists(root() / "src" / own)) expected.push_back(own);
        const std::string face = "cluster/" + fs::path(own).filename().string();
        if (fs::exists(root() / "include" / face)) expected.push_back(face);
        if (expected.empty()) continue;
        const std::vector<Include> includes = includes_of(file);
        if (includes.empty() || std::find(expected.begin(), expected.end(), includes[0].name) == expected.end())
            offences.add(file, 0, expected[0] + " does not come first");
    }
    CHECK(offences.text() == "");
}

TEST_CASE("style: every header is guarded by pragma once") {
    Offences offences;
    for (const File& file : files()) {
        if (file.header() && (file.lines.empty() || file.lines[0] != "#pragma once"))
            offences.add(file, 0, "first line");
    }
    CHECK(offences.text() == "");
}

TEST_CASE("style: base, values and core have no clock, no thread, no lock and no randomness of their own") {
    const std::regex words(
        "(steady|system|high_resolution)_clock::now|random_device|mt19937|std::(jthread|thread|mutex|shared_mutex|"
        "recursive_mutex|condition_variable|rand)\\b|\\btime\\(|getenv|base/mutex");
    Offences offences;
    for (const File& file : files()) {
        if (file.path == "src/base/mutex.hpp") continue;  // for those above, who have locks
        const bool pure = file.in("src/base/") || file.in("src/value/") || file.in("src/core/");
        if (pure && file.source()) refuse_words(offences, file, words);
    }
    CHECK(offences.text() == "");
}

TEST_CASE("style: locks are those that the compiler checks") {
    const std::regex words("std::(mutex|shared_mutex|condition_variable|condition_variable_any|unique_lock)\\b");
    Offences offences;
    for (const File& file : files()) {
        const bool wrapper = one_of(file.path, {"src/base/mutex.hpp", "src/net/spinning_mutex.hpp"});
        if (file.in("src/") && file.source() && !wrapper) refuse_words(offences, file, words);
    }
    CHECK(offences.text() == "");
}

TEST_CASE("style: no test waits for time to pass") {
    const std::regex words("sleep_(for|until)|\\bu?sleep\\(|nanosleep");
    Offences offences;
    for (const File& file : files()) {
        if (file.in("tests/") && file.source() && !file.in("tests/style/")) refuse_words(offences, file, words);
    }
    CHECK(offences.text() == "");
}

TEST_CASE("style: nothing is left open in a comment") {
    const std::regex marks(
        "\\b(TO"
        "DO|FIX"
        "ME|XX"
        "X)\\b");
    Offences offences;
    for (const File& file : files()) {
        for (std::size_t i = 0; i < file.lines.size(); ++i) {
            if (std::regex_search(file.lines[i], marks)) offences.add(file, i, file.lines[i]);
        }
    }
    CHECK(offences.text() == "");
}

TEST_CASE("style: lines are at most 120 columns wide, without tabs, and end where their text ends") {
    Offences offences;
    for (const File& file : files()) {
        const bool page = file.path.ends_with(".md");  // tables and links do not wrap
        for (std::size_t i = 0; i < file.lines.size(); ++i) {
            const std::string& line = file.lines[i];
            const auto columns = std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xC0) != 0x80; });
            if (columns > 120 && !page) offences.add(file, i, std::to_string(columns) + " columns");
            if (line.find_first_of("\t\r") != std::string::npos) offences.add(file, i, "tab or carriage return");
            if (line.ends_with(' ')) offences.add(file, i, "space at the end");
        }
    }
    CHECK(offences.text() == "");
}

TEST_CASE("style: files end with one newline") {
    Offences offences;
    for (const File& file : files()) {
        if (!file.text.ends_with('\n') || file.text.ends_with("\n\n")) offences.add(file, file.lines.size(), "end");
    }
    CHECK(offences.text() == "");
}

TEST_CASE("style: no source file is longer than 700 lines") {
    Offences offences;
    for (const File& file : files()) {
        if (file.source() && file.lines.size() > 700) offences.add(file, file.lines.size(), "too long");
    }
    CHECK(offences.text() == "");
}

TEST_CASE("style: numbered examples are shorter than 60 lines, and each longer one has a limit of its own") {
    Offences offences;
    for (const File& file : files()) {
        const bool numbered = std::regex_match(file.path, std::regex("examples/[0-9][^/]*\\.cpp"));
        const std::size_t limit = file.path == "examples/08_rpc_routing.cpp"          ? 270
                                  : file.path == "examples/12_replicated_counter.cpp" ? 156
                                  : file.path == "examples/14_throughput_client.cpp"  ? 100
                                  : file.path == "examples/15_key_value.cpp"          ? 190
                                  : file.path == "examples/16_auction.cpp"            ? 200
                                                                                      : 60;
        if (numbered && file.lines.size() >= limit) offences.add(file, file.lines.size(), "too long");
    }
    CHECK(offences.text() == "");
}

TEST_CASE("style: the top level holds what it should and nothing more") {
    for (const fs::directory_entry& entry : fs::directory_iterator(root())) {
        const std::string name = entry.path().filename().string();
        if (name.starts_with('.') || name.starts_with("build")) continue;  // build folders are ignored by git
        INFO(name);
        CHECK(one_of(name, {"CMakeLists.txt", "README.md", "LICENSE", "include", "src", "examples", "tests"}));
    }
}

TEST_CASE("style: test names are unique and free of characters that would hide a test from CTest") {
    const std::regex pattern(R"re(TEST_CASE(?:_TEMPLATE|_FIXTURE)?\((?:\w+, )?"((?:[^"\\]|\\.)*)")re");
    std::map<std::string, std::string> seen;
    for (const File& file : files()) {
        if (!file.path.ends_with("_test.cpp") || file.in("tests/style/")) continue;
        for (std::sregex_iterator at(file.text.begin(), file.text.end(), pattern), end; at != end; ++at) {
            std::string name = (*at)[1];
            INFO(file.path << ": " << name);
            CHECK(name.find_first_of(";[]\\\"$*?") == std::string::npos);
            CHECK_FALSE(name.starts_with(' '));
            std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
            CHECK(seen.emplace(name, file.path).second);  // doctest selects by name without regard to case
        }
    }
}
