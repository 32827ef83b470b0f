#include "replica/versions.hpp"

#include "group/version.hpp"
#include "replica/snapshot_stream.hpp"

#include <string>
#include <system_error>

namespace cluster::replica {

void Versions::check(ApplicationVersion other, std::string_view of) const {
    if (other == ApplicationVersion() || accept_all()) return;
    if (accepts ? accepts(own, other) : own.major == other.major) return;
    const auto text = [](ApplicationVersion version) {
        return std::to_string(version.major) + "." + std::to_string(version.minor);
    };
    throw VersionRefused("a " + std::string(of) + " of version " + text(other) + " of the application, and this is " +
                         text(own) + "; start the version that the others have, or set accepts_version");
}

void check_versions(const Versions& versions, storage::Directory& directory, const consensus::Recovered& recovered) {
    if (versions.accept_all()) return;
    std::error_code error;
    const consensus::LogId newest = recovered.newest.last;
    if (newest.index != 0) {
        const auto input = directory.snapshots().read(newest, error);
        if (error) throw std::system_error(error, "reading a snapshot");
        versions.check(StreamReader(*input).version(), "snapshot");
    }
    for (const consensus::TermStart& each : recovered.terms) {
        if (each.index <= newest.index) continue;
        const auto entries = directory.log().read(each.index, each.index, 0, error);
        if (error) throw std::system_error(error, "reading the first entry of a term");
        versions.check(group::version_of(entries.front()), "leader");
    }
}

}  // namespace cluster::replica
