// SPDX-License-Identifier: Apache-2.0
#include "libs/rpc/identity.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/base/status_macros.h"

namespace oncomesh::rpc {
namespace {

using grpc::experimental::ExternalCertificateVerifier;
using grpc::experimental::FileWatcherCertificateProvider;
using grpc::experimental::StaticDataCertificateProvider;
using grpc::experimental::TlsCustomVerificationCheckRequest;

constexpr unsigned kReloadSeconds = 2;

// Accepts a server only under the URI it must have. The chain was checked before by OpenSSL.
class PeerPathVerifier final : public ExternalCertificateVerifier {
 public:
  explicit PeerPathVerifier(std::string uri) : uri_(std::move(uri)) {}
  bool Verify(TlsCustomVerificationCheckRequest* request, std::function<void(grpc::Status)>,
              grpc::Status* sync_status) override {
    auto uris = request->uri_names();
    if (uris.size() == 1 && absl::string_view(uris[0].data(), uris[0].size()) == uri_) {
      *sync_status = grpc::Status::OK;
    } else {
      *sync_status =
          grpc::Status(grpc::StatusCode::UNAUTHENTICATED, absl::StrCat("the server is not ", uri_));
    }
    return true;
  }
  void Cancel(TlsCustomVerificationCheckRequest*) override {}

 private:
  std::string uri_;
};

// Lets a client in by the path in its certificate. The chain was checked before by OpenSSL.
class ClientVerifier final : public ExternalCertificateVerifier {
 public:
  ClientVerifier(std::string trust_domain, AcceptClient accept)
      : trust_domain_(std::move(trust_domain)), accept_(std::move(accept)) {}
  bool Verify(TlsCustomVerificationCheckRequest* request, std::function<void(grpc::Status)>,
              grpc::Status* sync_status) override {
    auto uris = request->uri_names();
    // Two names in one certificate would let its holder choose.
    const std::string path =
        uris.size() == 1
            ? PathOfUri(absl::string_view(uris[0].data(), uris[0].size()), trust_domain_)
            : "";
    if (!path.empty() && accept_(path)) {
      *sync_status = grpc::Status::OK;
    } else {
      base::Log(base::Level::kWarning, "connection.refused",
                {{"service", path.empty() ? "not of this mesh" : path}});
      *sync_status =
          grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "this port is not for the client");
    }
    return true;
  }
  void Cancel(TlsCustomVerificationCheckRequest*) override {}

 private:
  const std::string trust_domain_;
  const AcceptClient accept_;
};

std::shared_ptr<FileWatcherCertificateProvider> Watch(const std::string& identity_dir) {
  std::string base = absl::StrCat(identity_dir, "/current/");
  return std::make_shared<FileWatcherCertificateProvider>(base + "tls.key", base + "tls.crt",
                                                          base + "ca.crt", kReloadSeconds);
}

}  // namespace

std::string PathOfUri(absl::string_view uri, absl::string_view trust_domain) {
  std::string prefix = absl::StrCat("spiffe://", trust_domain, "/");
  if (!absl::StartsWith(uri, prefix)) return "";
  std::string path(uri.substr(prefix.size()));
  std::vector<absl::string_view> parts = absl::StrSplit(path, '/');
  for (absl::string_view part : parts) {
    if (part.empty() || part == "." || part == "..") return "";
  }
  bool hub = parts.size() == 2 && parts[0] == "hub";
  bool node = parts.size() == 3 && parts[0] == "node";
  return hub || node ? path : "";
}

std::string NodeOfPath(absl::string_view path) {
  std::vector<absl::string_view> parts = absl::StrSplit(path, '/');
  return parts.size() == 3 && parts[0] == "node" ? std::string(parts[1]) : "";
}

std::string ServicePath(absl::string_view site, absl::string_view service) {
  return site == "hub" ? absl::StrCat("hub/", service) : absl::StrCat("node/", site, "/", service);
}

void AllowOnlyTls13() { setenv("GRPC_SSL_CIPHER_SUITES", "PSK-AES128-GCM-SHA256", 1); }

absl::Status WaitForIdentity(const std::string& identity_dir, absl::Duration timeout) {
  absl::Time deadline = absl::Now() + timeout;
  while (true) {
    bool complete = true;
    for (const char* name : {"/current/tls.key", "/current/tls.crt", "/current/ca.crt"}) {
      complete = complete && access((identity_dir + name).c_str(), R_OK) == 0;
    }
    if (complete) return absl::OkStatus();
    if (absl::Now() >= deadline) {
      return base::Error(absl::StatusCode::kDeadlineExceeded, "IDENTITY_MISSING",
                         "the identity folder has no current/{tls.key,tls.crt,ca.crt} yet: the "
                         "site's access service writes it when the site is enrolled; see its log");
    }
    absl::SleepFor(absl::Milliseconds(50));
  }
}

std::shared_ptr<grpc::ServerCredentials> IdentityServerCredentials(const std::string& identity_dir,
                                                                   Clients clients) {
  grpc::experimental::TlsServerCredentialsOptions options(Watch(identity_dir));
  options.watch_identity_key_cert_pairs();
  if (clients == Clients::kMesh) {
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  } else {
    options.set_cert_request_type(GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  }
  return grpc::experimental::TlsServerCredentials(options);
}

std::shared_ptr<grpc::ServerCredentials> IdentityServerCredentials(const std::string& identity_dir,
                                                                   const std::string& trust_domain,
                                                                   AcceptClient accept) {
  grpc::experimental::TlsServerCredentialsOptions options(Watch(identity_dir));
  options.watch_identity_key_cert_pairs();
  options.watch_root_certs();
  options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.set_certificate_verifier(
      ExternalCertificateVerifier::Create<ClientVerifier>(trust_domain, std::move(accept)));
  return grpc::experimental::TlsServerCredentials(options);
}

std::shared_ptr<grpc::ChannelCredentials> IdentityChannelCredentials(
    const std::string& identity_dir, const std::string& trust_domain,
    const std::string& peer_path) {
  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(Watch(identity_dir));
  options.watch_identity_key_cert_pairs();
  options.watch_root_certs();
  options.set_verify_server_certs(true);
  options.set_check_call_host(false);
  options.set_certificate_verifier(ExternalCertificateVerifier::Create<PeerPathVerifier>(
      absl::StrCat("spiffe://", trust_domain, "/", peer_path)));
  return grpc::experimental::TlsCredentials(options);
}

std::string FrontDoorUri(absl::string_view trust_domain, absl::string_view site) {
  return absl::StrCat("spiffe://", trust_domain, "/", ServicePath(site, "relay"));
}

std::string FrontDoorDnsName(absl::string_view trust_domain, absl::string_view path) {
  if (path == "hub/relay") return absl::StrCat("hub.", trust_domain);
  const std::string node = NodeOfPath(path);
  return !node.empty() && absl::EndsWith(path, "/relay")
             ? absl::StrCat(node, ".node.", trust_domain)
             : "";
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> FrontDoorCredentials(
    const std::string& ca_file, const std::string& uri) {
  ASSIGN_OR_RETURN(std::string roots, base::ReadFile(ca_file, 1 << 20));
  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(
      std::make_shared<StaticDataCertificateProvider>(std::move(roots)));
  options.watch_root_certs();
  options.set_verify_server_certs(true);
  options.set_check_call_host(false);
  options.set_certificate_verifier(ExternalCertificateVerifier::Create<PeerPathVerifier>(uri));
  return grpc::experimental::TlsCredentials(options);
}

}  // namespace oncomesh::rpc
