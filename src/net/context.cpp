#include "net/context.hpp"

#include "base/thread_kind.hpp"
#include "net/addresses.hpp"
#include "net/system.hpp"

#include <cluster/error.hpp>

#include <string>
#include <system_error>
#include <utility>

namespace cluster::net {

Loop::Loop() : io_(1), io_work_(io_.get_executor()), last_in_line_(io_, open_always_readable()) {
    const asio::steady_timer first(io_);  // makes what the thread will wait with, so that a lack of it shows now
}

void Loop::catch_up(std::function<void()> then) {
    catching_up_.push_back(std::move(then));
    if (!asked_) ask();
}

void Loop::ask() {
    asked_ = true;
    const Time now = Loop::now();
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
        const detail::Lock lock(mutex_);
        if (finished_) return false;
        calls_.push_back(std::move(work));
    }
    called_.notify_one();
    return true;
}

void Loop::run_io() {
    detail::set_kind_of_this_thread(detail::ThreadKind::io);
    io_.run();
    {
        const detail::Lock lock(mutex_);
        io_ended_ = true;
    }
    io_.restart();
    io_.run();  // what was posted in between
}

void Loop::run_callbacks() {
    callback_thread_ = std::this_thread::get_id();
    for (;;) {
        std::function<void()> work;
        {
            const detail::Lock lock(mutex_);
            while (calls_.empty() && !finished_) called_.wait(mutex_);
            if (calls_.empty()) return;
            work = std::move(calls_.front());
            calls_.pop_front();
        }
        work();
    }
}

void Loop::finish() {
    {
        const detail::Lock lock(mutex_);
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
        detail::keep_for_ever(std::move(loop_));
        for (std::thread* each : {&callback_thread_, &io_thread_}) {
            detail::keep_for_ever(std::make_shared<std::thread>(std::move(*each)));
        }
        return;
    }
    loop_->finish();
    const bool on_own_callback = loop_->on_callback_thread();
    const bool on_io_thread = detail::kind_of_this_thread() == detail::ThreadKind::io;
    // The I/O thread ends at once, because the nodes have left.
    if (on_io_thread) {
        io_thread_.detach();
    } else {
        io_thread_.join();
    }
    if (on_io_thread || on_own_callback) {
        callback_thread_.detach();
    } else {
        callback_thread_.join();
    }
}

}  // namespace cluster::net
