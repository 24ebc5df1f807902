// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/datasets.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <deque>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "libs/base/error.h"
#include "libs/base/names.h"
#include "libs/base/status_macros.h"
#include "libs/base/text.h"
#include "libs/crypto/digest.h"
#include "libs/query/binding.h"
#include "libs/query/text.h"
#include "libs/terminology/duo.h"
#include "services/catalogue/dataset_name.h"
#include "services/catalogue/node_count.h"
#include "services/catalogue/version_contents.h"

namespace oncomesh::catalogue {
namespace {

constexpr int kItemsPerPart = 1000;
// A new version is compared with those of the last so many different sizes, and with so many of
// each.
constexpr size_t kComparedSizes = 16;
constexpr size_t kComparedAlike = 4;
constexpr int kVersionsPerPage = 50;
constexpr size_t kMaxSplit = 1000;
constexpr size_t kMaxStatisticsBytes = 256 << 10;
constexpr size_t kMaxPageBytes = 1 << 20;

absl::Status Invalid(absl::string_view reason, absl::string_view message) {
  return base::Error(absl::StatusCode::kInvalidArgument, reason, message);
}

// The whole request: the same wish has the same digest.
std::string DigestOf(const v1::CreateDatasetRequest& request) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    request.SerializeToCodedStream(&coded);
  }
  return crypto::Sha256Hex(bytes);
}

// Two digits are enough to plan storage, and too few to tell one patient's images.
int64_t RoundToTwoDigits(int64_t n) {
  int64_t step = 1;
  while (n / step >= 100) step *= 10;
  return (n + step / 2) / step * step;
}

// Studies, series, objects and bytes, of a dataset whose patients are told.
void AddSizes(const std::vector<v1::ManifestItem>& items, const DisclosureRules& rules,
              v1::Statistics& out) {
  std::set<std::string> studies, series;
  int64_t bytes = 0;
  for (const v1::ManifestItem& item : items) {
    studies.insert(item.study_uid());
    series.insert(item.series_uid());
    bytes += item.bytes();
  }
  auto rounded = [&](size_t n) {
    return Round(static_cast<int64_t>(n), rules).value_or(out.patients());
  };
  out.set_studies(rounded(studies.size()));
  out.set_series(rounded(series.size()));
  out.set_objects(rounded(items.size()));
  out.set_bytes(RoundToTwoDigits(bytes));
}

google::protobuf::Timestamp Stamp(absl::Time time) {
  google::protobuf::Timestamp out;
  out.set_seconds(absl::ToUnixSeconds(time));
  return out;
}

absl::StatusOr<query::v1::Expression> ExpressionOf(const v1::CreateDatasetRequest& request) {
  if (request.query_case() == v1::CreateDatasetRequest::kText) {
    return query::ParseText(request.text());
  }
  RETURN_IF_ERROR(query::CheckShape(request.expression()));
  return request.expression();
}

}  // namespace

absl::StatusOr<v1::DatasetRecord> Datasets::Create(const v1::CreateDatasetRequest& request) {
  if (!base::IsDatasetId(request.dataset())) {
    return Invalid("DATASET_NAME_INVALID",
                   "a dataset's name has 2 to 63 characters of a-z, 0-9 and -, a letter first");
  }
  if (request.title().empty() || request.title().size() > 200 ||
      request.description().size() > 4000 || request.request_id().size() > 64 ||
      base::HasControlCharacters(request.title()) ||
      base::HasControlCharacters(request.description())) {
    return Invalid("TITLE_INVALID",
                   "a dataset needs a title of at most 200 bytes; its description has at most "
                   "4,000, a request id 64; neither has line breaks or other control characters");
  }
  std::set<std::string> duo(request.duo_codes().begin(), request.duo_codes().end());
  if (duo.empty() || !std::all_of(duo.begin(), duo.end(), terminology::IsDuoCode)) {
    return Invalid("DUO_INVALID",
                   "say what the data may be used for with Data Use Ontology codes, e.g. "
                   "DUO:0000042 (general research use)");
  }
  const std::string request_digest = DigestOf(request);
  // Before anything is looked at that may have changed since the first time.
  ASSIGN_OR_RETURN(absl::optional<v1::DatasetRecord> earlier,
                   deps_.store.FindRequest(request.request_id(), request_digest));
  if (earlier.has_value()) return *std::move(earlier);
  ASSIGN_OR_RETURN(query::v1::Expression expression, ExpressionOf(request));
  query::Binding binding = query::Bind(expression, deps_.registry);
  RETURN_IF_ERROR(query::FirstProblem(binding));
  std::shared_ptr<const Index> index = deps_.index.Get();
  // A dataset is exactly what was asked for, or nothing.
  Prune(
      binding.root,
      [&](const terminology::Variable& variable) { return index->Find(variable) != nullptr; },
      binding.problems);
  if (!binding.problems.empty()) {
    return base::Error(absl::StatusCode::kFailedPrecondition, binding.problems[0].reason,
                       binding.problems[0].message, {{"part", binding.problems[0].part}});
  }
  Bits series = index->Series(index->Evaluate(binding.root));
  std::vector<int64_t> ids;
  series.ForEach([&](size_t row) { ids.push_back(index->SeriesId(row)); });
  ASSIGN_OR_RETURN(std::vector<v1::ManifestItem> items, deps_.store.ObjectsOf(ids));
  if (items.empty()) {
    return base::Error(absl::StatusCode::kFailedPrecondition, "DATASET_EMPTY",
                       "no object of this node matches; try the expression with `oncomesh count`");
  }
  v1::DatasetRecord record;
  record.set_title(request.title());
  record.set_description(request.description());
  for (const std::string& code : duo) record.add_duo_codes(code);
  record.set_where(query::PrintText(query::Canonical(expression, deps_.registry)));
  record.set_digest(ManifestDigest(items));
  record.set_state(v1::DatasetRecord::STATE_FROZEN);
  *record.mutable_create_time() = Stamp(deps_.clock.Now());
  ASSIGN_OR_RETURN(*record.mutable_statistics(),
                   Describe(request.dataset(), *index, std::move(series), items));
  return deps_.store.AddDataset(deps_.node, request.dataset(), std::move(record), items,
                                request.request_id(), request_digest);
}

absl::StatusOr<absl::optional<v1::Statistics>> Datasets::ToldOfVersionNear(
    const std::string& dataset, const std::vector<v1::ManifestItem>& items,
    const DisclosureRules& rules) {
  // Versions that were told the same sizes stand together; the first of them is the one whose sizes
  // they are.
  struct Alike {
    v1::Statistics told;
    std::vector<v1::DatasetRecord> versions;  // without statistics
  };
  std::deque<Alike> groups;
  ASSIGN_OR_RETURN(std::vector<v1::DatasetRecord> page,
                   deps_.store.ListDatasets(dataset, 0, kVersionsPerPage));
  while (!page.empty()) {
    DatasetName last;
    for (v1::DatasetRecord& record : page) {
      ASSIGN_OR_RETURN(last, ParseDatasetName(record.name()));
      if (last.dataset != dataset) break;
      v1::Statistics told = std::move(*record.mutable_statistics());
      record.clear_statistics();
      told.clear_values();
      // Numbers of other rules would be wrong under these.
      if (told.min_cell() != rules.min_cell || told.rounding() != rules.rounding) continue;
      auto alike = std::find_if(groups.begin(), groups.end(), [&](const Alike& group) {
        return google::protobuf::util::MessageDifferencer::Equals(group.told, told);
      });
      if (alike == groups.end()) {
        if (groups.size() == kComparedSizes) groups.pop_front();
        alike = groups.insert(groups.end(), Alike{std::move(told), {}});
      }
      // The first stays.
      if (alike->versions.size() == kComparedAlike) {
        alike->versions.erase(alike->versions.begin() + 1);
      }
      alike->versions.push_back(std::move(record));
    }
    if (last.dataset != dataset) break;
    ASSIGN_OR_RETURN(page, deps_.store.ListDatasets(dataset, last.version, kVersionsPerPage));
  }
  VersionHistory history(rules);
  // As everywhere, the empty one is a reference from the start, and hidden.
  v1::Statistics hidden;
  hidden.set_min_cell(rules.min_cell);
  hidden.set_rounding(rules.rounding);
  history.AddReference({}, std::move(hidden));
  for (const Alike& group : groups) {
    for (size_t i = 0; i < group.versions.size(); ++i) {
      const v1::DatasetRecord& record = group.versions[i];
      if (i > 0 && record.digest() == group.versions[i - 1].digest()) continue;
      ASSIGN_OR_RETURN(DatasetName name, ParseDatasetName(record.name()));
      VersionContents contents;
      ASSIGN_OR_RETURN(int64_t count, deps_.store.CountItems(name.dataset, name.version));
      for (int64_t from = 0; from < count; from += kItemsPerPart) {
        ASSIGN_OR_RETURN(std::vector<v1::ManifestItem> part,
                         deps_.store.Items(name.dataset, name.version, from, kItemsPerPart));
        for (const v1::ManifestItem& item : part) contents.Add(item);
      }
      if (i == 0 && group.told.has_patients()) {
        history.AddReference(std::move(contents), group.told);
      } else {
        history.AddTold(std::move(contents), group.told);
      }
    }
  }
  VersionContents next;
  for (const v1::ManifestItem& item : items) next.Add(item);
  return history.ToldOf(next);
}

absl::StatusOr<v1::Statistics> Datasets::Describe(const std::string& dataset, const Index& index,
                                                  Bits series,
                                                  const std::vector<v1::ManifestItem>& items) {
  ASSIGN_OR_RETURN(CountPolicy policy, deps_.policy.Get());
  const DisclosureRules& rules = policy.rules;
  v1::Statistics out;
  out.set_min_cell(rules.min_cell);
  out.set_rounding(rules.rounding);
  Rows rows{terminology::Level::kSeries, std::move(series)};
  ASSIGN_OR_RETURN(absl::optional<v1::Statistics> near, ToldOfVersionNear(dataset, items, rules));
  if (near.has_value()) {
    out = *std::move(near);
  } else {
    const AnswerMemory::Told patients =
        deps_.memory.Tell(index.Patients(rows), rules, AnswerMemory::Asked::kQuestion);
    if (patients.number.has_value()) out.set_patients(*patients.number);
    // Beside the number of others, sizes would tell what those have who make the difference.
    if (patients.number.has_value() && patients.own) AddSizes(items, rules, out);
  }
  // Whatever counts something of hidden patients would count the patients.
  if (!out.has_patients()) return out;
  for (const auto& variable : deps_.registry.variables()) {
    const Column* column = index.Find(*variable);
    if (column == nullptr || (variable->numeric() && variable->bands.empty())) continue;
    std::optional<std::vector<PatientGroup>> groups = index.Split(rows, {column}, kMaxSplit);
    if (!groups.has_value()) continue;
    const int before = out.values_size();
    std::vector<Cell> cells;
    for (size_t i = 0; i < groups->size(); ++i) {
      cells.push_back({{i}, static_cast<int64_t>((*groups)[i].patients.Count())});
    }
    Suppress(cells, rules);
    for (size_t i = 0; i < cells.size(); ++i) {
      const PatientGroup& group = (*groups)[i];
      if (!cells[i].shown || !group.key[0].has_value()) continue;
      std::optional<int64_t> told =
          deps_.memory.Tell(group.patients, rules, AnswerMemory::Asked::kGroup).number;
      if (!told.has_value()) continue;
      v1::ValueCount* value = out.add_values();
      value->set_variable(variable->name);
      value->set_value(*group.key[0]);
      value->set_patients(*told);
    }
    // What the hub would not take is left out, as a variable with too many values is.
    if (out.ByteSizeLong() > kMaxStatisticsBytes) {
      out.mutable_values()->DeleteSubrange(before, out.values_size() - before);
    }
  }
  return out;
}

absl::StatusOr<v1::DatasetRecord> Datasets::Publish(absl::string_view name) {
  ASSIGN_OR_RETURN(DatasetName wanted, ParseDatasetNameAt(deps_.node, name));
  // What the hub is told last is what is true here: a publication and a withdrawal that come at
  // once are told one after the other.
  base::MutexLock lock(telling_hub_);
  ASSIGN_OR_RETURN(v1::DatasetRecord record,
                   deps_.store.GetDataset(wanted.dataset, wanted.version));
  ASSIGN_OR_RETURN(DatasetName full, ParseDatasetName(record.name()));
  if (record.state() == v1::DatasetRecord::STATE_WITHDRAWN) return WithdrawnError();
  record.set_state(v1::DatasetRecord::STATE_PUBLISHED);
  if (!record.has_publish_time()) *record.mutable_publish_time() = Stamp(deps_.clock.Now());
  // The hub first: repeating the call mends what a crash in between leaves.
  RETURN_IF_ERROR(deps_.hub.Publish(record));
  absl::StatusOr<v1::DatasetRecord> noted =
      deps_.store.ChangeDataset(full.dataset, full.version, [&](v1::DatasetRecord& kept) {
        kept.set_state(v1::DatasetRecord::STATE_PUBLISHED);
        *kept.mutable_publish_time() = record.publish_time();
        return absl::OkStatus();
      });
  // Withdrawn while the hub was told. Whoever withdraws tells it, too, but may have been cut off.
  if (base::ReasonOf(noted.status()) == "DATASET_WITHDRAWN") {
    RETURN_IF_ERROR(WithdrawAtHub(record.name()));
  }
  return noted;
}

absl::StatusOr<v1::DatasetRecord> Datasets::Withdraw(absl::string_view name) {
  ASSIGN_OR_RETURN(DatasetName wanted, ParseDatasetNameAt(deps_.node, name));
  // Here first: nobody gets the objects any more, whether the hub can be told now or not.
  ASSIGN_OR_RETURN(
      v1::DatasetRecord record,
      deps_.store.ChangeDataset(wanted.dataset, wanted.version, [](v1::DatasetRecord& kept) {
        kept.set_state(v1::DatasetRecord::STATE_WITHDRAWN);
        return absl::OkStatus();
      }));
  // Also when nothing is noted of a publication: it may have reached the hub all the same.
  base::MutexLock lock(telling_hub_);
  RETURN_IF_ERROR(WithdrawAtHub(record.name()));
  return record;
}

absl::Status Datasets::WithdrawAtHub(const std::string& name) {
  absl::Status told = deps_.hub.Withdraw(name);
  return absl::IsNotFound(told) ? absl::OkStatus() : told;
}

absl::StatusOr<v1::ListNodeDatasetsResponse> Datasets::List(
    const v1::ListNodeDatasetsRequest& request) {
  int size = request.page_size() <= 0 ? 50 : std::min(request.page_size(), 200);
  DatasetName after;
  if (!request.page_token().empty()) {
    ASSIGN_OR_RETURN(after, ParseDatasetName(request.page_token()));
  }
  ASSIGN_OR_RETURN(std::vector<v1::DatasetRecord> records,
                   deps_.store.ListDatasets(after.dataset, after.version, size + 1));
  v1::ListNodeDatasetsResponse out;
  size_t bytes = 0;
  for (v1::DatasetRecord& record : records) {
    bytes += record.ByteSizeLong();
    const int have = out.datasets_size();
    if (have == size || (have > 0 && bytes > kMaxPageBytes)) {
      out.set_next_page_token(out.datasets(have - 1).name());
      break;
    }
    *out.add_datasets() = std::move(record);
  }
  return out;
}

absl::Status Datasets::Manifest(
    absl::string_view name, absl::FunctionRef<bool(const v1::GetDatasetManifestResponse&)> send) {
  ASSIGN_OR_RETURN(DatasetName wanted, ParseDatasetNameAt(deps_.node, name));
  ASSIGN_OR_RETURN(v1::DatasetRecord record,
                   deps_.store.GetDataset(wanted.dataset, wanted.version));
  if (record.state() == v1::DatasetRecord::STATE_WITHDRAWN) {
    return WithdrawnError();
  }
  ASSIGN_OR_RETURN(DatasetName full, ParseDatasetName(record.name()));
  ASSIGN_OR_RETURN(int64_t count, deps_.store.CountItems(full.dataset, full.version));
  v1::GetDatasetManifestResponse part;
  part.mutable_header()->set_items(count);
  *part.mutable_header()->mutable_dataset() = record;
  if (!send(part)) return absl::CancelledError("the reader went away");
  for (int64_t from = 0; from < count; from += kItemsPerPart) {
    ASSIGN_OR_RETURN(std::vector<v1::ManifestItem> items,
                     deps_.store.Items(full.dataset, full.version, from, kItemsPerPart));
    part.mutable_items()->mutable_items()->Assign(items.begin(), items.end());
    if (!send(part)) return absl::CancelledError("the reader went away");
  }
  part.mutable_finish()->set_digest(record.digest());
  if (!send(part)) return absl::CancelledError("the reader went away");
  return absl::OkStatus();
}

}  // namespace oncomesh::catalogue
