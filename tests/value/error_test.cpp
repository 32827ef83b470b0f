#include <cluster/error.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <ostream>
#include <set>
#include <string>
#include <system_error>

using cluster::errc;

TEST_CASE("every error has a message of its own") {
    std::set<std::string> messages;
    const int last = static_cast<int>(errc::system_failure);
    for (int value = 1; value <= last; ++value) {
        const std::error_code error = static_cast<errc>(value);
        CAPTURE(value);
        CHECK(error.category() == cluster::error_category());
        CHECK(error.message().find("unknown") == std::string::npos);
        messages.insert(error.message());
    }
    CHECK(messages.size() == static_cast<std::size_t>(last));
}

TEST_CASE("a value that is no error of this library is named by its number") {
    CHECK(cluster::error_category().message(12345) == "unknown error 12345");
    CHECK(cluster::error_category().name() == std::string("cluster"));
}

TEST_CASE("errors compare with those of the standard library where they mean the same") {
    const auto code = [](errc value) { return make_error_code(value); };
    CHECK(code(errc::timed_out) == std::errc::timed_out);
    CHECK(code(errc::handshake_timeout) == std::errc::timed_out);
    CHECK(code(errc::connection_refused) == std::errc::connection_refused);
    CHECK(code(errc::host_unreachable) == std::errc::host_unreachable);
    CHECK(code(errc::address_in_use) == std::errc::address_in_use);
    CHECK(code(errc::address_not_available) == std::errc::address_not_available);
    CHECK(code(errc::permission_denied) == std::errc::permission_denied);
    CHECK(code(errc::out_of_descriptors) == std::errc::too_many_files_open);
    CHECK(code(errc::message_too_large) == std::errc::message_size);
    CHECK(code(errc::member_data_too_large) == std::errc::message_size);
    CHECK(code(errc::would_block) == std::errc::operation_would_block);
    CHECK(code(errc::connection_lost) == std::errc::connection_reset);
    CHECK(code(errc::outbox_full) == std::errc::no_buffer_space);
    CHECK(code(errc::not_in_view) == std::errc::not_connected);
    CHECK(code(errc::protocol_error) == std::errc::protocol_error);
    CHECK(code(errc::malformed_message) == std::errc::bad_message);
    CHECK(code(errc::invalid_options) == std::errc::invalid_argument);
    CHECK(code(errc::invalid_address) == std::errc::invalid_argument);

    CHECK(code(errc::handshake_timeout) != errc::timed_out);
    CHECK(code(errc::wrong_cluster) != std::errc::connection_refused);
}
