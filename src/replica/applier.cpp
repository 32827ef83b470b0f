#include "replica/applier.hpp"

#include "group/version.hpp"
#include "replica/hash_writer.hpp"
#include "replica/snapshot_stream.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>

namespace cluster::replica {

namespace {

group::SessionFacts facts_of(const group::Session& session) {
    return {session.facts.id, session.timeout_ms};
}

}  // namespace

/// One event of one service. What it has done counts when it returns.
template <class Handle>
void Applier::call(std::uint32_t service, group::Session* session, Handle&& handle) {
    calling_ = service;
    detail::Event event{*this, service, session};
    Context context(event);
    handle(services_[service].service, context, event);
}

/// One event of all services.
template <class Handle>
void Applier::call_all(group::Session* session, Handle&& handle) {
    for (std::uint32_t service = 0; service < services_.size(); ++service) {
        call(service, session, [&](Service& each, Context& context, detail::Event&) { handle(each, context); });
    }
}

void Applier::start() {
    for (calling_ = 0; calling_ < services_.size(); ++calling_) services_[calling_].service.on_start();
    calling_ = 0;
}

void Applier::role(Role role) {
    for (calling_ = 0; calling_ < services_.size(); ++calling_) services_[calling_].service.on_role(role);
    calling_ = 0;
}

void Applier::apply(const consensus::Entry& entry) {
    const bool new_term = entry.id.term != last_.term;
    last_ = entry.id;
    time_ = entry.time;
    bytes_ += entry.cost();
    unchecked_ += entry.cost();
    seeds_ = 0;
    if (new_term) {
        const ApplicationVersion version = group::version_of(entry);
        versions_.check(version, "leader");
        state_.version = version;
        call_all(nullptr, [](Service& service, Context& context) { service.on_term(context); });
        end_sessions();
    }
    fire_timers();
    if (entry.kind == consensus::EntryKind::command) {
        const auto command = group::unpack(entry.body.view());
        if (!command) throw std::runtime_error("an entry of a newer version of this library; run that one here, too");
        std::visit([&](const auto& each) { on(each); }, *command);
        end_sessions();
    }
    deliver_letters();
}

Answered Applier::query(std::span<const std::byte> query) const {
    QueryContext context(time_, last_.index, last_.term);
    std::error_code error = errc::unsupported;
    std::string text;
    try {
        for (const NamedService& each : services_) {
            try {
                std::as_const(each.service).on_query(context, query);
                error.clear();
            } catch (const std::system_error& exception) {
                if (exception.code() != errc::unsupported) throw;
                text = exception.what();
            }
        }
        if (!error) return {{}, context.take_reply(), last_.index};
    } catch (const std::exception& exception) {
        error = errc::service_failed;
        text = exception.what();
    } catch (...) {
        error = errc::service_failed;
        text = "the service has thrown something that is no std::exception";
    }
    const auto bytes = std::as_bytes(std::span(text));
    return {error, {bytes.begin(), bytes.end()}, last_.index};
}

std::vector<std::byte> Applier::pass_message(group::Session* session, std::span<const std::byte> message) {
    reply_.clear();
    call_all(session, [&](Service& service, Context& context) { service.on_message(context, message); });
    return std::move(reply_);
}

void Applier::on(const group::Submitted& command) {
    std::vector<std::byte> reply = pass_message(nullptr, command.message);
    if (command.disk == self_ && command.life == life_) replied_(command.number, std::move(reply));
}

void Applier::on(const group::OpenSession& command) {
    group::Session* session = state_.sessions.open(last_.index, command, time_);
    if (session != nullptr) {
        call_all(session, [](Service& service, Context& context) { service.on_session_open(context); });
    }
    const group::Session* const there = std::as_const(state_.sessions).find(command.key);
    const group::SessionFacts facts = there == nullptr ? group::SessionFacts() : facts_of(*there);
    outcomes_.emplace_back(group::SessionOpened{command.key, facts});
}

void Applier::on(const group::CloseSession& command) {
    close(command.session, command.reason);
}

void Applier::on(const group::SessionCommand& command) {
    group::Session* session = state_.sessions.find(command.session);
    if (session == nullptr || command.number != session->applied + 1) return;
    session->received(command.received);
    ++session->applied;
    session->reply(command.number, last_.index, Bytes::adopt(pass_message(session, command.message)));
    if (attached_.contains(command.session)) {
        outcomes_.emplace_back(group::SessionReplied{command.session, session->replies.back()});
    }
    if (session->is_slow()) close(command.session, CloseReason::slow);
}

void Applier::on(const group::Acknowledge& command) {
    group::Session* session = state_.sessions.find(command.session);
    if (session != nullptr) return session->received(command.received);
    outcomes_.emplace_back(group::SessionClosed{command.session, CloseReason::timed_out});
}

/// The first place where all have the same entries behind them.
void Applier::on(const group::CheckState&) {
    HashWriter writer;
    state_.save(writer);
    for (const NamedService& each : services_) writer.write(each.service.state_hash());
    checked_.push_back({last_.index, writer.hash()});
    unchecked_ = 0;
}

void Applier::fire_timers() {
    for (std::size_t fired = 0; fired < most_timers; ++fired) {
        const auto due = state_.timers.take(time_);
        if (!due) return;
        call(due->service, nullptr,
             [&](Service& service, Context& context, detail::Event&) { service.on_timer(context, due->id); });
        end_sessions();
    }
}

void Applier::deliver_letters() {
    for (std::size_t delivered = 0; delivered < most_letters; ++delivered) {
        const auto letter = state_.letters.take();
        if (!letter) return;
        call(letter->to, nullptr, [&](Service& service, Context& context, detail::Event& event) {
            event.from_service = letter->from;
            service.on_message(context, letter->bytes.view());
        });
        end_sessions();
    }
}

/// Those that the last event has closed. The services may close more when they hear of it.
void Applier::end_sessions() {
    while (!closing_.empty()) {
        const auto closing = std::exchange(closing_, {});
        for (const auto& [session, reason] : closing) end_session(session, reason);
    }
    settled_ = outcomes_.size();
}

void Applier::end_session(std::uint64_t session, CloseReason reason) {
    group::Session* const found = state_.sessions.find(session);
    if (found == nullptr) return;
    group::Session closed = state_.sessions.close(*found);
    call_all(&closed, [&](Service& service, Context& context) { service.on_session_close(context, reason); });
    outcomes_.emplace_back(group::SessionClosed{session, reason});
    attached_.erase(session);
}

Duration Applier::wants_entry_at() const {
    return state_.letters.empty() ? state_.timers.next() : time_;
}

// What a service does.

bool Applier::send(std::uint64_t session, std::span<const std::byte> message) {
    group::Session* const found = state_.sessions.find(session);
    if (found == nullptr) return false;
    if (found->is_slow()) return true;  // it ends with this event
    const group::Kept& push = found->push(last_.index, Bytes(message));
    if (attached_.contains(session)) outcomes_.emplace_back(group::SessionPushed{session, push});
    if (found->is_slow()) close(session, CloseReason::slow);
    return true;
}

bool Applier::close(std::uint64_t session, CloseReason reason) {
    if (state_.sessions.find(session) == nullptr) return false;
    closing_.emplace_back(session, reason);
    return true;
}

bool Applier::submit(std::uint32_t from, std::span<const std::byte> message, std::string_view to) {
    const auto found =
        std::find_if(services_.begin(), services_.end(), [&](const NamedService& each) { return each.name == to; });
    if (found == services_.end()) return false;
    const auto service = static_cast<std::uint32_t>(found - services_.begin());
    return state_.letters.add({from, service, Bytes(message)});
}

/// No two events have the same one.
std::uint64_t Applier::seed() noexcept {
    return Dice(last_.index).next() ^ Dice(++seeds_).next();
}

// Clients.

std::optional<Applier::Attached> Applier::attach(std::uint64_t session, const group::SessionKey& key,
                                                 const group::Received& received) {
    const group::Session* const found = std::as_const(state_.sessions).find(session);
    if (found == nullptr || found->key != key) return std::nullopt;
    attached_.insert(session);
    Attached result{found->applied, {}, {}};
    const auto behind = [](std::uint64_t number) {
        return [number](const group::Kept& each) { return each.number > number; };
    };
    std::copy_if(found->replies.begin(), found->replies.end(), std::back_inserter(result.replies),
                 behind(received.replies));
    std::copy_if(found->pushes.begin(), found->pushes.end(), std::back_inserter(result.pushes),
                 behind(received.pushes));
    return result;
}

std::vector<group::SessionFacts> Applier::sessions() const {
    std::vector<group::SessionFacts> all;
    for (const auto& [id, session] : state_.sessions.all()) all.push_back(facts_of(session));
    return all;
}

std::vector<group::Outcome> Applier::take_outcomes() {
    outcomes_.resize(settled_);
    settled_ = 0;
    return std::exchange(outcomes_, {});
}

// Snapshots.

void Applier::save(SnapshotWriter& out) const {
    SectionWriter state(out, "");
    state_.save(state);
    state.end();
    for (const NamedService& each : services_) {
        SectionWriter section(out, each.name);
        each.service.save(section);
        section.end();
    }
}

std::function<void(SnapshotWriter&)> Applier::freeze() const {
    std::vector<std::pair<std::string, std::function<void(SnapshotWriter&)>>> frozen;
    for (const NamedService& each : services_) {
        frozen.emplace_back(each.name, each.service.freeze());
        if (!frozen.back().second) return {};
    }
    return [state = std::make_shared<const group::State>(state_), frozen = std::move(frozen)](SnapshotWriter& out) {
        SectionWriter section(out, "");
        state->save(section);
        section.end();
        for (const auto& [name, write] : frozen) {
            SectionWriter each(out, name);
            write(each);
            each.end();
        }
    };
}

void Applier::load(SnapshotReader& in, std::uint32_t form, const consensus::SnapshotId& id) {
    versions_.check(in.version(), "snapshot");
    if (form == 1) {
        // From before there were sections: the state of the only service.
        state_ = {};
        services_.front().service.load(in);
    } else {
        SectionReader state(in, "");
        state_.load(state);
        state.end();
        for (calling_ = 0; calling_ < services_.size(); ++calling_) {
            SectionReader section(in, services_[calling_].name);
            services_[calling_].service.load(section);
            section.end();
        }
        calling_ = 0;
        if (!in.at_end()) {
            throw std::system_error(make_error_code(errc::malformed_message),
                                    "a snapshot with more services than this replica has");
        }
    }
    last_ = id.last;
    time_ = id.time;
    bytes_ = 0;
    attached_.clear();
}

}  // namespace cluster::replica
