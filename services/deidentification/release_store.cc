// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/release_store.h"

#include <utility>

#include "libs/base/error.h"
#include "libs/base/status_macros.h"

namespace oncomesh::deidentification {
namespace {

using soci::into;
using soci::use;

const std::vector<store::Migration>& Schema() {
  static const std::vector<store::Migration>& schema = *new std::vector<store::Migration>{
      {"released objects",
       {"CREATE TABLE released (sequence BIGINT PRIMARY KEY, sha256 TEXT NOT NULL UNIQUE, "
        "kind BIGINT NOT NULL, time BIGINT NOT NULL)"}},
      {"quarantine",
       {"CREATE TABLE quarantine (sequence BIGINT PRIMARY KEY, id TEXT NOT NULL UNIQUE, "
        "kind BIGINT NOT NULL, reason TEXT NOT NULL, bytes BIGINT NOT NULL, time BIGINT NOT "
        "NULL)"}},
      {"project key", {"CREATE TABLE project_key (id TEXT NOT NULL)"}}};
  return schema;
}

absl::Status NotFound() {
  return base::Error(absl::StatusCode::kNotFound, "QUARANTINE_NOT_FOUND",
                     "no quarantined object has this id; `oncomesh quarantine list` shows them");
}

QuarantineRow RowOf(const soci::row& row) {
  QuarantineRow out;
  out.sequence = row.get<long long>(0);
  out.id = row.get<std::string>(1);
  out.kind = static_cast<ObjectKind>(row.get<long long>(2));
  out.reason = row.get<std::string>(3);
  out.bytes = row.get<long long>(4);
  out.time = absl::FromUnixMillis(row.get<long long>(5));
  return out;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ReleaseStore>> ReleaseStore::Open(const std::string& url,
                                                                 const std::string& password_file) {
  ASSIGN_OR_RETURN(std::unique_ptr<store::Database> database,
                   store::Database::Open(url, Schema(), password_file));
  return std::unique_ptr<ReleaseStore>(new ReleaseStore(std::move(database)));
}

absl::StatusOr<bool> ReleaseStore::IsEmpty() {
  long long rows = 0;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) {
    long long released = 0, quarantined = 0;
    sql << "SELECT COUNT(*) FROM released", into(released);
    sql << "SELECT COUNT(*) FROM quarantine", into(quarantined);
    rows = released + quarantined;
    return absl::OkStatus();
  }));
  return rows == 0;
}

absl::Status ReleaseStore::BindKey(const std::string& key_id) {
  return database_->Transact([&](soci::session& sql) {
    long long known = 0;
    sql << "SELECT COUNT(*) FROM project_key", into(known);
    if (known == 0) {
      sql << "INSERT INTO project_key (id) VALUES (:i)", use(key_id);
      return absl::OkStatus();
    }
    std::string id;
    sql << "SELECT id FROM project_key", into(id);
    if (id == key_id) return absl::OkStatus();
    return base::Error(
        absl::StatusCode::kFailedPrecondition, "KEY_CHANGED",
        "the project key is not the one that this node's releases were made with: the same patient "
        "would get another code and other dates, and the quarantine does not open; put back the "
        "key "
        "file with this id, or start with an empty state folder",
        {{"keyId", id}});
  });
}

absl::StatusOr<std::vector<bool>> ReleaseStore::AddReleased(const std::vector<NewRelease>& objects,
                                                            absl::Time now) {
  std::vector<bool> added;
  RETURN_IF_ERROR(database_->Transact([&](soci::session& sql) {
    added.clear();
    std::string sha256;
    long long kind = 0, time = absl::ToUnixMillis(now), next = 0, known = 0;
    sql << "SELECT COALESCE(MAX(sequence), 0) FROM released", into(next);
    soci::statement find = (sql.prepare << "SELECT COUNT(*) FROM released WHERE sha256 = :s",
                            use(sha256), into(known));
    soci::statement add = (sql.prepare << "INSERT INTO released (sequence, sha256, kind, time) "
                                          "VALUES (:n, :s, :k, :t)",
                           use(next), use(sha256), use(kind), use(time));
    for (const NewRelease& object : objects) {
      sha256 = object.sha256;
      kind = static_cast<long long>(object.kind);
      find.execute(/*withDataExchange=*/true);
      added.push_back(known == 0);
      if (known != 0) continue;
      ++next;
      add.execute(/*withDataExchange=*/true);
    }
    return absl::OkStatus();
  }));
  return added;
}

absl::StatusOr<std::vector<ReleasedRow>> ReleaseStore::ListReleased(int64_t after, int limit) {
  std::vector<ReleasedRow> out;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) {
    out.clear();
    long long from = after, most = limit;
    soci::rowset<soci::row> rows =
        (sql.prepare << "SELECT sequence, sha256, kind, time FROM released WHERE sequence > :a "
                        "ORDER BY sequence LIMIT :l",
         use(from), use(most));
    for (const soci::row& row : rows) {
      out.push_back({row.get<long long>(0), row.get<std::string>(1),
                     static_cast<ObjectKind>(row.get<long long>(2)),
                     absl::FromUnixMillis(row.get<long long>(3))});
    }
    return absl::OkStatus();
  }));
  return out;
}

absl::Status ReleaseStore::AddQuarantined(const QuarantineRow& row) {
  return database_->Transact([&](soci::session& sql) {
    long long kind = static_cast<long long>(row.kind), bytes = row.bytes;
    long long time = absl::ToUnixMillis(row.time), next = 0;
    sql << "SELECT COALESCE(MAX(sequence), 0) + 1 FROM quarantine", into(next);
    sql << "INSERT INTO quarantine (sequence, id, kind, reason, bytes, time) "
           "VALUES (:n, :i, :k, :r, :b, :t) "
           "ON CONFLICT (id) DO UPDATE SET reason = excluded.reason",
        use(next), use(row.id), use(kind), use(row.reason), use(bytes), use(time);
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<QuarantineRow>> ReleaseStore::ListQuarantined(int64_t after, int limit) {
  std::vector<QuarantineRow> out;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) {
    out.clear();
    long long from = after, most = limit;
    soci::rowset<soci::row> rows =
        (sql.prepare << "SELECT sequence, id, kind, reason, bytes, time FROM quarantine "
                        "WHERE sequence > :a ORDER BY sequence LIMIT :l",
         use(from), use(most));
    for (const soci::row& row : rows) out.push_back(RowOf(row));
    return absl::OkStatus();
  }));
  return out;
}

absl::StatusOr<QuarantineRow> ReleaseStore::FindQuarantined(const std::string& id) {
  QuarantineRow out;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) {
    out = QuarantineRow();
    soci::rowset<soci::row> rows =
        (sql.prepare << "SELECT sequence, id, kind, reason, bytes, time FROM quarantine "
                        "WHERE id = :i",
         use(id));
    for (const soci::row& row : rows) out = RowOf(row);
    return out.id.empty() ? NotFound() : absl::OkStatus();
  }));
  return out;
}

absl::Status ReleaseStore::RemoveQuarantined(const std::string& id) {
  return database_->Transact([&](soci::session& sql) {
    long long known = 0;
    sql << "SELECT COUNT(*) FROM quarantine WHERE id = :i", use(id), into(known);
    if (known == 0) return NotFound();
    sql << "DELETE FROM quarantine WHERE id = :i", use(id);
    return absl::OkStatus();
  });
}

}  // namespace oncomesh::deidentification
