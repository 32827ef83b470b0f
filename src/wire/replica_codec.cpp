#include "wire/replica_codec.hpp"

#include "core/frame.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <type_traits>
#include <utility>

namespace cluster::wire {

namespace {

using namespace consensus;

static_assert(std::endian::native == std::endian::little, "a big-endian host has to swap here");

/// The first byte of a message. Those of one variant are neighbours, in its order.
enum class Kind : std::uint8_t {
    introduction = 1,
    ask_promise = 2,
    promised = 3,
    farewell = 4,
    vote_request = 16,
    vote_answer,
    append,
    append_answer,
    heartbeat,
    heartbeat_answer,
    appoint,
    chunk,
    chunk_answer,
    submit = 32,
    submit_answer,
    read_index,
    read_index_answer,
    state_hash,
};
static_assert(std::variant_size_v<Body> ==
              static_cast<int>(Kind::chunk_answer) - static_cast<int>(Kind::vote_request) + 1);

/// Puts fields behind each other.
class MessageWriter {
public:
    static constexpr bool reads = false;
    explicit MessageWriter(std::vector<std::byte>& out) : out_(out) {}

    void raw(const void* from, std::size_t size) {
        const auto* bytes = static_cast<const std::byte*>(from);
        out_.insert(out_.end(), bytes, bytes + size);
    }
    void size(std::size_t value, std::size_t) { number(static_cast<std::uint32_t>(value)); }
    template <class T>
    void number(T value) {
        raw(&value, sizeof value);
    }
    void bytes(const Bytes& value) {
        size(value.size(), 0);
        raw(value.view().data(), value.size());
    }

private:
    std::vector<std::byte>& out_;
};

/// Counts what a `MessageWriter` would append.
class MessageMeasure {
public:
    static constexpr bool reads = false;

    void raw(const void*, std::size_t size) { size_ += size; }
    void size(std::size_t, std::size_t) { size_ += sizeof(std::uint32_t); }
    template <class T>
    void number(T) {
        size_ += sizeof(T);
    }
    void bytes(const Bytes& value) { size_ += sizeof(std::uint32_t) + value.size(); }

    std::size_t result() const { return size_; }

private:
    std::size_t size_ = 0;
};

/// Takes them again. After the first that is not there, or too large, all are empty.
class MessageReader {
public:
    static constexpr bool reads = true;
    explicit MessageReader(const Bytes& from) : from_(from), rest_(from.view()) {}

    void raw(void* to, std::size_t size) {
        if (size > rest_.size()) return fail();
        std::copy_n(rest_.begin(), size, static_cast<std::byte*>(to));
        rest_ = rest_.subspan(size);
    }
    /// Nothing that is counted, in steps or nanoseconds, reaches 2^62, so adding to it is safe.
    template <class T>
    void number(T& value) {
        raw(&value, sizeof value);
        if constexpr (sizeof value == 8) {
            if (static_cast<std::uint64_t>(value) >> 62 != 0) fail();
        }
    }
    /// Of a list or text: each element takes at least `least` bytes.
    void size(std::size_t& value, std::size_t least) {
        std::uint32_t read = 0;
        number(read);
        if (read > rest_.size() / least) return fail();
        value = read;
    }
    void bytes(Bytes& value) {
        std::size_t length = 0;
        size(length, 1);
        value = from_.part(rest_.first(length));
        rest_ = rest_.subspan(length);
    }
    void fail() {
        failed_ = true;
        rest_ = {};
    }
    bool complete() const { return !failed_ && rest_.empty(); }

private:
    const Bytes& from_;
    std::span<const std::byte> rest_;
    bool failed_ = false;
};

/// A number drawn by chance, which may be any.
template <class Io>
void drawn(Io& io, auto& value) {
    io.raw(&value, sizeof value);
}

// The layout of everything: the same function writes and reads.

template <class Io, class T>
void field(Io& io, T& value);

template <class Io>
void fields(Io&) {}
template <class Io, class T, class... Rest>
void fields(Io& io, T& value, Rest&... rest) {
    field(io, value);
    fields(io, rest...);
}

template <class Io>
void flag(Io& io, auto& value) {
    std::uint8_t byte = value ? 1 : 0;
    io.number(byte);
    if constexpr (Io::reads) {
        if (byte > 1) io.fail();
        value = byte == 1;
    }
}

template <class Io>
void text(Io& io, auto& value) {
    std::size_t size = value.size();
    io.size(size, 1);
    if constexpr (Io::reads) {
        if (size > core::max_name) return io.fail();
        value.resize(size);
    }
    io.raw(value.data(), size);
}

/// A list, or set, or map.
template <class Io, class Element>
void list(Io& io, auto& value, std::size_t least, Element&& element) {
    std::size_t size = value.size();
    io.size(size, least);
    if constexpr (Io::reads) {
        if constexpr (requires { value.reserve(size); }) value.reserve(size);
        for (std::size_t i = 0; i < size; ++i) element(value);
    } else {
        for (auto& each : value) element(each);
    }
}

template <class Io>
void names(Io& io, auto& value) {
    if constexpr (Io::reads) {
        list(io, value, 4, [&](std::set<std::string>& all) {
            std::string name;
            text(io, name);
            const bool ascends = all.empty() || *all.rbegin() < name;
            if (all.size() >= Configuration::most || !ascends) return io.fail();
            all.insert(all.end(), std::move(name));
        });
    } else {
        list(io, value, 4, [&](const std::string& name) { text(io, name); });
    }
}

template <class Io>
void disks(Io& io, auto& value) {
    if constexpr (Io::reads) {
        list(io, value, 20, [&](std::map<std::string, DiskId>& all) {
            std::string name;
            DiskId disk;
            text(io, name);
            field(io, disk);
            const bool ascends = all.empty() || all.rbegin()->first < name;
            if (all.size() >= Configuration::most || !ascends) return io.fail();
            all.emplace_hint(all.end(), std::move(name), disk);
        });
    } else {
        list(io, value, 20, [&](const auto& each) {
            text(io, each.first);
            field(io, each.second);
        });
    }
}

template <class Io>
void entries(Io& io, auto& value) {
    if constexpr (Io::reads) {
        list(io, value, entry_header, [&](std::vector<Entry>& all) { field(io, all.emplace_back()); });
    } else {
        list(io, value, entry_header, [&](const Entry& entry) { field(io, entry); });
    }
}

template <class Io>
void commands(Io& io, auto& value) {
    if constexpr (Io::reads) {
        list(io, value, 4, [&](std::vector<Bytes>& all) { io.bytes(all.emplace_back()); });
    } else {
        list(io, value, 4, [&](const Bytes& command) { io.bytes(command); });
    }
}

template <class Io>
void duration(Io& io, auto& value) {
    std::int64_t count = value.count();
    io.number(count);
    if constexpr (Io::reads) value = Duration(count);
}

template <class Io, class T>
void field(Io& io, T& value) {
    using Type = std::remove_const_t<T>;
    if constexpr (std::is_same_v<Type, bool>) {
        flag(io, value);
    } else if constexpr (std::is_integral_v<Type>) {
        io.number(value);
    } else if constexpr (std::is_same_v<Type, std::string>) {
        text(io, value);
    } else if constexpr (std::is_same_v<Type, Bytes>) {
        io.bytes(value);
    } else if constexpr (std::is_same_v<Type, Duration>) {
        duration(io, value);
    } else if constexpr (std::is_same_v<Type, DiskId> || std::is_same_v<Type, GroupId>) {
        io.raw(value.bytes.data(), value.bytes.size());
    } else if constexpr (std::is_same_v<Type, LogId>) {
        fields(io, value.term, value.index);
    } else if constexpr (std::is_same_v<Type, Entry>) {
        auto kind = static_cast<std::uint8_t>(value.kind);
        fields(io, value.id, kind, value.time, value.body);
        if constexpr (Io::reads) {
            if (kind < static_cast<std::uint8_t>(EntryKind::empty) ||
                kind > static_cast<std::uint8_t>(EntryKind::configuration)) {
                io.fail();
            }
            value.kind = static_cast<EntryKind>(kind);
        }
    } else if constexpr (std::is_same_v<Type, std::vector<Entry>>) {
        entries(io, value);
    } else if constexpr (std::is_same_v<Type, SnapshotId>) {
        fields(io, value.last, value.time, value.configuration);
    } else if constexpr (std::is_same_v<Type, std::set<std::string>>) {
        names(io, value);
    } else if constexpr (std::is_same_v<Type, Promise>) {
        field(io, value.group);
        disks(io, value.disks);
    } else if constexpr (std::is_same_v<Type, Introduction>) {
        bool promised = value.promise.has_value();
        fields(io, value.name, value.voters, value.founded, promised);
        if constexpr (Io::reads) {
            if (promised) value.promise.emplace();
        }
        if (value.promise) field(io, *value.promise);
    } else if constexpr (std::is_same_v<Type, AskPromise>) {
        field(io, value.promise);
    } else if constexpr (std::is_same_v<Type, Promised>) {
        field(io, value.group);
    } else if constexpr (std::is_same_v<Type, VoteRequest>) {
        fields(io, value.last, value.trial, value.appointed);
    } else if constexpr (std::is_same_v<Type, VoteAnswer>) {
        fields(io, value.trial, value.granted);
    } else if constexpr (std::is_same_v<Type, Append>) {
        fields(io, value.before, value.commit, value.entries);
    } else if constexpr (std::is_same_v<Type, AppendAnswer>) {
        fields(io, value.matched, value.rejected, value.hint, value.counts);
    } else if constexpr (std::is_same_v<Type, Heartbeat>) {
        fields(io, value.round, value.commit);
    } else if constexpr (std::is_same_v<Type, HeartbeatAnswer>) {
        fields(io, value.round, value.wall, value.commit, value.counts);
    } else if constexpr (std::is_same_v<Type, Chunk>) {
        fields(io, value.snapshot, value.size, value.checksum, value.offset, value.bytes);
    } else if constexpr (std::is_same_v<Type, ChunkAnswer>) {
        fields(io, value.snapshot, value.next, value.installed, value.counts);
    } else if constexpr (std::is_same_v<Type, Submit>) {
        drawn(io, value.life);
        fields(io, value.oldest, value.first);
        commands(io, value.commands);
    } else if constexpr (std::is_same_v<Type, SubmitAnswer>) {
        drawn(io, value.life);
        fields(io, value.expected, value.full);
    } else if constexpr (std::is_same_v<Type, ReadIndex>) {
        drawn(io, value.life);
        fields(io, value.number, value.counts);
    } else if constexpr (std::is_same_v<Type, ReadIndexAnswer>) {
        drawn(io, value.life);
        fields(io, value.number, value.index);
    } else if constexpr (std::is_same_v<Type, StateHash>) {
        field(io, value.index);
        drawn(io, value.hash);
    } else {
        static_assert(std::is_same_v<Type, Appoint> || std::is_same_v<Type, Farewell>);
    }
}

/// Makes the alternative of that number, if there is one.
template <class Variant, std::size_t... each>
bool choose(Variant& variant, std::size_t number, std::index_sequence<each...>) {
    return ((number == each && (variant.template emplace<each>(), true)) || ...);
}
template <class Variant>
bool choose(Variant& variant, std::size_t number) {
    return choose(variant, number, std::make_index_sequence<std::variant_size_v<Variant>>());
}

bool configures(const Bytes& body) {
    return Configuration::decode(body.view()).has_value();
}

// What `Raft` relies on.

/// Entries are neighbours, and of no later term than the leader's.
bool sound(const Append& append, Term term) {
    LogId last = append.before;
    for (const Entry& entry : append.entries) {
        if (entry.id.index != last.index + 1 || entry.id.term < last.term) return false;
        if (entry.kind == EntryKind::configuration && !configures(entry.body)) return false;
        last = entry.id;
    }
    return last.term <= term;
}
bool sound(const Chunk& chunk, Term term) {
    return chunk.snapshot.last.term <= term && configures(chunk.snapshot.configuration);
}
bool sound(const auto&, Term) {
    return true;
}

}  // namespace

namespace {

/// Everything before the body, but for the kind.
template <class Io>
void head(Io& io, auto& message) {
    using Type = std::remove_cvref_t<decltype(message)>;
    if constexpr (std::is_same_v<Type, RaftMessage>) {
        fields(io, message.group, message.message.from, message.message.to, message.message.term);
    } else if constexpr (std::is_same_v<Type, SubmitMessage> || std::is_same_v<Type, ReadMessage> ||
                         std::is_same_v<Type, StateMessage>) {
        fields(io, message.group, message.from, message.to, message.term);
    } else {
        fields(io, message.group, message.from, message.to);
    }
}
auto& body_of(RaftMessage& message) {
    return message.message.body;
}
const auto& body_of(const RaftMessage& message) {
    return message.message.body;
}
auto& body_of(auto& message) {
    return message.body;
}

bool accepts(const RaftMessage& raft) {
    const Term term = raft.message.term;
    return raft.message.from && std::visit([&](const auto& body) { return sound(body, term); }, raft.message.body);
}
bool accepts(FoundingMessage& founding) {
    if (auto* introduction = std::get_if<Introduction>(&founding.body)) introduction->disk = founding.from;
    return true;
}
bool accepts(const auto& message) {
    return static_cast<bool>(message.from);
}

/// Of the messages of one struct, the first.
template <class Message>
constexpr auto first_kind = static_cast<std::size_t>(std::is_same_v<Message, FoundingMessage> ? Kind::introduction
                                                     : std::is_same_v<Message, RaftMessage>   ? Kind::vote_request
                                                     : std::is_same_v<Message, SubmitMessage> ? Kind::submit
                                                     : std::is_same_v<Message, ReadMessage>   ? Kind::read_index
                                                                                              : Kind::state_hash);

template <class Message>
std::optional<ReplicaMessage> read(MessageReader& reader, std::size_t kind) {
    Message message;
    if (!choose(body_of(message), kind - first_kind<Message>)) return std::nullopt;
    head(reader, message);
    std::visit([&](auto& body) { field(reader, body); }, body_of(message));
    if (!reader.complete() || !accepts(message)) return std::nullopt;
    return message;
}

void write(auto& io, const ReplicaMessage& message) {
    std::visit(
        [&]<class Message>(const Message& each) {
            const auto kind = static_cast<std::uint8_t>(first_kind<Message> + body_of(each).index());
            field(io, kind);
            head(io, each);
            std::visit([&](const auto& body) { field(io, body); }, body_of(each));
        },
        message);
}

}  // namespace

void encode(const ReplicaMessage& message, std::vector<std::byte>& out) {
    MessageMeasure measure;
    write(measure, message);
    out.reserve(out.size() + measure.result());
    MessageWriter writer(out);
    write(writer, message);
}

std::optional<ReplicaMessage> decode(const Bytes& bytes) {
    MessageReader reader(bytes);
    std::uint8_t kind = 0;
    field(reader, kind);
    if (kind >= first_kind<StateMessage>) return read<StateMessage>(reader, kind);
    if (kind >= first_kind<ReadMessage>) return read<ReadMessage>(reader, kind);
    if (kind >= first_kind<SubmitMessage>) return read<SubmitMessage>(reader, kind);
    if (kind >= first_kind<RaftMessage>) return read<RaftMessage>(reader, kind);
    return read<FoundingMessage>(reader, kind);
}

}  // namespace cluster::wire
