#include "consensus/transcript.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace fs = std::filesystem;
using cluster::support::Transcript;

namespace {

/// The transcript as it would be if all that it says came true.
std::string played(const std::string& text) {
    Transcript transcript;
    std::string result;
    std::istringstream lines(text);
    bool answers = false;  // of these lines, those that are answers are made anew
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("> ")) {
            result += line + '\n';
            try {
                result += transcript.run(line.substr(2));
            } catch (const std::exception& failure) {
                result += std::string("FAILED: ") + failure.what() + '\n';
            }
            answers = true;
        } else if (line.empty() || line.starts_with('#')) {
            result += line + '\n';
            answers = false;
        } else if (!answers) {
            result += "FAILED: this line belongs to no command: " + line + '\n';
        }
    }
    return result;
}

}  // namespace

TEST_CASE("consensus: every transcript comes true, line by line") {
    std::vector<fs::path> paths;
    for (const auto& entry : fs::directory_iterator(CLUSTER_SOURCE_DIR "/tests/consensus")) {
        if (entry.path().extension() == ".txt") paths.push_back(entry.path());
    }
    std::sort(paths.begin(), paths.end());
    REQUIRE(paths.size() > 10);
    for (const fs::path& path : paths) {
        CAPTURE(path.filename());
        std::ifstream stream(path);
        const std::string text{std::istreambuf_iterator<char>(stream), {}};
        const std::string now = played(text);
        CHECK(now.find("FAILED") == std::string::npos);
        if (now != text && std::getenv("CLUSTER_REWRITE_TRANSCRIPTS") != nullptr) std::ofstream(path) << now;
        CHECK(now == text);
    }
}
