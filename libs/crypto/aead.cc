// SPDX-License-Identifier: Apache-2.0
#include "libs/crypto/aead.h"

#include <openssl/evp.h>

#include <cstdlib>
#include <memory>

#include "libs/base/error.h"

namespace oncomesh::crypto {
namespace {

struct ContextFree {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_CIPHER_CTX, ContextFree>;

const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// Fetching the algorithm anew for every message costs more than a short message does.
const EVP_CIPHER* Cipher() {
  static EVP_CIPHER* const kCipher = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  return kCipher;
}

// Only a lack of memory or a broken OpenSSL gets here; going on would write unencrypted data.
void Must(bool fine) {
  if (!fine) std::abort();
}

}  // namespace

std::string AesGcmSeal(absl::string_view key, absl::string_view nonce, absl::string_view associated,
                       absl::string_view plaintext) {
  Must(key.size() == kAesKeySize && nonce.size() == kGcmNonceSize);
  Context context(EVP_CIPHER_CTX_new());
  std::string out(plaintext.size() + kGcmTagSize, '\0');
  auto* to = reinterpret_cast<unsigned char*>(out.data());
  int length = 0;
  Must(EVP_EncryptInit_ex(context.get(), Cipher(), nullptr, Bytes(key), Bytes(nonce)) == 1);
  if (!associated.empty()) {
    Must(EVP_EncryptUpdate(context.get(), nullptr, &length, Bytes(associated),
                           static_cast<int>(associated.size())) == 1);
  }
  if (!plaintext.empty()) {
    Must(EVP_EncryptUpdate(context.get(), to, &length, Bytes(plaintext),
                           static_cast<int>(plaintext.size())) == 1);
  }
  Must(EVP_EncryptFinal_ex(context.get(), to + plaintext.size(), &length) == 1);
  Must(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kGcmTagSize,
                           to + plaintext.size()) == 1);
  return out;
}

absl::StatusOr<std::string> AesGcmOpen(absl::string_view key, absl::string_view nonce,
                                       absl::string_view associated, absl::string_view sealed) {
  auto broken = [] {
    return base::Error(absl::StatusCode::kDataLoss, "SEAL_BROKEN",
                       "the sealed data was changed, or the key is another one");
  };
  if (key.size() != kAesKeySize || nonce.size() != kGcmNonceSize || sealed.size() < kGcmTagSize) {
    return broken();
  }
  absl::string_view text = sealed.substr(0, sealed.size() - kGcmTagSize);
  std::string tag(sealed.substr(text.size()));
  Context context(EVP_CIPHER_CTX_new());
  std::string out(text.size(), '\0');
  auto* to = reinterpret_cast<unsigned char*>(out.data());
  int length = 0;
  bool fine =
      EVP_DecryptInit_ex(context.get(), Cipher(), nullptr, Bytes(key), Bytes(nonce)) == 1 &&
      (associated.empty() || EVP_DecryptUpdate(context.get(), nullptr, &length, Bytes(associated),
                                               static_cast<int>(associated.size())) == 1) &&
      (text.empty() || EVP_DecryptUpdate(context.get(), to, &length, Bytes(text),
                                         static_cast<int>(text.size())) == 1) &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, kGcmTagSize, tag.data()) == 1 &&
      EVP_DecryptFinal_ex(context.get(), to + text.size(), &length) == 1;
  if (!fine) return broken();
  return out;
}

}  // namespace oncomesh::crypto
