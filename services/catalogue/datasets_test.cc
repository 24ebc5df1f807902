// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/datasets.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "libs/base/random.h"
#include "libs/crypto/digest.h"
#include "libs/testing/status_matchers.h"
#include "services/catalogue/dataset_name.h"
#include "services/catalogue/testing_node.h"

namespace oncomesh::catalogue {
namespace {

v1::CreateDatasetRequest Ask(const std::string& name, const std::string& where) {
  v1::CreateDatasetRequest request;
  request.set_dataset(name);
  request.set_title("A title");
  request.add_duo_codes("DUO:0000042");
  request.set_text(where);
  return request;
}

std::vector<v1::ManifestItem> Manifest(Node& node, const std::string& name, std::string* digest) {
  std::vector<v1::ManifestItem> out;
  bool header = false, finish = false;
  REQUIRE_OK(node.datasets->Manifest(name, [&](const v1::GetDatasetManifestResponse& part) {
    CHECK(part.has_header() == !header);
    header = true;
    CHECK_FALSE(finish);
    for (const auto& item : part.items().items()) out.push_back(item);
    if (part.has_finish()) {
      finish = true;
      *digest = part.finish().digest();
    }
    return true;
  }));
  CHECK(finish);
  return out;
}

TEST_CASE("dataset: a version is frozen: later releases do not change it") {
  Node node;
  std::string ct = node.Release("PATIENTA", 1, 1, 1, "CT");
  node.Release("PATIENTA", 1, 2, 2, "MR");
  node.Release("PATIENTB", 2, 3, 3, "CT");
  node.Release("PATIENTD", 6, 6, 6, "CT");
  node.Sync();
  REQUIRE_VALUE(v1::DatasetRecord first, node.datasets->Create(Ask("lung-ct", "modality = 'CT'")));
  CHECK(first.name() == "nodes/north/datasets/lung-ct/versions/1");
  CHECK(first.state() == v1::DatasetRecord::STATE_FROZEN);
  CHECK(first.where() == "modality = \"CT\"");
  CHECK(first.statistics().patients() == 3);
  CHECK(first.statistics().series() == 3);
  CHECK(first.statistics().objects() == 3);
  std::string digest;
  std::vector<v1::ManifestItem> items = Manifest(node, first.name(), &digest);
  REQUIRE(items.size() == 3);
  CHECK(items[0].sha256() == ct);
  CHECK(items[0].modality() == "CT");
  CHECK(digest == first.digest());
  // The list as doc/formats/dataset.md writes it, hashed by nothing of this service.
  std::string list = "oncomesh-dataset/1\n";
  for (const auto& item : items) {
    list += item.patient_code() + "\t" + item.study_uid() + "\t" + item.series_uid() + "\t" +
            item.sop_instance_uid() + "\t" + item.sha256() + "\n";
  }
  CHECK(crypto::Sha256Hex(list) == first.digest());

  node.Release("PATIENTC", 4, 5, 5, "CT");
  // The first one again, with another content.
  CHECK(node.Release("PATIENTA", 1, 1, 1, "CT", {{0x00101010, {"AS", "057Y"}}}) != ct);
  node.Sync();
  REQUIRE(Manifest(node, first.name(), &digest).size() == 3);
  CHECK(Manifest(node, first.name(), &digest)[0].sha256() == ct);
  REQUIRE_VALUE(v1::DatasetRecord second, node.datasets->Create(Ask("lung-ct", "modality = 'CT'")));
  CHECK(second.name() == "nodes/north/datasets/lung-ct/versions/2");
  CHECK(second.digest() != first.digest());
  // The short name means the newest version.
  Manifest(node, "lung-ct", &digest);
  CHECK(digest == second.digest());
}

TEST_CASE("dataset: the digest of the documented example") {
  v1::ManifestItem item;
  item.set_patient_code("A2B3C4D5E6F7G2H3");
  item.set_study_uid("2.25.1");
  item.set_series_uid("2.25.2");
  item.set_sop_instance_uid("2.25.3");
  item.set_sha256("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  v1::ManifestItem other = item;
  other.set_sop_instance_uid("2.25.4");
  // printf 'oncomesh-dataset/1\n…' | sha256sum
  CHECK(ManifestDigest({item, other}) ==
        "00b5ea3db1e4b65b539f7dc1914645668700c8b3e7269df3c3faf1916fb8b5ab");
}

TEST_CASE("dataset: what cannot be exactly what was asked for is not made") {
  Node node;
  auto refused = [&](const v1::CreateDatasetRequest& request, absl::StatusCode code,
                     const char* reason) {
    REQUIRE_REASON(node.datasets->Create(request), code, reason);
  };
  refused(Ask("a-set", "all"), absl::StatusCode::kFailedPrecondition, "DATASET_EMPTY");
  node.Release("PATIENTA", 1, 1, 1, "CT");
  node.Sync();
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  refused(Ask("A Set", "all"), kInvalid, "DATASET_NAME_INVALID");
  refused(Ask("a-set", "modality = "), kInvalid, "EXPRESSION_INVALID");
  refused(Ask("a-set", "wishes = 1"), kInvalid, "VARIABLE_UNKNOWN");
  refused(Ask("a-set", "age = 'old'"), kInvalid, "VALUE_INVALID");
  refused(Ask("a-set", "modality = 'CT' or stage = 'II'"), absl::StatusCode::kFailedPrecondition,
          "VARIABLE_NOT_HELD");
  refused(Ask("a-set", "modality = 'MR'"), absl::StatusCode::kFailedPrecondition, "DATASET_EMPTY");
  auto without_duo = Ask("a-set", "all");
  without_duo.clear_duo_codes();
  refused(without_duo, kInvalid, "DUO_INVALID");
  without_duo.add_duo_codes("DUO:42");
  refused(without_duo, kInvalid, "DUO_INVALID");
  auto unknown_duo = Ask("a-set", "all");
  unknown_duo.set_duo_codes(0, "DUO:9999999");
  refused(unknown_duo, kInvalid, "DUO_INVALID");
  // What would be shown to others.
  auto steering = Ask("a-set", "all");
  steering.set_title("A \x1b[2J title");
  refused(steering, kInvalid, "TITLE_INVALID");
  steering = Ask("a-set", "all");
  steering.set_description("one line\nstate: PUBLISHED");
  refused(steering, kInvalid, "TITLE_INVALID");
  auto untitled = Ask("a-set", "all");
  untitled.clear_title();
  refused(untitled, kInvalid, "TITLE_INVALID");
  REQUIRE_REASON(node.datasets->Publish("nodes/south/datasets/a-set"), absl::StatusCode::kNotFound,
                 "DATASET_NOT_FOUND");
  REQUIRE_REASON(node.datasets->Publish("../a"), kInvalid, "DATASET_NAME_INVALID");
}

TEST_CASE("dataset: the same request id again is the same version") {
  Node node;
  node.Release("PATIENTA", 1, 1, 1, "CT");
  node.Sync();
  auto request = Ask("a-set", "all");
  request.set_request_id("r1");
  REQUIRE_VALUE(v1::DatasetRecord once, node.datasets->Create(request));
  REQUIRE_VALUE(v1::DatasetRecord again, node.datasets->Create(request));
  CHECK(once.name() == again.name());
  request.set_request_id("r2");
  REQUIRE_VALUE(v1::DatasetRecord next, node.datasets->Create(request));
  CHECK(next.name() != once.name());
}

TEST_CASE("dataset: a request id with another wish is refused, and makes nothing") {
  Node node;
  node.Release("PATIENTA", 1, 1, 1, "CT");
  node.Sync();
  auto request = Ask("a-set", "all");
  request.set_request_id("r1");
  REQUIRE_VALUE(v1::DatasetRecord once, node.datasets->Create(request));
  constexpr auto kExists = absl::StatusCode::kAlreadyExists;
  auto other = request;
  other.set_dataset("another");
  REQUIRE_REASON(node.datasets->Create(other), kExists, "REQUEST_ID_REUSED");
  other = request;
  other.set_text("modality = 'CT'");
  REQUIRE_REASON(node.datasets->Create(other), kExists, "REQUEST_ID_REUSED");
  other = request;
  other.add_duo_codes("DUO:0000021");
  REQUIRE_REASON(node.datasets->Create(other), kExists, "REQUEST_ID_REUSED");
  REQUIRE_VALUE(v1::ListNodeDatasetsResponse listed, node.datasets->List({}));
  CHECK(listed.datasets_size() == 1);
  // The same wish is the same version, also when it was withdrawn since.
  REQUIRE_OK(node.datasets->Withdraw("a-set"));
  REQUIRE_VALUE(v1::DatasetRecord again, node.datasets->Create(request));
  CHECK(again.name() == once.name());
  CHECK(again.state() == v1::DatasetRecord::STATE_WITHDRAWN);
}

TEST_CASE("dataset: published, seen at the hub, withdrawn; a hub that is away changes nothing") {
  Node node;
  node.Release("PATIENTA", 1, 1, 1, "CT");
  node.Sync();
  REQUIRE_VALUE(v1::DatasetRecord made, node.datasets->Create(Ask("a-set", "all")));
  // One patient is too few for the policy: the record says nothing in numbers.
  CHECK_FALSE(made.statistics().has_patients());
  CHECK_FALSE(made.statistics().has_objects());
  CHECK(made.statistics().values().empty());
  node.hub.away = true;
  REQUIRE_REASON(node.datasets->Publish("a-set"), absl::StatusCode::kUnavailable,
                 "HUB_UNREACHABLE");
  REQUIRE_VALUE(v1::ListNodeDatasetsResponse listed, node.datasets->List({}));
  REQUIRE(listed.datasets_size() == 1);
  CHECK(listed.datasets(0).state() == v1::DatasetRecord::STATE_FROZEN);
  node.hub.away = false;
  REQUIRE_VALUE(v1::DatasetRecord published, node.datasets->Publish("a-set"));
  CHECK(published.state() == v1::DatasetRecord::STATE_PUBLISHED);
  CHECK(node.hub.records.count(made.name()) == 1);
  node.clock.Advance(absl::Hours(1));
  REQUIRE_VALUE(v1::DatasetRecord repeated, node.datasets->Publish("a-set"));
  CHECK(repeated.publish_time().seconds() == published.publish_time().seconds());
  REQUIRE_OK(node.datasets->Withdraw("a-set"));
  CHECK(node.hub.records.empty());
  REQUIRE_REASON(node.datasets->Publish("a-set"), absl::StatusCode::kFailedPrecondition,
                 "DATASET_WITHDRAWN");
  REQUIRE_REASON(node.datasets->Manifest("a-set", [](const auto&) { return true; }),
                 absl::StatusCode::kFailedPrecondition, "DATASET_WITHDRAWN");
}

TEST_CASE("dataset: a publication of which the answer was lost is mended by repeating it") {
  Node node;
  node.Release("PATIENTA", 1, 1, 1, "CT");
  node.Sync();
  REQUIRE_VALUE(v1::DatasetRecord made, node.datasets->Create(Ask("a-set", "all")));
  node.hub.answers_are_lost = true;
  REQUIRE_REASON(node.datasets->Publish("a-set"), absl::StatusCode::kUnavailable,
                 "HUB_UNREACHABLE");
  REQUIRE(node.hub.records.count(made.name()) == 1);
  node.hub.answers_are_lost = false;
  REQUIRE_VALUE(v1::DatasetRecord published, node.datasets->Publish("a-set"));
  CHECK(published.state() == v1::DatasetRecord::STATE_PUBLISHED);
  CHECK(node.hub.records[made.name()].publish_time().seconds() ==
        published.publish_time().seconds());
}

TEST_CASE("dataset: a withdrawal reaches the hub, whatever is noted here of a publication") {
  Node node;
  node.Release("PATIENTA", 1, 1, 1, "CT");
  node.Sync();
  REQUIRE_VALUE(v1::DatasetRecord made, node.datasets->Create(Ask("a-set", "all")));
  node.hub.answers_are_lost = true;
  REQUIRE_REASON(node.datasets->Publish("a-set"), absl::StatusCode::kUnavailable,
                 "HUB_UNREACHABLE");
  // Withdrawn here at once; the hub hears of it when it can.
  node.hub.away = true;
  REQUIRE_REASON(node.datasets->Withdraw("a-set"), absl::StatusCode::kUnavailable,
                 "HUB_UNREACHABLE");
  REQUIRE_REASON(node.datasets->Manifest("a-set", [](const auto&) { return true; }),
                 absl::StatusCode::kFailedPrecondition, "DATASET_WITHDRAWN");
  CHECK(node.hub.records.size() == 1);
  node.hub.away = false;
  REQUIRE_REASON(node.datasets->Withdraw("a-set"), absl::StatusCode::kUnavailable,
                 "HUB_UNREACHABLE");
  CHECK(node.hub.records.empty());
  // What the hub does not know needs no withdrawal there.
  REQUIRE_OK(node.datasets->Withdraw("a-set"));
  REQUIRE_OK(node.datasets->Create(Ask("never-published", "all")));
  REQUIRE_OK(node.datasets->Withdraw("never-published"));
}

TEST_CASE("dataset: a publication that is on its way does not undo a withdrawal") {
  Node node;
  node.Release("PATIENTA", 1, 1, 1, "CT");
  node.Sync();
  REQUIRE_VALUE(v1::DatasetRecord made, node.datasets->Create(Ask("a-set", "all")));
  auto state = [&] {
    auto record = node.store->GetDataset("a-set", 1);
    return record.ok() ? record->state() : v1::DatasetRecord::STATE_UNSPECIFIED;
  };
  std::thread other;
  absl::Status withdrawn;
  node.hub.during_publish = [&] {
    other = std::thread([&] { withdrawn = node.datasets->Withdraw("a-set").status(); });
    // The hub is slow: the other call has stored what it wants before this one goes on.
    while (state() != v1::DatasetRecord::STATE_WITHDRAWN) std::this_thread::yield();
  };
  absl::Status published = node.datasets->Publish("a-set").status();
  other.join();
  REQUIRE_REASON(published, absl::StatusCode::kFailedPrecondition, "DATASET_WITHDRAWN");
  REQUIRE_OK(withdrawn);
  CHECK(state() == v1::DatasetRecord::STATE_WITHDRAWN);
  CHECK(node.hub.records.empty());
  // Nothing leaves that state.
  REQUIRE_REASON(node.store->ChangeDataset("a-set", 1,
                                           [](v1::DatasetRecord& record) {
                                             record.set_state(v1::DatasetRecord::STATE_PUBLISHED);
                                             return absl::OkStatus();
                                           }),
                 absl::StatusCode::kFailedPrecondition, "DATASET_WITHDRAWN");
}

// Of a patient; up to 676 of them.
std::string Code(int patient) {
  return absl::StrCat("PATIENT", std::string(1, static_cast<char>('A' + patient / 26)),
                      std::string(1, static_cast<char>('A' + patient % 26)));
}

TEST_CASE("dataset: versions that differ by few patients do not show what those have") {
  Node node;
  node.policy = FixedPolicy(CountPolicy{.rules = {.min_cell = 5, .rounding = 5}});
  int next = 0;
  auto add = [&](int patients, int series) {
    for (int p = 0; p < patients; ++p) {
      ++next;
      for (int s = 0; s < series; ++s) {
        node.Release(Code(next), next, next * 100 + s, next * 100 + s, "CT");
      }
    }
    node.Sync();
  };
  auto sizes = [](const v1::DatasetRecord& record) {
    v1::Statistics out = record.statistics();
    out.clear_values();
    return out.DebugString();
  };
  add(42, 3);
  REQUIRE_VALUE(v1::DatasetRecord first, node.datasets->Create(Ask("a-set", "modality = 'CT'")));
  CHECK(first.statistics().patients() == 40);
  CHECK(first.statistics().studies() == 40);
  CHECK(first.statistics().series() == 125);
  CHECK(first.statistics().objects() == 125);
  CHECK(first.statistics().bytes() > 0);

  add(1, 30);
  REQUIRE_VALUE(v1::DatasetRecord second, node.datasets->Create(Ask("a-set", "modality = 'CT'")));
  CHECK(second.digest() != first.digest());
  CHECK(sizes(second) == sizes(first));
  // A dataset of another name is told the patients of its neighbour, and no sizes.
  REQUIRE_VALUE(v1::DatasetRecord other, node.datasets->Create(Ask("b-set", "modality = 'CT'")));
  CHECK(other.statistics().patients() == 40);
  CHECK_FALSE(other.statistics().has_studies());
  CHECK_FALSE(other.statistics().has_series());
  CHECK_FALSE(other.statistics().has_objects());
  CHECK_FALSE(other.statistics().has_bytes());

  // Nor after a restart, when nothing is remembered but the versions themselves.
  AnswerMemory empty;
  Datasets restarted({.node = "north",
                      .registry = Registry::Builtin(),
                      .index = node.index,
                      .store = *node.store,
                      .policy = node.policy,
                      .memory = empty,
                      .hub = node.hub,
                      .clock = node.clock});
  REQUIRE_VALUE(v1::DatasetRecord third, restarted.Create(Ask("a-set", "modality = 'CT'")));
  CHECK(sizes(third) == sizes(first));
  // The same patients, of whom one has more: the same.
  node.Release(Code(1), 1, 9999, 9999, "CT");
  node.Sync();
  REQUIRE_VALUE(v1::DatasetRecord more, restarted.Create(Ask("a-set", "modality = 'CT'")));
  CHECK(sizes(more) == sizes(first));

  // What differs by many is told for what it is, however it is reached.
  add(10, 3);
  REQUIRE_VALUE(v1::DatasetRecord far, restarted.Create(Ask("a-set", "modality = 'CT'")));
  CHECK(far.statistics().patients() == 55);
  CHECK(far.statistics().series() == 187 / 5 * 5);
  // So is another selection of the same patients.
  for (int p = 1; p <= next; ++p) {
    node.Release(Code(p), p, 20000 + p, 20000 + p, "MR");
  }
  node.Sync();
  REQUIRE_VALUE(v1::DatasetRecord both, restarted.Create(Ask("a-set", "modality in ('CT', 'MR')")));
  CHECK(both.statistics().patients() == 55);
  CHECK(both.statistics().series() == 240);
}

TEST_CASE("dataset: versions that grow patient by patient do not keep their sizes") {
  Node node;
  node.policy = FixedPolicy(CountPolicy{.rules = {.min_cell = 3, .rounding = 1}});
  for (int p = 1; p <= 30; ++p) {
    node.Release(Code(p), p, p, p, "CT");
    node.Sync();
    REQUIRE_VALUE(v1::DatasetRecord record, node.datasets->Create(Ask("a-set", "all")));
    if (!record.statistics().has_patients()) {
      CHECK(p < 6);
      continue;
    }
    // As for counts: off by at most 3k - 3.
    CHECK(std::abs(record.statistics().patients() - p) <= 6);
    CHECK(std::abs(record.statistics().series() - p) <= 6);
  }
}

TEST_CASE("dataset: lists are paged, and long manifests come in parts") {
  Node node;
  for (int i = 1; i <= 1100; ++i) {
    node.feed.Add({.kind = Released::Kind::kObject,
                   .sha256 = *node.objects->Put(MakeObject({}, "PATIENTA", "2.25.1.1", "2.25.2.1",
                                                           absl::StrCat("2.25.3.", i)))});
  }
  node.Sync();
  for (int i = 0; i < 5; ++i) {
    REQUIRE_OK(node.datasets->Create(Ask(absl::StrCat("set-", i % 3), "all")));
  }
  std::vector<std::string> names;
  v1::ListNodeDatasetsRequest request;
  request.set_page_size(2);
  do {
    REQUIRE_VALUE(v1::ListNodeDatasetsResponse page, node.datasets->List(request));
    for (const auto& record : page.datasets()) names.push_back(record.name());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  CHECK(names == std::vector<std::string>{"nodes/north/datasets/set-0/versions/1",
                                          "nodes/north/datasets/set-0/versions/2",
                                          "nodes/north/datasets/set-1/versions/1",
                                          "nodes/north/datasets/set-1/versions/2",
                                          "nodes/north/datasets/set-2/versions/1"});
  std::string digest;
  CHECK(Manifest(node, "set-0", &digest).size() == 1100);
}

TEST_CASE("node store: PostgreSQL keeps the same contract") {
  const char* server = std::getenv("ONCOMESH_TEST_POSTGRESQL");
  if (server == nullptr) {
    WARN("ONCOMESH_TEST_POSTGRESQL is not set: the PostgreSQL half of this contract did not run");
    return;
  }
  REQUIRE_VALUE(auto admin, store::Database::Open(server, {}));
  std::string schema = base::NewId("t");
  REQUIRE_OK(admin->Transact([&](soci::session& sql) {
    sql << "CREATE SCHEMA " << schema;
    return absl::OkStatus();
  }));
  std::string given(server);
  Node node(absl::StrCat(given, given.find('?') == std::string::npos ? "?" : "&",
                         "options=-csearch_path%3D", schema));
  node.Release("PATIENTA", 1, 1, 1, "CT", {{0x00100040, {"CS", "F"}}});
  node.Release("PATIENTB", 2, 2, 2, "MR");
  node.Release("PATIENTB", 1, 3, 3, "MR");  // conflict
  node.Clinical("PATIENTC", {{"stage", "II"}});
  v1::IndexStatus status = node.Sync();
  CHECK(status.patients() == 3);
  CHECK(status.objects() == 2);
  CHECK(status.unreadable() == 1);
  CHECK(node.Patients("sex = 'F' or stage = 'II'") == 2);
  auto request = Ask("a-set", "modality in ('CT', 'MR')");
  request.set_request_id("r1");
  REQUIRE_VALUE(v1::DatasetRecord made, node.datasets->Create(request));
  REQUIRE_VALUE(v1::DatasetRecord again, node.datasets->Create(request));
  CHECK(made.name() == again.name());
  REQUIRE_OK(node.datasets->Publish("a-set"));
  std::string digest;
  CHECK(Manifest(node, "a-set", &digest).size() == 2);
  // An object that comes late, and a clinical table.
  const std::string late =
      MakeObject({{0x00080060, {"CS", "CT"}}}, "PATIENTD", "2.25.1.9", "2.25.2.9", "2.25.3.9");
  const std::string table = "patient_id,stage\r\nPATIENTC,I\r\nshort\r\n";
  node.feed.Add({.kind = Released::Kind::kObject, .sha256 = crypto::Sha256Hex(late)});
  node.feed.Add({.kind = Released::Kind::kClinicalTable, .sha256 = crypto::Sha256Hex(table)});
  CHECK(node.Sync().unreadable() == 3);
  REQUIRE_OK(node.objects->Put(late));
  REQUIRE_OK(node.objects->Put(table));
  status = node.Sync();
  CHECK(status.unreadable() == 2);
  CHECK(status.patients() == 4);
  CHECK(node.Patients("stage = 'I'") == 1);
  REQUIRE_VALUE(v1::ListNodeDatasetsResponse listed, node.datasets->List({}));
  CHECK(listed.datasets_size() == 1);
}

}  // namespace
}  // namespace oncomesh::catalogue
