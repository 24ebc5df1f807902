// SPDX-License-Identifier: Apache-2.0
#include "libs/store/database.h"

#include <soci/postgresql/soci-postgresql.h>
#include <soci/sqlite3/soci-sqlite3.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/base/mutex.h"
#include "libs/base/status_macros.h"

namespace oncomesh::store {
namespace {

constexpr int kAttempts = 10;
// Idle connections that are kept: one of SQLite is a few file handles, one of PostgreSQL a process.
constexpr size_t kIdleSqlite = 16;
constexpr size_t kIdlePostgresql = 4;
constexpr size_t kLargestGroup = 64;
constexpr long long kMigrationLock = 0x6f6e636f6d657368;  // "oncomesh", for pg_advisory_xact_lock

struct Failure {
  absl::Status status;
  bool retry = false;
};

Failure Translate(const std::exception& error) {
  if (const auto* sqlite = dynamic_cast<const soci::sqlite3_soci_error*>(&error)) {
    int code = sqlite->result() & 0xff;
    if (code == SQLITE_BUSY || code == SQLITE_LOCKED) {
      return {base::Error(absl::StatusCode::kUnavailable, "DATABASE_BUSY",
                          "the database is busy; try again"),
              true};
    }
    if (code == SQLITE_CONSTRAINT) {
      return {base::Error(absl::StatusCode::kAlreadyExists, "DUPLICATE_KEY",
                          "a row with this key exists, or a rule of the table is broken")};
    }
    if (code == SQLITE_FULL) {
      return {base::Error(absl::StatusCode::kResourceExhausted, "DISK_FULL",
                          "the disk of the database is full; free some space")};
    }
  }
  if (const auto* postgres = dynamic_cast<const soci::postgresql_soci_error*>(&error)) {
    std::string state = postgres->sqlstate();
    if (state == "40001" || state == "40P01") {  // serialisation failure, deadlock
      return {base::Error(absl::StatusCode::kUnavailable, "DATABASE_BUSY",
                          "the database is busy; try again"),
              true};
    }
    if (state == "23505") {
      return {base::Error(absl::StatusCode::kAlreadyExists, "DUPLICATE_KEY",
                          "a row with this key exists")};
    }
    if (state == "53100") {
      return {base::Error(absl::StatusCode::kResourceExhausted, "DISK_FULL",
                          "the disk of the database is full; free some space")};
    }
  }
  // The engine's text can quote a value of the row, so it goes nowhere.
  if (const auto* soci_error = dynamic_cast<const soci::soci_error*>(&error)) {
    return {base::Error(absl::StatusCode::kUnavailable, "DATABASE_ERROR",
                        absl::StrCat("the database refused a statement (category ",
                                     static_cast<int>(soci_error->get_error_category()), ")"))};
  }
  return {base::Error(absl::StatusCode::kUnavailable, "DATABASE_ERROR",
                      "the database failed; is it reachable?")};
}

class SociDatabase final : public Database {
 public:
  SociDatabase(bool postgresql, std::string parameters)
      : postgresql_(postgresql), parameters_(std::move(parameters)) {}

  absl::Status Transact(const std::function<absl::Status(soci::session&)>& body) override {
    return postgresql_ ? Run(body, "BEGIN ISOLATION LEVEL SERIALIZABLE") : TransactGrouped(body);
  }
  absl::Status Read(const std::function<absl::Status(soci::session&)>& body) override {
    return Run(body,
               postgresql_ ? "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" : "BEGIN DEFERRED");
  }
  bool is_postgresql() const override { return postgresql_; }

 private:
  using Body = std::function<absl::Status(soci::session&)>;
  struct Waiting {
    const Body* body = nullptr;
    absl::Status status;
    bool done = false;
  };

  // A connection for one transaction. Lent out of the pool, or made when the pool is empty.
  absl::StatusOr<std::unique_ptr<soci::session>> Take() {
    {
      base::MutexLock lock(mutex_);
      if (!idle_.empty()) {
        std::unique_ptr<soci::session> session = std::move(idle_.back());
        idle_.pop_back();
        return session;
      }
    }
    try {
      auto session = postgresql_ ? std::make_unique<soci::session>(soci::postgresql, parameters_)
                                 : std::make_unique<soci::session>(soci::sqlite3, parameters_);
      if (postgresql_) {
        *session << "SET client_min_messages TO warning";
      } else {
        // WAL with synchronous FULL: a commit that was acknowledged survives a power cut.
        // The timeout comes first: even to ask for WAL waits for whoever opens the file just now.
        *session << "PRAGMA busy_timeout=10000";
        *session << "PRAGMA journal_mode=WAL";
        *session << "PRAGMA synchronous=FULL";
        *session << "PRAGMA foreign_keys=ON";
      }
      return session;
    } catch (const std::exception&) {
      return base::Error(absl::StatusCode::kUnavailable, "DATABASE_UNAVAILABLE",
                         postgresql_
                             ? "cannot connect to PostgreSQL; check the URL, the password "
                               "file and that the server runs"
                             : "cannot open the SQLite file; check the folder and its rights");
    }
  }

  // SQLite has one writer at a time and one fdatasync per commit. Callers that wait meanwhile are
  // committed together by the first of them: twenty at once cost about as much as two, and none
  // sleeps in SQLite's busy handler. (PostgreSQL groups commits itself.)
  absl::Status TransactGrouped(const Body& body) {
    Waiting mine;
    mine.body = &body;
    base::MutexLock lock(write_mutex_);
    waiting_.push_back(&mine);
    while (!mine.done) {
      if (writing_) {
        write_done_.Wait(write_mutex_);
        continue;
      }
      writing_ = true;
      std::vector<Waiting*> group(
          waiting_.begin(),
          waiting_.begin() + static_cast<std::ptrdiff_t>(std::min(waiting_.size(), kLargestGroup)));
      waiting_.erase(waiting_.begin(),
                     waiting_.begin() + static_cast<std::ptrdiff_t>(group.size()));
      write_mutex_.Unlock();
      CommitGroup(group);
      write_mutex_.Lock();
      for (Waiting* one : group) one->done = true;
      writing_ = false;
      write_done_.SignalAll();
    }
    return mine.status;
  }

  void CommitGroup(const std::vector<Waiting*>& group) {
    if (group.size() > 1) {
      absl::Status together = Run(
          [&](soci::session& sql) {
            for (Waiting* one : group) {
              sql << "SAVEPOINT one";
              one->status = (*one->body)(sql);
              if (!one->status.ok()) sql << "ROLLBACK TO one";
              sql << "RELEASE one";
            }
            return absl::OkStatus();
          },
          "BEGIN IMMEDIATE");
      if (together.ok()) return;
      // One of them failed inside the engine. What the others answered rests on changes that are
      // undone now, so each starts again, alone.
    }
    for (Waiting* one : group) one->status = Run(*one->body, "BEGIN IMMEDIATE");
  }

  void Give(std::unique_ptr<soci::session> session) {
    base::MutexLock lock(mutex_);
    if (idle_.size() < (postgresql_ ? kIdlePostgresql : kIdleSqlite))
      idle_.push_back(std::move(session));
  }

  absl::Status Run(const std::function<absl::Status(soci::session&)>& body, const char* begin) {
    absl::Status last;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      if (attempt > 0) absl::SleepFor(absl::Milliseconds(5 << std::min(attempt, 6)));
      ASSIGN_OR_RETURN(std::unique_ptr<soci::session> session, Take());
      bool retry = false;
      try {
        *session << begin;
        absl::Status status = body(*session);
        if (!status.ok()) {
          *session << "ROLLBACK";
          Give(std::move(session));
          return status;
        }
        *session << "COMMIT";
        Give(std::move(session));
        return absl::OkStatus();
      } catch (const std::exception& error) {
        Failure failure = Translate(error);
        last = failure.status;
        retry = failure.retry;
        try {
          *session << "ROLLBACK";
          Give(std::move(session));
        } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch)
          // The connection is broken: it is dropped, the next transaction makes a new one.
        }
      }
      if (!retry) return last;
    }
    return last;
  }

  const bool postgresql_;
  const std::string parameters_;
  base::Mutex write_mutex_;
  base::CondVar write_done_;
  std::vector<Waiting*> waiting_ ABSL_GUARDED_BY(write_mutex_);
  bool writing_ ABSL_GUARDED_BY(write_mutex_) = false;
  base::Mutex mutex_;
  std::vector<std::unique_ptr<soci::session>> idle_ ABSL_GUARDED_BY(mutex_);
};

absl::StatusOr<std::unique_ptr<SociDatabase>> Connect(const std::string& url,
                                                      const std::string& password_file) {
  absl::string_view rest = url;
  if (absl::ConsumePrefix(&rest, "sqlite:") && !rest.empty()) {
    // SOCI splits its parameter string at spaces; quotes keep a path with spaces whole.
    if (absl::StrContains(rest, "\"")) {
      return base::Error(absl::StatusCode::kInvalidArgument, "DATABASE_URL_INVALID",
                         "the path of an SQLite database may hold no quote");
    }
    return std::make_unique<SociDatabase>(false, absl::StrCat("dbname=\"", rest, "\""));
  }
  if (absl::StartsWith(url, "postgresql://") || absl::StartsWith(url, "postgres://")) {
    std::string parameters = url;
    if (!password_file.empty()) {
      ASSIGN_OR_RETURN(std::string password, base::ReadFile(password_file, 4096));
      absl::string_view trimmed = absl::StripAsciiWhitespace(password);
      std::string escaped;
      for (unsigned char c : trimmed) {
        static constexpr char kHex[] = "0123456789ABCDEF";
        escaped += {'%', kHex[c >> 4], kHex[c & 15]};
      }
      absl::StrAppend(&parameters, absl::StrContains(url, "?") ? "&" : "?", "password=", escaped);
    }
    return std::make_unique<SociDatabase>(true, parameters);
  }
  return base::Error(absl::StatusCode::kInvalidArgument, "DATABASE_URL_INVALID",
                     "the database must be given as sqlite:<file> or postgresql://…");
}

absl::StatusOr<int> CurrentVersion(soci::session& sql) {
  sql << "CREATE TABLE IF NOT EXISTS schema_migrations ("
         "version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)";
  long long version = 0;
  sql << "SELECT COALESCE(MAX(version), 0) FROM schema_migrations", soci::into(version);
  return static_cast<int>(version);
}

absl::Status TooNew(int version, size_t known) {
  return base::Error(absl::StatusCode::kFailedPrecondition, "DATABASE_TOO_NEW",
                     absl::StrCat("the database is at schema ", version, ", this program knows ",
                                  known, "; run the newer program"),
                     {{"schema", absl::StrCat(version)}, {"known", absl::StrCat(known)}});
}

}  // namespace

std::string UrlOf(absl::string_view configured, absl::string_view state_dir,
                  absl::string_view service) {
  return configured.empty() ? absl::StrCat("sqlite:", state_dir, "/", service, ".db")
                            : std::string(configured);
}

absl::StatusOr<std::unique_ptr<Database>> Database::Open(const std::string& url,
                                                         const std::vector<Migration>& migrations,
                                                         const std::string& password_file) {
  ASSIGN_OR_RETURN(std::unique_ptr<SociDatabase> database, Connect(url, password_file));
  while (true) {
    bool done = false;
    RETURN_IF_ERROR(database->Transact([&](soci::session& sql) -> absl::Status {
      done = false;
      if (database->is_postgresql()) {
        sql << "SELECT pg_advisory_xact_lock(" << kMigrationLock << ")";
      }
      ASSIGN_OR_RETURN(int version, CurrentVersion(sql));
      if (version > static_cast<int>(migrations.size())) return TooNew(version, migrations.size());
      if (version == static_cast<int>(migrations.size())) {
        done = true;
        return absl::OkStatus();
      }
      const Migration& next = migrations[static_cast<size_t>(version)];
      for (const std::string& statement : next.statements) sql << statement;
      long long number = version + 1, now = absl::ToUnixSeconds(absl::Now());
      sql << "INSERT INTO schema_migrations (version, name, applied_at) VALUES (:v, :n, :t)",
          soci::use(number), soci::use(next.name), soci::use(now);
      return absl::OkStatus();
    }));
    if (done) break;
  }
  return std::unique_ptr<Database>(std::move(database));
}

absl::StatusOr<std::vector<std::string>> PendingMigrations(const std::string& url,
                                                           const std::vector<Migration>& migrations,
                                                           const std::string& password_file) {
  ASSIGN_OR_RETURN(std::unique_ptr<SociDatabase> database, Connect(url, password_file));
  std::vector<std::string> pending;
  RETURN_IF_ERROR(database->Read([&](soci::session& sql) -> absl::Status {
    pending.clear();
    long long tables = 0, version = 0;
    if (database->is_postgresql()) {
      sql << "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = current_schema() "
             "AND table_name = 'schema_migrations'",
          soci::into(tables);
    } else {
      sql << "SELECT COUNT(*) FROM sqlite_master WHERE name = 'schema_migrations'",
          soci::into(tables);
    }
    if (tables > 0) {
      sql << "SELECT COALESCE(MAX(version), 0) FROM schema_migrations", soci::into(version);
    }
    if (version > static_cast<long long>(migrations.size())) {
      return TooNew(static_cast<int>(version), migrations.size());
    }
    for (size_t i = static_cast<size_t>(version); i < migrations.size(); ++i) {
      pending.push_back(migrations[i].name);
    }
    return absl::OkStatus();
  }));
  return pending;
}

}  // namespace oncomesh::store
