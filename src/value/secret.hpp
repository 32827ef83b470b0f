#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cluster {

/// What is wrong with `secret`, in words for people, and what to do. Empty if it may be used. It never contains the
/// secret.
///
/// Whoever has seen one greeting can try secrets without limit, millions a second. So a secret must be random and long.
/// This refuses what cannot be that; it cannot tell that a secret is good.
std::string problem_of_secret(std::string_view secret);

/// The secrets of a node. Without any it speaks plain text.
struct Secrets {
    std::vector<std::string> peers;   ///< the first dials, all are accepted
    std::vector<std::string> guests;  ///< accepted from guests only

    /// What is wrong with them, as `problem_of_secret` says it. `peers` and `guests` are what the options are called.
    std::string problem(std::string_view peers_name, std::string_view guests_name) const;
};

}  // namespace cluster
