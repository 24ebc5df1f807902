// SPDX-License-Identifier: Apache-2.0
// The codes of the Data Use Ontology that requests and datasets may carry: what data may be used
// for, on which conditions, and what somebody wants them for.
#pragma once

#include "absl/strings/string_view.h"

namespace oncomesh::terminology {

struct DuoCode {
  enum class Kind {
    kPermission,
    kDuty,
    kRefusesCommercial,
    kRefusesMethods,
    kRefusesAncestry,
    kPurpose,
  };
  absl::string_view code;  // "DUO:0000042"
  absl::string_view name;  // "general research use"
  Kind kind;
};

// nullptr for what is no code, an obsolete one or an abstract one.
const DuoCode* FindDuoCode(absl::string_view code);
bool IsDuoCode(absl::string_view code);

}  // namespace oncomesh::terminology
