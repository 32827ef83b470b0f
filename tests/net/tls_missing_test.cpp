#include "net/tls.hpp"

#include <doctest/doctest.h>
#include <cluster/cluster.hpp>

#include <string>
#include <system_error>

namespace cluster::tls_missing_test {

TEST_CASE("secret: a build without TLS takes no secret, and says how to build") {
    const std::string secret = make_secret();
    try {
        const Node node(Options{.secret = secret});
        FAIL("was taken");
    } catch (const std::system_error& error) {
        CHECK(error.code() == errc::unsupported);
        CHECK(std::string(error.what()).find("-DCLUSTER_TLS=ON") != std::string::npos);
    }
    CHECK_NOTHROW(Node("127.0.0.1:0"));
}

}  // namespace cluster::tls_missing_test
