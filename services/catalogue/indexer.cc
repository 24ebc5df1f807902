// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/indexer.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/log.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "services/catalogue/released_header.h"

namespace oncomesh::catalogue {
namespace {

constexpr int kBatch = 500;

// Changes when values taken before may differ from those that would be taken now.
std::string Fingerprint(const terminology::Registry& registry) {
  std::string all = "1\n";
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

// The clinical row's values of the registry's variables. Column names compare without case.
Values ClinicalValues(const std::map<std::string, std::string>& columns,
                      const terminology::Registry& registry) {
  Values lower;
  for (const auto& [name, value] : columns) lower[absl::AsciiStrToLower(name)] = value;
  Values out;
  for (const auto& variable : registry.variables()) {
    for (const std::string& column : variable->source.clinical) {
      auto found = lower.find(column);
      if (found == lower.end()) continue;
      if (variable->numeric()) {
        if (auto number = variable->ParseNumber(found->second); number.ok()) {
          out[variable->name] = terminology::FormatNumber(*number);
        }
      } else if (auto code = variable->NormaliseCode(found->second); code.ok()) {
        out[variable->name] = *code;
      }
      break;
    }
  }
  return out;
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
    for (Released& event : *events) {
      IndexChange change;
      switch (event.kind) {
        case Released::Kind::kObject: {
          change.kind = IndexChange::Kind::kObject;
          change.sha256 = event.sha256;
          absl::StatusOr<std::string> path = deps_.objects.LocalPath(event.sha256);
          absl::StatusOr<ReleasedHeader> header =
              path.ok() ? ReadReleasedHeader(*path, deps_.registry) : path.status();
          if (!header.ok() && absl::IsUnavailable(header.status())) {
            stopped = header.status();
            break;
          }
          if (!header.ok()) {
            // Withdrawn since, or no image: the feed goes on behind it.
            ++unreadable;
            cursor = event.sequence;
            continue;
          }
          change.header = *std::move(header);
          break;
        }
        case Released::Kind::kWithdrawn:
          change.kind = IndexChange::Kind::kWithdrawn;
          change.sop_instance_uid = std::move(event.sop_instance_uid);
          break;
        case Released::Kind::kClinical:
          change.kind = IndexChange::Kind::kClinical;
          change.patient_code = std::move(event.patient_code);
          change.clinical = ClinicalValues(event.columns, deps_.registry);
          break;
      }
      if (!stopped.ok()) break;
      cursor = event.sequence;
      changes.push_back(std::move(change));
    }
    ASSIGN_OR_RETURN(Applied applied, deps_.store.Apply(changes, cursor, unreadable));
    changed = changed || applied.changed;
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
