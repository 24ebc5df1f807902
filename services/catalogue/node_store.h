// SPDX-License-Identifier: Apache-2.0
// The node's tables: what is indexed, and the datasets that were frozen. The system of record from
// which the index is made.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "libs/store/database.h"
#include "libs/terminology/registry.h"
#include "oncomesh/catalogue/v1/catalogue.pb.h"
#include "oncomesh/catalogue/v1/node_catalogue.pb.h"
#include "services/catalogue/dataset_name.h"
#include "services/catalogue/index.h"
#include "services/catalogue/index_batch_store.h"

namespace oncomesh::catalogue {

// FAILED_PRECONDITION (DATASET_WITHDRAWN).
absl::Status WithdrawnError();

// Any thread.
class NodeStore {
 public:
  // Errors: those of store::Database::Open.
  static absl::StatusOr<std::unique_ptr<NodeStore>> Open(const std::string& url,
                                                         const std::string& password_file = "");

  // Makes the changes, notes what was passed over and moves the cursor (none: it stays), all or
  // nothing. An object
  // that is there already is replaced; a patient's clinical values are, one by one, by later ones.
  // What is changed by an event that was passed over before is passed over no longer.
  absl::StatusOr<Applied> Apply(const std::vector<IndexChange>& changes,
                                const std::vector<PassedOver>& passed_over,
                                absl::optional<int64_t> cursor);

  // Events that were passed over and may be readable now: absent objects, or these and the
  // unreadable ones; at most `limit` after position `after`, in the order of the feed.
  absl::StatusOr<std::vector<PassedOver>> ToTryAgain(bool absent_only, int64_t after, int limit);
  // Moves the cursor back in front of `sequence`; what was passed over from there on is forgotten.
  absl::Status TurnBack(int64_t sequence);

  // Forgets every value and what was passed over, and moves the cursor to the start, when the
  // values were taken with another registry than `fingerprint` names. Patients, studies, series and
  // objects stay.
  absl::Status UseRegistry(const std::string& fingerprint);

  // The position in the feed up to which everything was looked at.
  absl::StatusOr<int64_t> Cursor();
  // Exact numbers.
  absl::StatusOr<v1::IndexStatus> Status();

  // A new index of everything; or, when `within` is not empty, of those patients, studies, series
  // and objects alone that these versions hold and that are still indexed.
  absl::StatusOr<std::shared_ptr<const Index>> MakeIndex(
      const terminology::Registry& registry, const std::vector<DatasetName>& within = {});

  // The objects of the series with these ids, in the order of doc/formats/dataset.md.
  absl::StatusOr<std::vector<v1::ManifestItem>> ObjectsOf(const std::vector<int64_t>& series_ids);

  // The version that was made for this `request_id` of the caller's; none when there is no such
  // version, or no id. `digest` is of the whole request. Errors: ALREADY_EXISTS
  // (REQUEST_ID_REUSED) when the id came with another one.
  absl::StatusOr<absl::optional<v1::DatasetRecord>> FindRequest(const std::string& request_id,
                                                                const std::string& digest);
  // Stores `record`, whose name has no version yet, as the next version of `dataset` and sets its
  // name; or returns what FindRequest finds. Errors: as FindRequest.
  absl::StatusOr<v1::DatasetRecord> AddDataset(const std::string& node, const std::string& dataset,
                                               v1::DatasetRecord record,
                                               const std::vector<v1::ManifestItem>& items,
                                               const std::string& request_id,
                                               const std::string& digest);
  // `version` 0: the newest. Errors: NOT_FOUND (DATASET_NOT_FOUND).
  absl::StatusOr<v1::DatasetRecord> GetDataset(const std::string& dataset, int64_t version);
  // Lets `change` work on the record of a version (0: the newest) and stores what it leaves, in one
  // transaction; nothing is stored when it fails. It may run more than once and takes no lock. A
  // withdrawn version stays withdrawn, whatever `change` makes of it.
  // Errors: NOT_FOUND (DATASET_NOT_FOUND), FAILED_PRECONDITION (DATASET_WITHDRAWN), its own.
  absl::StatusOr<v1::DatasetRecord> ChangeDataset(
      const std::string& dataset, int64_t version,
      const std::function<absl::Status(v1::DatasetRecord&)>& change);
  // At most `limit` records after (dataset, version), in this order.
  absl::StatusOr<std::vector<v1::DatasetRecord>> ListDatasets(const std::string& after_dataset,
                                                              int64_t after_version, int limit);
  // How many objects a version has.
  absl::StatusOr<int64_t> CountItems(const std::string& dataset, int64_t version);
  // At most `limit` objects of a version from position `from` on.
  absl::StatusOr<std::vector<v1::ManifestItem>> Items(const std::string& dataset, int64_t version,
                                                      int64_t from, int limit);

 private:
  explicit NodeStore(std::unique_ptr<store::Database> database) : database_(std::move(database)) {}

  std::unique_ptr<store::Database> database_;
};

}  // namespace oncomesh::catalogue
