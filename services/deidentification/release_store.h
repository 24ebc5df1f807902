// SPDX-License-Identifier: Apache-2.0
// What the service remembers: the feed of released objects and the list of quarantined ones. No
// value of a source object is in it, nor its hash.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "libs/store/database.h"

namespace oncomesh::deidentification {

// As deidentification.proto numbers them; stored.
enum class ObjectKind { kDicom = 1, kClinicalTable = 2 };

struct ReleasedRow {
  int64_t sequence = 0;
  std::string sha256;
  ObjectKind kind = ObjectKind::kDicom;
  absl::Time time;
};

struct QuarantineRow {
  int64_t sequence = 0;  // for paging
  std::string id;
  ObjectKind kind = ObjectKind::kDicom;
  std::string reason;
  int64_t bytes = 0;
  absl::Time time;
};

// Any thread. Errors of every method: UNAVAILABLE (DATABASE_…), RESOURCE_EXHAUSTED (DISK_FULL).
class ReleaseStore {
 public:
  // `url` as store::Database::Open takes it.
  static absl::StatusOr<std::unique_ptr<ReleaseStore>> Open(const std::string& url,
                                                            const std::string& password_file = "");

  struct NewRelease {
    std::string sha256;
    ObjectKind kind = ObjectKind::kDicom;
  };
  // Adds objects to the feed in this order, all or none. For each: false when it was there already.
  absl::StatusOr<std::vector<bool>> AddReleased(const std::vector<NewRelease>& objects,
                                                absl::Time now);
  // At most `limit` after `after`, ascending.
  absl::StatusOr<std::vector<ReleasedRow>> ListReleased(int64_t after, int limit);

  // Whether nothing was ever released or is in quarantine.
  absl::StatusOr<bool> IsEmpty();
  // The project key that the state belongs to (Keys::KeyId): set at the first call, for good.
  // Errors: FAILED_PRECONDITION (KEY_CHANGED) when it is another one.
  absl::Status BindKey(const std::string& key_id);

  // Adds or, under the same id, renews an entry.
  absl::Status AddQuarantined(const QuarantineRow& row);
  absl::StatusOr<std::vector<QuarantineRow>> ListQuarantined(int64_t after, int limit);
  // Errors: NOT_FOUND (QUARANTINE_NOT_FOUND).
  absl::StatusOr<QuarantineRow> FindQuarantined(const std::string& id);
  absl::Status RemoveQuarantined(const std::string& id);

 private:
  explicit ReleaseStore(std::unique_ptr<store::Database> database)
      : database_(std::move(database)) {}
  std::unique_ptr<store::Database> database_;
};

}  // namespace oncomesh::deidentification
