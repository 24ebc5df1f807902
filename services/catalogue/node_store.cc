// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/node_store.h"

#include <algorithm>
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

using soci::into;
using soci::use;

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
        "CREATE INDEX dataset_items_of_object ON dataset_items (sha256)"}},
      // Of what was passed over before there was this table only the number is known, so the feed
      // is read again.
      {"what was passed over",
       {"CREATE TABLE passed_over (sequence BIGINT PRIMARY KEY, kind TEXT NOT NULL, "
        "sha256 TEXT NOT NULL, why TEXT NOT NULL, items BIGINT NOT NULL)",
        "DELETE FROM settings WHERE name IN ('cursor', 'unreadable')"}},
      {"what a version was asked for with",
       {"ALTER TABLE datasets ADD COLUMN request_digest TEXT"}}};
  return schema;
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

constexpr char kObjectText[] = "OBJECT";
constexpr char kTableText[] = "TABLE";

std::string WhyText(PassedOver::Why why) {
  switch (why) {
    case PassedOver::Why::kAbsent:
      return "ABSENT";
    case PassedOver::Why::kUnreadable:
      return "UNREADABLE";
    case PassedOver::Why::kConflict:
      return "CONFLICT";
    case PassedOver::Why::kRows:
      return "ROWS";
  }
  return "";
}

void Note(soci::session& sql, const PassedOver& one) {
  const bool table = one.event.kind == Released::Kind::kClinicalTable;
  const std::string kind = table ? kTableText : kObjectText, why = WhyText(one.why);
  long long sequence = one.event.sequence, items = one.items;
  sql << "INSERT INTO passed_over (sequence, kind, sha256, why, items) VALUES (:s, :k, :h, :w, :i) "
         "ON CONFLICT (sequence) DO UPDATE SET why = excluded.why, items = excluded.items",
      use(sequence), use(kind), use(one.event.sha256), use(why), use(items);
}

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

absl::StatusOr<absl::optional<v1::DatasetRecord>> ReadRequest(soci::session& sql,
                                                              const std::string& request_id,
                                                              const std::string& digest) {
  absl::optional<v1::DatasetRecord> out;
  std::string record, earlier;
  soci::indicator known = soci::i_null;
  sql << "SELECT record, request_digest FROM datasets WHERE request_id = :r", use(request_id),
      into(record), into(earlier, known);
  if (!sql.got_data()) return out;
  // Versions made before digests were kept have none.
  if (known == soci::i_ok && earlier != digest) {
    return base::Error(absl::StatusCode::kAlreadyExists, "REQUEST_ID_REUSED",
                       "this request id was used for another dataset; use a new one");
  }
  ASSIGN_OR_RETURN(out, RecordOf(record));
  return out;
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

absl::StatusOr<Applied> NodeStore::Apply(const std::vector<IndexChange>& changes,
                                         const std::vector<PassedOver>& passed_over,
                                         absl::optional<int64_t> cursor) {
  Applied applied;
  RETURN_IF_ERROR(database_->Transact([&](soci::session& sql) {
    applied = Applied();
    IndexBatch batch(sql);
    long long last = 0;
    for (const IndexChange& change : changes) {
      const long long sequence = change.event.sequence;
      // A table makes a change for each of its rows.
      if (sequence != last) sql << "DELETE FROM passed_over WHERE sequence = :s", use(sequence);
      last = sequence;
      batch.Add(change, applied);
    }
    batch.Flush();
    for (const PassedOver& one : passed_over) Note(sql, one);
    for (const PassedOver& one : applied.conflicts) Note(sql, one);
    if (cursor.has_value()) SetSetting(sql, "cursor", absl::StrCat(*cursor));
    return absl::OkStatus();
  }));
  return applied;
}

absl::StatusOr<std::vector<PassedOver>> NodeStore::ToTryAgain(bool absent_only, int64_t after,
                                                              int limit) {
  std::vector<PassedOver> out;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) {
    out.clear();
    long long begin = after;
    const std::string first = WhyText(PassedOver::Why::kAbsent);
    const std::string second = absent_only ? first : WhyText(PassedOver::Why::kUnreadable);
    soci::rowset<soci::row> rows =
        (sql.prepare << "SELECT sequence, kind, sha256, why FROM passed_over WHERE sequence > :s "
                        "AND (why = :a OR why = :b) ORDER BY sequence LIMIT :l",
         use(begin), use(first), use(second), use(limit));
    for (const soci::row& row : rows) {
      PassedOver& one = out.emplace_back();
      one.event.sequence = row.get<long long>(0);
      one.event.kind = row.get<std::string>(1) == kTableText ? Released::Kind::kClinicalTable
                                                             : Released::Kind::kObject;
      one.event.sha256 = row.get<std::string>(2);
      one.why = row.get<std::string>(3) == first ? PassedOver::Why::kAbsent
                                                 : PassedOver::Why::kUnreadable;
    }
    return absl::OkStatus();
  }));
  return out;
}

absl::Status NodeStore::TurnBack(int64_t sequence) {
  return database_->Transact([&](soci::session& sql) {
    long long from = sequence;
    sql << "DELETE FROM passed_over WHERE sequence >= :s", use(from);
    SetSetting(sql, "cursor", absl::StrCat(std::min(GetNumber(sql, "cursor"), sequence - 1)));
    return absl::OkStatus();
  });
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
    sql << "DELETE FROM passed_over";
    SetSetting(sql, "cursor", "0");
    return absl::OkStatus();
  });
}

absl::StatusOr<int64_t> NodeStore::Cursor() {
  int64_t out = 0;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) {
    out = GetNumber(sql, "cursor");
    return absl::OkStatus();
  }));
  return out;
}

absl::StatusOr<v1::IndexStatus> NodeStore::Status() {
  v1::IndexStatus out;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) {
    long long patients = 0, studies = 0, series = 0, objects = 0, unreadable = 0;
    // A sum of BIGINT is NUMERIC in PostgreSQL.
    sql << "SELECT (SELECT COUNT(*) FROM patients), (SELECT COUNT(*) FROM studies), "
           "(SELECT COUNT(*) FROM series), (SELECT COUNT(*) FROM instances), "
           "(SELECT CAST(COALESCE(SUM(items), 0) AS BIGINT) FROM passed_over)",
        into(patients), into(studies), into(series), into(objects), into(unreadable);
    out.set_patients(patients);
    out.set_studies(studies);
    out.set_series(series);
    out.set_objects(objects);
    out.set_cursor(GetNumber(sql, "cursor"));
    out.set_unreadable(unreadable);
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

absl::StatusOr<absl::optional<v1::DatasetRecord>> NodeStore::FindRequest(
    const std::string& request_id, const std::string& digest) {
  absl::optional<v1::DatasetRecord> out;
  if (request_id.empty()) return out;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(out, ReadRequest(sql, request_id, digest));
    return absl::OkStatus();
  }));
  return out;
}

absl::StatusOr<v1::DatasetRecord> NodeStore::AddDataset(const std::string& node,
                                                        const std::string& dataset,
                                                        v1::DatasetRecord record,
                                                        const std::vector<v1::ManifestItem>& items,
                                                        const std::string& request_id,
                                                        const std::string& digest) {
  v1::DatasetRecord out;
  RETURN_IF_ERROR(database_->Transact([&](soci::session& sql) -> absl::Status {
    if (!request_id.empty()) {
      ASSIGN_OR_RETURN(absl::optional<v1::DatasetRecord> earlier,
                       ReadRequest(sql, request_id, digest));
      if (earlier.has_value()) {
        out = *std::move(earlier);
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
    sql << "INSERT INTO datasets (dataset, version, record, request_id, request_digest) VALUES "
           "(:d, :v, :r, :q, :g)",
        use(dataset), use(version), use(text), use(request_id, has_id), use(digest, has_id);
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
