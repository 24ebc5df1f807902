// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/expression_argument.h"

#include "libs/base/status_macros.h"
#include "libs/query/text.h"
#include "tools/oncomesh/session.h"

namespace oncomesh::cli {

absl::StatusOr<query::v1::Expression> ExpressionArgument(const std::string& argument) {
  if (argument.empty() || argument[0] != '@') {
    absl::StatusOr<query::v1::Expression> parsed = query::ParseText(argument);
    if (!parsed.ok()) return AsWrongUsage(parsed.status());
    return parsed;
  }
  ASSIGN_OR_RETURN(std::string json,
                   ReadNamedFile(argument.substr(1), 1 << 20, "the file of the expression"));
  return query::ParseJson(json);
}

}  // namespace oncomesh::cli
