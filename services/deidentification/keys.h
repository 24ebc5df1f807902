// SPDX-License-Identifier: Apache-2.0
// Every pseudonym comes from one project key: no table of who is who exists anywhere. The scheme is
// described, with test vectors, in doc/formats/manifest.md:
//   HMAC-SHA256(K, "oncomesh-deid/1" ‖ len(domain) ‖ domain ‖ len(input) ‖ input)
// with lengths as 32-bit big-endian numbers, and one domain for each kind of pseudonym.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/base/random.h"
#include "libs/crypto/digest.h"

namespace oncomesh::deidentification {

inline constexpr size_t kProjectKeyBytes = 32;

// A new project key as the content of a key file: 64 hexadecimal digits and a newline.
std::string NewKeyFile(base::Random& random);
// The key in a key file: 64 hexadecimal digits, or 32 raw bytes.
// Errors: NOT_FOUND (KEY_NOT_FOUND), INVALID_ARGUMENT (KEY_INVALID) for any other size.
absl::StatusOr<std::string> ReadKeyFile(const std::string& path);

// Immutable; any thread.
class Keys {
 public:
  // `project_key` has 32 bytes.
  explicit Keys(absl::string_view project_key);

  // `2.25.` and a UUID as one decimal number (PS3.5 B.2): at most 44 characters.
  std::string Uid(absl::string_view uid) const;
  // 16 characters of base32 (80 bits): fits SH, CS and LO.
  std::string PatientCode(absl::string_view patient) const;
  // 16 characters each.
  std::string AccessionCode(absl::string_view accession) const;
  std::string DeviceCode(absl::string_view device) const;
  // −7·(52 + x mod 469): between one and ten years back, whole weeks so that weekdays stay.
  int DateOffsetDays(absl::string_view patient) const;

  // Who the patient is, for PatientCode and DateOffsetDays: the identifier without padding, and
  // the issuer behind a zero byte unless it is empty.
  static std::string Patient(absl::string_view patient_id, absl::string_view issuer);

  // Subkeys (HKDF-SHA256, RFC 5869, no salt) for the manifest's signature and for quarantine.
  std::string SigningSeed() const { return Derive("oncomesh-deid/1/manifest-signing"); }
  std::string QuarantineKey() const { return Derive("oncomesh-deid/1/quarantine"); }
  // Names the key without telling it: 16 hexadecimal digits.
  std::string KeyId() const;

 private:
  std::string Mac(absl::string_view domain, absl::string_view input) const;
  std::string Derive(absl::string_view info) const;

  std::shared_ptr<const crypto::HmacSha256> hmac_;
  std::shared_ptr<const crypto::HmacSha256> expand_;  // keyed with HKDF's extracted key
};

}  // namespace oncomesh::deidentification
