#include "replica/worker.hpp"

#include "base/thread_kind.hpp"

namespace cluster::replica {

bool Worker::post(std::function<void()> work) {
    detail::Lock lock(mutex_);
    if (finished_) return false;
    queue_.push_back(std::move(work));
    const bool wakes = queue_.size() == 1;
    lock.unlock();  // whoever is woken needs it
    if (wakes) changed_.notify_all();
    return true;
}

void Worker::finish() {
    {
        const detail::Lock lock(mutex_);
        finished_ = true;
        changed_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
}

void Worker::run() {
    detail::set_kind_of_this_thread(detail::ThreadKind::replica);
    for (;;) {
        std::function<void()> work;
        {
            const detail::Lock lock(mutex_);
            while (queue_.empty() && !finished_) changed_.wait(mutex_);
            if (queue_.empty()) return;
            work = std::move(queue_.front());
            queue_.pop_front();
        }
        work();
    }
}

}  // namespace cluster::replica
