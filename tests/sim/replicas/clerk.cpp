#include "sim/replicas/clerk.hpp"

#include "base/packing.hpp"
#include "replica/hash_writer.hpp"
#include "sim/replicas/service.hpp"
#include "sim/replicas/violation.hpp"

#include <stdexcept>
#include <utility>

namespace cluster::sim::replicas {

using namespace std::chrono_literals;

namespace {

/// More than are delivered with one entry.
constexpr int many_letters = 70;

std::uint64_t hash_of(std::span<const std::byte> bytes) {
    replica::HashWriter writer;
    writer.write_bytes(bytes);
    return writer.hash();
}

}  // namespace

std::vector<std::byte> Wish::encode(std::size_t padding) const {
    Packer out;
    out.number(author).number(order).number(static_cast<std::uint8_t>(kind)).number(key).number(value);
    out.bytes().resize(out.bytes().size() + padding, std::byte{0x5a});
    return std::move(out.bytes());
}

Wish Wish::decode(std::span<const std::byte> bytes) {
    Unpacker in(bytes);
    Wish wish;
    wish.author = in.number<std::uint64_t>();
    wish.order = in.number<std::uint64_t>();
    wish.kind = static_cast<Kind>(in.number<std::uint8_t>());
    wish.key = in.number<std::uint8_t>();
    wish.value = in.number<std::uint64_t>();
    check(in.good(), "a service gets a message that nobody has sent");
    return wish;
}

void Clerk::note(const Context& context, Happening happening) {
    happening.service = index_;
    for (const std::uint64_t each :
         {static_cast<std::uint64_t>(happening.kind), happening.number,
          static_cast<std::uint64_t>(happening.at.count()), static_cast<std::uint64_t>(happening.reason),
          hash_of(happening.bytes), std::uint64_t{happening.done}, context.position(), context.term(),
          static_cast<std::uint64_t>(context.time().count())}) {
        state_.hash = mixed(state_.hash, each);
    }
    if (witness_ != nullptr) witness_->push_back(std::move(happening));
}

void Clerk::on_message(Context& context, std::span<const std::byte> message) {
    Happening told{.kind = Happening::Kind::told};
    told.number = context.session() == nullptr ? 0 : context.session()->id;
    told.name = context.from_service();
    told.bytes.assign(message.begin(), message.end());
    note(context, told);
    state_.hash = mixed(state_.hash, context.random());
    state_.hash = mixed(state_.hash, context.find_session(told.number) != nullptr ? 1 : 0);
    if (told.name.empty()) {
        const Wish wish = Wish::decode(message);
        if (wish.value % 2 == index_) do_wish(context, wish);
        return;
    }
    const auto hops = std::to_integer<std::uint8_t>(message[0]);
    if (state_.hash % 32 == 0) tell_all(context);
    if (hops != 0) write(context, static_cast<std::uint8_t>(hops - 1), told.name == names[index_]);
}

void Clerk::do_wish(Context& context, const Wish& wish) {
    const std::vector<ClientSession> all = context.sessions();
    const std::uint64_t some = all.empty() ? 0 : all[wish.value / 2 % all.size()].id;
    const std::uint64_t own = context.session() == nullptr ? some : context.session()->id;
    const std::uint64_t seen = state_.values[wish.key % registers];
    switch (wish.kind) {
        case Wish::Kind::write: state_.values[wish.key % registers] = wish.value; break;
        case Wish::Kind::push:
            for (std::uint64_t left = 1 + wish.value / 2 % 3; left != 0; --left) send(context, own, wish.key);
            break;
        case Wish::Kind::tell_all: tell_all(context); break;
        case Wish::Kind::ring:
            state_.rings[wish.key] = wish.value / 2 % 4;
            ring(context, wish.key, wish.value % 5 == 0 ? 0ms : 1ms * static_cast<int>(wish.value / 2 % 800));
            break;
        case Wish::Kind::hush: {
            Happening cancelled{.kind = Happening::Kind::cancelled, .number = wish.key};
            cancelled.done = context.cancel(wish.key);
            note(context, std::move(cancelled));
            break;
        }
        case Wish::Kind::letter:
            if (wish.value / 2 % 16 == 0) {
                for (int left = many_letters; left != 0; --left) write(context, 0, left % 2 != 0);
            } else {
                write(context, wish.key % 5, wish.key % 2 != 0);
            }
            break;
        case Wish::Kind::shut: shut(context, own); break;
        case Wish::Kind::shut_other: shut(context, some); break;
        case Wish::Kind::heavy: send(context, own, Wish::heavy_bytes); break;
    }
    reply(context, wish, seen);
}

void Clerk::reply(Context& context, const Wish& wish, std::uint64_t seen) {
    Packer out;
    out.number(wish.author).number(wish.order).number(context.position()).number(seen).number(state_.hash);
    context.reply(out.bytes());
    note(context, {.kind = Happening::Kind::replied, .bytes = std::move(out.bytes())});
}

void Clerk::send(Context& context, std::uint64_t session, std::size_t bytes) {
    Happening sent{.kind = Happening::Kind::sent, .number = session};
    Packer out;
    out.number(session).number(state_.hash);
    out.bytes().resize(out.bytes().size() + bytes, std::byte{0xa5});
    sent.bytes = std::move(out.bytes());
    sent.done = context.send(session, sent.bytes);
    note(context, std::move(sent));
}

void Clerk::tell_all(Context& context) {
    for (const ClientSession& each : context.sessions()) send(context, each.id, 0);
}

void Clerk::ring(Context& context, std::uint64_t timer, Duration after) {
    Happening scheduled{.kind = Happening::Kind::scheduled, .number = timer, .at = context.time() + after};
    scheduled.done = context.schedule(timer, scheduled.at);
    note(context, std::move(scheduled));
}

void Clerk::write(Context& context, std::uint8_t hops, bool to_itself) {
    Happening wrote{.kind = Happening::Kind::wrote};
    Packer out;
    out.number(hops).number(state_.hash);
    wrote.bytes = std::move(out.bytes());
    wrote.name = names[to_itself ? index_ : 1 - index_];
    wrote.done = context.submit(wrote.bytes, wrote.name);
    note(context, std::move(wrote));
}

void Clerk::shut(Context& context, std::uint64_t session) {
    Happening shut{.kind = Happening::Kind::shut, .number = session};
    shut.done = context.close(session);
    note(context, std::move(shut));
}

void Clerk::on_session_open(Context& context) {
    Happening opened{.kind = Happening::Kind::opened, .number = context.session()->id};
    opened.name = context.session()->name;
    opened.principal = context.session()->principal;
    note(context, opened);
    send(context, opened.number, 1);
}

void Clerk::on_session_close(Context& context, CloseReason reason) {
    note(context, {.kind = Happening::Kind::closed, .number = context.session()->id, .reason = reason});
    send(context, context.session()->id, 2);  // it is over, so this does nothing
    if (state_.hash % 4 == 0) tell_all(context);
}

void Clerk::on_timer(Context& context, std::uint64_t timer) {
    note(context, {.kind = Happening::Kind::fired, .number = timer});
    if (state_.hash % 8 == 0) tell_all(context);
    if (state_.hash % 5 == 0) write(context, 1, false);
    std::uint64_t& left = state_.rings[timer];
    if (left == 0) return;
    --left;
    ring(context, timer, 1ms * static_cast<int>(state_.hash % 800));
}

void Clerk::on_term(Context& context) {
    note(context, {.kind = Happening::Kind::term});
    if (index_ == 0) tell_all(context);
}

/// The second one answers no queries. An empty one is too much for the first.
void Clerk::on_query(QueryContext& context, std::span<const std::byte> query) const {
    if (index_ != 0) return cluster::Service::on_query(context, query);
    if (query.empty()) throw std::runtime_error("nothing is asked");
    Packer out;
    out.number(answer());
    context.reply(out.bytes());
}

void Clerk::State::save(SnapshotWriter& out) const {
    for (const std::uint64_t each : values) out.write(each);
    out.write(static_cast<std::uint64_t>(rings.size()));
    for (const auto& [timer, left] : rings) {
        out.write(timer);
        out.write(left);
    }
    out.write(hash);
}

void Clerk::save(SnapshotWriter& out) const {
    state_.save(out);
}

std::function<void(SnapshotWriter&)> Clerk::freeze() const {
    if (!freezes_) return {};
    return [state = state_](SnapshotWriter& out) { state.save(out); };
}

void Clerk::load(SnapshotReader& in) {
    state_ = {};
    for (std::uint64_t& each : state_.values) in.read(each);
    std::uint64_t count = 0;
    in.read(count);
    for (; count != 0; --count) {
        std::uint64_t timer = 0;
        in.read(timer);
        in.read(state_.rings[timer]);
    }
    in.read(state_.hash);
}

Office::Office(bool freezes, const consensus::DiskId& self, std::uint64_t life, std::vector<Happening>* witness,
               replica::Applier::Replied replied)
    : ledger(0, freezes, witness),
      mirror(1, freezes, witness),
      applier({{std::string(Clerk::names[0]), ledger}, {std::string(Clerk::names[1]), mirror}}, self, life,
              std::move(replied)) {}

std::uint64_t Office::state() const {
    replica::HashWriter writer;
    applier.save(writer);
    return writer.hash();
}

}  // namespace cluster::sim::replicas
