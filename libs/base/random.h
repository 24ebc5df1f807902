// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace oncomesh::base {

// Randomness as a collaborator. Any thread may call it.
class Random {
 public:
  virtual ~Random() = default;
  // `n` bytes. The system's implementation is fit for keys and never fails.
  virtual std::string Bytes(size_t n) = 0;
};

// The kernel's random number generator (getrandom).
class SystemRandom final : public Random {
 public:
  std::string Bytes(size_t n) override;
  static SystemRandom& Get();
};

// A new identifier: `prefix` and 20 characters of lower-case base32 (100 random bits).
std::string NewId(absl::string_view prefix, Random& random = SystemRandom::Get());

// A random UUID, version 4 (RFC 9562).
std::string NewUuid(Random& random = SystemRandom::Get());

}  // namespace oncomesh::base
