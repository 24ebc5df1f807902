// SPDX-License-Identifier: Apache-2.0
#include "libs/crypto/keys.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#include <cstdlib>
#include <utility>

#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/error_mark.h"
#include "libs/crypto/secret.h"

namespace oncomesh::crypto {
namespace {

constexpr size_t kCoordinate = 32;
constexpr size_t kMaxPemBytes = 16 << 10;

std::shared_ptr<EVP_PKEY> Own(EVP_PKEY* key) {
  return std::shared_ptr<EVP_PKEY>(key, &EVP_PKEY_free);
}

const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// Gives no password: an encrypted text is refused instead of asking the terminal.
int NoPassword(char*, int, int, void*) { return -1; }

absl::Status Invalid(absl::string_view what) {
  return base::Error(absl::StatusCode::kInvalidArgument, "KEY_INVALID", what);
}

// A public key from parameters; null when OpenSSL refuses them (a point off the curve, say).
std::shared_ptr<EVP_PKEY> FromParams(const char* type, OSSL_PARAM_BLD* builder) {
  OSSL_PARAM* params = OSSL_PARAM_BLD_to_param(builder);
  EVP_PKEY_CTX* context = EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr);
  EVP_PKEY* key = nullptr;
  bool made = EVP_PKEY_fromdata_init(context) == 1 &&
              EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params) == 1;
  EVP_PKEY_CTX_free(context);
  OSSL_PARAM_free(params);
  if (!made) return nullptr;
  EVP_PKEY_CTX* check = EVP_PKEY_CTX_new(key, nullptr);
  bool good = EVP_PKEY_public_check(check) == 1;
  EVP_PKEY_CTX_free(check);
  if (!good) {
    EVP_PKEY_free(key);
    return nullptr;
  }
  return Own(key);
}

std::string NumberOf(EVP_PKEY* key, const char* name) {
  BIGNUM* number = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &number) != 1) return "";
  std::string out(static_cast<size_t>(BN_num_bytes(number)), '\0');
  BN_bn2bin(number, reinterpret_cast<unsigned char*>(out.data()));
  BN_free(number);
  return out;
}

// 2048 to 8192 bits, e odd, above 1 and below 2^32 (RFC 7518 §3.3 asks for the first).
bool IsStrongRsa(EVP_PKEY* key) {
  const int bits = EVP_PKEY_get_bits(key);
  const std::string n = NumberOf(key, OSSL_PKEY_PARAM_RSA_N);
  const std::string e = NumberOf(key, OSSL_PKEY_PARAM_RSA_E);
  return bits >= 2048 && bits <= 8192 && !n.empty() && (n.back() & 1) != 0 && !e.empty() &&
         e.size() <= 4 && (e.back() & 1) != 0 && e != "\x01";
}

absl::StatusOr<KeyType> TypeOf(EVP_PKEY* key) {
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_ED25519:
      return KeyType::kEd25519;
    case EVP_PKEY_RSA:
      if (!IsStrongRsa(key)) return Invalid("the RSA key is weak or malformed");
      return KeyType::kRsa;
    case EVP_PKEY_EC: {
      char group[64] = {};
      size_t size = 0;
      if (EVP_PKEY_get_group_name(key, group, sizeof(group), &size) == 1 &&
          absl::string_view(group) == SN_X9_62_prime256v1) {
        return KeyType::kP256;
      }
      break;
    }
    default:
      break;
  }
  return Invalid("the key is neither Ed25519 nor P-256 nor RSA");
}

// r ‖ s of 32 bytes each, from and to OpenSSL's DER.
std::string DerToRaw(absl::string_view der) {
  const unsigned char* p = Bytes(der);
  ECDSA_SIG* signature = d2i_ECDSA_SIG(nullptr, &p, static_cast<long>(der.size()));
  if (signature == nullptr) std::abort();
  std::string out(2 * kCoordinate, '\0');
  auto* bytes = reinterpret_cast<unsigned char*>(out.data());
  BN_bn2binpad(ECDSA_SIG_get0_r(signature), bytes, kCoordinate);
  BN_bn2binpad(ECDSA_SIG_get0_s(signature), bytes + kCoordinate, kCoordinate);
  ECDSA_SIG_free(signature);
  return out;
}

std::string RawToDer(absl::string_view raw) {
  ECDSA_SIG* signature = ECDSA_SIG_new();
  ECDSA_SIG_set0(signature, BN_bin2bn(Bytes(raw), kCoordinate, nullptr),
                 BN_bin2bn(Bytes(raw) + kCoordinate, kCoordinate, nullptr));
  unsigned char* der = nullptr;
  int size = i2d_ECDSA_SIG(signature, &der);
  std::string out(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  ECDSA_SIG_free(signature);
  return out;
}

}  // namespace

absl::StatusOr<PublicKey> PublicKey::FromEd25519(absl::string_view raw) {
  const ErrorMark mark;
  EVP_PKEY* key = raw.size() == 32 ? EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr,
                                                                 Bytes(raw), raw.size())
                                   : nullptr;
  if (key == nullptr) return Invalid("an Ed25519 public key has 32 bytes");
  return PublicKey(Own(key), KeyType::kEd25519);
}

absl::StatusOr<PublicKey> PublicKey::FromP256(absl::string_view x, absl::string_view y) {
  const ErrorMark mark;
  if (x.size() != kCoordinate || y.size() != kCoordinate) {
    return Invalid("the coordinates of a P-256 key have 32 bytes each");
  }
  std::string point = "\x04";
  point.append(x.data(), x.size());
  point.append(y.data(), y.size());
  OSSL_PARAM_BLD* builder = OSSL_PARAM_BLD_new();
  OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, SN_X9_62_prime256v1, 0);
  OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size());
  auto key = FromParams("EC", builder);
  OSSL_PARAM_BLD_free(builder);
  if (key == nullptr) return Invalid("the point is not on the curve P-256");
  return PublicKey(std::move(key), KeyType::kP256);
}

absl::StatusOr<PublicKey> PublicKey::FromRsa(absl::string_view n, absl::string_view e) {
  const ErrorMark mark;
  if (n.size() < 256 || n.size() > 1024 || e.empty() || e.size() > 4) {
    return Invalid("an RSA key needs 2048 to 8192 bits and an exponent below 2^32");
  }
  BIGNUM* modulus = BN_bin2bn(Bytes(n), static_cast<int>(n.size()), nullptr);
  BIGNUM* exponent = BN_bin2bn(Bytes(e), static_cast<int>(e.size()), nullptr);
  OSSL_PARAM_BLD* builder = OSSL_PARAM_BLD_new();
  OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus);
  OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent);
  std::shared_ptr<EVP_PKEY> key = FromParams("RSA", builder);
  OSSL_PARAM_BLD_free(builder);
  BN_free(modulus);
  BN_free(exponent);
  if (key == nullptr || !IsStrongRsa(key.get())) return Invalid("the RSA key is weak or malformed");
  return PublicKey(std::move(key), KeyType::kRsa);
}

absl::StatusOr<PublicKey> PublicKey::FromPem(absl::string_view pem) {
  const ErrorMark mark;
  if (pem.size() > kMaxPemBytes) return Invalid("the text is too long for a key");
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  EVP_PKEY* key = PEM_read_bio_PUBKEY(bio, nullptr, &NoPassword, nullptr);
  BIO_free(bio);
  if (key == nullptr) return Invalid("the text is not a public key in PEM");
  std::shared_ptr<EVP_PKEY> owned = Own(key);
  ASSIGN_OR_RETURN(KeyType type, TypeOf(key));
  return PublicKey(std::move(owned), type);
}

std::string PublicKey::ToPem() const {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PUBKEY(bio, key_.get());
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string out(data, static_cast<size_t>(size));
  BIO_free(bio);
  return out;
}

std::string PublicKey::Modulus() const {
  return type_ == KeyType::kRsa ? NumberOf(key_.get(), OSSL_PKEY_PARAM_RSA_N) : "";
}

std::string PublicKey::Exponent() const {
  return type_ == KeyType::kRsa ? NumberOf(key_.get(), OSSL_PKEY_PARAM_RSA_E) : "";
}

std::string PublicKey::Raw() const {
  const ErrorMark mark;
  if (type_ == KeyType::kEd25519) {
    std::string out(32, '\0');
    size_t size = out.size();
    EVP_PKEY_get_raw_public_key(key_.get(), reinterpret_cast<unsigned char*>(out.data()), &size);
    return out;
  }
  if (type_ == KeyType::kP256) {
    std::string point(65, '\0');
    size_t size = 0;
    if (EVP_PKEY_get_octet_string_param(key_.get(), OSSL_PKEY_PARAM_PUB_KEY,
                                        reinterpret_cast<unsigned char*>(point.data()),
                                        point.size(), &size) == 1 &&
        size == 65 && point[0] == 4) {
      return point.substr(1);
    }
  }
  return "";
}

bool PublicKey::Verify(absl::string_view message, absl::string_view signature) const {
  const ErrorMark mark;
  std::string der;
  if (type_ == KeyType::kEd25519 && signature.size() != 64) return false;
  if (type_ == KeyType::kP256) {
    if (signature.size() != 2 * kCoordinate) return false;
    der = RawToDer(signature);
    signature = der;
  }
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  const char* digest = type_ == KeyType::kEd25519 ? nullptr : "SHA256";
  bool good = EVP_DigestVerifyInit_ex(context, nullptr, digest, nullptr, nullptr, key_.get(),
                                      nullptr) == 1 &&
              EVP_DigestVerify(context, Bytes(signature), signature.size(), Bytes(message),
                               message.size()) == 1;
  EVP_MD_CTX_free(context);
  return good;
}

PrivateKey PrivateKey::Generate(KeyType type) {
  EVP_PKEY* key = nullptr;
  switch (type) {
    case KeyType::kEd25519:
      key = EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
      break;
    case KeyType::kP256:
      key = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256");
      break;
    case KeyType::kRsa:
      key = EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", size_t{3072});
      break;
  }
  if (key == nullptr) std::abort();  // only without memory or without the provider
  return PrivateKey(Own(key), type);
}

absl::StatusOr<PrivateKey> PrivateKey::FromPem(absl::string_view pem) {
  const ErrorMark mark;
  if (pem.size() > kMaxPemBytes) return Invalid("the text is too long for a key");
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  EVP_PKEY* key = PEM_read_bio_PrivateKey(bio, nullptr, &NoPassword, nullptr);
  BIO_free(bio);
  if (key == nullptr) return Invalid("the file is not an unencrypted PKCS #8 private key");
  auto owned = Own(key);
  ASSIGN_OR_RETURN(KeyType type, TypeOf(key));
  return PrivateKey(std::move(owned), type);
}

absl::StatusOr<PrivateKey> PrivateKey::FromEd25519Seed(absl::string_view seed) {
  const ErrorMark mark;
  EVP_PKEY* key = seed.size() == 32 ? EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr,
                                                                   Bytes(seed), seed.size())
                                    : nullptr;
  if (key == nullptr) return Invalid("an Ed25519 seed has 32 bytes");
  return PrivateKey(Own(key), KeyType::kEd25519);
}

absl::StatusOr<PrivateKey> PrivateKey::LoadOrGenerate(const std::string& path, KeyType type) {
  absl::StatusOr<std::string> pem = base::ReadFile(path, 1 << 16);
  if (pem.status().code() == absl::StatusCode::kNotFound) {
    PrivateKey key = Generate(type);
    Secret text(key.ToPem());
    RETURN_IF_ERROR(base::WriteFileAtomically(path, text.Reveal(), 0600, /*overwrite=*/false));
    return key;
  }
  RETURN_IF_ERROR(pem.status());
  Secret text(*std::move(pem));
  ASSIGN_OR_RETURN(PrivateKey key, FromPem(text.Reveal()));
  if (key.type() != type) return Invalid("the key file holds a key of another type");
  return key;
}

std::string PrivateKey::ToPem() const {
  BIO* bio = BIO_new(BIO_s_secmem());
  PEM_write_bio_PKCS8PrivateKey(bio, key_.get(), nullptr, nullptr, 0, nullptr, nullptr);
  char* data = nullptr;
  long size = BIO_get_mem_data(bio, &data);
  std::string out(data, static_cast<size_t>(size));
  BIO_free(bio);
  return out;
}

std::string PrivateKey::Sign(absl::string_view message) const {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  const char* digest = type_ == KeyType::kEd25519 ? nullptr : "SHA256";
  size_t size = 0;
  std::string out;
  bool good =
      EVP_DigestSignInit_ex(context, nullptr, digest, nullptr, nullptr, key_.get(), nullptr) == 1 &&
      EVP_DigestSign(context, nullptr, &size, Bytes(message), message.size()) == 1;
  if (good) {
    out.resize(size);
    good = EVP_DigestSign(context, reinterpret_cast<unsigned char*>(out.data()), &size,
                          Bytes(message), message.size()) == 1;
    out.resize(size);
  }
  EVP_MD_CTX_free(context);
  if (!good) std::abort();  // only without memory or without the provider
  return type_ == KeyType::kP256 ? DerToRaw(out) : out;
}

}  // namespace oncomesh::crypto
