// SPDX-License-Identifier: Apache-2.0
// Names of datasets and the list of objects that a version's digest stands for
// (doc/formats/dataset.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/base/names.h"
#include "oncomesh/catalogue/v1/node_catalogue.pb.h"

namespace oncomesh::catalogue {

using base::DatasetName;
using base::ParseDatasetName;

// Reads the full form, which must be of `node`, or the short name alone.
absl::StatusOr<DatasetName> ParseDatasetNameAt(absl::string_view node, absl::string_view text);

// The line of an object in the list.
std::string ManifestLine(const v1::ManifestItem& item);
// SHA-256 in hexadecimal of the whole list; `items` in the order of their lines.
std::string ManifestDigest(const std::vector<v1::ManifestItem>& items);

}  // namespace oncomesh::catalogue
