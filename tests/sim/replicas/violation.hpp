#pragma once

#include <stdexcept>
#include <string>

namespace cluster::sim::replicas {

/// What must never happen has happened: the run ends.
class Violation : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

inline void check(bool holds, const char* what_is_wrong) {
    if (!holds) throw Violation(what_is_wrong);
}

}  // namespace cluster::sim::replicas
