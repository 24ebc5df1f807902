// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/dataset_name.h"

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"

namespace oncomesh::catalogue {

absl::StatusOr<DatasetName> ParseDatasetNameAt(absl::string_view node, absl::string_view text) {
  if (base::IsDatasetId(text)) return DatasetName{std::string(node), std::string(text)};
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
