// SPDX-License-Identifier: Apache-2.0
#include "libs/base/random.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdlib>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace oncomesh::base {

std::string SystemRandom::Bytes(size_t n) {
  std::string out(n, '\0');
  size_t done = 0;
  while (done < n) {
    ssize_t got = getrandom(out.data() + done, n - done, 0);
    if (got < 0) {
      if (errno == EINTR) continue;
      std::abort();  // a kernel without getrandom cannot run this program safely
    }
    done += static_cast<size_t>(got);
  }
  return out;
}

SystemRandom& SystemRandom::Get() {
  static SystemRandom random;
  return random;
}

std::string NewId(absl::string_view prefix, Random& random) {
  static constexpr char kAlphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
  std::string bytes = random.Bytes(20);
  std::string out(prefix);
  for (char c : bytes) out.push_back(kAlphabet[static_cast<unsigned char>(c) & 31]);
  return out;
}

std::string NewUuid(Random& random) {
  std::string b = random.Bytes(16);
  b[6] = static_cast<char>((b[6] & 0x0f) | 0x40);
  b[8] = static_cast<char>((b[8] & 0x3f) | 0x80);
  std::string hex = absl::BytesToHexString(b);
  return absl::StrCat(hex.substr(0, 8), "-", hex.substr(8, 4), "-", hex.substr(12, 4), "-",
                      hex.substr(16, 4), "-", hex.substr(20));
}

}  // namespace oncomesh::base
