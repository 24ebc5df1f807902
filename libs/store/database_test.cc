// SPDX-License-Identifier: Apache-2.0
// One contract for both engines. PostgreSQL runs when ONCOMESH_TEST_POSTGRESQL names a server in
// which databases may be made (tools/test starts a private one).
#include "libs/store/database.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <thread>

#include "absl/strings/str_cat.h"
#include "libs/base/random.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"

namespace oncomesh::store {
namespace {

const std::vector<Migration> kSchema = {
    {"create counters", {"CREATE TABLE counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL)"}},
    {"start at zero", {"INSERT INTO counters (name, value) VALUES ('a', 0)"}}};

struct Engine {
  testing::TemporaryFolder folder;
  std::string url;
};

// A fresh, empty database of the engine; an empty URL when the engine is not there.
void Prepare(Engine& engine, bool postgresql) {
  if (!postgresql) {
    engine.url = absl::StrCat("sqlite:", engine.folder.path(), "/with space.db");
    return;
  }
  const char* server = std::getenv("ONCOMESH_TEST_POSTGRESQL");
  if (server == nullptr) return;
  REQUIRE_VALUE(auto admin, Database::Open(server, {}));
  std::string schema = base::NewId("t");
  REQUIRE_OK(admin->Transact([&](soci::session& sql) {
    sql << "CREATE SCHEMA " << schema;
    return absl::OkStatus();
  }));
  std::string given(server);
  engine.url = absl::StrCat(given, given.find('?') == std::string::npos ? "?" : "&",
                            "options=-csearch_path%3D", schema);
}

void CheckContract(bool postgresql) {
  Engine engine;
  Prepare(engine, postgresql);
  if (engine.url.empty()) {
    WARN("ONCOMESH_TEST_POSTGRESQL is not set: the PostgreSQL half of this contract did not run");
    return;
  }

  REQUIRE_VALUE(auto pending, PendingMigrations(engine.url, kSchema));
  CHECK(pending == std::vector<std::string>{"create counters", "start at zero"});
  REQUIRE_VALUE(auto database, Database::Open(engine.url, kSchema));
  REQUIRE_VALUE(auto none, PendingMigrations(engine.url, kSchema));
  CHECK(none.empty());
  REQUIRE_OK(Database::Open(engine.url, kSchema));  // a second start changes nothing
  REQUIRE_REASON(Database::Open(engine.url, {kSchema[0]}), absl::StatusCode::kFailedPrecondition,
                 "DATABASE_TOO_NEW");

  auto value = [&] {
    long long out = -1;
    REQUIRE_OK(database->Read([&](soci::session& sql) {
      sql << "SELECT value FROM counters WHERE name = 'a'", soci::into(out);
      return absl::OkStatus();
    }));
    return out;
  };
  // An error rolls back.
  REQUIRE_REASON(database->Transact([&](soci::session& sql) -> absl::Status {
    sql << "UPDATE counters SET value = 7 WHERE name = 'a'";
    return base::Error(absl::StatusCode::kAborted, "STOP", "stop");
  }),
                 absl::StatusCode::kAborted, "STOP");
  CHECK(value() == 0);
  // A duplicate key has its own reason, and what was done before it is undone.
  REQUIRE_REASON(database->Transact([&](soci::session& sql) {
    sql << "UPDATE counters SET value = 8 WHERE name = 'a'";
    sql << "INSERT INTO counters (name, value) VALUES ('a', 1)";
    return absl::OkStatus();
  }),
                 absl::StatusCode::kAlreadyExists, "DUPLICATE_KEY");
  CHECK(value() == 0);
  REQUIRE_REASON(database->Transact([&](soci::session& sql) {
    sql << "SELECT nothing FROM nowhere";
    return absl::OkStatus();
  }),
                 absl::StatusCode::kUnavailable, "DATABASE_ERROR");

  // Eight threads that read and write the same row lose nothing.
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        absl::Status status;
        do {
          status = database->Transact([&](soci::session& sql) {
            long long now = 0;
            sql << "SELECT value FROM counters WHERE name = 'a'", soci::into(now);
            ++now;
            sql << "UPDATE counters SET value = :v WHERE name = 'a'", soci::use(now);
            return absl::OkStatus();
          });
        } while (base::ReasonOf(status) == "DATABASE_BUSY");
        if (!status.ok()) ++failures;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(failures == 0);
  CHECK(value() == 160);

  // Writers that come at once may share a commit, but not an outcome: what one refuses or breaks
  // undoes its own rows only.
  REQUIRE_OK(database->Transact([&](soci::session& sql) {
    sql << "UPDATE counters SET value = 0 WHERE name = 'a'";
    return absl::OkStatus();
  }));
  constexpr int kEach = 30;
  std::atomic<int> wrong{0};
  std::vector<std::thread> writers;
  for (int t = 0; t < 9; ++t) {
    writers.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        const std::string name = absl::StrCat("w", t, "-", i);
        absl::Status status;
        do {
          status = database->Transact([&](soci::session& sql) -> absl::Status {
            sql << "INSERT INTO counters (name, value) VALUES (:n, 1)", soci::use(name);
            sql << "UPDATE counters SET value = value + 1 WHERE name = 'a'";
            if (t % 3 == 1) return base::Error(absl::StatusCode::kAborted, "STOP", "stop");
            if (t % 3 == 2) sql << "INSERT INTO counters (name, value) VALUES ('a', 1)";
            return absl::OkStatus();
          });
        } while (base::ReasonOf(status) == "DATABASE_BUSY");
        const bool right = t % 3 == 0   ? status.ok()
                           : t % 3 == 1 ? base::ReasonOf(status) == "STOP"
                                        : base::ReasonOf(status) == "DUPLICATE_KEY";
        if (!right) ++wrong;
      }
    });
  }
  for (auto& thread : writers) thread.join();
  CHECK(wrong == 0);
  CHECK(value() == 3 * kEach);
  long long rows = 0;
  REQUIRE_OK(database->Read([&](soci::session& sql) {
    sql << "SELECT COUNT(*) FROM counters WHERE name <> 'a'", soci::into(rows);
    return absl::OkStatus();
  }));
  CHECK(rows == 3 * kEach);
}

TEST_CASE("store contract: SQLite") { CheckContract(false); }
TEST_CASE("store contract: PostgreSQL") { CheckContract(true); }

TEST_CASE("store: a URL of neither engine, and a place that cannot be opened, say so") {
  REQUIRE_REASON(Database::Open("mysql://x", {}), absl::StatusCode::kInvalidArgument,
                 "DATABASE_URL_INVALID");
  REQUIRE_REASON(Database::Open("sqlite:/nowhere/at/all.db", {}), absl::StatusCode::kUnavailable,
                 "DATABASE_UNAVAILABLE");
}

}  // namespace
}  // namespace oncomesh::store
