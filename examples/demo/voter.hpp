#pragma once

#include <span>
#include <string>

/// What each of the three processes with a replica runs. It obeys the lines that it reads:
///
///     submit COUNT   submits so many messages, numbered from 1, and waits for no reply before the next
///     state          answers with a line `state`
///     leave          closes all and ends
///
/// and says in lines of its own what happens to it:
///
///     listening ADDRESS
///     leader NAME
///     acknowledged COUNT FAILED LONGEST     all so far, and the longest pause between two in milliseconds
///     state DIFFERENT DOUBLED HASH          of the numbers that were applied
///     log TEXT
///
/// The arguments are its name, its directory, where it listens, and the addresses of the others that are known.
int run_voter(std::span<const std::string> arguments);
