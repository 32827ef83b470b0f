#include <cstddef>
#include <cstdint>

// One target as libFuzzer calls it. CLUSTER_FUZZ_TARGET is its namespace.

namespace cluster::CLUSTER_FUZZ_TARGET {
void run(const std::uint8_t* data, std::size_t size);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    cluster::CLUSTER_FUZZ_TARGET::run(data, size);
    return 0;
}
