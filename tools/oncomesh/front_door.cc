// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/front_door.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/x509.h"
#include "libs/rpc/identity.h"
#include "oncomesh/access/v1/people.grpc.pb.h"

namespace oncomesh::cli {

absl::StatusOr<std::string> SignedText(absl::string_view content, absl::string_view reason,
                                       absl::string_view message) {
  content = absl::StripAsciiWhitespace(content);
  if (content.empty() || !std::all_of(content.begin(), content.end(), absl::ascii_isgraph)) {
    return base::Error(absl::StatusCode::kInvalidArgument, reason, message);
  }
  return std::string(content);
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> OpenFrontDoor(const Context& context) {
  rpc::AllowOnlyTls13();
  const std::string uri = rpc::FrontDoorUri(context.trust_domain, context.site);
  // Read once for a message that names it; gRPC would only say that nobody could be reached.
  ASSIGN_OR_RETURN(
      std::string authority,
      ReadNamedFile(context.ca_file, 1 << 20, "the file with the context's authority (caFile)"));
  if (!crypto::ParseCertificate(authority).ok()) {
    return base::Error(absl::StatusCode::kInvalidArgument, "CONTEXT_INVALID",
                       "the context's caFile holds no certificate (PEM); the operator of the mesh "
                       "gives it out with the context");
  }
  std::string token;
  if (!context.token_file.empty()) {
    ASSIGN_OR_RETURN(token,
                     ReadNamedFile(context.token_file, 64 << 10, "the token file of the context"));
    ASSIGN_OR_RETURN(token, SignedText(token, "TOKEN_INVALID",
                                       "the token file of the context does not hold a token: one "
                                       "line of letters, digits, '-', '_' and '.'"));
  } else if (!context.credential_file.empty()) {
    access::v1::IssueTokenRequest request;
    ASSIGN_OR_RETURN(std::string credential, ReadNamedFile(context.credential_file, 4096,
                                                           "the credential file of the context"));
    request.set_credential(std::string(absl::StripAsciiWhitespace(credential)));
    ASSIGN_OR_RETURN(auto channel,
                     rpc::ConnectFrontDoor(context.endpoint, context.ca_file, uri, ""));
    auto stub = access::v1::PeopleService::NewStub(channel);
    auto issued = Call(*stub, &access::v1::PeopleService::Stub::IssueToken, request);
    if (issued.status().code() == absl::StatusCode::kUnavailable &&
        base::ErrorInfoOf(issued.status()).reason.empty()) {
      return base::Error(absl::StatusCode::kUnavailable, "FRONT_DOOR_UNREACHABLE",
                         absl::StrCat("no safe connection to ", context.endpoint,
                                      "; is the mesh up, and is it the one of the context? (",
                                      issued.status().message(), ")"));
    }
    RETURN_IF_ERROR(issued.status());
    token = issued->token();
  }
  return rpc::ConnectFrontDoor(context.endpoint, context.ca_file, uri, token);
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> OpenFrontDoor(const Session& session) {
  ASSIGN_OR_RETURN(Context context, session.LoadContext());
  return OpenFrontDoor(context);
}

}  // namespace oncomesh::cli
