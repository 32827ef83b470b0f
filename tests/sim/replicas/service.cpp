#include "sim/replicas/service.hpp"

#include "sim/replicas/violation.hpp"

#include <cstring>

namespace cluster::sim::replicas {

std::uint64_t Command::apply(std::uint64_t& value_of_key) const {
    switch (kind) {
        case Kind::read: return value_of_key;
        case Kind::write: value_of_key = value; return 0;
        case Kind::compare_and_swap:
            if (value_of_key != expected) return 0;
            value_of_key = value;
            return 1;
        case Kind::append: return value_of_key = mixed(value_of_key, value);
    }
    return 0;
}

Bytes Command::encode(std::size_t padding) const {
    const std::uint64_t words[] = {number, key, static_cast<std::uint64_t>(kind), value, expected};
    std::vector<std::byte> bytes(sizeof words + padding, std::byte{0x5a});
    std::memcpy(bytes.data(), words, sizeof words);
    return Bytes(bytes);
}

Command Command::decode(const Bytes& body) {
    std::uint64_t words[5];
    check(body.size() >= sizeof words, "a command is too short");
    std::memcpy(words, body.view().data(), sizeof words);
    return {words[0], words[1], static_cast<Kind>(words[2]), words[3], words[4]};
}

std::uint64_t Service::apply(const consensus::Entry& entry) {
    check(entry.id.index == applied_.index + 1, "an entry is applied that does not follow the one before");
    check(entry.time >= time_, "the time in the log goes backwards");
    applied_ = entry.id;
    time_ = entry.time;
    history_ = mixed(mixed(history_, entry.id.term), static_cast<std::uint64_t>(entry.time.count()));
    if (entry.kind != consensus::EntryKind::command) return 0;
    const Command command = Command::decode(entry.body);
    history_ = mixed(history_, command.number);
    return command.apply(registers_[command.key % keys]);
}

std::uint64_t Service::hash() const {
    std::uint64_t hash = mixed(history_, applied_.index);
    for (const std::uint64_t value : registers_) hash = mixed(hash, value);
    return hash;
}

std::vector<std::byte> Service::save() const {
    std::uint64_t words[keys + 4];
    std::memcpy(words, registers_.data(), sizeof registers_);
    words[keys] = history_;
    words[keys + 1] = applied_.term;
    words[keys + 2] = applied_.index;
    words[keys + 3] = static_cast<std::uint64_t>(time_.count());
    std::vector<std::byte> bytes(sizeof words);
    std::memcpy(bytes.data(), words, sizeof words);
    return bytes;
}

void Service::load(std::span<const std::byte> bytes) {
    std::uint64_t words[keys + 4];
    check(bytes.size() == sizeof words, "a snapshot has not the size that it should have");
    std::memcpy(words, bytes.data(), sizeof words);
    std::memcpy(registers_.data(), words, sizeof registers_);
    history_ = words[keys];
    applied_ = {words[keys + 1], words[keys + 2]};
    time_ = Duration(static_cast<Duration::rep>(words[keys + 3]));
}

}  // namespace cluster::sim::replicas
