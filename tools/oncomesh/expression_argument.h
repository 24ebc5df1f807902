// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "oncomesh/query/v1/query.pb.h"

namespace oncomesh::cli {

// The query expression an argument means: its text, or `@FILE` with the JSON form.
// Errors: INVALID_ARGUMENT (EXPRESSION_INVALID), those of reading the file.
absl::StatusOr<query::v1::Expression> ExpressionArgument(const std::string& argument);

}  // namespace oncomesh::cli
