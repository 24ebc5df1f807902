// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/version_contents.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/hash/hash.h"

namespace oncomesh::catalogue {

void VersionContents::Add(const v1::ManifestItem& item) {
  by_patient_[item.patient_code()] +=
      absl::HashOf(item.study_uid(), item.series_uid(), item.sop_instance_uid(), item.sha256());
}

size_t VersionContents::Difference(const VersionContents& a, const VersionContents& b) {
  size_t shared = 0, changed = 0;
  for (const auto& [patient, objects] : a.by_patient_) {
    auto found = b.by_patient_.find(patient);
    if (found == b.by_patient_.end()) continue;
    ++shared;
    changed += found->second != objects ? 1 : 0;
  }
  return a.by_patient_.size() + b.by_patient_.size() - 2 * shared + changed;
}

VersionHistory::Nearest VersionHistory::Find(const VersionContents& next, bool reference) const {
  Nearest nearest{std::numeric_limits<size_t>::max(), nullptr};
  for (const Past& past : past_) {
    if (past.reference != reference) continue;
    const size_t distance = VersionContents::Difference(past.contents, next);
    if (distance < nearest.distance) nearest = {distance, &past};
  }
  return nearest;
}

absl::optional<v1::Statistics> VersionHistory::ToldOf(const VersionContents& next) const {
  const auto apart = static_cast<size_t>(rules_.apart());
  const size_t near = (apart + 1) / 2;  // min_cell
  const Nearest reference = Find(next, /*reference=*/true);
  if (reference.distance < near) return reference.past->told;
  const Nearest follower = Find(next, /*reference=*/false);
  if (follower.distance < near) return follower.past->told;
  if (reference.distance < apart) return reference.past->told;
  return absl::nullopt;
}

void VersionHistory::AddReference(VersionContents contents, v1::Statistics told) {
  past_.push_back({std::move(contents), std::move(told), /*reference=*/true});
}

void VersionHistory::AddTold(VersionContents contents, v1::Statistics told) {
  const auto apart = static_cast<size_t>(rules_.apart());
  const size_t near = (apart + 1) / 2;
  const size_t reference = Find(contents, /*reference=*/true).distance;
  // Nearer ones need no follower of their own, and one further away follows nobody: it was told
  // what a follower was, or the same sizes by chance.
  if (reference < near || reference >= apart) return;
  if (Find(contents, /*reference=*/false).distance < near) return;
  past_.push_back({std::move(contents), std::move(told), /*reference=*/false});
}

}  // namespace oncomesh::catalogue
