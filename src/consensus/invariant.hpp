#pragma once

#include <stdexcept>

namespace cluster::consensus {

/// What the protocol rules out has happened: a mistake in this code, or a disk that lied. Whoever goes on might destroy
/// what others rely on, so the replica stops.
class Broken : public std::logic_error {
public:
    using std::logic_error::logic_error;
};

/// Checked in every build.
inline void require(bool holds, const char* what_is_wrong) {
    if (!holds) throw Broken(what_is_wrong);
}

}  // namespace cluster::consensus
