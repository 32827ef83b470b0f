#pragma once

#include <cluster/asio.hpp>
#include <cluster/cluster.hpp>
#include <cluster/codec.hpp>
#include <cluster/replica.hpp>
#include <cluster/testing.hpp>

#include <asio.hpp>

#include <chrono>
#include <cstdint>
#include <deque>
#include <future>
#include <iostream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

// What the samples of README.md and of the guide take for granted; the guide says so at its start. They are compiled
// and never linked, so nothing here is defined. A sample may declare the same names anew.

using namespace std::chrono_literals;

extern cluster::Node node;
extern cluster::Inbox inbox;
extern const cluster::Peer peer;
extern const cluster::Message message;
extern cluster::Service& counter;
extern cluster::Replica replica;

/// What the application does with a message, and what it answers.
void handle(const cluster::Message& message);
std::string answer_to(const cluster::Message& message);

/// Of an application that uses Asio.
extern asio::strand<asio::io_context::executor_type> strand;
void handler(std::error_code error, cluster::Message message);
