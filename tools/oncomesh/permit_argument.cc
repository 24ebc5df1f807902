// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/permit_argument.h"

#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "oncomesh/access/v1/access.grpc.pb.h"
#include "tools/oncomesh/front_door.h"

namespace oncomesh::cli {

absl::StatusOr<std::string> PermitArgument(const std::shared_ptr<grpc::Channel>& channel,
                                           const std::string& argument) {
  absl::StatusOr<std::string> file = base::ReadFile(argument, 64 << 10);
  if (file.ok()) return SignedText(*file, "PERMIT_INVALID", kNoPermit);
  auto stub = access::v1::AccessService::NewStub(channel);
  access::v1::GetPermitRequest request;
  request.set_id(argument);
  ASSIGN_OR_RETURN(auto response,
                   Call(*stub, &access::v1::AccessService::Stub::GetPermit, request));
  if (response.jws().empty()) {
    return base::Error(absl::StatusCode::kPermissionDenied, "PERMIT_NOT_FOR_PERSON",
                       "the permit names somebody else; only its people can use it");
  }
  return response.jws();
}

}  // namespace oncomesh::cli
