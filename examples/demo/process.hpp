#pragma once

#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

/// This program, started again in another part. The two talk in lines of text: what the child reads from its standard
/// input and writes to its standard output. Used by one thread, which must outlive it. A child dies with its parent,
/// and with this object.
class Process {
public:
    explicit Process(const std::vector<std::string>& arguments);
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;
    ~Process();

    /// Where `lines` will find something.
    int descriptor() const noexcept { return from_; }
    void tell(const std::string& line);
    /// The lines that have come completely; never waits. At the end of its output, it has ended or will at once.
    std::vector<std::string> lines();
    bool at_end() const noexcept { return at_end_; }

    /// SIGKILL, as if it had crashed.
    void kill();
    /// After the end of its output: how it ended, in words; "exit 0" is how it should.
    std::string wait();

private:
    pid_t pid_ = -1;
    int to_ = -1;
    int from_ = -1;
    std::string text_;
    bool at_end_ = false;
};
