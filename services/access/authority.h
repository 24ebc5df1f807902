// SPDX-License-Identifier: Apache-2.0
// The authority of the trust domain (hub) and the identity folders of a site's services (hub and
// node).
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "libs/base/clock.h"
#include "libs/crypto/keys.h"
#include "oncomesh/access/v1/enrolment.pb.h"

namespace oncomesh::access {

// Issues certificates. Any thread.
class Authority {
 public:
  // Reads `<dir>/ca.key` and `<dir>/ca.crt`, or makes them: P-256, ten years.
  static absl::StatusOr<Authority> Open(const std::string& dir, const std::string& trust_domain,
                                        absl::Duration lifetime, base::Clock& clock);

  const std::string& certificate_pem() const { return certificate_; }
  // SHA-256 of the authority's certificate, hex; an invitation pins it.
  std::string Fingerprint() const;

  // A certificate for the service `path` ("hub/relay"). Errors: INVALID_ARGUMENT (CSR_INVALID).
  absl::StatusOr<std::string> Issue(const std::string& path, const std::string& csr_pem) const;
  // Issues for every service of a node. Errors: as Issue; INVALID_ARGUMENT (CSR_INVALID) for a
  // service named twice or with a bad name.
  absl::StatusOr<std::vector<v1::ServiceCertificate>> IssueForNode(
      const std::string& node,
      const google::protobuf::RepeatedPtrField<v1::SigningRequest>& requests) const;
  absl::Time NextExpiry() const;
  // How long before it is made a certificate's notBefore lies: clocks of sites differ.
  absl::Duration Backdated() const;

 private:
  Authority(crypto::PrivateKey key, std::string certificate, std::string trust_domain,
            absl::Duration lifetime, base::Clock& clock)
      : key_(std::move(key)),
        certificate_(std::move(certificate)),
        trust_domain_(std::move(trust_domain)),
        lifetime_(lifetime),
        clock_(&clock) {}

  crypto::PrivateKey key_;
  std::string certificate_;
  std::string trust_domain_;
  absl::Duration lifetime_;
  base::Clock* clock_;
};

// The identities of one site: keys made here, certificates put beside them, both swapped in as one.
class IdentityFolders {
 public:
  IdentityFolders(std::string root, std::vector<std::string> services)
      : root_(std::move(root)), services_(std::move(services)) {}

  // Half of the life of the certificate that ends first has passed, or one is missing.
  bool NeedRenewal(absl::Time now) const;
  // When to ask that again: a minute, sooner when certificates live for minutes only.
  absl::Duration LookAgain() const;
  // True when every service has an identity.
  bool Complete() const;

  // A fresh key for every service and the requests to send. Both are kept in `<root>/.prepared`
  // (0600) until Install, and the same are returned again, also after a restart: what was sent may
  // have been signed although no answer came. Errors: those of the files.
  absl::StatusOr<std::vector<v1::SigningRequest>> Prepare();
  // Writes `<root>/<service>/<version>/{tls.key,tls.crt,ca.crt}` for every service, then swaps each
  // link `current`, one after the other; every link leads to a complete identity at any time.
  // Errors: INVALID_ARGUMENT (CERTIFICATE_INVALID) when a certificate is missing or for another
  // key, and those of the files before the first swap: nothing is changed then.
  absl::Status Install(const std::vector<v1::ServiceCertificate>& certificates,
                       const std::string& ca_pem);

 private:
  std::string root_;
  std::vector<std::string> services_;
  std::vector<std::pair<std::string, crypto::PrivateKey>> prepared_;
};

}  // namespace oncomesh::access
