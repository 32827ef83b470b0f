#pragma once

#include <functional>
#include <string>

/// Three processes keep one state, and go on when the one that leads is killed. `show` gets a label, and what is to be
/// said. Returns the sum of it all, in words. Throws if anything is lost, or applied twice.
std::string show_replicas(const std::function<void(const std::string&, const std::string&)>& show);
