#include "net/tls_keys.hpp"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <algorithm>
#include <memory>
#include <new>
#include <string>

namespace cluster::net {

namespace {

/// OpenSSL takes what it only reads through pointers that are not const.
OSSL_PARAM octets(const char* name, std::string_view value) {
    return OSSL_PARAM_construct_octet_string(name, const_cast<char*>(value.data()), value.size());
}

/// The version and the hash are in the label. The length keeps names apart that end in each other's bytes.
std::string info_for(std::string_view use, std::string_view cluster) {
    std::string info = "cluster 1 sha256 ";
    info += use;
    info += '\0';
    info += static_cast<char>(cluster.size());
    info += cluster;
    return info;
}

}  // namespace

std::vector<std::uint8_t> hkdf_sha256(std::string_view secret, std::string_view salt, std::string_view info,
                                      std::size_t size) {
    const std::unique_ptr<EVP_KDF, decltype(&EVP_KDF_free)> kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr), EVP_KDF_free);
    if (!kdf) throw std::bad_alloc();
    const std::unique_ptr<EVP_KDF_CTX, decltype(&EVP_KDF_CTX_free)> context(EVP_KDF_CTX_new(kdf.get()),
                                                                            EVP_KDF_CTX_free);
    std::string hash = "SHA256";
    std::vector<OSSL_PARAM> parameters{
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, hash.data(), hash.size()),
        octets(OSSL_KDF_PARAM_KEY, secret), octets(OSSL_KDF_PARAM_INFO, info)};
    // It does not take an empty salt, which is the same as none.
    if (!salt.empty()) parameters.push_back(octets(OSSL_KDF_PARAM_SALT, salt));
    parameters.push_back(OSSL_PARAM_construct_end());
    std::vector<std::uint8_t> out(size);
    if (!context || EVP_KDF_derive(context.get(), out.data(), out.size(), parameters.data()) != 1) {
        throw std::bad_alloc();
    }
    return out;
}

TlsKey derive_key(std::string_view secret, std::string_view cluster) {
    TlsKey key;
    const auto bytes = hkdf_sha256(secret, {}, info_for("key", cluster), key.bytes.size());
    const auto id = hkdf_sha256(secret, {}, info_for("key id", cluster), key.id.size());
    std::copy(bytes.begin(), bytes.end(), key.bytes.begin());
    std::copy(id.begin(), id.end(), key.id.begin());
    return key;
}

}  // namespace cluster::net
