#pragma once

#include "net/tls.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

// How keys are made out of secrets. Only in builds with TLS.

namespace cluster::net {

/// HKDF of RFC 5869 with SHA-256. Throws `std::bad_alloc` if the library refuses.
std::vector<std::uint8_t> hkdf_sha256(std::string_view secret, std::string_view salt, std::string_view info,
                                      std::size_t size);

TlsKey derive_key(std::string_view secret, std::string_view cluster);

}  // namespace cluster::net
