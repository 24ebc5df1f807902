// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/record_store.h"

#include <utility>

#include "libs/base/status_macros.h"
#include "services/catalogue/record_text.h"

namespace oncomesh::catalogue {
namespace {

using soci::into;
using soci::use;

const std::vector<store::Migration>& Schema() {
  static const std::vector<store::Migration>& schema = *new std::vector<store::Migration>{
      {"records",
       {"CREATE TABLE records (node TEXT NOT NULL, dataset TEXT NOT NULL, version BIGINT NOT NULL, "
        "record TEXT NOT NULL, PRIMARY KEY (node, dataset, version))"}}};
  return schema;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RecordStore>> RecordStore::Open(const std::string& url,
                                                               const std::string& password_file) {
  ASSIGN_OR_RETURN(std::unique_ptr<store::Database> database,
                   store::Database::Open(url, Schema(), password_file));
  return std::unique_ptr<RecordStore>(new RecordStore(std::move(database)));
}

absl::StatusOr<v1::DatasetRecord> RecordStore::Change(
    const DatasetName& name,
    const std::function<absl::StatusOr<v1::DatasetRecord>(const v1::DatasetRecord*)>& change) {
  v1::DatasetRecord out;
  RETURN_IF_ERROR(database_->Transact([&](soci::session& sql) -> absl::Status {
    std::string text;
    long long version = name.version;
    sql << "SELECT record FROM records WHERE node = :n AND dataset = :d AND version = :v",
        use(name.node), use(name.dataset), use(version), into(text);
    if (sql.got_data()) {
      ASSIGN_OR_RETURN(v1::DatasetRecord before, RecordOf(text));
      ASSIGN_OR_RETURN(out, change(&before));
    } else {
      ASSIGN_OR_RETURN(out, change(nullptr));
    }
    std::string after = RecordText(out);
    sql << "INSERT INTO records (node, dataset, version, record) VALUES (:n, :d, :v, :r) "
           "ON CONFLICT (node, dataset, version) DO UPDATE SET record = excluded.record",
        use(name.node), use(name.dataset), use(version), use(after);
    return absl::OkStatus();
  }));
  return out;
}

absl::StatusOr<std::vector<v1::DatasetRecord>> RecordStore::All() {
  std::vector<v1::DatasetRecord> out;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) -> absl::Status {
    out.clear();
    soci::rowset<std::string> rows =
        (sql.prepare << "SELECT record FROM records ORDER BY node, dataset, version");
    for (const std::string& text : rows) {
      ASSIGN_OR_RETURN(v1::DatasetRecord record, RecordOf(text));
      out.push_back(std::move(record));
    }
    return absl::OkStatus();
  }));
  return out;
}

}  // namespace oncomesh::catalogue
