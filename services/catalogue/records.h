// SPDX-License-Identifier: Apache-2.0
// The hub's published records: a node publishes its own, everybody searches.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/terminology/registry.h"
#include "oncomesh/catalogue/v1/catalogue.pb.h"
#include "services/catalogue/record_store.h"

namespace oncomesh::catalogue {

// Any thread. Reads the table anew each time: a mesh has hundreds of datasets, and replicas of the
// hub's catalogue share the table.
class Records {
 public:
  Records(RecordStore& store, const terminology::Registry& registry)
      : store_(store), registry_(registry) {}

  // `node` is the node whose certificate made the call; it is the only one the record may name.
  // Errors of each: those of the RPC of the same name.
  absl::StatusOr<v1::DatasetRecord> Publish(absl::string_view node,
                                            const v1::DatasetRecord& record);
  absl::StatusOr<v1::DatasetRecord> Withdraw(absl::string_view node, absl::string_view name);
  absl::StatusOr<v1::GetDatasetResponse> Get(absl::string_view name);
  absl::StatusOr<v1::SearchDatasetsResponse> Search(const v1::SearchDatasetsRequest& request);

 private:
  RecordStore& store_;
  const terminology::Registry& registry_;
};

}  // namespace oncomesh::catalogue
