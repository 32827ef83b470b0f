#include "support/callbacks.hpp"

#include "support/may_wait.hpp"

namespace cluster {

Subscription& Subscription::operator=(Subscription&& other) noexcept {
    if (this != &other) {
        reset();
        registration_ = std::move(other.registration_);
    }
    return *this;
}

Subscription::~Subscription() {
    reset();
}

void Subscription::reset() {
    auto registration = std::exchange(registration_, nullptr);
    if (!registration) return;
    if (!registration->is_here()) return detail::keep_for_ever(std::move(registration));
    registration->end();
}

namespace detail {

void Registration::end() {
    const Lock lock(mutex_);
    ended_ = true;
    if (may_wait()) calls_.wait(mutex_);
}

bool Registration::enter() {
    const Lock lock(mutex_);
    if (!ended_) calls_.enter();
    return !ended_;
}

void Registration::leave() {
    const Lock lock(mutex_);
    calls_.leave();
}

Subscription Callbacks::on_peer_added(std::function<void(const Peer&)> function) {
    const std::vector<Peer> view = view_();
    const Lock lock(mutex_);
    for (const Peer& peer : view) {
        const auto known = peers_.find(peer.id);
        if (known != peers_.end()) known->second = peer;
    }
    const auto entry = added_.add(std::move(function));
    std::vector<Peer> known;
    for (const auto& [id, peer] : peers_) known.push_back(peer);
    if (!known.empty()) {
        call_back_([self = shared_from_this(), entry, known = std::move(known)] {
            for (const Peer& peer : known) entry->call(self->on_throw_, peer);
        });
    }
    return Subscription(entry);
}

Subscription Callbacks::on_peer_removed(std::function<void(const Peer&, RemovalReason)> function) {
    const Lock lock(mutex_);
    return Subscription(removed_.add(std::move(function)));
}

Subscription Callbacks::on_peers_changed(std::function<void(const std::vector<Peer>&)> function) {
    const Lock lock(mutex_);
    return Subscription(changed_.add(std::move(function)));
}

Subscription Callbacks::on_given_up(std::function<void(const GivenUp&)> function) {
    const Lock lock(mutex_);
    reports_.clear();  // the new callback hears of what is given up from now on
    return Subscription(given_up_.add(std::move(function)));
}

template <class... Arguments>
void Callbacks::call(const CallbackList<Arguments...>& list, const std::decay_t<Arguments>&... arguments) {
    auto entries = list.all();
    if (entries.empty()) return;
    call_back_([self = shared_from_this(), entries = std::move(entries), arguments...] {
        for (const auto& entry : entries) entry->call(self->on_throw_, arguments...);
    });
}

void Callbacks::peer_added(const Peer& peer) {
    const Lock lock(mutex_);
    peers_[peer.id] = peer;
    close_reports(peer.id);
    call(added_, peer);
}

void Callbacks::peer_removed(const Peer& peer, RemovalReason reason) {
    const Lock lock(mutex_);
    peers_.erase(peer.id);
    close_reports(peer.id);
    call(removed_, peer, reason);
}

void Callbacks::peers_changed() {
    const Lock lock(mutex_);
    if (change_pending_ || changed_.all().empty()) return;
    change_pending_ = true;
    call_back_([self = shared_from_this()] {
        std::vector<CallbackList<const std::vector<Peer>&>::Entry> entries;
        {
            const Lock changed_lock(self->mutex_);
            self->change_pending_ = false;
            entries = self->changed_.all();
        }
        const std::vector<Peer> peers = self->view_();
        for (const auto& entry : entries) entry->call(self->on_throw_, peers);
    });
}

void Callbacks::given_up(const GivenUp& given_up) {
    const Lock lock(mutex_);
    auto entries = given_up_.all();
    if (entries.empty()) return;
    std::shared_ptr<GivenUp>& open = reports_[{given_up.peer.id, given_up.reason}];
    if (open) {
        open->messages += given_up.messages;
        open->bytes += given_up.bytes;
        return;
    }
    open = std::make_shared<GivenUp>(given_up);
    call_back_([self = shared_from_this(), report = open, entries = std::move(entries)] {
        {
            const Lock reports_lock(self->mutex_);
            const auto found = self->reports_.find({report->peer.id, report->reason});
            if (found != self->reports_.end() && found->second == report) self->reports_.erase(found);
        }
        for (const auto& entry : entries) entry->call(self->on_throw_, *report);
    });
}

/// What is given up from now on is reported after the event that is about to be reported.
void Callbacks::close_reports(const PeerId& peer) {
    std::erase_if(reports_, [&](const auto& each) { return each.first.first == peer; });
}

void Callbacks::end() {
    std::vector<std::shared_ptr<Registration>> all;
    {
        const Lock lock(mutex_);
        for (const auto& entry : added_.all()) all.push_back(entry);
        for (const auto& entry : removed_.all()) all.push_back(entry);
        for (const auto& entry : changed_.all()) all.push_back(entry);
        for (const auto& entry : given_up_.all()) all.push_back(entry);
    }
    for (const auto& registration : all) registration->end();
}

}  // namespace detail

}  // namespace cluster
