#pragma once

#include <cstdint>

namespace cluster::mutants {

enum class Simulator { nodes, replicas, machines, clients };

struct Mutant {
    const char* name;
    std::uint64_t seeds;  ///< within so many it is caught
    std::uint64_t nodes;
    Simulator simulator;
};

/// Which mutant is switched on, counted from 1 in the order of the tables; 0: none.
inline unsigned active = 0;

inline bool on(unsigned mutant) noexcept {
    return mutant == active;
}

}  // namespace cluster::mutants
