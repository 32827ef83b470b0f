#include "process.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

int check(int result, const char* what) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), what);
    return result;
}

}  // namespace

Process::Process(const std::vector<std::string>& arguments) {
    std::array<int, 2> in{};
    std::array<int, 2> out{};
    check(::pipe2(in.data(), O_CLOEXEC), "pipe");
    check(::pipe2(out.data(), O_CLOEXEC), "pipe");
    std::vector<char*> values;
    std::string name = "cluster-demo";
    values.push_back(name.data());
    for (const std::string& each : arguments) values.push_back(const_cast<char*>(each.c_str()));
    values.push_back(nullptr);

    const pid_t parent = ::getpid();
    pid_ = check(::fork(), "fork");
    if (pid_ == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != parent) ::_exit(1);
        ::dup2(in[0], STDIN_FILENO);
        ::dup2(out[1], STDOUT_FILENO);
        ::execv("/proc/self/exe", values.data());
        ::_exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    to_ = in[1];
    from_ = out[0];
    check(::fcntl(from_, F_SETFL, O_NONBLOCK), "fcntl");
}

Process::~Process() {
    ::close(to_);
    ::close(from_);
    if (pid_ > 0) {
        kill();
        ::waitpid(pid_, nullptr, 0);
    }
}

void Process::tell(const std::string& line) {
    const std::string text = line + '\n';
    // If it has ended, the end of its output says so.
    if (::write(to_, text.data(), text.size()) < 0) return;
}

std::vector<std::string> Process::lines() {
    std::array<char, 4096> part{};
    for (;;) {
        const ssize_t count = ::read(from_, part.data(), part.size());
        if (count < 0) break;
        if (count == 0) {
            at_end_ = true;
            break;
        }
        text_.append(part.data(), static_cast<std::size_t>(count));
    }
    std::vector<std::string> result;
    std::size_t begin = 0;
    for (std::size_t end = 0; (end = text_.find('\n', begin)) != std::string::npos; begin = end + 1) {
        result.push_back(text_.substr(begin, end - begin));
    }
    text_.erase(0, begin);
    return result;
}

void Process::kill() {
    ::kill(pid_, SIGKILL);
}

std::string Process::wait() {
    int status = 0;
    check(::waitpid(std::exchange(pid_, -1), &status, 0), "waitpid");
    if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
    return "exit " + std::to_string(WEXITSTATUS(status));
}
