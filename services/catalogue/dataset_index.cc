// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/dataset_index.h"

#include <set>
#include <utility>

#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "services/catalogue/dataset_name.h"

namespace oncomesh::catalogue {

absl::StatusOr<std::shared_ptr<const Index>> DatasetIndex::Of(
    const std::vector<std::string>& names) {
  std::set<std::string> versions;
  std::vector<DatasetName> datasets;
  for (const std::string& text : names) {
    absl::StatusOr<DatasetName> name = ParseDatasetName(text);
    if (!name.ok() || name->node != node_ || name->version == 0) continue;
    // Looked up with every count: a version that was withdrawn since is out at once.
    absl::StatusOr<v1::DatasetRecord> record = store_.GetDataset(name->dataset, name->version);
    if (absl::IsNotFound(record.status())) continue;
    RETURN_IF_ERROR(record.status());
    if (record->state() == v1::DatasetRecord::STATE_WITHDRAWN) continue;
    if (versions.insert(name->Text()).second) datasets.push_back(*std::move(name));
  }
  if (datasets.empty()) return nullptr;
  const std::vector<std::string> key(versions.begin(), versions.end());
  std::shared_ptr<const Index> now = current_.Get();
  {
    base::MutexLock lock(mutex_);
    auto found = kept_.find(key);
    if (seen_ == now && found != kept_.end()) return found->second;
  }
  ASSIGN_OR_RETURN(std::shared_ptr<const Index> made, store_.MakeIndex(registry_, datasets));
  base::MutexLock lock(mutex_);
  // Another thread may have seen a newer one; what was made here is then good for this call only.
  if (current_.Get() != now) return made;
  if (seen_ != now || kept_.size() >= kMaxKept) kept_.clear();
  seen_ = std::move(now);
  kept_[key] = made;
  return made;
}

}  // namespace oncomesh::catalogue
