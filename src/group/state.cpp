#include "group/state.hpp"

#include <cluster/error.hpp>

#include <algorithm>
#include <system_error>
#include <utility>
#include <vector>

namespace cluster::group {

namespace {

void write_bytes(SnapshotWriter& out, const Bytes& bytes) {
    out.write(bytes.text());
}

/// Nothing here is longer than what a session may keep at once.
Bytes read_bytes(SnapshotReader& in) {
    std::uint32_t size = 0;
    in.read(size);
    if (size > Letters::most_bytes) {
        throw std::system_error(make_error_code(errc::malformed_message), "a snapshot with too long a message");
    }
    // A length that is not true must not take memory for what does not come.
    constexpr std::size_t step = std::size_t{1} << 20;
    std::vector<std::byte> bytes;
    while (bytes.size() < size) {
        const std::size_t begin = bytes.size();
        bytes.resize(begin + std::min(step, size - begin));
        in.read_bytes(std::span(bytes).subspan(begin));
    }
    return Bytes::adopt(std::move(bytes));
}

void write(SnapshotWriter& out, const std::deque<Kept>& kept) {
    out.write(static_cast<std::uint64_t>(kept.size()));
    for (const Kept& each : kept) {
        out.write(each.number);
        out.write(each.position);
        write_bytes(out, each.bytes);
    }
}

std::deque<Kept> read_kept(SnapshotReader& in, std::size_t& bytes) {
    std::uint64_t count = 0;
    in.read(count);
    std::deque<Kept> kept;
    for (std::uint64_t i = 0; i < count; ++i) {
        Kept each;
        in.read(each.number);
        in.read(each.position);
        each.bytes = read_bytes(in);
        bytes += each.bytes.size();
        kept.push_back(std::move(each));
    }
    return kept;
}

void write(SnapshotWriter& out, const Session& session) {
    out.write(session.facts.id);
    out.write(session.facts.name);
    out.write(session.facts.principal);
    out.write(session.facts.opened.count());
    out.write_bytes(std::as_bytes(std::span(session.key)));
    out.write(session.timeout_ms);
    out.write(session.applied);
    out.write(session.pushed);
    write(out, session.replies);
    write(out, session.pushes);
}

Session read_session(SnapshotReader& in) {
    Session session;
    in.read(session.facts.id);
    in.read(session.facts.name);
    in.read(session.facts.principal);
    Duration::rep opened = 0;
    in.read(opened);
    session.facts.opened = Duration(opened);
    in.read_bytes(std::as_writable_bytes(std::span(session.key)));
    in.read(session.timeout_ms);
    in.read(session.applied);
    in.read(session.pushed);
    session.replies = read_kept(in, session.bytes);
    session.pushes = read_kept(in, session.bytes);
    return session;
}

}  // namespace

bool Letters::add(Letter letter) {
    const std::size_t size = letter.bytes.size();
    if (all_.size() >= most || size > most_bytes - bytes_) return false;
    bytes_ += size;
    all_.push_back(std::move(letter));
    return true;
}

std::optional<Letter> Letters::take() {
    if (all_.empty()) return std::nullopt;
    Letter letter = std::move(all_.front());
    all_.pop_front();
    bytes_ -= letter.bytes.size();
    return letter;
}

void State::save(SnapshotWriter& out) const {
    out.write(static_cast<std::uint64_t>(sessions.size()));
    for (const auto& [id, session] : sessions.all()) write(out, session);
    out.write(static_cast<std::uint64_t>(timers.size()));
    timers.for_each([&](const Timers::Due& each) {
        out.write(each.service);
        out.write(each.id);
        out.write(each.at.count());
    });
    out.write(static_cast<std::uint64_t>(letters.all().size()));
    for (const Letter& each : letters.all()) {
        out.write(each.from);
        out.write(each.to);
        write_bytes(out, each.bytes);
    }
    if (version == ApplicationVersion()) return;  // as before there were versions
    out.write(version.major);
    out.write(version.minor);
}

void State::load(SnapshotReader& in) {
    *this = {};
    std::uint64_t count = 0;
    in.read(count);
    for (std::uint64_t i = 0; i < count; ++i) sessions.restore(read_session(in));
    in.read(count);
    for (std::uint64_t i = 0; i < count; ++i) {
        Timers::Due each;
        Duration::rep at = 0;
        in.read(each.service);
        in.read(each.id);
        in.read(at);
        timers.schedule(each.service, each.id, Duration(at));
    }
    in.read(count);
    for (std::uint64_t i = 0; i < count; ++i) {
        Letter each;
        in.read(each.from);
        in.read(each.to);
        each.bytes = read_bytes(in);
        letters.add(std::move(each));
    }
    if (in.at_end()) return;
    in.read(version.major);
    in.read(version.minor);
}

}  // namespace cluster::group
