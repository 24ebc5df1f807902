// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace oncomesh::cli {

inline constexpr char kNoPermit[] =
    "the file does not hold a signed permit; `oncomesh permit export` writes one";

// The signed permit that an argument means: a file that holds it, or the id of one of the person's
// own. Errors: PERMISSION_DENIED (PERMIT_NOT_FOR_PERSON); INVALID_ARGUMENT (PERMIT_INVALID); those
// of AccessService.GetPermit.
absl::StatusOr<std::string> PermitArgument(const std::shared_ptr<grpc::Channel>& channel,
                                           const std::string& argument);

}  // namespace oncomesh::cli
