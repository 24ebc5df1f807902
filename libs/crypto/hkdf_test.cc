// SPDX-License-Identifier: Apache-2.0
// RFC 5869 appendix A.1 to A.3.
#include "libs/crypto/hkdf.h"

#include <catch2/catch.hpp>
#include <string>

#include "absl/strings/escaping.h"

namespace oncomesh::crypto {
namespace {

std::string Range(int from, int to) {
  std::string out;
  for (int i = from; i < to; ++i) out.push_back(static_cast<char>(i));
  return out;
}

TEST_CASE("HKDF: RFC 5869 appendix A") {
  auto hex = [](const Secret& secret) { return absl::BytesToHexString(secret.Reveal()); };
  CHECK(hex(Hkdf(std::string(22, '\x0b'), Range(0, 13), Range(0xf0, 0xfa), 42)) ==
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
  CHECK(hex(Hkdf(Range(0, 0x50), Range(0x60, 0xb0), Range(0xb0, 0x100), 82)) ==
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e"
        "590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87");
  CHECK(hex(Hkdf(std::string(22, '\x0b'), "", "", 42)) ==
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

TEST_CASE("Secret: it is moved, not copied by accident, and wiped") {
  static_assert(!std::is_copy_constructible_v<Secret>);
  static_assert(!std::is_copy_assignable_v<Secret>);
  static_assert(!std::is_convertible_v<Secret, std::string>);
  Secret first(std::string(40, 's'));
  Secret second(std::move(first));
  CHECK(first.empty());  // NOLINT(bugprone-use-after-move): this is what is tested
  CHECK(second.Reveal() == std::string(40, 's'));
  Secret third = second.Clone();
  CHECK(third.size() == 40);
  third = Secret("other");
  CHECK(third.Reveal() == "other");
}

}  // namespace
}  // namespace oncomesh::crypto
