// SPDX-License-Identifier: Apache-2.0
// The database of one service: SQLite (WAL) in a file, or PostgreSQL, through SOCI. SQL itself
// stands only in the services' *_store.cc; this file opens, migrates, retries and translates
// errors.
//
// SQL that both engines take: TEXT, BIGINT, DOUBLE PRECISION columns; positional `:name` binding;
// INSERT … ON CONFLICT … DO UPDATE/NOTHING; RETURNING (SQLite ≥ 3.35). Bytes are stored as
// hexadecimal or base64 text.
#pragma once

#include <soci/soci.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace oncomesh::store {

// One forward step of a schema. Steps are numbered from 1 in the order given and never changed
// after a release; there is no way back but a backup.
struct Migration {
  std::string name;                     // "create datasets", for the log and the table
  std::vector<std::string> statements;  // run in one transaction
};

// The URL of a service's database: the one that was configured, or a file of its own in its folder.
std::string UrlOf(absl::string_view configured, absl::string_view state_dir,
                  absl::string_view service);

// Any thread may use it; each transaction takes a connection of its own from a pool.
class Database {
 public:
  // `url` is "sqlite:<file>" or "postgresql://user@host:port/name?…" (libpq connection URI; the
  // password is read from `password_file` when given). Missing migrations are applied, each in a
  // transaction; two processes that start at once do not both apply them.
  // Errors: INVALID_ARGUMENT (DATABASE_URL_INVALID), UNAVAILABLE (DATABASE_UNAVAILABLE),
  // FAILED_PRECONDITION (DATABASE_TOO_NEW) when the schema has steps this program does not know.
  static absl::StatusOr<std::unique_ptr<Database>> Open(const std::string& url,
                                                        const std::vector<Migration>& migrations,
                                                        const std::string& password_file = "");
  virtual ~Database() = default;

  // Runs `body` in one serialisable transaction; commits when it returns OK, else rolls back and
  // returns its error. `body` may run again when the engine asks for a retry (busy, serialisation
  // failure, at most 10 times) and in the thread of another caller, so it has no effects but on the
  // database and takes no lock. On SQLite, callers that come at once share one commit; each still
  // has its own outcome. Exceptions of SOCI inside `body` become UNAVAILABLE (DATABASE_ERROR),
  // ALREADY_EXISTS (DUPLICATE_KEY) for a violated uniqueness, or RESOURCE_EXHAUSTED (DISK_FULL).
  virtual absl::Status Transact(const std::function<absl::Status(soci::session&)>& body) = 0;

  // The same for reading only; sees one consistent state.
  virtual absl::Status Read(const std::function<absl::Status(soci::session&)>& body) = 0;

  virtual bool is_postgresql() const = 0;
};

// The migrations that `url` still lacks, without applying them (dry run).
absl::StatusOr<std::vector<std::string>> PendingMigrations(const std::string& url,
                                                           const std::vector<Migration>& migrations,
                                                           const std::string& password_file = "");

}  // namespace oncomesh::store
