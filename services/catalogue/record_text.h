// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "oncomesh/catalogue/v1/catalogue.pb.h"

namespace oncomesh::catalogue {

// A record as hub and node store it: its JSON form.
std::string RecordText(const v1::DatasetRecord& record);
// Fields of a newer program are passed over. Errors: DATA_LOSS (RECORD_CORRUPT).
absl::StatusOr<v1::DatasetRecord> RecordOf(const std::string& text);

}  // namespace oncomesh::catalogue
