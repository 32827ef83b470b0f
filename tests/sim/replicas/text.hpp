#pragma once

#include "consensus/effect.hpp"

#include <string>

namespace cluster::sim::replicas {

// How a trace names things. Replicas have their number.

std::string text(Duration duration);
std::string text(const consensus::DiskId& id);
std::string text(const consensus::LogId& id);
std::string text(const consensus::Message& message);
std::string text(const consensus::Effect& effect);

}  // namespace cluster::sim::replicas
