// SPDX-License-Identifier: Apache-2.0
// Names of nodes and datasets: one rule for every program.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace oncomesh::base {

// ^[a-z][a-z0-9-]{1,62}$, a dataset within its node.
bool IsDatasetId(absl::string_view text);
// ^[a-z][a-z0-9-]{1,31}$ but not "hub", which is the other kind of site.
bool IsNodeName(absl::string_view text);

struct DatasetName {
  std::string node;
  std::string dataset;
  int64_t version = 0;  // 0: not named

  // "nodes/<node>/datasets/<dataset>[/versions/<version>]".
  std::string Text() const;
};

// Reads the form that Text gives, with or without a version, from 1 to 999,999,999. Errors:
// INVALID_ARGUMENT (DATASET_NAME_INVALID).
absl::StatusOr<DatasetName> ParseDatasetName(absl::string_view text);

// "lisbon" of "nodes/lisbon/datasets/sarcoma/versions/1"; empty for any other form, also without a
// version.
std::string NodeOfDataset(absl::string_view version);

}  // namespace oncomesh::base
