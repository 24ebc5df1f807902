// SPDX-License-Identifier: Apache-2.0
#include "libs/crypto/hkdf.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <cstdlib>
#include <string>

namespace oncomesh::crypto {

Secret Hkdf(absl::string_view secret, absl::string_view salt, absl::string_view info, size_t size) {
  static EVP_KDF* const kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  // OpenSSL takes the parameters as pointers to what it does not change.
  auto octets = [](const char* name, absl::string_view bytes) {
    return OSSL_PARAM_construct_octet_string(name, const_cast<char*>(bytes.data()), bytes.size());
  };
  char digest[] = "SHA256";
  OSSL_PARAM params[5];
  size_t count = 0;
  params[count++] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
  params[count++] = octets(OSSL_KDF_PARAM_KEY, secret);
  if (!salt.empty()) params[count++] = octets(OSSL_KDF_PARAM_SALT, salt);
  if (!info.empty()) params[count++] = octets(OSSL_KDF_PARAM_INFO, info);
  params[count] = OSSL_PARAM_construct_end();
  EVP_KDF_CTX* context = EVP_KDF_CTX_new(kdf);
  std::string out(size, '\0');
  const bool good =
      EVP_KDF_derive(context, reinterpret_cast<unsigned char*>(out.data()), size, params) == 1;
  EVP_KDF_CTX_free(context);
  if (!good)
    std::abort();  // a size or a secret against the contract; no key is better than a weak one
  return Secret(std::move(out));
}

}  // namespace oncomesh::crypto
