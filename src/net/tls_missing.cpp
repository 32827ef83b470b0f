#include "net/tls.hpp"

#include <cluster/error.hpp>

namespace cluster::net {

std::shared_ptr<Tls> make_tls(const TlsOptions&) {
    throw std::system_error(make_error_code(errc::unsupported),
                            "there is a secret, and this library was built without TLS; build it with -DCLUSTER_TLS=ON "
                            "and OpenSSL 3");
}

}  // namespace cluster::net
