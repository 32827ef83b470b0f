#include "net/context.hpp"

#include "net/addresses.hpp"
#include "net/io_thread.hpp"

#include <cluster/error.hpp>

#include <optional>
#include <string>
#include <system_error>
#include <utility>

namespace cluster::net {

namespace {

/// Of an I/O thread. The thread that goes on in a child made by `fork` is none.
thread_local std::optional<Origin> io_thread_of;

}  // namespace

bool on_io_thread() noexcept {
    return io_thread_of && io_thread_of->is_here();
}

Loop::Loop() : io_(1), io_work_(io_.get_executor()), last_in_line_(io_, open_always_readable()) {
    const asio::steady_timer first(io_);  // makes what the thread will wait with: whoever lacks it learns it now
}

void Loop::catch_up(std::function<void()> then) {
    catching_up_.push_back(std::move(then));
    if (!asked_) ask();
}

void Loop::ask() {
    asked_ = true;
    const Time now = std::chrono::steady_clock::now().time_since_epoch();
    last_in_line_.async_wait(asio::posix::stream_descriptor::wait_read,
                             [this, now, waiting = std::exchange(catching_up_, {})](const std::error_code&) {
                                 asked_ = false;
                                 caught_up_ = now;
                                 for (const auto& then : waiting) then();
                                 if (!asked_ && !catching_up_.empty()) ask();
                             });
}

bool Loop::call(std::function<void()> work) {
    {
        const std::lock_guard lock(mutex_);
        if (finished_) return false;
        calls_.push_back(std::move(work));
    }
    called_.notify_one();
    return true;
}

void Loop::run_io() {
    io_thread_of.emplace();
    io_.run();
}

void Loop::run_callbacks() {
    callback_thread_ = std::this_thread::get_id();
    for (;;) {
        std::function<void()> work;
        {
            std::unique_lock lock(mutex_);
            called_.wait(lock, [this] { return !calls_.empty() || finished_; });
            if (calls_.empty()) return;
            work = std::move(calls_.front());
            calls_.pop_front();
        }
        work();
    }
}

void Loop::finish() {
    {
        const std::lock_guard lock(mutex_);
        finished_ = true;
    }
    called_.notify_one();
    io_work_.reset();
}

Context::Context() {
    try {
        start();
    } catch (const std::system_error& failure) {
        throw std::system_error(make_error_code(to_errc(failure.code())),
                                "starting the threads of a runtime (" + failure.code().message() + ")");
    }
}

void Context::start() {
    loop_ = std::make_shared<Loop>();
    callback_thread_ = std::thread([loop = loop_] { loop->run_callbacks(); });
    try {
        io_thread_ = std::thread([loop = loop_] { loop->run_io(); });
    } catch (...) {
        loop_->finish();
        callback_thread_.join();
        throw;
    }
}

Context::~Context() {
    if (!origin_.is_here()) {
        keep_for_ever(std::move(loop_));
        for (std::thread* each : {&callback_thread_, &io_thread_}) {
            keep_for_ever(std::make_shared<std::thread>(std::move(*each)));
        }
        return;
    }
    loop_->finish();
    const bool on_own_callback = loop_->on_callback_thread();
    // The I/O thread ends at once, since the nodes have left.
    if (on_io_thread()) {
        io_thread_.detach();
    } else {
        io_thread_.join();
    }
    if (on_io_thread() || on_own_callback) {
        callback_thread_.detach();
    } else {
        callback_thread_.join();
    }
}

}  // namespace cluster::net
