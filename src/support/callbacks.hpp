#pragma once

#include "base/mutex.hpp"
#include "base/origin.hpp"
#include "support/visits.hpp"

#include <cluster/given_up.hpp>
#include <cluster/peer.hpp>
#include <cluster/subscription.hpp>

#include <algorithm>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace cluster::detail {

/// Calls a function on the callback thread, after those handed over before. False if that thread has ended.
using CallBack = std::function<bool(std::function<void()>)>;

/// Calls `function`, which is the application's. An exception goes to `on_throw` as a text.
template <class OnThrow, class Function, class... Arguments>
void call_guarded(const OnThrow& on_throw, Function&& function, Arguments&&... arguments) {
    try {
        std::forward<Function>(function)(std::forward<Arguments>(arguments)...);
    } catch (const std::exception& exception) {
        on_throw(std::string_view(exception.what()));
    } catch (...) {
        on_throw(std::string_view("unknown"));
    }
}

/// The handlers of one node's asynchronous calls that are to run on the callback thread. Thread-safe.
class HandlerCalls {
public:
    /// A call is handed over: it is under way from now on, but not yet on any thread.
    void begin() {
        const Lock lock(mutex_);
        calls_.enter({});
    }
    void end() {
        const Lock lock(mutex_);
        calls_.leave({});
    }
    void wait_for_none() {
        const Lock lock(mutex_);
        calls_.wait(mutex_);
    }

private:
    Mutex mutex_;
    Visits calls_ GUARDED_BY(mutex_);
};

/// What a `Subscription` shares with its node. Thread-safe.
class Registration {
public:
    virtual ~Registration() = default;

    /// False in a child made by `fork`. Nobody may wait there for a call under way, because it never ends.
    bool is_here() const noexcept { return origin_.is_here(); }
    /// From now on the function is not called. Waits for a call under way. Does not wait if that call is what calls
    /// this, or on an I/O thread, where nothing may wait.
    void end();

protected:
    /// False after `end`. After true, `leave` must be called.
    bool enter();
    void leave();

private:
    const Origin origin_;
    Mutex mutex_;
    Visits calls_ GUARDED_BY(mutex_);
    bool ended_ GUARDED_BY(mutex_) = false;
};

/// A registered function.
template <class... Arguments>
class Callback final : public Registration {
public:
    explicit Callback(std::function<void(Arguments...)> function) : function_(std::move(function)) {}

    /// On the callback thread. An exception goes to `on_throw`.
    template <class OnThrow>
    void call(OnThrow&& on_throw, Arguments... arguments) {
        if (!enter()) return;
        call_guarded(on_throw, function_, arguments...);
        leave();
    }

private:
    const std::function<void(Arguments...)> function_;
};

/// The callbacks of one kind, while their subscriptions live. Not thread-safe.
template <class... Arguments>
class CallbackList {
public:
    using Entry = std::shared_ptr<Callback<Arguments...>>;

    Entry add(std::function<void(Arguments...)> function) {
        std::erase_if(entries_, [](const auto& entry) { return entry.expired(); });
        auto entry = std::make_shared<Callback<Arguments...>>(std::move(function));
        entries_.push_back(entry);
        return entry;
    }
    std::vector<Entry> all() const {
        std::vector<Entry> found;
        for (const auto& each : entries_) {
            if (Entry entry = each.lock()) found.push_back(std::move(entry));
        }
        return found;
    }

private:
    std::vector<std::weak_ptr<Callback<Arguments...>>> entries_;
};

/// The callbacks of one node: turns events, which come on the I/O thread, into calls on the callback thread, in the
/// same order.
///
/// Thread-safe. Kept alive by the calls that wait. It knows the peers whose adding, but not yet their removal, was
/// reported to it. So a callback that is registered late hears of each peer exactly once.
class Callbacks : public std::enable_shared_from_this<Callbacks> {
public:
    using OnThrow = std::function<void(std::string_view)>;
    using View = std::function<std::vector<Peer>()>;

    /// `view`: the peers in view now.
    Callbacks(CallBack call_back, OnThrow on_throw, View view)
        : call_back_(std::move(call_back)), on_throw_(std::move(on_throw)), view_(std::move(view)) {}

    Subscription on_peer_added(std::function<void(const Peer&)> function);
    Subscription on_peer_removed(std::function<void(const Peer&, RemovalReason)> function);
    Subscription on_peers_changed(std::function<void(const std::vector<Peer>&)> function);
    Subscription on_given_up(std::function<void(const GivenUp&)> function);

    void peer_added(const Peer& peer);
    void peer_removed(const Peer& peer, RemovalReason reason);
    void peers_changed();
    /// While a report waits to be made, more that is given up for the same peer and reason joins it.
    void given_up(const GivenUp& given_up);

    /// Nothing is called from now on. Waits for a call under way as `Registration::end` does.
    void end();

private:
    void close_reports(const PeerId& peer) REQUIRES(mutex_);
    template <class... Arguments>
    void call(const CallbackList<Arguments...>& list, const std::decay_t<Arguments>&... arguments);

    const CallBack call_back_;
    const OnThrow on_throw_;
    const View view_;

    Mutex mutex_;
    std::map<PeerId, Peer> peers_ GUARDED_BY(mutex_);
    CallbackList<const Peer&> added_ GUARDED_BY(mutex_);
    CallbackList<const Peer&, RemovalReason> removed_ GUARDED_BY(mutex_);
    CallbackList<const std::vector<Peer>&> changed_ GUARDED_BY(mutex_);
    CallbackList<const GivenUp&> given_up_ GUARDED_BY(mutex_);
    bool change_pending_ GUARDED_BY(mutex_) = false;
    /// Reports that wait and that more may join; those of a peer, until it is added or removed.
    std::map<std::pair<PeerId, errc>, std::shared_ptr<GivenUp>> reports_ GUARDED_BY(mutex_);
};

}  // namespace cluster::detail
