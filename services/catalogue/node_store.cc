// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/node_store.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "services/catalogue/dataset_name.h"
#include "services/catalogue/record_text.h"

namespace oncomesh::catalogue {
namespace {

using nlohmann::json;
using soci::into;
using soci::use;
using terminology::Level;

// Values are a JSON object per row: which variables there are is the registry's affair, not the
// schema's. The numbers of patients are never used again, so that an index row means one patient
// for ever.
const std::vector<store::Migration>& Schema() {
  static const std::vector<store::Migration>& schema = *new std::vector<store::Migration>{
      {"what is indexed",
       {"CREATE TABLE counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL)",
        "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
        "CREATE TABLE patients (id BIGINT PRIMARY KEY, code TEXT NOT NULL UNIQUE, "
        "attributes TEXT NOT NULL, clinical TEXT NOT NULL)",
        "CREATE TABLE studies (id BIGINT PRIMARY KEY, patient_id BIGINT NOT NULL REFERENCES "
        "patients (id), uid TEXT NOT NULL UNIQUE, attributes TEXT NOT NULL)",
        "CREATE INDEX studies_of_patient ON studies (patient_id)",
        "CREATE TABLE series (id BIGINT PRIMARY KEY, study_id BIGINT NOT NULL REFERENCES "
        "studies (id), uid TEXT NOT NULL UNIQUE, attributes TEXT NOT NULL)",
        "CREATE INDEX series_of_study ON series (study_id)",
        "CREATE TABLE instances (uid TEXT PRIMARY KEY, series_id BIGINT NOT NULL REFERENCES "
        "series (id), sha256 TEXT NOT NULL, bytes BIGINT NOT NULL)",
        "CREATE INDEX instances_of_series ON instances (series_id)"}},
      {"datasets",
       {"CREATE TABLE datasets (dataset TEXT NOT NULL, version BIGINT NOT NULL, "
        "record TEXT NOT NULL, request_id TEXT UNIQUE, PRIMARY KEY (dataset, version))",
        "CREATE TABLE dataset_items (dataset TEXT NOT NULL, version BIGINT NOT NULL, "
        "position BIGINT NOT NULL, patient_code TEXT NOT NULL, study_uid TEXT NOT NULL, "
        "series_uid TEXT NOT NULL, sop_uid TEXT NOT NULL, sha256 TEXT NOT NULL, "
        "bytes BIGINT NOT NULL, modality TEXT NOT NULL, PRIMARY KEY (dataset, version, position))",
        "CREATE INDEX dataset_items_of_object ON dataset_items (sha256)"}}};
  return schema;
}

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

// The next number of a counter, from 1.
long long NextId(soci::session& sql, const std::string& name) {
  long long value = 0;
  sql << "INSERT INTO counters (name, value) VALUES (:n, 1) ON CONFLICT (name) DO UPDATE SET "
         "value = counters.value + 1 RETURNING value",
      use(name), into(value);
  return value;
}

void SetSetting(soci::session& sql, const std::string& name, const std::string& value) {
  sql << "INSERT INTO settings (name, value) VALUES (:n, :v) ON CONFLICT (name) DO UPDATE SET "
         "value = excluded.value",
      use(name), use(value);
}

std::string GetSetting(soci::session& sql, const std::string& name) {
  std::string value;
  sql << "SELECT value FROM settings WHERE name = :n", use(name), into(value);
  return sql.got_data() ? value : "";
}

int64_t GetNumber(soci::session& sql, const std::string& name) {
  int64_t out = 0;
  return absl::SimpleAtoi(GetSetting(sql, name), &out) ? out : 0;
}

// One row of patients, studies or series while a batch is applied.
struct Row {
  long long id = 0;
  long long parent = 0;
  Values values;
  bool touched = false;
};

// Applies changes within one transaction, with the rows of the batch kept at hand.
class Batch {
 public:
  explicit Batch(soci::session& sql) : sql_(sql) {}

  void Add(const IndexChange& change, Applied& applied) {
    switch (change.kind) {
      case IndexChange::Kind::kObject:
        AddObject(change, applied);
        return;
      case IndexChange::Kind::kWithdrawn:
        Withdraw(change.sop_instance_uid, applied);
        return;
      case IndexChange::Kind::kClinical: {
        AddClinical(change, applied);
        return;
      }
    }
  }

  void Flush() {
    Flush("patients", patients_);
    Flush("studies", studies_);
    Flush("series", series_);
  }

 private:
  Row& Patient(const std::string& code) {
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

  // A study or series; nullptr when it belongs to another parent.
  Row* Child(const char* table, const char* parent_column, std::map<std::string, Row>& rows,
             const std::string& uid, long long parent) {
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

  void AddObject(const IndexChange& change, Applied& applied) {
    const ReleasedHeader& header = change.header;
    Row* series = nullptr;
    Row& patient = Patient(header.patient_code);
    Row* study = Child("studies", "patient_id", studies_, header.study_uid, patient.id);
    if (study != nullptr) {
      series = Child("series", "study_id", series_, header.series_uid, study->id);
    }
    if (series == nullptr) {
      ++applied.conflicts;
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
        use(header.sop_instance_uid), use(series->id), use(change.sha256), use(bytes);
    applied.changed = true;
  }

  // What is said last of a variable counts; of what is not said this time the earlier value stays,
  // for one row of a patient seldom says everything.
  void AddClinical(const IndexChange& change, Applied& applied) {
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

  // The first object of a row that has a value gives it, so the order of the feed decides alone.
  static void Merge(const ReleasedHeader& header, Level level, Row& row) {
    auto values = header.values.find(level);
    if (values == header.values.end()) return;
    for (const auto& [name, value] : values->second) {
      if (row.values.emplace(name, value).second) row.touched = true;
    }
  }

  void Withdraw(const std::string& uid, Applied& applied) {
    // Rows of the batch may go: they are written first and read again afterwards.
    Flush();
    long long series = 0, study = 0, patient = 0;
    sql_ << "SELECT s.id, t.id, t.patient_id FROM instances i JOIN series s ON s.id = i.series_id "
            "JOIN studies t ON t.id = s.study_id WHERE i.uid = :u",
        use(uid), into(series), into(study), into(patient);
    if (!sql_.got_data()) return;
    sql_ << "DELETE FROM instances WHERE uid = :u", use(uid);
    sql_ << "DELETE FROM series WHERE id = :i AND NOT EXISTS (SELECT 1 FROM instances WHERE "
            "series_id = :j)",
        use(series), use(series);
    RemoveEmptyStudy(study);
    RemoveEmpty(patient);
    applied.changed = true;
  }

  void RemoveEmptyStudy(long long study) {
    sql_ << "DELETE FROM studies WHERE id = :i AND NOT EXISTS (SELECT 1 FROM series WHERE "
            "study_id = :j)",
        use(study), use(study);
  }

  // Removes a patient who has neither studies nor clinical data.
  void RemoveEmpty(long long patient) {
    Flush();
    sql_ << "DELETE FROM patients WHERE id = :i AND clinical = '{}' AND NOT EXISTS (SELECT 1 FROM "
            "studies WHERE patient_id = :j)",
        use(patient), use(patient);
    patients_.clear();
    studies_.clear();
    series_.clear();
  }

  void Flush(const char* table, std::map<std::string, Row>& rows) {
    for (auto& [key, row] : rows) {
      if (!row.touched) continue;
      row.touched = false;
      std::string text = ToText(row.values);
      sql_ << "UPDATE " << table << " SET attributes = :a WHERE id = :i", use(text), use(row.id);
    }
  }

  soci::session& sql_;
  std::map<std::string, Row> patients_, studies_, series_;
};

absl::Status NotFound() {
  return base::Error(absl::StatusCode::kNotFound, "DATASET_NOT_FOUND",
                     "there is no such dataset here; see: oncomesh datasets list");
}

// The record of `version` (0: the newest) and its number.
absl::Status ReadDataset(soci::session& sql, const std::string& dataset, int64_t version,
                         long long& found, std::string& record) {
  long long wanted = version;
  sql << "SELECT version, record FROM datasets WHERE dataset = :d AND (version = :v OR :w = 0) "
         "ORDER BY version DESC LIMIT 1",
      use(dataset), use(wanted), use(wanted), into(found), into(record);
  return sql.got_data() ? absl::OkStatus() : NotFound();
}

}  // namespace

absl::Status WithdrawnError() {
  return base::Error(absl::StatusCode::kFailedPrecondition, "DATASET_WITHDRAWN",
                     "this version was withdrawn; freeze a new one");
}

absl::StatusOr<std::unique_ptr<NodeStore>> NodeStore::Open(const std::string& url,
                                                           const std::string& password_file) {
  ASSIGN_OR_RETURN(std::unique_ptr<store::Database> database,
                   store::Database::Open(url, Schema(), password_file));
  return std::unique_ptr<NodeStore>(new NodeStore(std::move(database)));
}

absl::StatusOr<Applied> NodeStore::Apply(const std::vector<IndexChange>& changes, int64_t cursor,
                                         int64_t unreadable) {
  Applied applied;
  RETURN_IF_ERROR(database_->Transact([&](soci::session& sql) {
    applied = Applied();
    Batch batch(sql);
    for (const IndexChange& change : changes) batch.Add(change, applied);
    batch.Flush();
    SetSetting(sql, "cursor", absl::StrCat(cursor));
    SetSetting(sql, "unreadable",
               absl::StrCat(GetNumber(sql, "unreadable") + unreadable + applied.conflicts));
    return absl::OkStatus();
  }));
  return applied;
}

absl::Status NodeStore::UseRegistry(const std::string& fingerprint) {
  return database_->Transact([&](soci::session& sql) {
    std::string before = GetSetting(sql, "registry");
    if (before == fingerprint) return absl::OkStatus();
    SetSetting(sql, "registry", fingerprint);
    if (before.empty()) return absl::OkStatus();
    sql << "UPDATE patients SET attributes = '{}', clinical = '{}'";
    sql << "UPDATE studies SET attributes = '{}'";
    sql << "UPDATE series SET attributes = '{}'";
    SetSetting(sql, "cursor", "0");
    SetSetting(sql, "unreadable", "0");
    return absl::OkStatus();
  });
}

absl::StatusOr<v1::IndexStatus> NodeStore::Status() {
  v1::IndexStatus out;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) {
    long long patients = 0, studies = 0, series = 0, objects = 0;
    sql << "SELECT (SELECT COUNT(*) FROM patients), (SELECT COUNT(*) FROM studies), "
           "(SELECT COUNT(*) FROM series), (SELECT COUNT(*) FROM instances)",
        into(patients), into(studies), into(series), into(objects);
    out.set_patients(patients);
    out.set_studies(studies);
    out.set_series(series);
    out.set_objects(objects);
    out.set_cursor(GetNumber(sql, "cursor"));
    out.set_unreadable(GetNumber(sql, "unreadable"));
    return absl::OkStatus();
  }));
  return out;
}

absl::StatusOr<std::shared_ptr<const Index>> NodeStore::MakeIndex(
    const terminology::Registry& registry, const std::vector<DatasetName>& within) {
  std::shared_ptr<const Index> out;
  const terminology::Variable* image_count = registry.Find("image_count");
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) {
    struct Child {
      long long id;
      std::string values;
      long long instances = 0;
    };
    std::map<long long, std::vector<Child>> studies, series;
    long long id = 0, parent = 0, instances = 0;
    std::string values, clinical;
    if (within.empty()) {
      soci::statement rows =
          (sql.prepare << "SELECT s.study_id, s.id, s.attributes, COUNT(*) FROM series s JOIN "
                          "instances i ON i.series_id = s.id GROUP BY s.study_id, s.id, "
                          "s.attributes ORDER BY s.id",
           into(parent), into(id), into(values), into(instances));
      rows.execute();
      while (rows.fetch()) series[parent].push_back({id, values, instances});
    } else {
      // An object may be in several of the versions, so they are put together by uid.
      std::map<long long, std::pair<Child, long long>> found;
      std::set<std::string> seen;
      for (const DatasetName& name : within) {
        std::string uid, dataset = name.dataset;
        long long version = name.version;
        soci::statement rows =
            (sql.prepare << "SELECT s.study_id, s.id, s.attributes, i.uid FROM dataset_items d "
                            "JOIN instances i ON i.uid = d.sop_uid JOIN series s ON "
                            "s.id = i.series_id WHERE d.dataset = :d AND d.version = :v",
             use(dataset), use(version), into(parent), into(id), into(values), into(uid));
        rows.execute();
        while (rows.fetch()) {
          if (!seen.insert(uid).second) continue;
          ++found.try_emplace(id, Child{id, values}, parent).first->second.first.instances;
        }
      }
      for (auto& [key, child] : found) series[child.second].push_back(std::move(child.first));
    }
    soci::statement study_rows =
        (sql.prepare << "SELECT patient_id, id, attributes FROM studies ORDER BY id", into(parent),
         into(id), into(values));
    study_rows.execute();
    while (study_rows.fetch()) {
      if (within.empty() || series.count(id) > 0) studies[parent].push_back({id, values});
    }
    IndexBuilder builder;
    auto set = [&](const Values& given) {
      for (const auto& [name, value] : given) {
        // A variable that the registry no longer has is left out.
        if (const auto* variable = registry.Find(name)) builder.Set(*variable, value);
      }
    };
    soci::statement patient_rows =
        (sql.prepare << "SELECT id, attributes, clinical FROM patients ORDER BY id", into(id),
         into(values), into(clinical));
    patient_rows.execute();
    while (patient_rows.fetch()) {
      if (!within.empty() && studies.count(id) == 0) continue;
      builder.AddPatient(static_cast<uint32_t>(id - 1));
      // What the clinical table says goes before what a header says.
      Values of_patient = FromText(clinical);
      of_patient.merge(FromText(values));
      set(of_patient);
      for (const Child& study : studies[id]) {
        builder.AddStudy();
        set(FromText(study.values));
        for (const Child& one : series[study.id]) {
          builder.AddSeries(one.id);
          set(FromText(one.values));
          if (image_count != nullptr) builder.Set(*image_count, absl::StrCat(one.instances));
        }
      }
    }
    out = std::move(builder).Build();
    return absl::OkStatus();
  }));
  return out;
}

absl::StatusOr<std::vector<v1::ManifestItem>> NodeStore::ObjectsOf(
    const std::vector<int64_t>& series_ids) {
  std::vector<v1::ManifestItem> out;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) {
    out.clear();
    for (int64_t id : series_ids) {
      long long series = id;
      soci::rowset<soci::row> rows =
          (sql.prepare << "SELECT p.code, t.uid, s.uid, i.uid, i.sha256, i.bytes, s.attributes "
                          "FROM instances i JOIN series s ON s.id = i.series_id JOIN studies t ON "
                          "t.id = s.study_id JOIN patients p ON p.id = t.patient_id "
                          "WHERE s.id = :s",
           use(series));
      for (const soci::row& row : rows) {
        v1::ManifestItem& item = out.emplace_back();
        item.set_patient_code(row.get<std::string>(0));
        item.set_study_uid(row.get<std::string>(1));
        item.set_series_uid(row.get<std::string>(2));
        item.set_sop_instance_uid(row.get<std::string>(3));
        item.set_sha256(row.get<std::string>(4));
        item.set_bytes(row.get<long long>(5));
        item.set_modality(FromText(row.get<std::string>(6))["modality"]);
      }
    }
    return absl::OkStatus();
  }));
  std::sort(out.begin(), out.end(), [](const v1::ManifestItem& a, const v1::ManifestItem& b) {
    return ManifestLine(a) < ManifestLine(b);
  });
  return out;
}

absl::StatusOr<v1::DatasetRecord> NodeStore::AddDataset(const std::string& node,
                                                        const std::string& dataset,
                                                        v1::DatasetRecord record,
                                                        const std::vector<v1::ManifestItem>& items,
                                                        const std::string& request_id) {
  v1::DatasetRecord out;
  RETURN_IF_ERROR(database_->Transact([&](soci::session& sql) -> absl::Status {
    if (!request_id.empty()) {
      std::string earlier;
      sql << "SELECT record FROM datasets WHERE request_id = :r", use(request_id), into(earlier);
      if (sql.got_data()) {
        ASSIGN_OR_RETURN(out, RecordOf(earlier));
        return absl::OkStatus();
      }
    }
    long long version = 0;
    sql << "SELECT COALESCE(MAX(version), 0) + 1 FROM datasets WHERE dataset = :d", use(dataset),
        into(version);
    out = record;
    out.set_name(DatasetName{node, dataset, version}.Text());
    std::string text = RecordText(out);
    soci::indicator has_id = request_id.empty() ? soci::i_null : soci::i_ok;
    sql << "INSERT INTO datasets (dataset, version, record, request_id) VALUES (:d, :v, :r, :q)",
        use(dataset), use(version), use(text), use(request_id, has_id);
    long long position = 0, bytes = 0;
    std::string patient, study, series, instance, sha256, modality;
    soci::statement insert =
        (sql.prepare << "INSERT INTO dataset_items (dataset, version, position, patient_code, "
                        "study_uid, series_uid, sop_uid, sha256, bytes, modality) VALUES (:d, :v, "
                        ":p, :pc, :st, :se, :so, :h, :b, :m)",
         use(dataset), use(version), use(position), use(patient), use(study), use(series),
         use(instance), use(sha256), use(bytes), use(modality));
    for (const v1::ManifestItem& item : items) {
      patient = item.patient_code();
      study = item.study_uid();
      series = item.series_uid();
      instance = item.sop_instance_uid();
      sha256 = item.sha256();
      bytes = item.bytes();
      modality = item.modality();
      insert.execute(true);
      ++position;
    }
    return absl::OkStatus();
  }));
  return out;
}

absl::StatusOr<v1::DatasetRecord> NodeStore::GetDataset(const std::string& dataset,
                                                        int64_t version) {
  v1::DatasetRecord out;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) -> absl::Status {
    std::string text;
    long long found = 0;
    RETURN_IF_ERROR(ReadDataset(sql, dataset, version, found, text));
    ASSIGN_OR_RETURN(out, RecordOf(text));
    return absl::OkStatus();
  }));
  return out;
}

absl::StatusOr<v1::DatasetRecord> NodeStore::ChangeDataset(
    const std::string& dataset, int64_t version,
    const std::function<absl::Status(v1::DatasetRecord&)>& change) {
  v1::DatasetRecord out;
  RETURN_IF_ERROR(database_->Transact([&](soci::session& sql) -> absl::Status {
    std::string text;
    long long found = 0;
    RETURN_IF_ERROR(ReadDataset(sql, dataset, version, found, text));
    ASSIGN_OR_RETURN(out, RecordOf(text));
    const bool withdrawn = out.state() == v1::DatasetRecord::STATE_WITHDRAWN;
    RETURN_IF_ERROR(change(out));
    if (withdrawn && out.state() != v1::DatasetRecord::STATE_WITHDRAWN) return WithdrawnError();
    text = RecordText(out);
    sql << "UPDATE datasets SET record = :r WHERE dataset = :d AND version = :v", use(text),
        use(dataset), use(found);
    return absl::OkStatus();
  }));
  return out;
}

absl::StatusOr<std::vector<v1::DatasetRecord>> NodeStore::ListDatasets(
    const std::string& after_dataset, int64_t after_version, int limit) {
  std::vector<v1::DatasetRecord> out;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) -> absl::Status {
    out.clear();
    long long version = after_version;
    soci::rowset<std::string> rows =
        (sql.prepare << "SELECT record FROM datasets WHERE dataset > :d OR (dataset = :e AND "
                        "version > :v) ORDER BY dataset, version LIMIT :l",
         use(after_dataset), use(after_dataset), use(version), use(limit));
    for (const std::string& text : rows) {
      ASSIGN_OR_RETURN(v1::DatasetRecord record, RecordOf(text));
      out.push_back(std::move(record));
    }
    return absl::OkStatus();
  }));
  return out;
}

absl::StatusOr<int64_t> NodeStore::CountItems(const std::string& dataset, int64_t version) {
  long long count = 0;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) {
    long long number = version;
    sql << "SELECT COUNT(*) FROM dataset_items WHERE dataset = :d AND version = :v", use(dataset),
        use(number), into(count);
    return absl::OkStatus();
  }));
  return count;
}

absl::StatusOr<std::vector<v1::ManifestItem>> NodeStore::Items(const std::string& dataset,
                                                               int64_t version, int64_t from,
                                                               int limit) {
  std::vector<v1::ManifestItem> out;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) {
    out.clear();
    long long number = version, begin = from, end = from + limit;
    soci::rowset<soci::row> rows =
        (sql.prepare << "SELECT patient_code, study_uid, series_uid, sop_uid, sha256, bytes, "
                        "modality FROM dataset_items WHERE dataset = :d AND version = :v AND "
                        "position >= :b AND position < :e ORDER BY position",
         use(dataset), use(number), use(begin), use(end));
    for (const soci::row& row : rows) {
      v1::ManifestItem& item = out.emplace_back();
      item.set_patient_code(row.get<std::string>(0));
      item.set_study_uid(row.get<std::string>(1));
      item.set_series_uid(row.get<std::string>(2));
      item.set_sop_instance_uid(row.get<std::string>(3));
      item.set_sha256(row.get<std::string>(4));
      item.set_bytes(row.get<long long>(5));
      item.set_modality(row.get<std::string>(6));
    }
    return absl::OkStatus();
  }));
  return out;
}

}  // namespace oncomesh::catalogue
