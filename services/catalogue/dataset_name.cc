// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/dataset_name.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"

namespace oncomesh::catalogue {
namespace {

absl::Status Invalid() {
  return base::Error(absl::StatusCode::kInvalidArgument, "DATASET_NAME_INVALID",
                     "a dataset is named nodes/<node>/datasets/<name>, perhaps with "
                     "/versions/<number>; names have 2 to 63 of a-z, 0-9 and -, a letter first");
}

}  // namespace

std::string DatasetName::Text() const {
  std::string out = absl::StrCat("nodes/", node, "/datasets/", dataset);
  if (version > 0) absl::StrAppend(&out, "/versions/", version);
  return out;
}

bool IsShortName(absl::string_view text) {
  return text.size() >= 2 && text.size() <= 63 && absl::ascii_islower(text[0]) &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-';
         });
}

absl::StatusOr<DatasetName> ParseDatasetName(absl::string_view text) {
  if (text.size() > 256) return Invalid();
  std::vector<absl::string_view> parts = absl::StrSplit(text, '/');
  if ((parts.size() != 4 && parts.size() != 6) || parts[0] != "nodes" || parts[2] != "datasets" ||
      !IsShortName(parts[1]) || !IsShortName(parts[3])) {
    return Invalid();
  }
  DatasetName out{std::string(parts[1]), std::string(parts[3])};
  if (parts.size() == 4) return out;
  // One spelling for each version: no sign, no leading zero.
  if (parts[4] != "versions" || !absl::SimpleAtoi(parts[5], &out.version) || out.version < 1 ||
      absl::StrCat(out.version) != parts[5]) {
    return Invalid();
  }
  return out;
}

absl::StatusOr<DatasetName> ParseDatasetNameAt(absl::string_view node, absl::string_view text) {
  if (IsShortName(text)) return DatasetName{std::string(node), std::string(text)};
  ASSIGN_OR_RETURN(DatasetName out, ParseDatasetName(text));
  if (out.node != node) {
    return base::Error(absl::StatusCode::kNotFound, "DATASET_NOT_FOUND",
                       absl::StrCat("this is node ", node, "; the dataset is another node's"));
  }
  return out;
}

std::string ManifestLine(const v1::ManifestItem& item) {
  return absl::StrCat(item.patient_code(), "\t", item.study_uid(), "\t", item.series_uid(), "\t",
                      item.sop_instance_uid(), "\t", item.sha256(), "\n");
}

std::string ManifestDigest(const std::vector<v1::ManifestItem>& items) {
  crypto::Sha256 hash;
  hash.Update("oncomesh-dataset/1\n");
  for (const v1::ManifestItem& item : items) hash.Update(ManifestLine(item));
  return hash.FinishHex();
}

}  // namespace oncomesh::catalogue
