// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/dataset_text.h"

#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tools/oncomesh/proto_json.h"

namespace oncomesh::cli {

using catalogue::v1::DatasetRecord;

std::string DatasetState(const DatasetRecord& record) {
  return DatasetRecord::State_Name(record.state()).substr(6);
}

std::string PatientsText(const DatasetRecord& record) {
  return record.statistics().has_patients() ? absl::StrCat(record.statistics().patients()) : "-";
}

nlohmann::json DatasetJson(const DatasetRecord& record) {
  nlohmann::json out = ToJson(record);
  out["state"] = DatasetState(record);
  nlohmann::json& statistics = out["statistics"];
  for (const char* number : {"patients", "studies", "series", "objects", "bytes"}) {
    if (!statistics.contains(number)) statistics[number] = nullptr;
  }
  if (!statistics.contains("values")) statistics["values"] = nlohmann::json::array();
  return out;
}

std::string DatasetText(const DatasetRecord& record) {
  const auto& numbers = record.statistics();
  auto number = [](bool has, int64_t value) { return has ? absl::StrCat(value) : "-"; };
  std::string out =
      absl::StrCat("name      ", record.name(), "\ntitle     ", record.title(), "\nstate     ",
                   DatasetState(record), "\nuse       ", absl::StrJoin(record.duo_codes(), ", "),
                   "\nchosen by ", record.where(), "\ndigest    ", record.digest(), "\nfrozen    ",
                   TimeText(record.create_time().seconds()), "\npublished ",
                   TimeText(record.publish_time().seconds()), "\npatients  ", PatientsText(record),
                   "\nstudies   ", number(numbers.has_studies(), numbers.studies()), "\nseries    ",
                   number(numbers.has_series(), numbers.series()), "\nobjects   ",
                   number(numbers.has_objects(), numbers.objects()), "\nbytes     ",
                   number(numbers.has_bytes(), numbers.bytes()), "\n");
  if (!record.description().empty()) absl::StrAppend(&out, "\n", record.description(), "\n");
  std::map<std::string, std::vector<std::string>> values;
  for (const auto& value : numbers.values()) {
    values[value.variable()].push_back(absl::StrCat(value.value(), " ", value.patients()));
  }
  if (!values.empty()) absl::StrAppend(&out, "\npatients by value, small numbers left out:\n");
  for (const auto& [variable, list] : values) {
    absl::StrAppend(&out, "  ", variable, ": ", absl::StrJoin(list, ", "), "\n");
  }
  return out;
}

}  // namespace oncomesh::cli
