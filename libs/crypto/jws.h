// SPDX-License-Identifier: Apache-2.0
// JSON Web Signature, compact (RFC 7515), and JSON Web Keys (RFC 7517), for permits (EdDSA, RFC
// 8037) and people's tokens (RS256, ES256, RFC 7518). The type of the key decides the algorithm,
// never the header; the header must then agree.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/crypto/keys.h"

namespace oncomesh::crypto {

inline constexpr size_t kMaxJwsBytes = 16 << 10;

// Parses JSON that came from outside: no duplicate key at any depth, at most 16 levels, valid
// UTF-8, nothing after the value. Errors: INVALID_ARGUMENT (JSON_INVALID).
absl::StatusOr<nlohmann::json> ParseStrictJson(absl::string_view text);

// "EdDSA", "ES256" or "RS256".
const char* AlgorithmOf(KeyType type);

// A compact JWS over `payload`. The header is {"alg","kid","typ"} (typ left out when empty).
std::string SignJws(const PrivateKey& key, absl::string_view kid, absl::string_view typ,
                    absl::string_view payload);

// Keys by kid. At most 64.
using KeySet = std::map<std::string, PublicKey>;

struct Jws {
  std::string kid;
  std::string typ;
  nlohmann::json payload;  // a JSON object
};

// Checks form and signature. Errors: INVALID_ARGUMENT (JWS_MALFORMED): size, base64url, JSON, a
// header with crit, jwk, jku, x5u, x5c, b64 or zip; UNAUTHENTICATED (JWS_ALGORITHM): alg is not
// that of the key, "none" included; UNAUTHENTICATED (JWS_KEY_UNKNOWN): no such kid, or none given;
// UNAUTHENTICATED (JWS_SIGNATURE_INVALID).
absl::StatusOr<Jws> VerifyJws(absl::string_view compact, const KeySet& keys);

// The payload without any check of the signature; for choosing whose keys to take. Errors:
// JWS_MALFORMED.
absl::StatusOr<Jws> PeekJws(absl::string_view compact);

// A JWK set with signing keys; keys of other types or uses are left out, as RFC 7517 §5 asks.
// Errors: INVALID_ARGUMENT (JWKS_INVALID): not a set, more than 64 keys or 256 KiB, a kid twice.
absl::StatusOr<KeySet> ParseJwks(absl::string_view json);
std::string PrintJwks(const KeySet& keys);

// The thumbprint of RFC 7638 (RFC 8037 §2 for Ed25519), base64url; our keys use it as kid.
std::string Thumbprint(const PublicKey& key);

}  // namespace oncomesh::crypto
