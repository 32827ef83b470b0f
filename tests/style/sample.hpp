#pragma once

#include <cluster/asio.hpp>
#include <cluster/client.hpp>
#include <cluster/cluster.hpp>
#include <cluster/codec.hpp>
#include <cluster/replica.hpp>
#include <cluster/testing.hpp>

#include <asio.hpp>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <future>
#include <iostream>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
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
extern cluster::Client client;
extern cluster::Context& context;

/// What the application does with a message, and what it answers.
void handle(const cluster::Message& message);
std::string answer_to(const cluster::Message& message);

/// How it knows its clients.
std::string fresh_nonce();
bool signed_by(std::string_view whom, std::string_view challenge, std::string_view response);
std::string signature_of(std::string_view challenge);

/// Of an application that uses Asio.
extern asio::strand<asio::io_context::executor_type> strand;
void handler(std::error_code error, cluster::Message message);
