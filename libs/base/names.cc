// SPDX-License-Identifier: Apache-2.0
#include "libs/base/names.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "libs/base/error.h"

namespace oncomesh::base {
namespace {

constexpr int64_t kMaxVersion = 999'999'999;

bool IsName(absl::string_view text, size_t longest) {
  return text.size() >= 2 && text.size() <= longest && absl::ascii_islower(text[0]) &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-';
         });
}

}  // namespace

bool IsDatasetId(absl::string_view text) { return IsName(text, 63); }

bool IsNodeName(absl::string_view text) { return IsName(text, 32) && text != "hub"; }

std::string DatasetName::Text() const {
  std::string out = absl::StrCat("nodes/", node, "/datasets/", dataset);
  if (version > 0) absl::StrAppend(&out, "/versions/", version);
  return out;
}

absl::StatusOr<DatasetName> ParseDatasetName(absl::string_view text) {
  DatasetName out;
  std::vector<absl::string_view> parts;
  if (text.size() <= 256) parts = absl::StrSplit(text, '/');
  bool good = (parts.size() == 4 || parts.size() == 6) && parts[0] == "nodes" &&
              IsNodeName(parts[1]) && parts[2] == "datasets" && IsDatasetId(parts[3]);
  if (good && parts.size() == 6) {
    // One spelling for each version: no sign, no leading zero.
    good = parts[4] == "versions" && absl::SimpleAtoi(parts[5], &out.version) && out.version >= 1 &&
           out.version <= kMaxVersion && absl::StrCat(out.version) == parts[5];
  }
  if (!good) {
    return Error(absl::StatusCode::kInvalidArgument, "DATASET_NAME_INVALID",
                 "a dataset is named nodes/<node>/datasets/<name>, perhaps with "
                 "/versions/<number>; names have 2 to 63 of a-z, 0-9 and -, a letter first");
  }
  out.node = std::string(parts[1]);
  out.dataset = std::string(parts[3]);
  return out;
}

std::string NodeOfDataset(absl::string_view version) {
  absl::StatusOr<DatasetName> name = ParseDatasetName(version);
  return name.ok() && name->version > 0 ? name->node : "";
}

}  // namespace oncomesh::base
