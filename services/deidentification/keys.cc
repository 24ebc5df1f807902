// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/keys.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"

namespace oncomesh::deidentification {
namespace {

constexpr char kContext[] = "oncomesh-deid/1";

void AppendWithLength(absl::string_view part, std::string& out) {
  uint32_t length = static_cast<uint32_t>(part.size());
  for (int shift = 24; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>((length >> shift) & 0xff));
  }
  out.append(part.data(), part.size());
}

// The first ten bytes in RFC 4648's base32: sixteen characters of A-Z and 2-7.
std::string Base32(absl::string_view bytes) {
  constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  std::string out;
  uint64_t bits = 0;
  int have = 0;
  for (size_t i = 0; i < 10; ++i) {
    bits = bits << 8 | static_cast<unsigned char>(bytes[i]);
    have += 8;
    while (have >= 5) {
      have -= 5;
      out.push_back(kAlphabet[(bits >> have) & 31]);
    }
  }
  return out;
}

// A 128-bit number, big-endian in `bytes`, in decimal.
std::string Decimal(absl::string_view bytes) {
  unsigned __int128 value = 0;
  for (size_t i = 0; i < 16; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  std::string out;
  do {
    out.push_back(static_cast<char>('0' + static_cast<int>(value % 10)));
    value /= 10;
  } while (value != 0);
  std::reverse(out.begin(), out.end());
  return out;
}

}  // namespace

std::string NewKeyFile(base::Random& random) {
  return absl::StrCat(absl::BytesToHexString(random.Bytes(kProjectKeyBytes)), "\n");
}

absl::StatusOr<std::string> ReadKeyFile(const std::string& path) {
  absl::StatusOr<std::string> content = base::ReadFile(path, 4096);
  if (!content.ok()) {
    return base::Error(absl::StatusCode::kNotFound, "KEY_NOT_FOUND",
                       "the key file cannot be read; `oncomesh deid keygen --out KEY` makes one");
  }
  if (content->size() == kProjectKeyBytes) return *content;
  absl::string_view text = absl::StripAsciiWhitespace(*content);
  if (text.size() == 2 * kProjectKeyBytes &&
      std::all_of(text.begin(), text.end(),
                  [](unsigned char c) { return absl::ascii_isxdigit(c); })) {
    return absl::HexStringToBytes(text);
  }
  return base::Error(absl::StatusCode::kInvalidArgument, "KEY_INVALID",
                     "the key file must hold 256 bits, as 64 hexadecimal digits or 32 bytes; "
                     "`oncomesh deid keygen --out KEY` makes one");
}

Keys::Keys(absl::string_view project_key)
    : hmac_(std::make_shared<crypto::HmacSha256>(project_key)),
      expand_(std::make_shared<crypto::HmacSha256>(
          crypto::HmacSha256(std::string(crypto::kSha256Size, '\0')).Compute(project_key))) {}

std::string Keys::Mac(absl::string_view domain, absl::string_view input) const {
  std::string message(kContext);
  AppendWithLength(domain, message);
  AppendWithLength(input, message);
  return hmac_->Compute(message);
}

std::string Keys::Uid(absl::string_view uid) const {
  std::string bytes = Mac("uid", uid).substr(0, 16);
  // Version 8 (custom) and the variant of RFC 9562.
  bytes[6] = static_cast<char>((bytes[6] & 0x0f) | 0x80);
  bytes[8] = static_cast<char>((bytes[8] & 0x3f) | 0x80);
  return absl::StrCat("2.25.", Decimal(bytes));
}

std::string Keys::PatientCode(absl::string_view patient) const {
  return Base32(Mac("patient", patient));
}

std::string Keys::AccessionCode(absl::string_view accession) const {
  return Base32(Mac("accession", accession));
}

std::string Keys::DeviceCode(absl::string_view device) const {
  return Base32(Mac("device", device));
}

int Keys::DateOffsetDays(absl::string_view patient) const {
  std::string mac = Mac("date", patient);
  uint64_t x = 0;
  for (size_t i = 0; i < 8; ++i) x = x << 8 | static_cast<unsigned char>(mac[i]);
  return -7 * static_cast<int>(52 + x % 469);
}

std::string Keys::Patient(absl::string_view patient_id, absl::string_view issuer) {
  std::string out(patient_id);
  if (!issuer.empty()) {
    out.push_back('\0');
    out.append(issuer.data(), issuer.size());
  }
  return out;
}

std::string Keys::Derive(absl::string_view info) const {
  return expand_->Compute(absl::StrCat(info, absl::string_view("\x01", 1)));
}

std::string Keys::KeyId() const {
  return absl::BytesToHexString(Derive("oncomesh-deid/1/key-id").substr(0, 8));
}

}  // namespace oncomesh::deidentification
