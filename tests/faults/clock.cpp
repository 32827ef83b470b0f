// Preloaded into a process, it makes that process's wall clock wrong by what the file CLUSTER_FAULTS_CLOCK holds: eight
// bytes, nanoseconds. So a test can step the wall clock to and fro without touching the machine's. What waits for an
// absolute time of the wall clock is not told about the step, and so waits too long or not at all: it shows.

#include <cstdint>
#include <cstdlib>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

namespace {

const volatile std::int64_t* shared_offset() {
    const char* path = std::getenv("CLUSTER_FAULTS_CLOCK");
    const int file = path == nullptr ? -1 : ::open(path, O_RDONLY | O_CLOEXEC);
    void* memory = file < 0 ? MAP_FAILED : ::mmap(nullptr, sizeof(std::int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED) ::_exit(126);
    return static_cast<const volatile std::int64_t*>(memory);
}

timespec wall() {
    static const volatile std::int64_t* const offset = shared_offset();
    constexpr std::int64_t second = 1'000'000'000;
    timespec time{};
    ::syscall(SYS_clock_gettime, CLOCK_REALTIME, &time);
    const std::int64_t shown = time.tv_sec * second + time.tv_nsec + *offset;
    time.tv_sec = shown / second;
    time.tv_nsec = shown % second;
    return time;
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* time) noexcept {
    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) {
        return static_cast<int>(::syscall(SYS_clock_gettime, clock, time));
    }
    *time = wall();
    return 0;
}

int gettimeofday(timeval* time, void*) noexcept {
    const timespec shown = wall();
    time->tv_sec = shown.tv_sec;
    time->tv_usec = shown.tv_nsec / 1000;
    return 0;
}

time_t time(time_t* into) noexcept {
    const time_t shown = wall().tv_sec;
    if (into != nullptr) *into = shown;
    return shown;
}
}
