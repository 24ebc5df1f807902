// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/index_batch_store.h"

#include <nlohmann/json.hpp>

namespace oncomesh::catalogue {

using nlohmann::json;
using soci::into;
using soci::use;
using terminology::Level;

namespace {

// The next number of a counter, from 1.
long long NextId(soci::session& sql, const std::string& name) {
  long long value = 0;
  sql << "INSERT INTO counters (name, value) VALUES (:n, 1) ON CONFLICT (name) DO UPDATE SET "
         "value = counters.value + 1 RETURNING value",
      use(name), into(value);
  return value;
}

}  // namespace

std::string ToText(const Values& values) { return json(values).dump(); }

Values FromText(const std::string& text) {
  json parsed = json::parse(text, nullptr, /*allow_exceptions=*/false);
  Values out;
  if (!parsed.is_object()) return out;
  for (const auto& [name, value] : parsed.items()) {
    if (value.is_string()) out[name] = value.get<std::string>();
  }
  return out;
}

void IndexBatch::Add(const IndexChange& change, Applied& applied) {
  switch (change.kind) {
    case IndexChange::Kind::kObject:
      return AddObject(change, applied);
    case IndexChange::Kind::kClinical:
      return AddClinical(change, applied);
  }
}

void IndexBatch::Flush() {
  Flush("patients", patients_);
  Flush("studies", studies_);
  Flush("series", series_);
}

IndexBatch::Row& IndexBatch::Patient(const std::string& code) {
  auto [found, fresh] = patients_.try_emplace(code);
  Row& row = found->second;
  if (!fresh) return row;
  std::string values;
  sql_ << "SELECT id, attributes FROM patients WHERE code = :c", use(code), into(row.id),
      into(values);
  if (sql_.got_data()) {
    row.values = FromText(values);
  } else {
    row.id = NextId(sql_, "patients");
    sql_ << "INSERT INTO patients (id, code, attributes, clinical) VALUES (:i, :c, '{}', '{}')",
        use(row.id), use(code);
  }
  return row;
}

IndexBatch::Row* IndexBatch::Child(const char* table, const char* parent_column,
                                   std::map<std::string, Row>& rows, const std::string& uid,
                                   long long parent) {
  auto [found, fresh] = rows.try_emplace(uid);
  Row& row = found->second;
  if (fresh) {
    std::string values;
    sql_ << "SELECT id, " << parent_column << ", attributes FROM " << table << " WHERE uid = :u",
        use(uid), into(row.id), into(row.parent), into(values);
    if (sql_.got_data()) {
      row.values = FromText(values);
    } else {
      row.id = NextId(sql_, table);
      row.parent = parent;
      sql_ << "INSERT INTO " << table << " (id, " << parent_column
           << ", uid, attributes) VALUES (:i, :p, :u, '{}')",
          use(row.id), use(parent), use(uid);
    }
  }
  return row.parent == parent ? &row : nullptr;
}

void IndexBatch::AddObject(const IndexChange& change, Applied& applied) {
  const ReleasedHeader& header = change.header;
  Row* series = nullptr;
  Row& patient = Patient(header.patient_code);
  Row* study = Child("studies", "patient_id", studies_, header.study_uid, patient.id);
  if (study != nullptr) {
    series = Child("series", "study_id", series_, header.series_uid, study->id);
  }
  if (series == nullptr) {
    applied.conflicts.push_back({change.event, PassedOver::Why::kConflict});
    if (study != nullptr) RemoveEmptyStudy(study->id);
    RemoveEmpty(patient.id);
    return;
  }
  Merge(header, Level::kPatient, patient);
  Merge(header, Level::kStudy, *study);
  Merge(header, Level::kSeries, *series);
  auto bytes = static_cast<long long>(header.bytes);
  sql_ << "INSERT INTO instances (uid, series_id, sha256, bytes) VALUES (:u, :s, :h, :b) "
          "ON CONFLICT (uid) DO UPDATE SET series_id = excluded.series_id, "
          "sha256 = excluded.sha256, bytes = excluded.bytes",
      use(header.sop_instance_uid), use(series->id), use(change.event.sha256), use(bytes);
  applied.changed = true;
}

// What is said last of a variable counts; of what is not said this time the earlier value stays,
// for one row of a patient seldom says everything.
void IndexBatch::AddClinical(const IndexChange& change, Applied& applied) {
  Row& patient = Patient(change.patient_code);
  std::string text;
  sql_ << "SELECT clinical FROM patients WHERE id = :i", use(patient.id), into(text);
  Values values = FromText(text);
  for (const auto& [name, value] : change.clinical) {
    auto [found, fresh] = values.emplace(name, value);
    if (fresh || found->second == value) continue;
    found->second = value;
    ++applied.replaced;
  }
  text = ToText(values);
  sql_ << "UPDATE patients SET clinical = :c WHERE id = :i", use(text), use(patient.id);
  applied.changed = true;
}

// The first object of a row that has a value gives it.
void IndexBatch::Merge(const ReleasedHeader& header, Level level, Row& row) {
  auto values = header.values.find(level);
  if (values == header.values.end()) return;
  for (const auto& [name, value] : values->second) {
    if (row.values.emplace(name, value).second) row.touched = true;
  }
}

void IndexBatch::RemoveEmptyStudy(long long study) {
  sql_ << "DELETE FROM studies WHERE id = :i AND NOT EXISTS (SELECT 1 FROM series WHERE "
          "study_id = :j)",
      use(study), use(study);
}

void IndexBatch::RemoveEmpty(long long patient) {
  // Rows of the batch may go: they are written first and read again afterwards.
  Flush();
  sql_ << "DELETE FROM patients WHERE id = :i AND clinical = '{}' AND NOT EXISTS (SELECT 1 FROM "
          "studies WHERE patient_id = :j)",
      use(patient), use(patient);
  patients_.clear();
  studies_.clear();
  series_.clear();
}

void IndexBatch::Flush(const char* table, std::map<std::string, Row>& rows) {
  for (auto& [key, row] : rows) {
    if (!row.touched) continue;
    row.touched = false;
    std::string text = ToText(row.values);
    sql_ << "UPDATE " << table << " SET attributes = :a WHERE id = :i", use(text), use(row.id);
  }
}

}  // namespace oncomesh::catalogue
