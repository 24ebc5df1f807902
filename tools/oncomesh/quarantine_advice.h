// SPDX-License-Identifier: Apache-2.0
// What a reason of the quarantine means and what a data holder can do about it.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace oncomesh::cli {

struct QuarantineAdvice {
  std::string meaning;
  std::string way_out;
};

// For a reason that this program does not know: that it does not know it.
QuarantineAdvice AdviceFor(absl::string_view reason);

}  // namespace oncomesh::cli
