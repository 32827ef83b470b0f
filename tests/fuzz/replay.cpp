#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

// Without libFuzzer: gives each target the files of its folder, and then inputs made out of these by chance, the same
// each time.

#define CLUSTER_FUZZ_DECLARE(target)                          \
    namespace cluster::target##_fuzz {                        \
        void run(const std::uint8_t* data, std::size_t size); \
    }
CLUSTER_FUZZ_DECLARE(consensus)
CLUSTER_FUZZ_DECLARE(control)
CLUSTER_FUZZ_DECLARE(engine)
CLUSTER_FUZZ_DECLARE(frames)
CLUSTER_FUZZ_DECLARE(messages)
CLUSTER_FUZZ_DECLARE(recovery)
CLUSTER_FUZZ_DECLARE(typed)
#undef CLUSTER_FUZZ_DECLARE

namespace {

using Bytes = std::vector<std::uint8_t>;

/// splitmix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
std::uint64_t next(std::uint64_t& state) {
    std::uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

void change(Bytes& bytes, std::uint64_t& dice) {
    for (std::uint64_t times = 1 + next(dice) % 8; times > 0; --times) {
        const std::size_t at = next(dice) % (bytes.size() + 1);
        const auto place = bytes.begin() + static_cast<std::ptrdiff_t>(at);
        switch (next(dice) % 4) {
            case 0: bytes.insert(place, static_cast<std::uint8_t>(next(dice))); break;
            case 1: bytes.erase(place, bytes.end() - std::min<std::ptrdiff_t>(bytes.end() - place, 64)); break;
            case 2: bytes.insert(place, 16, static_cast<std::uint8_t>(next(dice))); break;
            default:
                if (at < bytes.size()) bytes[at] = static_cast<std::uint8_t>(next(dice));
        }
    }
}

struct Target {
    const char* name;
    void (*run)(const std::uint8_t*, std::size_t);
};

constexpr Target targets[] = {
    {"consensus", cluster::consensus_fuzz::run}, {"control", cluster::control_fuzz::run},
    {"engine", cluster::engine_fuzz::run},       {"frames", cluster::frames_fuzz::run},
    {"messages", cluster::messages_fuzz::run},   {"recovery", cluster::recovery_fuzz::run},
    {"typed", cluster::typed_fuzz::run},
};

std::vector<Bytes> files_in(const std::filesystem::path& folder) {
    std::vector<std::filesystem::path> paths;
    for (const auto& file : std::filesystem::directory_iterator(folder)) paths.push_back(file.path());
    std::ranges::sort(paths);
    std::vector<Bytes> files;
    for (const auto& path : paths) {
        std::ifstream stream(path, std::ios::binary);
        files.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
    }
    return files;
}

}  // namespace

int main(int count, char** values) {
    if (count != 3) {
        std::fprintf(stderr, "usage: %s FOLDER INPUTS: of each target, FOLDER/TARGET has files\n", values[0]);
        return EXIT_FAILURE;
    }
    const int made = std::atoi(values[2]);
    for (const Target& target : targets) {
        std::vector<Bytes> inputs = files_in(std::filesystem::path(values[1]) / target.name);
        if (inputs.empty()) {
            std::fprintf(stderr, "there is no file for %s\n", target.name);
            return EXIT_FAILURE;
        }
        const std::size_t files = inputs.size();
        inputs.emplace_back();
        for (const Bytes& each : inputs) target.run(each.data(), each.size());
        std::uint64_t dice = 1;
        for (int i = 0; i < made; ++i) {
            Bytes bytes = inputs[next(dice) % inputs.size()];
            change(bytes, dice);
            target.run(bytes.data(), bytes.size());
        }
        std::printf("%s: %zu files and %d inputs made of them\n", target.name, files, made);
    }
    return EXIT_SUCCESS;
}
