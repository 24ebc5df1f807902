// SPDX-License-Identifier: Apache-2.0
#include "libs/phantom/stream.h"

#include <openssl/evp.h>

#include <bit>
#include <cstdlib>

#include "absl/strings/str_cat.h"

namespace oncomesh::phantom {
namespace {

constexpr double kSqrt3 = 1.7320508075688772;

void AppendNumber(uint64_t value, std::string& out) {
  for (int i = 7; i >= 0; --i) out.push_back(static_cast<char>(value >> (8 * i)));
}

uint64_t ReadNumber(absl::string_view bytes, size_t at) {
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

}  // namespace

Key Key::Below(absl::string_view name) const {
  Key out(*this);
  // The length first: {"ab", "c"} and {"a", "bc"} are different keys.
  AppendNumber(name.size(), out.path_);
  out.path_.append(name.data(), name.size());
  return out;
}

Key Key::Below(absl::string_view name, int64_t number) const {
  return Below(name).Below(absl::StrCat(number));
}

std::string Key::Digest() const {
  std::string input = "oncomesh-phantom/1";
  AppendNumber(seed_, input);
  input += path_;
  unsigned char digest[32];
  unsigned int size = sizeof digest;
  // SHA-256 of a short string fails only when the library itself is broken.
  if (EVP_Digest(input.data(), input.size(), digest, &size, EVP_sha256(), nullptr) != 1)
    std::abort();
  return std::string(reinterpret_cast<char*>(digest), size);
}

std::string Key::Uid() const {
  std::string digest = Digest();
  digest[6] = static_cast<char>((digest[6] & 0x0f) | 0x80);  // version 8: made by the application
  digest[8] = static_cast<char>((digest[8] & 0x3f) | 0x80);  // variant of RFC 9562
  unsigned __int128 value =
      static_cast<unsigned __int128>(ReadNumber(digest, 0)) << 64 | ReadNumber(digest, 8);
  std::string digits;
  for (; value != 0; value /= 10)
    digits.insert(digits.begin(), static_cast<char>('0' + value % 10));
  return absl::StrCat("2.25.", digits);
}

Stream::Stream(const Key& key) {
  std::string digest = key.Digest();
  for (size_t i = 0; i < 4; ++i) state_[i] = ReadNumber(digest, 8 * i);
}

uint64_t Stream::Bits() {
  uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

double Stream::Uniform() { return static_cast<double>(Bits() >> 11) * 0x1p-53; }

int Stream::Integer(int low, int high) {
  return low + static_cast<int>(Uniform() * (static_cast<double>(high) - low + 1));
}

double Stream::Normal() {
  uint64_t bits = Bits();
  uint64_t sum = (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
  return (static_cast<double>(sum) - 2.0 * 0xffff) * (kSqrt3 / 65536.0);
}

int Stream::Weighted(const double* weights, int count) {
  double total = 0;
  for (int i = 0; i < count; ++i) total += weights[i];
  double at = Uniform() * total;
  for (int i = 0; i + 1 < count; ++i) {
    if (at < weights[i]) return i;
    at -= weights[i];
  }
  return count - 1;
}

}  // namespace oncomesh::phantom
