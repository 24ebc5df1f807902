// SPDX-License-Identifier: Apache-2.0
// Certificates of the mesh: one authority per trust domain, and short-lived certificates that name
// a service by exactly one URI (RFC 5280; SPIFFE X.509-SVID).
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "libs/crypto/keys.h"

namespace oncomesh::crypto {

struct CertificateInfo {
  absl::Time not_before;
  absl::Time not_after;
  std::vector<std::string> uris;  // URI names of the SAN extension, in order
  std::string sha256;             // of the DER, hex
  bool is_authority = false;
};

// A self-signed authority: CA:TRUE, no further authority below it, keyCertSign and cRLSign.
std::string CreateAuthority(const PrivateKey& key, absl::string_view common_name,
                            absl::Time not_before, absl::Time not_after);

// PKCS #10 request for `key`, PEM. It names nothing: the authority decides the name.
std::string CreateSigningRequest(const PrivateKey& key);

struct CertificateRequest {
  std::string uri;               // the one URI name
  std::vector<std::string> dns;  // further names, for programs that check a host name
  std::vector<std::string> ips;  // textual
  absl::Time not_before;
  absl::Time not_after;
};

// A certificate for the key in `signing_request`, whose own signature is checked; every name in it
// is ignored. EKU: server and client authentication. Errors: INVALID_ARGUMENT (CSR_INVALID),
// FAILED_PRECONDITION (AUTHORITY_INVALID) when key and certificate of the authority do not match.
absl::StatusOr<std::string> IssueCertificate(absl::string_view authority_pem,
                                             const PrivateKey& authority_key,
                                             absl::string_view signing_request_pem,
                                             const CertificateRequest& request);

// Errors: INVALID_ARGUMENT (CERTIFICATE_INVALID).
absl::StatusOr<CertificateInfo> ParseCertificate(absl::string_view pem);

// OK when `pem` chains to `authority_pem` at `now`. Errors: UNAUTHENTICATED
// (CERTIFICATE_UNTRUSTED).
absl::Status VerifyChain(absl::string_view pem, absl::string_view authority_pem, absl::Time now);

// True when the certificate is for this key.
bool Matches(absl::string_view pem, const PrivateKey& key);

}  // namespace oncomesh::crypto
