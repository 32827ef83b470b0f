#include "value/address.hpp"

#include <cluster/address.hpp>
#include <cluster/error.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>

using cluster::Address;

TEST_CASE("an address is read and written back unchanged") {
    struct Row {
        std::string text;
        std::string host;
        std::uint16_t port;
    };
    const Row rows[] = {
        {"127.0.0.1:7000", "127.0.0.1", 7000},
        {"0.0.0.0:0", "0.0.0.0", 0},
        {"255.255.255.255:65535", "255.255.255.255", 65535},
        {"example.org:80", "example.org", 80},
        {"example.org.:80", "example.org.", 80},
        {"my_host-2:1", "my_host-2", 1},
        {"[::1]:7000", "::1", 7000},
        {"[::]:0", "::", 0},
        {"[2001:db8::1]:7000", "2001:db8::1", 7000},
        {"[1:2:3:4:5:6:7:8]:9", "1:2:3:4:5:6:7:8", 9},
        {"[1:2:3:4:5:6:7::]:9", "1:2:3:4:5:6:7::", 9},
        {"[::ffff:10.0.0.1]:9", "::ffff:10.0.0.1", 9},
        {"[1:2:3:4:5:6:10.0.0.1]:9", "1:2:3:4:5:6:10.0.0.1", 9},
        {"[FE80::A%eth0.1]:9", "FE80::A%eth0.1", 9},
    };
    for (const Row& row : rows) {
        CAPTURE(row.text);
        std::error_code error;
        const Address address = Address::parse(row.text, error);
        CHECK(address.host == row.host);
        CHECK(address.port == row.port);
        CHECK(!error);
        CHECK(address.to_string() == row.text);
    }
}

TEST_CASE("a port may have leading zeros") {
    CHECK(Address::parse("a:00080") == Address{"a", 80});
}

TEST_CASE("what is not an address is refused with a text that says what to write") {
    struct Row {
        std::string text;
        std::string_view advice;
    };
    const Row rows[] = {
        {"", "has no host"},
        {":7000", "has no host"},
        {"localhost", "has no port"},
        {"localhost:", "has no port after the colon"},
        {"localhost:http", "digits only"},
        {"localhost:+1", "digits only"},
        {"localhost:-1", "digits only"},
        {"localhost: 1", "digits only"},
        {"localhost:1 ", "digits only"},
        {"localhost:65536", "0 to 65535"},
        {"localhost:4294967297", "0 to 65535"},
        {"::1:7000", "brackets around an IPv6 address"},
        {"::1", "brackets around an IPv6 address"},
        {"fe80::1%eth0:7000", "brackets around an IPv6 address"},
        {"http://localhost:7000", "has several colons"},
        {"[::1]", "has no port"},
        {"[::1]7000", "has no colon after the bracket"},
        {"[::1:7000", "has no closing bracket"},
        {"[]:7000", "no IPv6 address between the brackets"},
        {"[127.0.0.1]:7000", "no IPv6 address between the brackets"},
        {"[localhost]:7000", "no IPv6 address between the brackets"},
        {"[:::]:7000", "no IPv6 address between the brackets"},
        {"[1::2::3]:7000", "no IPv6 address between the brackets"},
        {"[1:2:3:4:5:6:7]:7000", "no IPv6 address between the brackets"},
        {"[1:2:3:4:5:6:7:8:9]:7000", "no IPv6 address between the brackets"},
        {"[1:2:3:4::5:6:7:8]:7000", "no IPv6 address between the brackets"},
        {"[1:2:3:4:5:6:7:]:7000", "no IPv6 address between the brackets"},
        {"[:1:2:3:4:5:6:7]:7000", "no IPv6 address between the brackets"},
        {"[12345::]:7000", "no IPv6 address between the brackets"},
        {"[g::]:7000", "no IPv6 address between the brackets"},
        {"[1.2.3.4::]:7000", "no IPv6 address between the brackets"},
        {"[::1.2.3]:7000", "no IPv6 address between the brackets"},
        {"[::1.2.3.4:5]:7000", "no IPv6 address between the brackets"},
        {"[1:2:3:4:5:6:7:1.2.3.4]:7000", "no IPv6 address between the brackets"},
        {"[fe80::1%]:7000", "no IPv6 address between the brackets"},
        {"[fe80::1%et h0]:7000", "no IPv6 address between the brackets"},
        {"local host:7000", "a name of letters, digits"},
        {" localhost:7000", "a name of letters, digits"},
        {"h\xc3\xb6st:7000", "a name of letters, digits"},
        {"::1]:7000", "has several colons"},
        {"256.0.0.1:7000", "wrong IPv4 address"},
        {"10.0.1:7000", "wrong IPv4 address"},
        {"1.2.3.4.5:7000", "wrong IPv4 address"},
        {"1..2.3:7000", "wrong IPv4 address"},
        {"010.0.0.1:7000", "wrong IPv4 address"},
        {"0:7000", "wrong IPv4 address"},
        {std::string(254, 'a') + ":7000", "more than 253 characters"},
    };
    for (const Row& row : rows) {
        CAPTURE(row.text);
        std::error_code error;
        CHECK(Address::parse(row.text, error) == Address{});
        CHECK(error == cluster::errc::invalid_address);
        try {
            Address::parse(row.text);
            FAIL("was accepted");
        } catch (const std::system_error& failure) {
            CAPTURE(failure.what());
            CHECK(failure.code() == cluster::errc::invalid_address);
            CHECK(std::string_view(failure.what()).find(row.advice) != std::string_view::npos);
        }
    }
}

TEST_CASE("a host of 253 characters is accepted") {
    CHECK(Address::parse(std::string(253, 'a') + ":1").host.size() == 253);
}

TEST_CASE("the text of an address error shows what cannot be seen and cuts what is long") {
    cluster::Address address;
    CHECK(cluster::detail::read_address("host:70\r\n", address).starts_with("\"host:70??\" "));
    CHECK(cluster::detail::read_address(std::string(100000, 'x'), address).size() < 200);
}

TEST_CASE("an earlier error does not survive a successful parse") {
    std::error_code error = cluster::errc::timed_out;
    CHECK(Address::parse("a:1", error) == Address{"a", 1});
    CHECK(!error);
}

TEST_CASE("an address goes to a stream as its text") {
    std::ostringstream out;
    out << Address{"::1", 7000} << ' ' << Address{"host", 1};
    CHECK(out.str() == "[::1]:7000 host:1");
}

TEST_CASE("a wildcard is known in every spelling") {
    for (const std::string_view host : {"0.0.0.0", "::", "0::0", "0:0:0:0:0:0:0:0", "::0.0.0.0", "::%eth0"}) {
        CAPTURE(host);
        CHECK(cluster::detail::is_wildcard(host));
    }
    for (const std::string_view host : {"0.0.0.1", "::1", "1::", "localhost", "", "0.example"}) {
        CAPTURE(host);
        CHECK(!cluster::detail::is_wildcard(host));
    }
}
