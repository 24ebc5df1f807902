// SPDX-License-Identifier: Apache-2.0
#include "libs/crypto/aead.h"

#include <catch2/catch.hpp>

#include "absl/strings/escaping.h"
#include "libs/testing/status_matchers.h"

namespace oncomesh::crypto {
namespace {

std::string Hex(absl::string_view text) { return absl::HexStringToBytes(text); }

// Test cases 14 and 16 of McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B.
TEST_CASE("aes-gcm: the vectors of the mode's authors", "[crypto]") {
  REQUIRE(AesGcmSeal(std::string(32, '\0'), std::string(12, '\0'), "", std::string(16, '\0')) ==
          Hex("cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"));
  std::string sealed = AesGcmSeal(
      Hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"),
      Hex("cafebabefacedbaddecaf888"), Hex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
      Hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e24"
          "49a6b525b16aedf5aa0de657ba637b39"));
  REQUIRE(sealed ==
          Hex("522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b0"
              "8b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"));
}

TEST_CASE("aes-gcm: what was sealed opens, and nothing else does", "[crypto]") {
  std::string key(32, 'k'), nonce(12, 'n');
  std::string sealed = AesGcmSeal(key, nonce, "about", "hello");
  REQUIRE_VALUE(std::string text, AesGcmOpen(key, nonce, "about", sealed));
  REQUIRE(text == "hello");
  for (size_t i = 0; i < sealed.size(); ++i) {
    std::string changed = sealed;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    REQUIRE_REASON(AesGcmOpen(key, nonce, "about", changed), absl::StatusCode::kDataLoss,
                   "SEAL_BROKEN");
  }
  REQUIRE_FALSE(AesGcmOpen(key, nonce, "else", sealed).ok());
  REQUIRE_FALSE(AesGcmOpen(std::string(32, 'x'), nonce, "about", sealed).ok());
  REQUIRE_FALSE(AesGcmOpen(key, nonce, "about", sealed.substr(0, 10)).ok());
}

}  // namespace
}  // namespace oncomesh::crypto
