#include "group/sessions.hpp"

namespace cluster::group {

void Session::keep(std::deque<Kept>& in, Kept kept) {
    bytes += kept.bytes.size();
    in.push_back(std::move(kept));
}

void Session::drop(std::deque<Kept>& from, std::uint64_t up_to) {
    while (!from.empty() && from.front().number <= up_to) {
        bytes -= from.front().bytes.size();
        from.pop_front();
    }
}

void Session::reply(std::uint64_t number, std::uint64_t position, Bytes payload) {
    keep(replies, {number, position, std::move(payload)});
}

const Kept& Session::push(std::uint64_t position, Bytes payload) {
    keep(pushes, {++pushed, position, std::move(payload)});
    return pushes.back();
}

void Session::received(const Received& received) {
    drop(replies, received.replies);
    drop(pushes, received.pushes);
}

Session* Sessions::open(std::uint64_t id, const OpenSession& open, Duration time) {
    if (by_key_.contains(open.key) || by_id_.size() >= open.most) return nullptr;
    Session session;
    session.facts = {id, open.name, open.principal, time};
    session.key = open.key;
    session.timeout_ms = open.timeout_ms;
    restore(std::move(session));
    return find(id);
}

void Sessions::restore(Session session) {
    const std::uint64_t id = session.facts.id;
    by_key_[session.key] = id;
    by_id_.insert_or_assign(id, std::move(session));
}

Session* Sessions::find(std::uint64_t id) {
    const auto found = by_id_.find(id);
    return found == by_id_.end() ? nullptr : &found->second;
}

const Session* Sessions::find(std::uint64_t id) const {
    const auto found = by_id_.find(id);
    return found == by_id_.end() ? nullptr : &found->second;
}

const Session* Sessions::find(const SessionKey& key) const {
    const auto found = by_key_.find(key);
    return found == by_key_.end() ? nullptr : find(found->second);
}

Session Sessions::close(Session& session) {
    by_key_.erase(session.key);
    const auto found = by_id_.find(session.facts.id);
    Session closed = std::move(found->second);
    by_id_.erase(found);
    return closed;
}

}  // namespace cluster::group
