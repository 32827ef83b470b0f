#include "replica/applier.hpp"

#include <cluster/service.hpp>

namespace cluster {

std::chrono::nanoseconds Context::time() const noexcept {
    return event_.applier.time_;
}

std::uint64_t Context::position() const noexcept {
    return event_.applier.last_.index;
}

std::uint64_t Context::term() const noexcept {
    return event_.applier.last_.term;
}

std::string_view Context::service() const noexcept {
    return event_.applier.services_[event_.service].name;
}

ApplicationVersion Context::version() const noexcept {
    return event_.applier.state_.version;
}

const ClientSession* Context::session() const noexcept {
    return event_.session == nullptr ? nullptr : &event_.session->facts;
}

std::string_view Context::from_service() const noexcept {
    return event_.from_service ? std::string_view(event_.applier.services_[*event_.from_service].name)
                               : std::string_view();
}

std::vector<ClientSession> Context::sessions() const {
    std::vector<ClientSession> all;
    for (const auto& [id, session] : event_.applier.state_.sessions.all()) all.push_back(session.facts);
    return all;
}

const ClientSession* Context::find_session(std::uint64_t session) const noexcept {
    const group::Session* const found = std::as_const(event_.applier.state_.sessions).find(session);
    return found == nullptr ? nullptr : &found->facts;
}

void Context::reply(Payload payload) {
    event_.applier.reply_ = payload.to_bytes();
}

bool Context::send(std::uint64_t session, Payload payload) {
    return event_.applier.send(session, payload.view());
}

bool Context::close(std::uint64_t session) {
    return event_.applier.close(session, CloseReason::service);
}

bool Context::schedule(std::uint64_t timer, std::chrono::nanoseconds at) {
    return event_.applier.state_.timers.schedule(event_.service, timer, at);
}

bool Context::cancel(std::uint64_t timer) {
    return event_.applier.state_.timers.cancel(event_.service, timer);
}

bool Context::submit(Payload payload, std::string_view to_service) {
    return event_.applier.submit(event_.service, payload.view(), to_service);
}

std::uint64_t Context::random() noexcept {
    if (!event_.dice) event_.dice.emplace(event_.applier.seed());
    return event_.dice->next();
}

}  // namespace cluster
