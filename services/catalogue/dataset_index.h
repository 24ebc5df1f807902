// SPDX-License-Identifier: Apache-2.0
// Indexes of nothing but what some datasets hold: a count that a permit allows must not see more of
// a closed node than the permit names, not even through `has`.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "libs/base/mutex.h"
#include "libs/terminology/registry.h"
#include "services/catalogue/current_index.h"
#include "services/catalogue/node_store.h"

namespace oncomesh::catalogue {

// Any thread.
class DatasetIndex {
 public:
  // Indexes kept; they are made anew when something was indexed since.
  static constexpr size_t kMaxKept = 16;

  // `current` tells when something was indexed.
  DatasetIndex(std::string node, const terminology::Registry& registry, NodeStore& store,
               CurrentIndex& current)
      : node_(std::move(node)), registry_(registry), store_(store), current_(current) {}

  // The patients, studies, series and objects of those versions among `names` that are this node's
  // and not withdrawn. Patients have the same row numbers as in the node's index. nullptr when
  // there is no such version. Errors: those of the store.
  absl::StatusOr<std::shared_ptr<const Index>> Of(const std::vector<std::string>& names);

 private:
  const std::string node_;
  const terminology::Registry& registry_;
  NodeStore& store_;
  CurrentIndex& current_;
  base::Mutex mutex_;
  // Made when `seen_` was the current index; by the names of the versions.
  std::shared_ptr<const Index> seen_ ABSL_GUARDED_BY(mutex_);
  std::map<std::vector<std::string>, std::shared_ptr<const Index>> kept_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace oncomesh::catalogue
