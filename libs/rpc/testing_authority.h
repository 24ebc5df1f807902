// SPDX-License-Identifier: Apache-2.0
// For tests: an authority that gives identity folders to whoever asks.
#pragma once

#include <string>

#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "libs/base/files.h"
#include "libs/crypto/keys.h"
#include "libs/crypto/x509.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"

namespace oncomesh::rpc {

class TestingAuthority {
 public:
  // An identity folder whose certificate has this URI.
  std::string Identity(const std::string& uri) {
    const std::string folder = folder_ / absl::StrReplaceAll(uri, {{"/", "-"}, {":", ""}});
    const std::string current = folder + "/current";
    REQUIRE_OK(base::MakeDirectories(current));
    auto key = crypto::PrivateKey::Generate(crypto::KeyType::kP256);
    crypto::CertificateRequest request;
    request.uri = uri;
    request.not_before = now_ - absl::Hours(1);
    request.not_after = now_ + absl::Hours(1);
    REQUIRE_VALUE(
        std::string certificate,
        crypto::IssueCertificate(certificate_, key_, crypto::CreateSigningRequest(key), request));
    REQUIRE_OK(base::WriteFileAtomically(current + "/tls.key", key.ToPem(), 0600));
    REQUIRE_OK(base::WriteFileAtomically(current + "/ca.crt", certificate_));
    REQUIRE_OK(base::WriteFileAtomically(current + "/tls.crt", certificate));
    return folder;
  }

 private:
  testing::TemporaryFolder folder_;
  const absl::Time now_ = absl::Now();
  crypto::PrivateKey key_ = crypto::PrivateKey::Generate(crypto::KeyType::kP256);
  std::string certificate_ =
      crypto::CreateAuthority(key_, "ca", now_ - absl::Hours(1), now_ + absl::Hours(1));
};

}  // namespace oncomesh::rpc
