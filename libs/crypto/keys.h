// SPDX-License-Identifier: Apache-2.0
// Asymmetric keys: Ed25519 signs permits, manifests and logs; P-256 signs certificates and the
// local issuer's tokens; RSA is for tokens of issuers that know nothing newer.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct evp_pkey_st;

namespace oncomesh::crypto {

enum class KeyType { kEd25519, kP256, kRsa };

// A public key. Any thread.
class PublicKey {
 public:
  explicit PublicKey(std::shared_ptr<evp_pkey_st> key, KeyType type)
      : key_(std::move(key)), type_(type) {}

  // 32 bytes (RFC 8032). Errors: INVALID_ARGUMENT (KEY_INVALID).
  static absl::StatusOr<PublicKey> FromEd25519(absl::string_view raw);
  // Affine coordinates of 32 bytes each; the point must be on the curve.
  static absl::StatusOr<PublicKey> FromP256(absl::string_view x, absl::string_view y);
  // Big-endian; at least 2048 bits, e odd and below 2^32.
  static absl::StatusOr<PublicKey> FromRsa(absl::string_view n, absl::string_view e);

  // SubjectPublicKeyInfo, "-----BEGIN PUBLIC KEY-----"; the same demands.
  static absl::StatusOr<PublicKey> FromPem(absl::string_view pem);
  std::string ToPem() const;

  KeyType type() const { return type_; }
  // Ed25519: the 32 raw bytes. P-256: x ‖ y, 64 bytes. RSA: empty.
  std::string Raw() const;
  // Of an RSA key, big-endian without leading zeros; empty for others.
  std::string Modulus() const;
  std::string Exponent() const;

  // True when `signature` is one of this key over `message`. Ed25519: 64 bytes, RFC 8032 pure.
  // P-256: r ‖ s, 64 bytes, SHA-256 (RFC 7518 §3.4). RSA: PKCS #1 v1.5 with SHA-256.
  bool Verify(absl::string_view message, absl::string_view signature) const;

  evp_pkey_st* native() const { return key_.get(); }

 private:
  std::shared_ptr<evp_pkey_st> key_;
  KeyType type_;
};

// A private key. Any thread.
class PrivateKey {
 public:
  // An RSA key gets 3072 bits.
  static PrivateKey Generate(KeyType type);
  // PKCS #8 PEM without a password. Errors: INVALID_ARGUMENT (KEY_INVALID), for weak RSA keys too.
  static absl::StatusOr<PrivateKey> FromPem(absl::string_view pem);
  // The 32-byte seed of RFC 8032; for keys derived from others.
  static absl::StatusOr<PrivateKey> FromEd25519Seed(absl::string_view seed);
  // Reads the file, or makes a key and writes it with mode 0600 when it is missing.
  static absl::StatusOr<PrivateKey> LoadOrGenerate(const std::string& path, KeyType type);

  KeyType type() const { return type_; }
  std::string ToPem() const;
  PublicKey Public() const { return PublicKey(key_, type_); }
  // As PublicKey::Verify takes it.
  std::string Sign(absl::string_view message) const;

  evp_pkey_st* native() const { return key_.get(); }

 private:
  PrivateKey(std::shared_ptr<evp_pkey_st> key, KeyType type) : key_(std::move(key)), type_(type) {}
  std::shared_ptr<evp_pkey_st> key_;
  KeyType type_;
};

}  // namespace oncomesh::crypto
