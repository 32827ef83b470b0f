#pragma once

#include "base/mutex.hpp"
#include "core/action.hpp"
#include "core/peers_file.hpp"
#include "net/asio.hpp"
#include "net/context.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace cluster::net {

/// At most `most` bytes of the regular file at `path`, which may be missing. `longer`: the file has more.
struct FileText {
    std::string text;
    bool longer = false;
};
FileText read_file(const std::string& path, std::size_t most, std::error_code& error);

/// Writes a new file beside `path` and puts it in its place in one step: there is always the old file or the new one. A
/// crash in between leaves the new one beside it, under a random name that ends in `.new`.
std::error_code replace_file(const std::string& path, std::string_view text);

/// Whether `replace_file` can work: creates a file beside `path`, and removes it.
std::error_code probe_replacing(const std::string& path);

/// The file in which a node remembers where its peers are: read once, written when they have changed.
///
/// It is written on the callback thread, since a disk may take its time, at most once per `pause`. Now and then it is
/// also written without a change, so that peers that stay do not look old. Unless stated otherwise, the members are for
/// the I/O thread. Kept alive by its timer until `end`, and by work that waits for the callback thread.
class PeersFile : public std::enable_shared_from_this<PeersFile> {
public:
    using Report = std::function<void(LogLevel, const std::string&)>;
    /// The peers in view; none if the node is leaving.
    using View = std::function<std::optional<std::vector<core::Whereabouts>>()>;

    static constexpr std::chrono::nanoseconds pause = std::chrono::seconds(1);

    /// Reads the file. Damage is reported; a file that can never work throws `errc::invalid_options`.
    PeersFile(std::string path, const std::string& cluster, std::chrono::nanoseconds forget_after,
              std::shared_ptr<Loop> loop, Report report);

    /// From any thread.
    std::vector<Address> addresses(std::span<const Address> except, std::size_t most) const;
    /// From any thread, once, before anything is reported to this object.
    void start(View view) { view_ = std::move(view); }

    /// A peer came or went, or has other addresses.
    void changed();
    /// The peer left, or this node parted from it, so it is not to be found again.
    void departed(const PeerId& id);
    /// From any thread: the view when the node begins to leave.
    void leaving(std::vector<core::Whereabouts> view);
    /// The node has left: writes for the last time, on the callback thread.
    void end();
    /// Writes for the last time, unless that has been done. From any thread that may wait.
    void finish();

private:
    void write(bool anyway);
    void wait(std::chrono::nanoseconds time, bool anyway);
    std::error_code save(const std::string& text) REQUIRES(disk_);
    void tell(const std::error_code& problem) const;

    const std::string path_;
    const std::shared_ptr<Loop> loop_;
    const Report report_;
    const std::chrono::nanoseconds refresh_;
    View view_;

    // Of the I/O thread.
    asio::steady_timer timer_;
    bool under_way_ = false;  ///< a write is due or going on
    bool again_ = false;
    bool ended_ = false;

    detail::Mutex disk_;  ///< held while waiting for the disk; `mutex_` is not
    bool finished_ GUARDED_BY(disk_) = false;
    std::error_code problem_ GUARDED_BY(disk_);

    mutable detail::Mutex mutex_;
    core::KnownPeers known_ GUARDED_BY(mutex_);
    bool unsaved_ GUARDED_BY(mutex_) = false;
    std::set<PeerId> departed_ GUARDED_BY(mutex_);  ///< since the view was requested
};

}  // namespace cluster::net
