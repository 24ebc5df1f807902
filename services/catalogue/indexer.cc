// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/indexer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/log.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "services/catalogue/clinical_table.h"
#include "services/catalogue/released_header.h"

namespace oncomesh::catalogue {
namespace {

constexpr int kBatch = 500;
constexpr uint64_t kLargestTable = 256 << 20;

// Changes when values taken before may differ from those that would be taken now.
std::string Fingerprint(const terminology::Registry& registry) {
  std::string all = "2\n";
  for (const auto& variable : registry.variables()) {
    absl::StrAppend(&all, variable->name, " ", terminology::TypeName(variable->type), " ",
                    variable->source.dicom, " ", variable->source.rule, " ", variable->minimum, " ",
                    variable->maximum, " ", variable->closed, " ", variable->code_system.shape);
    for (const std::string& column : variable->source.clinical) absl::StrAppend(&all, " ", column);
    for (const terminology::Value& value : variable->values) {
      absl::StrAppend(&all, " ", value.code);
      for (const std::string& other : value.also) absl::StrAppend(&all, "=", other);
    }
    all += '\n';
  }
  return crypto::Sha256Hex(all);
}

}  // namespace

absl::Status Indexer::Load() {
  base::MutexLock lock(mutex_);
  RETURN_IF_ERROR(deps_.store.UseRegistry(Fingerprint(deps_.registry)));
  return Rebuild();
}

absl::Status Indexer::Rebuild() {
  ASSIGN_OR_RETURN(std::shared_ptr<const Index> index, deps_.store.MakeIndex(deps_.registry));
  base::Log(base::Level::kInfo, "index.made",
            {{"patients", index->patients()}, {"series", index->series()}});
  deps_.index.Set(std::move(index));
  updated_ = deps_.clock.Now();
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Indexer::Take(const Released& event, std::vector<IndexChange>& changes) {
  // What cannot be read is passed over, so that the feed goes on behind it; a store that is away is
  // an error, so that nothing is lost.
  auto passed_over = [](const absl::Status& status) -> absl::StatusOr<int64_t> {
    if (absl::IsUnavailable(status)) return status;
    return 1;
  };
  switch (event.kind) {
    case Released::Kind::kWithdrawn: {
      IndexChange& change = changes.emplace_back();
      change.kind = IndexChange::Kind::kWithdrawn;
      change.sop_instance_uid = event.sop_instance_uid;
      return 0;
    }
    case Released::Kind::kObject: {
      absl::StatusOr<std::string> path = deps_.objects.LocalPath(event.sha256);
      if (!path.ok()) return passed_over(path.status());
      absl::StatusOr<ReleasedHeader> header = ReadReleasedHeader(*path, deps_.registry);
      if (!header.ok()) return passed_over(header.status());
      IndexChange& change = changes.emplace_back();
      change.kind = IndexChange::Kind::kObject;
      change.sha256 = event.sha256;
      change.header = *std::move(header);
      return 0;
    }
    case Released::Kind::kClinicalTable: {
      absl::StatusOr<std::string> csv = deps_.objects.Get(event.sha256, kLargestTable);
      if (!csv.ok()) return passed_over(csv.status());
      absl::StatusOr<ClinicalTable> table = ReadClinicalTable(*csv, deps_.registry);
      if (!table.ok()) return passed_over(table.status());
      for (ClinicalRow& row : table->rows) {
        IndexChange& change = changes.emplace_back();
        change.kind = IndexChange::Kind::kClinical;
        change.patient_code = std::move(row.patient_code);
        change.clinical = std::move(row.values);
      }
      return table->passed_over;
    }
  }
  return 0;
}

absl::StatusOr<v1::IndexStatus> Indexer::Sync() {
  base::MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(v1::IndexStatus before, deps_.store.Status());
  int64_t cursor = before.cursor();
  bool changed = false;
  absl::Status stopped;
  while (stopped.ok()) {
    absl::StatusOr<std::vector<Released>> events = deps_.feed.List(cursor, kBatch);
    if (!events.ok()) {
      stopped = events.status();
      break;
    }
    if (events->empty()) break;
    std::vector<IndexChange> changes;
    int64_t unreadable = 0;
    for (const Released& event : *events) {
      absl::StatusOr<int64_t> passed_over = Take(event, changes);
      if (!passed_over.ok()) {
        stopped = passed_over.status();
        break;
      }
      unreadable += *passed_over;
      cursor = event.sequence;
    }
    ASSIGN_OR_RETURN(Applied applied, deps_.store.Apply(changes, cursor, unreadable));
    changed = changed || applied.changed;
    if (applied.replaced > 0) {
      base::Log(base::Level::kWarning, "index.clinical_replaced", {{"values", applied.replaced}});
    }
    if (unreadable + applied.conflicts > 0) {
      base::Log(base::Level::kWarning, "index.passed_over",
                {{"unreadable", unreadable}, {"conflicts", applied.conflicts}});
    }
  }
  if (changed) RETURN_IF_ERROR(Rebuild());
  RETURN_IF_ERROR(stopped);
  return StatusLocked();
}

absl::StatusOr<v1::IndexStatus> Indexer::StatusLocked() {
  ASSIGN_OR_RETURN(v1::IndexStatus out, deps_.store.Status());
  absl::Duration since = updated_ - absl::UnixEpoch();
  out.mutable_update_time()->set_seconds(absl::ToInt64Seconds(since));
  return out;
}

absl::StatusOr<v1::IndexStatus> Indexer::Status() {
  base::MutexLock lock(mutex_);
  return StatusLocked();
}

}  // namespace oncomesh::catalogue
