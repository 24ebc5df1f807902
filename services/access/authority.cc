// SPDX-License-Identifier: Apache-2.0
#include "services/access/authority.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/random.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/secret.h"
#include "libs/crypto/x509.h"
#include "libs/rpc/identity.h"

namespace oncomesh::access {
namespace {

constexpr absl::Duration kAuthorityLife = absl::Hours(24 * 3650);
// Clocks of sites differ: a fresh certificate is good a little earlier, by this or by a tenth of
// its life, so that it never begins beyond the half at which it is renewed.
constexpr absl::Duration kClockSkew = absl::Minutes(5);
// How often a site looks whether half of a life has passed, in lives.
constexpr int kLooks = 16;

bool IsServiceName(const std::string& name) {
  return !name.empty() && name.size() <= 32 &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyz") == std::string::npos;
}

}  // namespace

absl::StatusOr<Authority> Authority::Open(const std::string& dir, const std::string& trust_domain,
                                          absl::Duration lifetime, base::Clock& clock) {
  RETURN_IF_ERROR(base::MakeDirectories(dir, 0700));
  ASSIGN_OR_RETURN(crypto::PrivateKey key,
                   crypto::PrivateKey::LoadOrGenerate(dir + "/ca.key", crypto::KeyType::kP256));
  const std::string path = dir + "/ca.crt";
  absl::StatusOr<std::string> certificate = base::ReadFile(path, 1 << 20);
  if (certificate.status().code() == absl::StatusCode::kNotFound) {
    const absl::Time now = clock.Now();
    certificate = crypto::CreateAuthority(key, absl::StrCat("oncomesh authority of ", trust_domain),
                                          now - kClockSkew, now + kAuthorityLife);
    RETURN_IF_ERROR(base::WriteFileAtomically(path, *certificate, 0644));
  }
  RETURN_IF_ERROR(certificate.status());
  if (!crypto::Matches(*certificate, key)) {
    return base::Error(absl::StatusCode::kFailedPrecondition, "AUTHORITY_INVALID",
                       "ca.key and ca.crt of the trust domain do not belong together; restore both "
                       "from the same backup");
  }
  return Authority(std::move(key), *std::move(certificate), trust_domain, lifetime, clock);
}

std::string Authority::Fingerprint() const {
  absl::StatusOr<crypto::CertificateInfo> info = crypto::ParseCertificate(certificate_);
  return info.ok() ? info->sha256 : "";
}

absl::Duration Authority::Backdated() const { return std::min(kClockSkew, lifetime_ / 10); }

absl::Time Authority::NextExpiry() const { return clock_->Now() + lifetime_; }

absl::StatusOr<std::string> Authority::Issue(const std::string& path,
                                             const std::string& csr_pem) const {
  const absl::Time now = clock_->Now();
  std::vector<std::string> dns = {"localhost"};
  // For people's programs that can check a host name only.
  const std::string front_door = rpc::FrontDoorDnsName(trust_domain_, path);
  if (!front_door.empty()) dns.push_back(front_door);
  return crypto::IssueCertificate(certificate_, key_, csr_pem,
                                  {.uri = absl::StrCat("spiffe://", trust_domain_, "/", path),
                                   .dns = std::move(dns),
                                   .ips = {"127.0.0.1"},
                                   .not_before = now - Backdated(),
                                   .not_after = now + lifetime_});
}

absl::StatusOr<std::vector<v1::ServiceCertificate>> Authority::IssueForNode(
    const std::string& node,
    const google::protobuf::RepeatedPtrField<v1::SigningRequest>& requests) const {
  if (requests.empty() || requests.size() > 16) {
    return base::Error(absl::StatusCode::kInvalidArgument, "CSR_INVALID",
                       "1 to 16 certificate signing requests are needed");
  }
  std::vector<v1::ServiceCertificate> out;
  std::set<std::string> seen;
  for (const v1::SigningRequest& request : requests) {
    if (!IsServiceName(request.service()) || !seen.insert(request.service()).second) {
      return base::Error(absl::StatusCode::kInvalidArgument, "CSR_INVALID",
                         "each signing request names another service, in lower-case letters");
    }
    v1::ServiceCertificate certificate;
    certificate.set_service(request.service());
    ASSIGN_OR_RETURN(*certificate.mutable_certificate_pem(),
                     Issue(absl::StrCat("node/", node, "/", request.service()), request.csr_pem()));
    out.push_back(std::move(certificate));
  }
  return out;
}

bool IdentityFolders::Complete() const {
  for (const std::string& service : services_) {
    if (::access(absl::StrCat(root_, "/", service, "/current/tls.crt").c_str(), R_OK) != 0)
      return false;
  }
  return true;
}

bool IdentityFolders::NeedRenewal(absl::Time now) const {
  for (const std::string& service : services_) {
    auto pem = base::ReadFile(absl::StrCat(root_, "/", service, "/current/tls.crt"), 1 << 20);
    if (!pem.ok()) return true;
    auto info = crypto::ParseCertificate(*pem);
    if (!info.ok() || now >= info->not_before + (info->not_after - info->not_before) / 2)
      return true;
  }
  return false;
}

absl::Duration IdentityFolders::LookAgain() const {
  absl::Duration shortest = absl::Hours(1);
  for (const std::string& service : services_) {
    auto pem = base::ReadFile(absl::StrCat(root_, "/", service, "/current/tls.crt"), 1 << 20);
    if (!pem.ok()) continue;
    auto info = crypto::ParseCertificate(*pem);
    if (info.ok()) shortest = std::min(shortest, info->not_after - info->not_before);
  }
  return std::clamp(shortest / kLooks, absl::Seconds(1), absl::Minutes(1));
}

absl::StatusOr<std::vector<v1::SigningRequest>> IdentityFolders::Prepare() {
  prepared_.clear();
  std::vector<v1::SigningRequest> out;
  const std::string folder = root_ + "/.prepared";
  RETURN_IF_ERROR(base::MakeDirectories(folder, 0700));
  for (const std::string& service : services_) {
    const std::string path = absl::StrCat(folder, "/", service);
    ASSIGN_OR_RETURN(crypto::PrivateKey key,
                     crypto::PrivateKey::LoadOrGenerate(path + ".key", crypto::KeyType::kP256));
    // The request is kept too: signing it again would give other bytes.
    absl::StatusOr<std::string> csr = base::ReadFile(path + ".csr", 64 << 10);
    if (!csr.ok()) {
      csr = crypto::CreateSigningRequest(key);
      RETURN_IF_ERROR(base::WriteFileAtomically(path + ".csr", *csr, 0600));
    }
    v1::SigningRequest request;
    request.set_service(service);
    request.set_csr_pem(*std::move(csr));
    out.push_back(std::move(request));
    prepared_.emplace_back(service, std::move(key));
  }
  return out;
}

absl::Status IdentityFolders::Install(const std::vector<v1::ServiceCertificate>& certificates,
                                      const std::string& ca_pem) {
  auto certificate_of = [&](const std::string& service) -> const std::string* {
    for (const v1::ServiceCertificate& certificate : certificates) {
      if (certificate.service() == service) return &certificate.certificate_pem();
    }
    return nullptr;
  };
  // All are judged before anything is written: a half-renewed site would be harder to understand
  // than an old one.
  for (const auto& [service, key] : prepared_) {
    const std::string* pem = certificate_of(service);
    if (pem == nullptr || !crypto::Matches(*pem, key)) {
      return base::Error(absl::StatusCode::kInvalidArgument, "CERTIFICATE_INVALID",
                         absl::StrCat("the hub sent no certificate for the key of ", service));
    }
  }
  const std::string version = base::NewId("");
  for (const auto& [service, key] : prepared_) {
    const std::string folder = absl::StrCat(root_, "/", service);
    RETURN_IF_ERROR(base::MakeDirectories(absl::StrCat(folder, "/", version), 0700));
    crypto::Secret key_pem(key.ToPem());
    RETURN_IF_ERROR(base::WriteFileAtomically(absl::StrCat(folder, "/", version, "/tls.key"),
                                              key_pem.Reveal(), 0600));
    RETURN_IF_ERROR(base::WriteFileAtomically(absl::StrCat(folder, "/", version, "/tls.crt"),
                                              *certificate_of(service), 0644));
    RETURN_IF_ERROR(
        base::WriteFileAtomically(absl::StrCat(folder, "/", version, "/ca.crt"), ca_pem, 0644));
  }
  for (const auto& [service, key] : prepared_) {
    const std::string folder = absl::StrCat(root_, "/", service);
    const std::string fresh = absl::StrCat(folder, "/.current-", version);
    if (symlink(version.c_str(), fresh.c_str()) != 0 ||
        rename(fresh.c_str(), absl::StrCat(folder, "/current").c_str()) != 0) {
      return base::ErrnoStatus(errno, "swap the identity of a service");
    }
    // Older versions go: their keys are not needed again. Open connections keep what they have.
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
      if (entry.is_directory(ignored) && !entry.is_symlink(ignored) &&
          entry.path().filename() != version) {
        std::filesystem::remove_all(entry.path(), ignored);
      }
    }
  }
  prepared_.clear();
  std::error_code ignored;
  std::filesystem::remove_all(root_ + "/.prepared", ignored);
  return absl::OkStatus();
}

}  // namespace oncomesh::access
