// SPDX-License-Identifier: Apache-2.0
// The hub's table of published records.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libs/store/database.h"
#include "oncomesh/catalogue/v1/catalogue.pb.h"
#include "services/catalogue/dataset_name.h"

namespace oncomesh::catalogue {

// Any thread.
class RecordStore {
 public:
  // Errors: those of store::Database::Open.
  static absl::StatusOr<std::unique_ptr<RecordStore>> Open(const std::string& url,
                                                           const std::string& password_file = "");

  // Replaces the record of `name` (with version) by what `change` makes of it, in one transaction;
  // `change` gets nullptr when there is none, and nothing is written when it fails.
  absl::StatusOr<v1::DatasetRecord> Change(
      const DatasetName& name,
      const std::function<absl::StatusOr<v1::DatasetRecord>(const v1::DatasetRecord*)>& change);

  // Every record, withdrawn ones too, by node, dataset and version.
  absl::StatusOr<std::vector<v1::DatasetRecord>> All();

 private:
  explicit RecordStore(std::unique_ptr<store::Database> database)
      : database_(std::move(database)) {}

  std::unique_ptr<store::Database> database_;
};

}  // namespace oncomesh::catalogue
