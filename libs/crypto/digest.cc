// SPDX-License-Identifier: Apache-2.0
#include "libs/crypto/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <cstdlib>
#include <utility>

#include "absl/strings/escaping.h"

namespace oncomesh::crypto {
namespace {

const EVP_MD* Algorithm() {
  static EVP_MD* md = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return md;
}

// OpenSSL fails here only without memory or without its provider: nothing can go on then.
void Require(int result) {
  if (result != 1) std::abort();
}

constexpr size_t kBlock = 64;

}  // namespace

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  Require(EVP_DigestInit_ex2(context_, Algorithm(), nullptr));
}
Sha256::~Sha256() { EVP_MD_CTX_free(context_); }
Sha256::Sha256(Sha256&& other) noexcept : context_(std::exchange(other.context_, nullptr)) {}
Sha256& Sha256::operator=(Sha256&& other) noexcept {
  std::swap(context_, other.context_);
  return *this;
}

void Sha256::Update(absl::string_view bytes) {
  Require(EVP_DigestUpdate(context_, bytes.data(), bytes.size()));
}

void Sha256::FinishTo(unsigned char* out) {
  Require(EVP_DigestFinal_ex(context_, out, nullptr));
  Require(EVP_DigestInit_ex2(context_, Algorithm(), nullptr));
}

std::string Sha256::Finish() {
  std::string out(kSha256Size, '\0');
  FinishTo(reinterpret_cast<unsigned char*>(out.data()));
  return out;
}

std::string Sha256::FinishHex() { return absl::BytesToHexString(Finish()); }

std::string Sha256Bytes(absl::string_view bytes) {
  // Its two allocations in OpenSSL cost more than a short text.
  thread_local Sha256 digest;
  digest.Update(bytes);
  return digest.Finish();
}

std::string Sha256Hex(absl::string_view bytes) {
  return absl::BytesToHexString(Sha256Bytes(bytes));
}

HmacSha256::HmacSha256(absl::string_view key) : inner_(EVP_MD_CTX_new()), outer_(EVP_MD_CTX_new()) {
  std::string block(key);
  if (block.size() > kBlock) block = Sha256Bytes(block);
  block.resize(kBlock, '\0');
  for (auto [context, pad] : {std::pair{inner_, 0x36}, std::pair{outer_, 0x5c}}) {
    std::string padded = block;
    for (char& c : padded) c = static_cast<char>(c ^ pad);
    Require(EVP_DigestInit_ex2(context, Algorithm(), nullptr));
    Require(EVP_DigestUpdate(context, padded.data(), padded.size()));
    OPENSSL_cleanse(padded.data(), padded.size());
  }
  OPENSSL_cleanse(block.data(), block.size());
}

HmacSha256::~HmacSha256() {
  EVP_MD_CTX_free(inner_);
  EVP_MD_CTX_free(outer_);
}

std::string HmacSha256::Compute(absl::string_view message) const {
  // One scratch context per thread: copying into it reuses its memory.
  thread_local std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> scratch(EVP_MD_CTX_new(),
                                                                               &EVP_MD_CTX_free);
  std::string out(kSha256Size, '\0');
  auto* bytes = reinterpret_cast<unsigned char*>(out.data());
  Require(EVP_MD_CTX_copy_ex(scratch.get(), inner_));
  Require(EVP_DigestUpdate(scratch.get(), message.data(), message.size()));
  Require(EVP_DigestFinal_ex(scratch.get(), bytes, nullptr));
  Require(EVP_MD_CTX_copy_ex(scratch.get(), outer_));
  Require(EVP_DigestUpdate(scratch.get(), bytes, kSha256Size));
  Require(EVP_DigestFinal_ex(scratch.get(), bytes, nullptr));
  return out;
}

bool EqualConstantTime(absl::string_view a, absl::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace oncomesh::crypto
