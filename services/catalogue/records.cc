// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/records.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/base/text.h"
#include "libs/terminology/duo.h"
#include "services/catalogue/dataset_name.h"

namespace oncomesh::catalogue {
namespace {

using Record = v1::DatasetRecord;

constexpr size_t kMaxSearchBytes = 1000;
constexpr int kMaxFacets = 20;
constexpr int kMaxFacetValues = 1000;  // of all facets of a search
constexpr int kMaxValueCounts = 10'000;
constexpr int kMaxDuoCodes = 32;
// Of what a node says of a dataset of its own; a page holds at least one record, and the counts of
// facets are as many bytes at most, so that an answer always fits a message (4 MiB).
constexpr size_t kMaxRecordBytes = 512 << 10;
constexpr size_t kMaxPageBytes = 1 << 20;
constexpr size_t kMaxFacetBytes = 1 << 20;
constexpr size_t kMaxValuesOfFacet = 200;

absl::Status NotYours() {
  return base::Error(absl::StatusCode::kPermissionDenied, "NOT_YOUR_DATASET",
                     "a node speaks for its own datasets only");
}

absl::Status NotFound() {
  return base::Error(absl::StatusCode::kNotFound, "DATASET_NOT_FOUND",
                     "no such dataset is published; see: oncomesh datasets list");
}

absl::Status CheckRecord(const Record& record) {
  auto invalid = [](absl::string_view what) {
    return base::Error(absl::StatusCode::kInvalidArgument, "RECORD_INVALID",
                       absl::StrCat("the record ", what));
  };
  if (record.title().empty() || record.title().size() > 200 || record.description().size() > 4000) {
    return invalid("needs a title of at most 200 bytes and a description of at most 4,000");
  }
  // They come to other people's terminals.
  bool plain = !base::HasControlCharacters(record.title()) &&
               !base::HasControlCharacters(record.description()) &&
               !base::HasControlCharacters(record.where());
  for (const v1::ValueCount& value : record.statistics().values()) {
    plain = plain && !base::HasControlCharacters(value.variable()) &&
            !base::HasControlCharacters(value.value());
  }
  if (!plain) return invalid("holds line breaks or other control characters in its texts");
  bool hex = record.digest().size() == 64 &&
             std::all_of(record.digest().begin(), record.digest().end(),
                         [](char c) { return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f'); });
  if (!hex) return invalid("needs a SHA-256 digest in lower-case hexadecimal");
  if (record.duo_codes().empty() || record.duo_codes_size() > kMaxDuoCodes ||
      !std::all_of(record.duo_codes().begin(), record.duo_codes().end(), terminology::IsDuoCode)) {
    return invalid("needs 1 to 32 codes of the Data Use Ontology");
  }
  if (record.statistics().values_size() > kMaxValueCounts || record.where().size() > (64 << 10) ||
      record.ByteSizeLong() > kMaxRecordBytes) {
    return invalid("is larger than a record may be");
  }
  return absl::OkStatus();
}

// What a facet can be asked for in a record.
std::vector<std::string> FieldValues(const Record& record, const std::string& node,
                                     const std::string& field) {
  std::vector<std::string> out;
  if (field == "node") return {node};
  if (field == "duo") return {record.duo_codes().begin(), record.duo_codes().end()};
  for (const v1::ValueCount& value : record.statistics().values()) {
    if (value.variable() == field) out.push_back(value.value());
  }
  return out;
}

// A facet of a search, prepared once for all records.
class WantedFacet {
 public:
  WantedFacet(const v1::Facet& facet, const terminology::Registry& registry)
      : field_(facet.field()), variable_(registry.Find(facet.field())) {
    if (variable_ != nullptr && variable_->numeric()) variable_ = nullptr;
    for (const std::string& want : facet.values()) {
      values_.push_back(variable_ == nullptr ? want
                                             : variable_->NormaliseCode(want).value_or(want));
    }
  }

  bool Fits(const Record& record, const std::string& node) {
    for (const std::string& have : FieldValues(record, node, field_)) {
      auto [known, fresh] = fitting_.try_emplace(have, false);
      if (fresh) known->second = FitsValue(have);
      if (known->second) return true;
    }
    return false;
  }

 private:
  bool FitsValue(const std::string& have) const {
    return std::any_of(values_.begin(), values_.end(), [&](const std::string& want) {
      return have == want || (variable_ != nullptr && variable_->IsOrIsBelow(have, want));
    });
  }

  const std::string field_;
  const terminology::Variable* variable_;  // of codes; else nullptr
  std::vector<std::string> values_;
  // Records have many values in common.
  std::map<std::string, bool> fitting_;
};

using FacetCounts = std::map<std::pair<std::string, std::string>, int64_t>;  // (field, value)

// Of each field the values that most datasets have, by value.
void AddFacets(const FacetCounts& facets, v1::SearchDatasetsResponse& out) {
  size_t bytes = 0;
  for (auto field = facets.begin(); field != facets.end();) {
    std::vector<FacetCounts::const_iterator> values;
    const std::string& name = field->first.first;
    for (; field != facets.end() && field->first.first == name; ++field) values.push_back(field);
    if (values.size() > kMaxValuesOfFacet) {
      std::stable_sort(values.begin(), values.end(),
                       [](const auto& a, const auto& b) { return a->second > b->second; });
      values.resize(kMaxValuesOfFacet);
      std::sort(values.begin(), values.end(),
                [](const auto& a, const auto& b) { return a->first < b->first; });
    }
    for (const auto& value : values) {
      v1::FacetCount count;
      count.set_field(value->first.first);
      count.set_value(value->first.second);
      count.set_datasets(value->second);
      bytes += count.ByteSizeLong();
      if (bytes > kMaxFacetBytes) return;
      *out.add_facets() = std::move(count);
    }
  }
}

}  // namespace

absl::StatusOr<Record> Records::Publish(absl::string_view node, const Record& record) {
  ASSIGN_OR_RETURN(DatasetName name, ParseDatasetName(record.name()));
  if (node.empty() || name.node != node) return NotYours();
  if (name.version == 0) {
    return base::Error(absl::StatusCode::kInvalidArgument, "RECORD_INVALID",
                       "the record must name a version");
  }
  RETURN_IF_ERROR(CheckRecord(record));
  return store_.Change(name, [&](const Record* before) -> absl::StatusOr<Record> {
    if (before != nullptr && before->digest() != record.digest()) {
      return base::Error(absl::StatusCode::kFailedPrecondition, "VERSION_FROZEN",
                         "this version is published with another digest; freeze a new version");
    }
    if (before != nullptr && before->state() == Record::STATE_WITHDRAWN) {
      return base::Error(absl::StatusCode::kFailedPrecondition, "VERSION_FROZEN",
                         "this version was withdrawn; freeze a new version");
    }
    Record after = record;
    after.set_state(Record::STATE_PUBLISHED);
    return after;
  });
}

absl::StatusOr<Record> Records::Withdraw(absl::string_view node, absl::string_view text) {
  ASSIGN_OR_RETURN(DatasetName name, ParseDatasetName(text));
  if (node.empty() || name.node != node) return NotYours();
  return store_.Change(name, [&](const Record* before) -> absl::StatusOr<Record> {
    if (before == nullptr) return NotFound();
    Record after = *before;
    after.set_state(Record::STATE_WITHDRAWN);
    return after;
  });
}

absl::StatusOr<v1::GetDatasetResponse> Records::Get(absl::string_view text) {
  ASSIGN_OR_RETURN(DatasetName wanted, ParseDatasetName(text));
  ASSIGN_OR_RETURN(std::vector<Record> all, store_.All());
  v1::GetDatasetResponse out;
  bool found = false;
  for (Record& record : all) {
    ASSIGN_OR_RETURN(DatasetName name, ParseDatasetName(record.name()));
    if (name.node != wanted.node || name.dataset != wanted.dataset) continue;
    bool published = record.state() == Record::STATE_PUBLISHED;
    if (published) out.add_versions(name.version);
    // A version asked for by its number is shown when withdrawn, too: as what it is.
    if (name.version == wanted.version || (wanted.version == 0 && published)) {
      *out.mutable_dataset() = std::move(record);
      found = true;
    }
  }
  if (!found) return NotFound();
  return out;
}

absl::StatusOr<v1::SearchDatasetsResponse> Records::Search(
    const v1::SearchDatasetsRequest& request) {
  int asked = 0;
  for (const v1::Facet& facet : request.facets()) {
    asked = std::min(asked + facet.values_size(), kMaxFacetValues + 1);
  }
  if (request.text().size() > kMaxSearchBytes || request.facets_size() > kMaxFacets ||
      asked > kMaxFacetValues) {
    return base::Error(absl::StatusCode::kInvalidArgument, "QUERY_TOO_LONG",
                       "a search has at most 1,000 bytes of text, and 20 facets with 1,000 values "
                       "together");
  }
  std::vector<WantedFacet> wanted;
  for (const v1::Facet& facet : request.facets()) {
    if (facet.field() != "node" && facet.field() != "duo" &&
        registry_.Find(facet.field()) == nullptr) {
      // What is longer than a name says nothing to whoever sent it.
      const bool name = facet.field().size() <= terminology::Registry::kMaxNameBytes;
      return base::Error(absl::StatusCode::kInvalidArgument, "FACET_UNKNOWN",
                         "a facet is node, duo or a variable",
                         {{"field", name ? facet.field() : ""}});
    }
    wanted.emplace_back(facet, registry_);
  }
  std::vector<std::string> words = absl::StrSplit(absl::AsciiStrToLower(request.text()),
                                                  absl::ByAnyChar(" \t\n"), absl::SkipEmpty());
  ASSIGN_OR_RETURN(std::vector<Record> all, store_.All());
  // Newest published version of each dataset, by name.
  std::map<std::pair<std::string, std::string>, Record> newest;
  for (Record& record : all) {
    if (record.state() != Record::STATE_PUBLISHED) continue;
    ASSIGN_OR_RETURN(DatasetName name, ParseDatasetName(record.name()));
    newest[{name.node, name.dataset}] = std::move(record);  // versions ascend
  }
  std::vector<std::pair<std::string, const Record*>> matching;  // name without version
  FacetCounts facets;
  for (const auto& [key, record] : newest) {
    const std::string& node = key.first;
    std::string text = absl::AsciiStrToLower(
        absl::StrCat(record.name(), "\n", record.title(), "\n", record.description()));
    bool fits = std::all_of(words.begin(), words.end(),
                            [&](const std::string& word) { return absl::StrContains(text, word); });
    for (WantedFacet& facet : wanted) fits = fits && facet.Fits(record, node);
    if (!fits) continue;
    matching.emplace_back(DatasetName{node, key.second}.Text(), &record);
    std::set<std::pair<std::string, std::string>> values = {{"node", node}};
    for (const std::string& code : record.duo_codes()) values.insert({"duo", code});
    for (const v1::ValueCount& value : record.statistics().values()) {
      // Others cannot be asked for.
      if (registry_.Find(value.variable()) != nullptr) {
        values.insert({value.variable(), value.value()});
      }
    }
    for (const auto& value : values) ++facets[value];
  }
  v1::SearchDatasetsResponse out;
  out.set_total(static_cast<int64_t>(matching.size()));
  AddFacets(facets, out);
  // A token is the name the page ends with.
  if (!request.page_token().empty() && !ParseDatasetName(request.page_token()).ok()) {
    return base::Error(absl::StatusCode::kInvalidArgument, "PAGE_TOKEN_INVALID",
                       "the page token is not one this service gave");
  }
  std::sort(matching.begin(), matching.end());
  int size = request.page_size() <= 0 ? 50 : std::min(request.page_size(), 200);
  size_t bytes = 0;
  for (const auto& [name, record] : matching) {
    if (name <= request.page_token()) continue;
    bytes += record->ByteSizeLong();
    const int have = out.datasets_size();
    if (have == size || (have > 0 && bytes > kMaxPageBytes)) {
      ASSIGN_OR_RETURN(DatasetName last, ParseDatasetName(out.datasets(have - 1).name()));
      out.set_next_page_token(DatasetName{last.node, last.dataset}.Text());
      break;
    }
    *out.add_datasets() = *record;
  }
  return out;
}

}  // namespace oncomesh::catalogue
