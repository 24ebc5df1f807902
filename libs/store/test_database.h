// SPDX-License-Identifier: Apache-2.0
// Databases for tests: the same test is the contract of a store on both engines. Included by tests
// only.
#pragma once

#include <cstdlib>
#include <functional>
#include <string>

#include "absl/strings/str_cat.h"
#include "libs/store/database.h"

namespace oncomesh::store {

// "sqlite:<file>"; with ONCOMESH_TEST_ENGINE=postgresql a schema of its own, made if missing and
// the same for the same file, on the server that ONCOMESH_TEST_POSTGRESQL names. An address that
// cannot be used when there is no such server, so that no test passes for the wrong engine.
inline std::string TestDatabaseUrl(const std::string& file) {
  const char* engine = std::getenv("ONCOMESH_TEST_ENGINE");
  if (engine == nullptr || std::string(engine) != "postgresql") return "sqlite:" + file;
  const char* named = std::getenv("ONCOMESH_TEST_POSTGRESQL");
  const std::string server = named == nullptr ? "" : named;
  auto admin = Database::Open(server, {});
  if (!admin.ok()) return "postgresql:no-server";
  // Names of temporary folders are random, so that a hash of the path is as good.
  const std::string schema = absl::StrCat("t", absl::Hex(std::hash<std::string>()(file)));
  absl::Status made = (*admin)->Transact([&](soci::session& sql) {
    sql << "CREATE SCHEMA IF NOT EXISTS " << schema;
    return absl::OkStatus();
  });
  if (!made.ok()) return "postgresql:no-schema";
  return absl::StrCat(server, server.find('?') == std::string::npos ? "?" : "&",
                      "options=-csearch_path%3D", schema);
}

}  // namespace oncomesh::store
