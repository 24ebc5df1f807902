// SPDX-License-Identifier: Apache-2.0
#include "libs/crypto/x509.h"

#include <openssl/asn1.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <memory>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/random.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "libs/crypto/error_mark.h"

namespace oncomesh::crypto {
namespace {

template <typename T, void (*Free)(T*)>
struct Deleter {
  void operator()(T* object) const { Free(object); }
};
using X509Ptr = std::unique_ptr<X509, Deleter<X509, X509_free>>;
using RequestPtr = std::unique_ptr<X509_REQ, Deleter<X509_REQ, X509_REQ_free>>;

struct BioDeleter {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using BioPtr = std::unique_ptr<BIO, BioDeleter>;

BioPtr Reader(absl::string_view text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string Text(BIO* bio) {
  char* data = nullptr;
  long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

std::string ToPem(X509* certificate) {
  BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), certificate);
  return Text(bio.get());
}

// Gives no password: a PEM block can claim to be encrypted, and OpenSSL would ask the terminal.
int NoPassword(char*, int, int, void*) { return -1; }

constexpr size_t kMaxPemBytes = 16 << 10;

X509Ptr FromPem(absl::string_view pem) {
  const ErrorMark mark;
  if (pem.size() > kMaxPemBytes) return nullptr;
  return X509Ptr(PEM_read_bio_X509(Reader(pem).get(), nullptr, &NoPassword, nullptr));
}

absl::Time ToTime(const ASN1_TIME* time) {
  struct tm parts{};
  ASN1_TIME_to_tm(time, &parts);
  return absl::FromUnixSeconds(timegm(&parts));
}

// Version 3, a random serial number of 127 bits (RFC 5280 §4.1.2.2), the times, the key.
X509Ptr Blank(EVP_PKEY* key, absl::Time not_before, absl::Time not_after) {
  X509Ptr certificate(X509_new());
  X509_set_version(certificate.get(), X509_VERSION_3);
  std::string serial = base::SystemRandom::Get().Bytes(16);
  serial[0] = static_cast<char>((serial[0] & 0x7f) | 0x01);
  BIGNUM* number = BN_bin2bn(reinterpret_cast<const unsigned char*>(serial.data()),
                             static_cast<int>(serial.size()), nullptr);
  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate.get()));
  BN_free(number);
  ASN1_TIME_set(X509_getm_notBefore(certificate.get()), absl::ToTimeT(not_before));
  ASN1_TIME_set(X509_getm_notAfter(certificate.get()), absl::ToTimeT(not_after));
  X509_set_pubkey(certificate.get(), key);
  return certificate;
}

// `value` is in OpenSSL's configuration syntax and is made by this file alone, never by a caller.
void AddExtension(X509* certificate, X509* issuer, int id, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str());
  // A certificate without its constraints would be worse than none.
  if (extension == nullptr || X509_add_ext(certificate, extension, -1) != 1) std::abort();
  X509_EXTENSION_free(extension);
}

// The SAN is built as a structure: a name with a comma could smuggle another one into the
// configuration syntax.
absl::Status AddNames(X509* certificate, const CertificateRequest& request) {
  const ErrorMark mark;
  auto is_name = [](const std::string& text) {
    return !text.empty() && text.size() <= 255 &&
           std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
  };
  bool sound = is_name(request.uri);
  for (const std::string& dns : request.dns) sound = sound && is_name(dns);
  if (!sound) {
    return base::Error(absl::StatusCode::kInvalidArgument, "CSR_INVALID",
                       "a name in a certificate is 1 to 255 visible ASCII characters");
  }
  GENERAL_NAMES* names = GENERAL_NAMES_new();
  auto add = [&](int type, const std::string& text) {
    ASN1_IA5STRING* string = ASN1_IA5STRING_new();
    ASN1_STRING_set(string, text.data(), static_cast<int>(text.size()));
    GENERAL_NAME* name = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(name, type, string);
    sk_GENERAL_NAME_push(names, name);
  };
  add(GEN_URI, request.uri);
  for (const std::string& dns : request.dns) add(GEN_DNS, dns);
  absl::Status status;
  for (const std::string& ip : request.ips) {
    ASN1_OCTET_STRING* address = a2i_IPADDRESS(ip.c_str());
    if (address == nullptr) {
      status = base::Error(absl::StatusCode::kInvalidArgument, "CSR_INVALID", "not an IP address");
      break;
    }
    GENERAL_NAME* name = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(name, GEN_IPADD, address);
    sk_GENERAL_NAME_push(names, name);
  }
  // Critical, since the subject is empty (RFC 5280 §4.2.1.6).
  if (status.ok())
    X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 1, X509V3_ADD_DEFAULT);
  GENERAL_NAMES_free(names);
  return status;
}

}  // namespace

std::string CreateAuthority(const PrivateKey& key, absl::string_view common_name,
                            absl::Time not_before, absl::Time not_after) {
  X509Ptr certificate = Blank(key.native(), not_before, not_after);
  X509_NAME* name = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(common_name.data()),
                             static_cast<int>(common_name.size()), -1, 0);
  X509_set_issuer_name(certificate.get(), name);
  X509* self = certificate.get();
  AddExtension(self, self, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  AddExtension(self, self, NID_key_usage, "critical,keyCertSign,cRLSign");
  AddExtension(self, self, NID_subject_key_identifier, "hash");
  X509_sign(self, key.native(), key.type() == KeyType::kEd25519 ? nullptr : EVP_sha256());
  return ToPem(self);
}

std::string CreateSigningRequest(const PrivateKey& key) {
  RequestPtr request(X509_REQ_new());
  X509_REQ_set_version(request.get(), X509_REQ_VERSION_1);
  X509_REQ_set_pubkey(request.get(), key.native());
  X509_REQ_sign(request.get(), key.native(),
                key.type() == KeyType::kEd25519 ? nullptr : EVP_sha256());
  BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509_REQ(bio.get(), request.get());
  return Text(bio.get());
}

absl::StatusOr<std::string> IssueCertificate(absl::string_view authority_pem,
                                             const PrivateKey& authority_key,
                                             absl::string_view signing_request_pem,
                                             const CertificateRequest& wanted) {
  const ErrorMark mark;
  X509Ptr authority = FromPem(authority_pem);
  if (authority == nullptr || !Matches(authority_pem, authority_key)) {
    return base::Error(absl::StatusCode::kFailedPrecondition, "AUTHORITY_INVALID",
                       "the authority's certificate and key do not belong together");
  }
  RequestPtr request;
  if (signing_request_pem.size() <= kMaxPemBytes) {
    request.reset(
        PEM_read_bio_X509_REQ(Reader(signing_request_pem).get(), nullptr, &NoPassword, nullptr));
  }
  EVP_PKEY* key = request == nullptr ? nullptr : X509_REQ_get0_pubkey(request.get());
  // The signature proves that who asks has the key.
  if (key == nullptr || X509_REQ_verify(request.get(), key) != 1) {
    return base::Error(
        absl::StatusCode::kInvalidArgument, "CSR_INVALID",
        "the certificate signing request cannot be read or is not signed by its key");
  }
  char group[64] = {};
  size_t size = 0;
  if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC ||
      EVP_PKEY_get_group_name(key, group, sizeof(group), &size) != 1 ||
      absl::string_view(group) != SN_X9_62_prime256v1) {
    return base::Error(absl::StatusCode::kInvalidArgument, "CSR_INVALID",
                       "the key of the certificate signing request must be P-256");
  }
  X509Ptr certificate = Blank(key, wanted.not_before, wanted.not_after);
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(authority.get()));
  X509* self = certificate.get();
  AddExtension(self, authority.get(), NID_basic_constraints, "critical,CA:FALSE");
  AddExtension(self, authority.get(), NID_key_usage, "critical,digitalSignature");
  AddExtension(self, authority.get(), NID_ext_key_usage, "serverAuth,clientAuth");
  AddExtension(self, authority.get(), NID_subject_key_identifier, "hash");
  AddExtension(self, authority.get(), NID_authority_key_identifier, "keyid");
  RETURN_IF_ERROR(AddNames(self, wanted));
  X509_sign(self, authority_key.native(),
            authority_key.type() == KeyType::kEd25519 ? nullptr : EVP_sha256());
  return ToPem(self);
}

absl::StatusOr<CertificateInfo> ParseCertificate(absl::string_view pem) {
  const ErrorMark mark;
  X509Ptr certificate = FromPem(pem);
  // The flags say whether every extension that OpenSSL knows could be read.
  if (certificate == nullptr ||
      (X509_get_extension_flags(certificate.get()) & EXFLAG_INVALID) != 0) {
    return base::Error(absl::StatusCode::kInvalidArgument, "CERTIFICATE_INVALID",
                       "the file is not a PEM certificate");
  }
  CertificateInfo info;
  info.not_before = ToTime(X509_get0_notBefore(certificate.get()));
  info.not_after = ToTime(X509_get0_notAfter(certificate.get()));
  info.is_authority = X509_check_ca(certificate.get()) > 0;
  // Absent, malformed or doubled: then the certificate names nothing.
  auto* names = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_URI) continue;
    const ASN1_IA5STRING* uri = name->d.uniformResourceIdentifier;
    info.uris.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)),
                           static_cast<size_t>(ASN1_STRING_length(uri)));
  }
  GENERAL_NAMES_free(names);
  unsigned char* der = nullptr;
  int size = i2d_X509(certificate.get(), &der);
  info.sha256 =
      Sha256Hex(absl::string_view(reinterpret_cast<char*>(der), static_cast<size_t>(size)));
  OPENSSL_free(der);
  return info;
}

absl::Status VerifyChain(absl::string_view pem, absl::string_view authority_pem, absl::Time now) {
  X509Ptr certificate = FromPem(pem), authority = FromPem(authority_pem);
  if (certificate == nullptr || authority == nullptr) {
    return base::Error(absl::StatusCode::kUnauthenticated, "CERTIFICATE_UNTRUSTED",
                       "a certificate cannot be read");
  }
  const ErrorMark mark;
  X509_STORE* store = X509_STORE_new();
  X509_STORE_add_cert(store, authority.get());
  X509_STORE_CTX* context = X509_STORE_CTX_new();
  X509_STORE_CTX_init(context, store, certificate.get(), nullptr);
  X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(context);
  X509_VERIFY_PARAM_set_time(param, absl::ToTimeT(now));
  X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT);
  X509_VERIFY_PARAM_set_auth_level(param, 2);  // 112 bits: no SHA-1, no short RSA
  bool good = X509_verify_cert(context) == 1;
  std::string why = X509_verify_cert_error_string(X509_STORE_CTX_get_error(context));
  X509_STORE_CTX_free(context);
  X509_STORE_free(store);
  if (good) return absl::OkStatus();
  return base::Error(absl::StatusCode::kUnauthenticated, "CERTIFICATE_UNTRUSTED",
                     absl::StrCat("the certificate does not chain to the authority: ", why));
}

bool Matches(absl::string_view pem, const PrivateKey& key) {
  const ErrorMark mark;
  X509Ptr certificate = FromPem(pem);
  return certificate != nullptr && X509_check_private_key(certificate.get(), key.native()) == 1;
}

}  // namespace oncomesh::crypto
