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

constexpr size_t kBatch = 500;
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

absl::Status Indexer::CheckStopping() const {
  if (!stopping_) return absl::OkStatus();
  return base::Error(absl::StatusCode::kUnavailable, "SERVICE_STOPPING",
                     "the service is stopping; ask again when it runs");
}

absl::Status Indexer::Load() {
  base::MutexLock lock(sync_);
  RETURN_IF_ERROR(deps_.store.UseRegistry(Fingerprint(deps_.registry)));
  return Rebuild();
}

absl::Status Indexer::Rebuild() {
  ASSIGN_OR_RETURN(std::shared_ptr<const Index> index, deps_.store.MakeIndex(deps_.registry));
  base::Log(base::Level::kInfo, "index.made",
            {{"patients", index->patients()}, {"series", index->series()}});
  deps_.index.Set(std::move(index));
  changed_ = false;
  base::MutexLock lock(mutex_);
  updated_ = deps_.clock.Now();
  return absl::OkStatus();
}

absl::Status Indexer::Take(const Released& event, Taken& taken) {
  // What is wrong with the object is passed over, so that the feed goes on behind it; what is wrong
  // with the store is an error, so that nothing is lost.
  auto pass_over = [&](const absl::Status& status) {
    switch (status.code()) {
      case absl::StatusCode::kNotFound:
        taken.passed_over.push_back({event, PassedOver::Why::kAbsent});
        return absl::OkStatus();
      case absl::StatusCode::kInvalidArgument:
      case absl::StatusCode::kDataLoss:
        taken.passed_over.push_back({event, PassedOver::Why::kUnreadable});
        return absl::OkStatus();
      case absl::StatusCode::kResourceExhausted:
        if (base::ReasonOf(status) != "FILE_TOO_LARGE") return status;
        taken.passed_over.push_back({event, PassedOver::Why::kUnreadable});
        return absl::OkStatus();
      default:
        return status;
    }
  };
  switch (event.kind) {
    case Released::Kind::kObject: {
      absl::StatusOr<std::string> path = deps_.objects.LocalPath(event.sha256);
      if (!path.ok()) return pass_over(path.status());
      absl::StatusOr<ReleasedHeader> header = ReadReleasedHeader(*path, deps_.registry);
      if (!header.ok()) return pass_over(header.status());
      IndexChange& change = taken.changes.emplace_back();
      change.kind = IndexChange::Kind::kObject;
      change.event = event;
      change.header = *std::move(header);
      return absl::OkStatus();
    }
    case Released::Kind::kClinicalTable: {
      absl::StatusOr<std::string> csv = deps_.objects.Get(event.sha256, kLargestTable);
      if (!csv.ok()) return pass_over(csv.status());
      absl::StatusOr<ClinicalTable> table = ReadClinicalTable(*csv, deps_.registry);
      if (!table.ok()) return pass_over(table.status());
      for (ClinicalRow& row : table->rows) {
        IndexChange& change = taken.changes.emplace_back();
        change.kind = IndexChange::Kind::kClinical;
        change.event = event;
        change.patient_code = std::move(row.patient_code);
        change.clinical = std::move(row.values);
      }
      if (table->passed_over > 0) {
        taken.passed_over.push_back({event, PassedOver::Why::kRows, table->passed_over});
      }
      return absl::OkStatus();
    }
  }
  return absl::OkStatus();
}

absl::Status Indexer::Apply(const Taken& taken, absl::optional<int64_t> cursor) {
  ASSIGN_OR_RETURN(Applied applied, deps_.store.Apply(taken.changes, taken.passed_over, cursor));
  changed_ = changed_ || applied.changed;
  if (applied.replaced > 0) {
    base::Log(base::Level::kWarning, "index.clinical_replaced", {{"values", applied.replaced}});
  }
  if (!taken.passed_over.empty() || !applied.conflicts.empty()) {
    auto number = [&](PassedOver::Why why) {
      int64_t items = 0;
      for (const PassedOver& one : taken.passed_over) items += one.why == why ? one.items : 0;
      return items;
    };
    base::Log(base::Level::kWarning, "index.passed_over",
              {{"absent", number(PassedOver::Why::kAbsent)},
               {"unreadable", number(PassedOver::Why::kUnreadable)},
               {"rows", number(PassedOver::Why::kRows)},
               {"conflicts", static_cast<int64_t>(applied.conflicts.size())}});
  }
  return absl::OkStatus();
}

absl::Status Indexer::TryAgain() {
  const bool everything = !tried_unreadable_;
  int64_t after = everything ? 0 : tried_absent_;
  while (true) {
    ASSIGN_OR_RETURN(std::vector<PassedOver> again,
                     deps_.store.ToTryAgain(/*absent_only=*/!everything, after, kBatch));
    Taken taken;
    int64_t turn_back = 0;
    for (const PassedOver& one : again) {
      RETURN_IF_ERROR(CheckStopping());
      Taken now;
      RETURN_IF_ERROR(Take(one.event, now));
      after = one.event.sequence;
      if (!now.passed_over.empty() && now.passed_over[0].why != PassedOver::Why::kRows) {
        // Told and noted once, not with every try.
        if (now.passed_over[0].why != one.why) taken.passed_over.push_back(now.passed_over[0]);
        continue;
      }
      if (one.event.kind == Released::Kind::kClinicalTable) {
        turn_back = one.event.sequence;
        break;
      }
      for (IndexChange& change : now.changes) taken.changes.push_back(std::move(change));
    }
    if (!taken.changes.empty() || !taken.passed_over.empty()) {
      RETURN_IF_ERROR(Apply(taken, absl::nullopt));
    }
    if (turn_back > 0) RETURN_IF_ERROR(deps_.store.TurnBack(turn_back));
    if (again.size() < kBatch) {
      after = 0;
      break;
    }
    // The next Sync goes on behind these, so that many that stay away cost each little.
    if (!everything && taken.changes.empty() && turn_back == 0) break;
  }
  tried_absent_ = everything ? 0 : after;
  tried_unreadable_ = true;
  return absl::OkStatus();
}

absl::Status Indexer::Follow() {
  ASSIGN_OR_RETURN(int64_t cursor, deps_.store.Cursor());
  absl::Status stopped;
  while (stopped.ok()) {
    RETURN_IF_ERROR(CheckStopping());
    ASSIGN_OR_RETURN(std::vector<Released> events, deps_.feed.List(cursor, kBatch));
    if (events.empty()) break;
    Taken taken;
    for (const Released& event : events) {
      stopped = CheckStopping();
      if (stopped.ok()) stopped = Take(event, taken);
      if (!stopped.ok()) break;
      cursor = event.sequence;
    }
    RETURN_IF_ERROR(Apply(taken, cursor));
  }
  return stopped;
}

absl::StatusOr<v1::IndexStatus> Indexer::Sync() {
  {
    base::MutexLock lock(sync_);
    absl::Status status = TryAgain();
    if (status.ok()) status = Follow();
    // What came before an error is counted, too; not when the service ends, for that would wait.
    if (changed_ && !stopping_) RETURN_IF_ERROR(Rebuild());
    RETURN_IF_ERROR(status);
  }
  return Status();
}

absl::StatusOr<v1::IndexStatus> Indexer::Status() {
  ASSIGN_OR_RETURN(v1::IndexStatus out, deps_.store.Status());
  base::MutexLock lock(mutex_);
  absl::Duration since = updated_ - absl::UnixEpoch();
  out.mutable_update_time()->set_seconds(absl::ToInt64Seconds(since));
  return out;
}

}  // namespace oncomesh::catalogue
