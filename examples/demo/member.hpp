#pragma once

#include <span>
#include <string>

/// What each of the five processes runs: one node, which obeys the lines it reads.
///
///     broadcast STEP COUNT SIZE   broadcasts messages of so many bytes, numbered from 1
///     stats                       answers with a line `stats`
///     leave                       closes the node and ends
///
/// and says in lines of its own what happens to it:
///
///     listening ADDRESS
///     added NAME
///     removed NAME REASON
///     counted STEP DELIVERED LOST DISORDERED
///     stats LINKS UNACKNOWLEDGED_BYTES NAME=ATTACHMENTS...
///     left UNACKNOWLEDGED
///     log TEXT
///
/// The arguments are its name, where it listens, what it tells others to dial (or `-`), and the one address it is given
/// (or `-`).
int run_member(std::span<const std::string> arguments);
