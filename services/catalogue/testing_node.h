// SPDX-License-Identifier: Apache-2.0
// For tests: a node's catalogue without a network.
#pragma once

#include <catch2/catch.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/query/text.h"
#include "libs/store/test_database.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "services/catalogue/datasets.h"
#include "services/catalogue/indexer.h"
#include "services/catalogue/testing_objects.h"

namespace oncomesh::catalogue {

using terminology::Registry;

// Real store, real objects, a feed and a hub of the test's own.
struct Node {
  testing::TemporaryFolder folder;
  FakeFeed feed;
  base::FakeClock clock;
  CurrentIndex index;
  FixedPolicy policy{CountPolicy{.rules = {.min_cell = 2, .rounding = 1}}};
  AnswerMemory memory;
  std::unique_ptr<objects::ObjectStore> objects;
  std::unique_ptr<NodeStore> store;
  std::unique_ptr<Indexer> indexer;

  struct Hub final : RecordPublisher {
    std::map<std::string, v1::DatasetRecord> records;
    bool away = false;
    bool answers_are_lost = false;
    std::function<void()> during_publish = [] {};
    absl::Status Publish(const v1::DatasetRecord& record) override {
      if (away) return Unreachable();
      during_publish();
      records[record.name()] = record;
      return answers_are_lost ? Unreachable() : absl::OkStatus();
    }
    absl::Status Withdraw(const std::string& name) override {
      if (away) return Unreachable();
      if (records.erase(name) == 0) {
        return base::Error(absl::StatusCode::kNotFound, "DATASET_NOT_FOUND", "never seen");
      }
      return answers_are_lost ? Unreachable() : absl::OkStatus();
    }
    static absl::Status Unreachable() {
      return base::Error(absl::StatusCode::kUnavailable, "HUB_UNREACHABLE", "away");
    }
  } hub;
  std::unique_ptr<Datasets> datasets;

  explicit Node(const std::string& url = "") {
    REQUIRE_VALUE(objects, objects::OpenFolder(folder / "objects"));
    REQUIRE_VALUE(store,
                  NodeStore::Open(url.empty() ? store::TestDatabaseUrl(folder / "node.db") : url));
    indexer = MakeIndexer(Registry::Builtin());
    datasets = std::make_unique<Datasets>(Datasets::Deps{.node = "north",
                                                         .registry = Registry::Builtin(),
                                                         .index = index,
                                                         .store = *store,
                                                         .policy = policy,
                                                         .memory = memory,
                                                         .hub = hub,
                                                         .clock = clock});
  }

  std::unique_ptr<Indexer> MakeIndexer(const Registry& registry) {
    return std::make_unique<Indexer>(Indexer::Deps{.feed = feed,
                                                   .objects = *objects,
                                                   .store = *store,
                                                   .index = index,
                                                   .registry = registry,
                                                   .clock = clock});
  }

  // Releases an object with the last figures of its UIDs.
  std::string Release(const std::string& patient, int study, int series, int instance,
                      const std::string& modality,
                      std::map<uint32_t, std::pair<std::string, std::string>> extra = {}) {
    extra[0x00080060] = {"CS", modality};
    std::string bytes =
        MakeObject(extra, patient, absl::StrCat("2.25.1.", study), absl::StrCat("2.25.2.", series),
                   absl::StrCat("2.25.3.", instance));
    auto sha256 = objects->Put(bytes);
    REQUIRE(sha256.ok());
    feed.Add({.kind = Released::Kind::kObject, .sha256 = *sha256});
    return *sha256;
  }
  void Clinical(const std::string& patient, const std::map<std::string, std::string>& columns) {
    std::string heading = "patient_id", row = patient;
    for (const auto& [name, value] : columns) {
      absl::StrAppend(&heading, ",", name);
      absl::StrAppend(&row, ",", value);
    }
    auto sha256 = objects->Put(absl::StrCat(heading, "\r\n", row, "\r\n"));
    REQUIRE(sha256.ok());
    feed.Add({.kind = Released::Kind::kClinicalTable, .sha256 = *sha256});
  }
  v1::IndexStatus Sync() {
    REQUIRE_VALUE(v1::IndexStatus status, indexer->Sync());
    return status;
  }
  size_t Patients(const std::string& text, const Registry& registry = Registry::Builtin()) {
    auto parsed = query::ParseText(text);
    REQUIRE(parsed.ok());
    auto now = index.Get();
    return now->Patients(now->Evaluate(query::Bind(*parsed, registry).root)).Count();
  }
};

}  // namespace oncomesh::catalogue
