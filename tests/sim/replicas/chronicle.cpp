#include "sim/replicas/chronicle.hpp"

#include "base/overloaded.hpp"
#include "replica/hash_writer.hpp"
#include "sim/replicas/violation.hpp"

#include <algorithm>
#include <tuple>

namespace cluster::sim::replicas {

using consensus::EntryKind;
using consensus::Index;
using replica::Applier;

namespace {

constexpr std::size_t services = Clerk::names.size();

std::uint64_t hash_of(const consensus::Entry& entry) {
    replica::HashWriter writer;
    writer.write(entry.id.term);
    writer.write(entry.kind);
    writer.write(entry.time.count());
    writer.write(entry.body.text());
    return writer.hash();
}

}  // namespace

Chronicle::Chronicle() : office_(false, {}, 0, &happenings_, [](std::uint64_t, std::vector<std::byte>) {}) {
    entries_.push_back({0, office_.state(), office_.ledger.answer()});
}

void Chronicle::applied(const consensus::Entry& entry) {
    if (entry.id.index < entries_.size()) {
        return check(entries_[entry.id.index].hash == hash_of(entry), "two replicas apply different entries");
    }
    check(entry.id.index == entries_.size(), "an entry is applied that does not follow the one before");
    check(entry.time >= time_, "the time in the log goes backwards");
    term_before_ = id_.term;
    id_ = entry.id;
    time_ = entry.time;
    command_.reset();
    command_begun_ = due_ = false;
    heard_ = terms_ = rung_ = delivered_ = 0;
    closing_.clear();
    reply_.clear();
    if (entry.kind == EntryKind::command) {
        command_ = group::unpack(entry.body.view());
        check(command_.has_value(), "a command in the log cannot be read");
    }
    happenings_.clear();
    office_.applier.apply(entry);
    for (const Happening& each : happenings_) take(each);
    end_entry();
    entries_.push_back({hash_of(entry), office_.state(), office_.ledger.answer()});
}

void Chronicle::check_state(const Office& office) const {
    const Index at = office.applier.last().index;
    check(at < entries_.size() && entries_[at].state == office.state(),
          "the state of a replica is not that of one that has applied all from the first entry on");
}

void Chronicle::never(const Name& name) {
    check(!replies_.contains(name), "what its caller is told to be nowhere has happened");
    never_.insert(name);
}

const Chronicle::Said* Chronicle::reply(const Name& name) const {
    const auto found = replies_.find(name);
    return found == replies_.end() ? nullptr : &found->second;
}

std::uint64_t Chronicle::answer_at(Index index) const {
    check(index < entries_.size(), "an answer knows what has not happened");
    return entries_[index].answer;
}

Duration Chronicle::next_timer() const {
    Duration next = cluster::never;
    for (const auto& [name, timer] : timers_) next = std::min(next, timer.at);
    return next;
}

bool Chronicle::is_open(std::uint64_t session) const {
    const auto found = sessions_.find(session);
    return found != sessions_.end() && !found->second.closed;
}

// One entry.

void Chronicle::take(const Happening& happening) {
    switch (happening.kind) {
        case Kind::term:
            check(id_.term != term_before_ && rung_ == 0 && !command_begun_, "a term begins where it does not");
            return each_once(happening, terms_);
        case Kind::fired: return fired_timer(happening);
        case Kind::told: return happening.name.empty() ? told(happening) : told_letter(happening);
        case Kind::opened: {
            begin_command();
            const auto* open = command_ ? std::get_if<group::OpenSession>(&*command_) : nullptr;
            check(open != nullptr && due_ && happening.number == id_.index, "a session is opened for nobody");
            check(happening.name == open->name && happening.principal == open->principal,
                  "a session is not that of who has opened it");
            return each_once(happening, heard_);
        }
        case Kind::closed: return closed(happening);
        case Kind::replied: reply_ = happening.bytes; return;
        case Kind::sent:
            check(happening.done == is_open(happening.number), "a push is taken for a session that is not open");
            if (!happening.done) return;
            sessions_.at(happening.number).pushes.push_back({id_.index, happening.bytes});
            return;
        case Kind::scheduled:
            check(happening.done, "a timer is refused");
            timers_[{happening.service, happening.number}] = {happening.at, id_.index};
            return;
        case Kind::cancelled:
            check(happening.done == (timers_.erase({happening.service, happening.number}) == 1),
                  "a timer is cancelled that is not there");
            return;
        case Kind::wrote:
            check(happening.done, "a letter is refused");
            letters_.push_back({std::string(Clerk::names[happening.service]), happening.name, happening.bytes});
            return;
        case Kind::shut:
            check(happening.done == is_open(happening.number), "a session is closed that is not open");
            if (happening.done) closing_.try_emplace(happening.number, 0, CloseReason::service);
            return;
    }
}

void Chronicle::each_once(const Happening& happening, std::size_t& count) {
    check(happening.service == count && count < services, "a service does not hear of an event in its turn, or twice");
    ++count;
}

/// Timers are over. What the command has to bring about depends on what is so now.
void Chronicle::begin_command() {
    if (std::exchange(command_begun_, true) || !command_) return;
    std::visit(Overloaded{
                   [&](const group::Submitted&) { due_ = true; },
                   [&](const group::OpenSession& open) {
                       due_ = open_ < open.most && std::ranges::none_of(sessions_, [&](const auto& each) {
                                  return !each.second.closed && each.second.opened.key == open.key;
                              });
                       if (!due_) return;
                       sessions_[id_.index].opened = open;
                       ++open_;
                   },
                   [&](const group::CloseSession& close) {
                       if (is_open(close.session)) closing_.try_emplace(close.session, 0, close.reason);
                   },
                   [&](const group::SessionCommand& command) {
                       due_ = is_open(command.session) && command.number == sessions_.at(command.session).applied + 1;
                       if (due_) ++sessions_.at(command.session).applied;
                   },
                   [](const auto&) {},
               },
               *command_);
}

/// By a client, or by `Replica::submit`.
void Chronicle::told(const Happening& happening) {
    begin_command();
    check(command_ && due_ && delivered_ == 0, "a service is told what nobody says");
    const auto* submitted = std::get_if<group::Submitted>(&*command_);
    const auto* said = std::get_if<group::SessionCommand>(&*command_);
    check(submitted != nullptr || said != nullptr, "a service is told what nobody says");
    const auto message = submitted != nullptr ? submitted->message : said->message;
    check(std::ranges::equal(message, happening.bytes), "a service is told something else than was said");
    check(happening.number == (said == nullptr ? 0 : said->session), "a service is told by somebody else");
    each_once(happening, heard_);
    if (heard_ != 1) return;
    const Wish wish = Wish::decode(message);
    const Name name{wish.author, wish.order};
    check(!never_.contains(name), "what its caller was told to be nowhere happens");
    check(!replies_.contains(name), "a command takes effect twice");
    replies_[name].position = id_.index;
    if (said == nullptr) return;
    Session& session = sessions_.at(said->session);
    check(session.author == 0 || session.author == wish.author, "two clients speak in one session");
    check(wish.order > session.order, "the commands of a session come in another order");
    session.author = wish.author;
    session.order = wish.order;
}

void Chronicle::told_letter(const Happening& happening) {
    begin_command();
    check(!letters_.empty() && ++delivered_ <= Applier::most_letters, "a letter comes that nobody has written");
    const Letter letter = std::move(letters_.front());
    letters_.pop_front();
    check(letter.from == happening.name && letter.to == Clerk::names[happening.service] &&
              letter.bytes == happening.bytes,
          "letters come in another order, or changed");
    ++letters;
}

void Chronicle::closed(const Happening& happening) {
    if (!closing_.contains(happening.number)) begin_command();
    const auto found = closing_.find(happening.number);
    check(found != closing_.end(), "a session is closed, and nobody has closed it");
    auto& [heard, reason] = found->second;
    check(happening.reason == reason, "a session is closed for another reason");
    each_once(happening, heard);
    if (heard != 1) return;
    check(is_open(happening.number), "a session is closed twice");
    sessions_.at(happening.number).closed = reason;
    --open_;
    if (reason == CloseReason::timed_out) ++expiries;
}

/// The first of all that are due, by deadline, number and service.
void Chronicle::fired_timer(const Happening& happening) {
    check(!command_begun_ && delivered_ == 0 && ++rung_ <= Applier::most_timers, "a timer fires behind the entry");
    const auto found = timers_.find({happening.service, happening.number});
    check(found != timers_.end(), "a timer fires twice, or was cancelled");
    check(found->second.at <= time_, "a timer fires before its time");
    const auto place = [](const auto& each) { return std::tuple(each.second.at, each.first.second, each.first.first); };
    for (const auto& each : timers_) {
        check(place(each) >= place(*found), "a timer fires before one that is due earlier");
    }
    timers_.erase(found);
    ++fired;
}

void Chronicle::end_entry() {
    begin_command();
    if (due_) check(heard_ == services, "a command has no effect, or not on all services");
    check(terms_ == (id_.term != term_before_ ? services : 0), "a term begins, and a service does not hear of it");
    for (const auto& [session, closing] : closing_) {
        check(closing.first == services, "a session is to be closed, and is not");
    }
    for (const auto& [name, timer] : timers_) {
        const bool missed = timer.set < id_.index && timer.at <= time_;
        check(!missed || rung_ == Applier::most_timers, "a timer is due, and does not fire");
    }
    check(letters_.empty() || delivered_ == Applier::most_letters, "a letter is not delivered");
    if (!command_ || !due_) return;
    const auto* submitted = std::get_if<group::Submitted>(&*command_);
    const auto* said = std::get_if<group::SessionCommand>(&*command_);
    if (submitted == nullptr && said == nullptr) return;
    const Wish wish = Wish::decode(submitted != nullptr ? submitted->message : said->message);
    replies_.at({wish.author, wish.order}).bytes = std::exchange(reply_, {});
}

}  // namespace cluster::sim::replicas
