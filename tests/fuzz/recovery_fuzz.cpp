#include "fuzz/input.hpp"
#include "replica/files.hpp"
#include "storage/directory.hpp"
#include "storage/simulated_disk.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

// A good directory of a replica, harmed at will: bytes changed, files cut, longer, gone, exchanged or made up. Whatever
// recovery then takes for good has lost nothing but an unfinished end.

namespace cluster::recovery_fuzz {

using namespace cluster::consensus;

namespace {

using Files = std::map<std::string, std::vector<std::byte>>;

constexpr Index last_index = 40;
constexpr Index snapshot_index = 15;

storage::DirectoryOptions options() {
    storage::DirectoryOptions made;
    made.node = "ann";
    made.group_name = "orders";
    made.random = [](std::span<std::uint8_t> out) { std::ranges::fill(out, std::uint8_t{5}); };
    made.log.segment_bytes = 2048;
    made.log.spares = 1;
    return made;
}

Entry entry(Index index) {
    return {{1 + index / 20, index}, EntryKind::command, Duration(index), Bytes(std::string(20 + index * 7 % 90, 'x'))};
}

/// Entries in several segments, a snapshot, and a promise.
Files made() {
    sim::SimulatedDisk disk(1);
    storage::DirectoryFinding finding;
    const auto directory = storage::Directory::open(disk, options(), finding);
    fuzz::require(directory != nullptr);
    std::uint64_t number = 0;
    for (Index index = 1; index <= last_index; ++index) {
        Write write;
        write.number = ++number;
        write.entries = {entry(index)};
        write.state = HardState{entry(index).id.term, {}, index - 1};
        fuzz::require(!directory->log().write(std::span(&write, 1)));
        if (index != snapshot_index) continue;
        std::error_code error;
        const auto output = directory->snapshots().begin({entry(index).id, entry(index).time, {}}, error);
        fuzz::require(!error && !output->write(std::as_bytes(std::span("the state"))) && !output->finish());
    }
    fuzz::require(!directory->log().mark());
    Files files;
    for (const std::string& name : disk.names()) files.emplace(name, disk.contents(name));
    return files;
}

void harm(Files& files, fuzz::Input& input) {
    const auto some_file = [&] {
        auto at = files.begin();
        std::advance(at, static_cast<std::ptrdiff_t>(input.byte() % files.size()));
        return at;
    };
    while (!input.empty() && !files.empty()) {
        const auto file = some_file();
        auto& bytes = file->second;
        switch (input.byte() % 8) {
            case 0:
                if (!bytes.empty()) bytes[input.below(bytes.size())] ^= static_cast<std::byte>(input.byte());
                break;
            case 1: bytes.resize(input.below(bytes.size() + 1)); break;
            case 2: {
                const auto more = std::as_bytes(input.some());
                bytes.insert(bytes.end(), more.begin(), more.end());
                break;
            }
            case 3: files.erase(file); break;
            case 4: {
                const auto other = some_file();
                std::swap(bytes, other->second);
                break;
            }
            case 5: {
                const auto put = std::as_bytes(input.some());
                const std::size_t at = input.below(bytes.size() + 1);
                bytes.resize(std::max(bytes.size(), at + put.size()));
                std::ranges::copy(put, bytes.begin() + static_cast<std::ptrdiff_t>(at));
                break;
            }
            case 6: {
                // As another file of the same folder.
                std::string name = file->first;
                const std::size_t place = input.below(name.size());
                name[place] = "0123456789abcdef.-"[input.byte() % 18];
                if (name.find('/') == file->first.find('/')) files[name] = bytes;
                break;
            }
            default: {
                const auto all = std::as_bytes(input.take(input.below(2048)));
                bytes.assign(all.begin(), all.end());
                break;
            }
        }
    }
}

}  // namespace

void run(const std::uint8_t* data, std::size_t size) {
    static const Files good = made();
    if (size > 4096) return;
    Files files = good;
    fuzz::Input input(data, size);
    harm(files, input);

    sim::SimulatedDisk disk(1);
    for (const char* folder : {storage::Log::folder, storage::Snapshots::folder}) {
        fuzz::require(!disk.make_folder(folder));
    }
    std::size_t held = 0;
    for (auto& [name, bytes] : files) {
        held += bytes.size();
        disk.put(name, std::move(bytes));
    }
    std::unique_ptr<storage::Directory> directory;
    storage::DirectoryFinding finding;
    {
        // The disk itself is memory; a file is read as a whole, and more than once.
        const fuzz::MemoryLimit limit(50 * held + (std::size_t{8} << 20));
        directory = storage::Directory::open(disk, options(), finding);
    }
    fuzz::require((directory != nullptr) == finding.may_vote());
    fuzz::require(finding.may_vote() || !finding.text.empty());
    if (!directory || finding.condition == storage::DirectoryFinding::Condition::fresh) return;

    Recovered recovered;
    try {
        recovered = replica::recover(*directory);
    } catch (const std::system_error&) {
        return;
    }
    const LogId base = directory->log().base();
    const LogId last = directory->log().last();
    fuzz::require(last.index <= last_index && (last.index == 0 || last == entry(last.index).id));
    if (base.index != last.index) {
        std::error_code error;
        const auto entries = directory->log().read(base.index + 1, last.index, std::size_t{1} << 30, error);
        fuzz::require(!error && entries.size() == last.index - base.index);
        for (const Entry& each : entries) fuzz::require(each == entry(each.id.index));
    }
    if (const auto& snapshot = directory->snapshot()) fuzz::require(snapshot->id.last == entry(snapshot_index).id);
}

}  // namespace cluster::recovery_fuzz
