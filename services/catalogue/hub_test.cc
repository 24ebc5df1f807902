// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <ctime>
#include <functional>
#include <map>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/mutex.h"
#include "libs/store/test_database.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "services/catalogue/federated_count.h"
#include "services/catalogue/records.h"

namespace oncomesh::catalogue {
namespace {

using terminology::Registry;

// --- Records

struct Hub {
  testing::TemporaryFolder folder;
  std::unique_ptr<RecordStore> store;
  std::unique_ptr<Records> records;
  Hub() {
    REQUIRE_VALUE(store, RecordStore::Open(store::TestDatabaseUrl(folder / "hub.db")));
    records = std::make_unique<Records>(*store, Registry::Builtin());
  }
};

v1::DatasetRecord Record(const std::string& node, const std::string& dataset, int version = 1,
                         const std::string& title = "A title", char digest = 'a') {
  v1::DatasetRecord out;
  out.set_name(absl::StrCat("nodes/", node, "/datasets/", dataset, "/versions/", version));
  out.set_title(title);
  out.add_duo_codes("DUO:0000042");
  out.set_digest(std::string(64, digest));
  return out;
}

void AddValue(v1::DatasetRecord& record, const std::string& variable, const std::string& value) {
  v1::ValueCount* count = record.mutable_statistics()->add_values();
  count->set_variable(variable);
  count->set_value(value);
  count->set_patients(10);
}

TEST_CASE("records: a node publishes for itself and for nobody else") {
  Hub hub;
  REQUIRE_OK(hub.records->Publish("north", Record("north", "lung")));
  REQUIRE_REASON(hub.records->Publish("north", Record("south", "lung")),
                 absl::StatusCode::kPermissionDenied, "NOT_YOUR_DATASET");
  // A caller that is no node has no datasets.
  REQUIRE_REASON(hub.records->Publish("", Record("south", "lung")),
                 absl::StatusCode::kPermissionDenied, "NOT_YOUR_DATASET");
  REQUIRE_REASON(hub.records->Withdraw("south", "nodes/north/datasets/lung/versions/1"),
                 absl::StatusCode::kPermissionDenied, "NOT_YOUR_DATASET");
  REQUIRE_VALUE(v1::GetDatasetResponse found, hub.records->Get("nodes/north/datasets/lung"));
  CHECK(found.dataset().state() == v1::DatasetRecord::STATE_PUBLISHED);
}

TEST_CASE("records: a version that was published stands still") {
  Hub hub;
  REQUIRE_OK(hub.records->Publish("north", Record("north", "lung")));
  REQUIRE_OK(hub.records->Publish("north", Record("north", "lung", 1, "Another title")));
  REQUIRE_REASON(hub.records->Publish("north", Record("north", "lung", 1, "A title", 'b')),
                 absl::StatusCode::kFailedPrecondition, "VERSION_FROZEN");
  REQUIRE_OK(hub.records->Publish("north", Record("north", "lung", 2, "A title", 'b')));
  REQUIRE_VALUE(v1::GetDatasetResponse newest, hub.records->Get("nodes/north/datasets/lung"));
  CHECK(newest.dataset().name() == "nodes/north/datasets/lung/versions/2");
  CHECK(newest.versions_size() == 2);
  REQUIRE_OK(hub.records->Withdraw("north", "nodes/north/datasets/lung/versions/2"));
  REQUIRE_VALUE(newest, hub.records->Get("nodes/north/datasets/lung"));
  CHECK(newest.dataset().name() == "nodes/north/datasets/lung/versions/1");
  // Asked for by its number, the tombstone is shown as what it is; it cannot come back.
  REQUIRE_VALUE(v1::GetDatasetResponse gone,
                hub.records->Get("nodes/north/datasets/lung/versions/2"));
  CHECK(gone.dataset().state() == v1::DatasetRecord::STATE_WITHDRAWN);
  REQUIRE_REASON(hub.records->Publish("north", Record("north", "lung", 2, "A title", 'b')),
                 absl::StatusCode::kFailedPrecondition, "VERSION_FROZEN");
  REQUIRE_REASON(hub.records->Get("nodes/north/datasets/none"), absl::StatusCode::kNotFound,
                 "DATASET_NOT_FOUND");
  REQUIRE_REASON(hub.records->Withdraw("north", "nodes/north/datasets/lung/versions/9"),
                 absl::StatusCode::kNotFound, "DATASET_NOT_FOUND");
}

TEST_CASE("records: a record that is none is refused") {
  Hub hub;
  std::vector<v1::DatasetRecord> bad(5, Record("north", "lung"));
  bad[0].set_digest("ABC");
  bad[1].clear_title();
  bad[2].clear_duo_codes();
  bad[3].set_description(std::string(4001, 'x'));
  bad[4].set_name("nodes/north/datasets/lung");
  for (const auto& record : bad) {
    REQUIRE_REASON(hub.records->Publish("north", record), absl::StatusCode::kInvalidArgument,
                   "RECORD_INVALID");
  }
  // What would come to other people's terminals, in each text of the record.
  bad.assign(6, Record("north", "lung"));
  bad[0].set_title("A \x1b[2J title");
  bad[1].set_description("one line\nstate: PUBLISHED");
  bad[2].set_where("modality = \"\x7f\"");
  AddValue(bad[3], "modality", "C\rT");
  bad[4].add_duo_codes("DUO:9999999");
  for (int i = 0; i < 9000; ++i) AddValue(bad[5], "modality", std::string(100, 'x'));
  for (const auto& record : bad) {
    REQUIRE_REASON(hub.records->Publish("north", record), absl::StatusCode::kInvalidArgument,
                   "RECORD_INVALID");
  }
  bad[0].set_name("nodes/north/datasets/lung/versions/01");
  REQUIRE_REASON(hub.records->Publish("north", bad[0]), absl::StatusCode::kInvalidArgument,
                 "DATASET_NAME_INVALID");
}

TEST_CASE("records: search by words and facets, in pages") {
  Hub hub;
  v1::DatasetRecord lung = Record("north", "lung", 1, "Lung CT");
  AddValue(lung, "modality", "CT");
  AddValue(lung, "topography", "C34.1");
  v1::DatasetRecord breast = Record("south", "breast", 1, "Breast MR and CT");
  AddValue(breast, "modality", "MR");
  AddValue(breast, "modality", "CT");
  REQUIRE_OK(hub.records->Publish("north", lung));
  REQUIRE_OK(hub.records->Publish("south", breast));
  REQUIRE_OK(hub.records->Publish("south", Record("south", "gone")));
  REQUIRE_OK(hub.records->Withdraw("south", "nodes/south/datasets/gone/versions/1"));
  auto search = [&](const std::string& text, const std::string& field = "",
                    const std::string& value = "") {
    v1::SearchDatasetsRequest request;
    request.set_text(text);
    if (!field.empty()) {
      v1::Facet* facet = request.add_facets();
      facet->set_field(field);
      facet->add_values(value);
    }
    auto out = hub.records->Search(request);
    REQUIRE(out.ok());
    std::string titles;
    for (const auto& record : out->datasets()) titles += record.title() + ";";
    return titles;
  };
  CHECK(search("") == "Lung CT;Breast MR and CT;");
  CHECK(search("ct BREAST") == "Breast MR and CT;");
  CHECK(search("", "modality", "mri") == "Breast MR and CT;");
  CHECK(search("", "topography", "C34") == "Lung CT;");
  CHECK(search("", "node", "north") == "Lung CT;");
  CHECK(search("", "duo", "DUO:0000042") == "Lung CT;Breast MR and CT;");
  CHECK(search("no such words").empty());

  v1::SearchDatasetsRequest paged;
  paged.set_page_size(1);
  REQUIRE_VALUE(auto page, hub.records->Search(paged));
  CHECK(page.total() == 2);
  REQUIRE(page.datasets_size() == 1);
  paged.set_page_token(page.next_page_token());
  REQUIRE_VALUE(page, hub.records->Search(paged));
  REQUIRE(page.datasets_size() == 1);
  CHECK(page.datasets(0).title() == "Breast MR and CT");
  CHECK(page.next_page_token().empty());
  int64_t with_ct = 0;
  for (const auto& facet : page.facets()) {
    if (facet.field() == "modality" && facet.value() == "CT") with_ct = facet.datasets();
  }
  CHECK(with_ct == 2);
  paged.set_page_token("garbage");
  REQUIRE_REASON(hub.records->Search(paged), absl::StatusCode::kInvalidArgument,
                 "PAGE_TOKEN_INVALID");
  v1::SearchDatasetsRequest unknown;
  unknown.add_facets()->set_field("wishes");
  REQUIRE_REASON(hub.records->Search(unknown), absl::StatusCode::kInvalidArgument, "FACET_UNKNOWN");
  unknown.mutable_facets(0)->set_field(std::string(1 << 20, 'w'));
  absl::Status long_name = hub.records->Search(unknown).status();
  REQUIRE_REASON(long_name, absl::StatusCode::kInvalidArgument, "FACET_UNKNOWN");
  CHECK(long_name.ToString().size() < 4096);
  for (const auto& [key, value] : base::ErrorInfoOf(long_name).metadata) CHECK(value.size() < 4096);
}

TEST_CASE("records: values of facets are bounded, and looked at once for all records") {
  Hub hub;
  constexpr int kRecords = 12;
  for (int i = 0; i < kRecords; ++i) {
    v1::DatasetRecord record = Record("north", absl::StrCat("set-", i + 10));
    for (int v = 0; v < 5000; ++v) {
      AddValue(record, "topography", absl::StrCat("C", v / 10, ".", v % 10));
    }
    REQUIRE_OK(hub.records->Publish("north", record));
  }
  v1::SearchDatasetsRequest request;
  for (int facet = 0; facet < 2; ++facet) {
    request.add_facets()->set_field("topography");
    for (int v = 0; v < 500; ++v) {
      request.mutable_facets(facet)->add_values(absl::StrCat("D", v));
    }
  }
  const std::clock_t begin = std::clock();
  REQUIRE_VALUE(auto none, hub.records->Search(request));
  CHECK(none.total() == 0);
  CHECK(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC < 10);
  request.mutable_facets(0)->set_values(499, "C49");
  request.mutable_facets(1)->set_values(0, "c49.9");
  REQUIRE_VALUE(auto all, hub.records->Search(request));
  CHECK(all.total() == kRecords);
  request.mutable_facets(1)->add_values("D1");
  REQUIRE_REASON(hub.records->Search(request), absl::StatusCode::kInvalidArgument,
                 "QUERY_TOO_LONG");
}

TEST_CASE("records: however large they are, every page of a search fits a message") {
  Hub hub;
  constexpr int kRecords = 12;
  for (int i = 0; i < kRecords; ++i) {
    v1::DatasetRecord record = Record("north", absl::StrCat("set-", i + 10));
    for (int v = 0; v < 7000; ++v) AddValue(record, "manufacturer", absl::StrCat(i, " maker ", v));
    AddValue(record, "of-the-node-alone", "x");
    REQUIRE(record.ByteSizeLong() > 200'000);
    REQUIRE_OK(hub.records->Publish("north", record));
  }
  v1::SearchDatasetsRequest request;
  request.set_page_size(200);
  std::vector<std::string> found;
  int pages = 0;
  do {
    REQUIRE_VALUE(auto page, hub.records->Search(request));
    CHECK(page.ByteSizeLong() < (2 << 20));
    CHECK(page.total() == kRecords);
    REQUIRE(page.datasets_size() > 0);
    for (const auto& record : page.datasets()) found.push_back(record.name());
    // The values that most have; of variables that can be asked for.
    int makers = 0;
    for (const auto& facet : page.facets()) {
      CHECK(facet.field() != "of-the-node-alone");
      makers += facet.field() == "manufacturer";
    }
    CHECK(makers == 200);
    request.set_page_token(page.next_page_token());
    ++pages;
  } while (!request.page_token().empty());
  CHECK(pages > 1);
  CHECK(found.size() == kRecords);
  CHECK(std::is_sorted(found.begin(), found.end()));
}

// --- Counts over all nodes

class FakeNodes final : public NodeDirectory, public NodeCounter {
 public:
  using Behaviour = std::function<absl::StatusOr<v1::NodeCount>(const v1::CountAtNodeRequest&,
                                                                absl::Time deadline)>;
  std::map<std::string, Behaviour> nodes;
  std::set<std::string> away;
  bool unknown = false;

  absl::StatusOr<std::vector<MeshNode>> Nodes() override {
    if (unknown) return base::Error(absl::StatusCode::kUnavailable, "NODES_UNKNOWN", "away");
    std::vector<MeshNode> out;
    for (const auto& [name, behaviour] : nodes) out.push_back({name, away.count(name) == 0});
    return out;
  }
  absl::StatusOr<v1::NodeCount> Count(const std::string& node,
                                      const v1::CountAtNodeRequest& request, const std::string&,
                                      absl::Time deadline) override {
    return nodes.at(node)(request, deadline);
  }
};

FakeNodes::Behaviour Says(int64_t value) {
  return [value](const v1::CountAtNodeRequest&, absl::Time) {
    v1::NodeCount out;
    out.set_state(v1::NodeCount::STATE_ANSWERED);
    if (value >= 0) out.set_value(value);
    return out;
  };
}

FakeNodes::Behaviour Fails(absl::StatusCode code) {
  return [code](const v1::CountAtNodeRequest&, absl::Time) -> absl::StatusOr<v1::NodeCount> {
    return base::Error(code, "FAILED", "it failed");
  };
}

struct Mesh {
  FakeNodes nodes;
  base::FakeClock clock;
  FederatedCount count{
      {.registry = Registry::Builtin(), .nodes = nodes, .counter = nodes, .clock = clock}};
  absl::StatusOr<v1::CountResponse> Ask(const std::string& text, std::vector<std::string> only = {},
                                        std::vector<std::string> by = {}) {
    v1::CountRequest request;
    request.set_text(text);
    for (const auto& name : only) request.add_nodes(name);
    for (const auto& name : by) request.add_by(name);
    return count.Count(request, "", clock.Now() + absl::Seconds(10));
  }
};

TEST_CASE("federated count: the total is the sum of what nodes said, and nothing else") {
  Mesh mesh;
  mesh.nodes.nodes = {{"north", Says(20)}, {"south", Says(15)}};
  REQUIRE_VALUE(v1::CountResponse all, mesh.Ask("sex = 'F' and modality = 'mri'"));
  CHECK(all.total() == 35);
  CHECK_FALSE(all.masked());
  CHECK(all.text() == "modality = \"MR\" and sex = \"F\"");

  mesh.nodes.nodes["west"] = Says(-1);  // hidden
  REQUIRE_VALUE(v1::CountResponse hidden, mesh.Ask("all"));
  CHECK(hidden.total() == 35);
  CHECK(hidden.masked());

  REQUIRE_VALUE(v1::CountResponse one, mesh.Ask("all", {"south"}));
  CHECK(one.total() == 15);
  REQUIRE(one.nodes_size() == 1);
  CHECK_FALSE(one.masked());

  // No number at all is no number, not zero.
  REQUIRE_VALUE(v1::CountResponse none, mesh.Ask("all", {"west"}));
  CHECK_FALSE(none.has_total());
  CHECK(none.masked());
  mesh.nodes.nodes.clear();
  REQUIRE_VALUE(v1::CountResponse nobody, mesh.Ask("all"));
  CHECK_FALSE(nobody.has_total());
}

TEST_CASE("federated count: each node that fails has its own outcome, and the others count") {
  Mesh mesh;
  auto state = [](v1::NodeCount::State value) {
    return [value](const v1::CountAtNodeRequest&, absl::Time) {
      v1::NodeCount out;
      out.set_state(value);
      out.set_node("somebody-else");
      return out;
    };
  };
  mesh.nodes.nodes = {{"a-good", Says(20)},
                      {"b-away", Says(1)},
                      {"c-slow", Fails(absl::StatusCode::kDeadlineExceeded)},
                      {"d-lost", Fails(absl::StatusCode::kUnavailable)},
                      {"e-broken", Fails(absl::StatusCode::kInternal)},
                      {"f-refuses", state(v1::NodeCount::STATE_REFUSED)},
                      {"g-forbids", Fails(absl::StatusCode::kPermissionDenied)}};
  mesh.nodes.away = {"b-away"};
  REQUIRE_VALUE(v1::CountResponse count, mesh.Ask("all"));
  CHECK(count.total() == 20);
  CHECK(count.masked());
  std::vector<std::string> outcomes;
  for (const auto& node : count.nodes()) {
    outcomes.push_back(absl::StrCat(node.node(), " ", v1::NodeCount::State_Name(node.state()), " ",
                                    node.reasons().empty() ? "" : node.reasons(0).reason()));
  }
  CHECK(outcomes == std::vector<std::string>{
                        "a-good STATE_ANSWERED ", "b-away STATE_UNREACHABLE NODE_UNREACHABLE",
                        "c-slow STATE_UNREACHABLE NODE_TIMEOUT",
                        "d-lost STATE_UNREACHABLE NODE_UNREACHABLE",
                        "e-broken STATE_UNREACHABLE NODE_FAILED", "f-refuses STATE_REFUSED ",
                        "g-forbids STATE_REFUSED FAILED"});
}

TEST_CASE("federated count: an answer that cannot be is no answer") {
  Mesh mesh;
  auto says = [](std::function<void(v1::NodeCount&)> change) {
    return [change](const v1::CountAtNodeRequest&, absl::Time) {
      v1::NodeCount out;
      out.set_state(v1::NodeCount::STATE_ANSWERED);
      change(out);
      return out;
    };
  };
  mesh.nodes.nodes = {
      {"negative", says([](v1::NodeCount& out) { out.set_value(-5); })},
      {"endless", says([](v1::NodeCount& out) { out.set_value(int64_t{1} << 62); })},
      {"stateless", says([](v1::NodeCount& out) { out.clear_state(); })},
      {"two-minded", says([](v1::NodeCount& out) {
         out.set_state(v1::NodeCount::STATE_REFUSED);
         out.set_value(3);
       })}};
  REQUIRE_VALUE(v1::CountResponse count, mesh.Ask("all"));
  CHECK_FALSE(count.has_total());
  for (const auto& node : count.nodes()) {
    CHECK(node.state() == v1::NodeCount::STATE_UNREACHABLE);
    CHECK_FALSE(node.has_value());
  }
}

TEST_CASE("federated count: a part is a lower bound, and the total says so") {
  Mesh mesh;
  mesh.nodes.nodes = {{"north", Says(20)}, {"south", [](const auto&, absl::Time) {
                                              v1::NodeCount out;
                                              out.set_state(v1::NodeCount::STATE_PARTLY);
                                              out.set_value(10);
                                              return out;
                                            }}};
  REQUIRE_VALUE(v1::CountResponse count, mesh.Ask("all"));
  CHECK(count.total() == 30);
  CHECK(count.masked());
}

TEST_CASE("federated count: nodes are asked together and told to answer before the caller's end") {
  Mesh mesh;
  base::Mutex mutex;
  base::CondVar arrived;
  int waiting = 0;
  std::vector<absl::Time> deadlines;
  auto together = [&](const v1::CountAtNodeRequest&, absl::Time deadline) {
    base::MutexLock lock(mutex);
    deadlines.push_back(deadline);
    ++waiting;
    arrived.SignalAll();
    // Answers only when all three have been asked.
    while (waiting < 3) arrived.Wait(mutex);
    v1::NodeCount out;
    out.set_state(v1::NodeCount::STATE_ANSWERED);
    out.set_value(5);
    return out;
  };
  mesh.nodes.nodes = {{"a-node", together}, {"b-node", together}, {"c-node", together}};
  REQUIRE_VALUE(v1::CountResponse count, mesh.Ask("all"));
  CHECK(count.total() == 15);
  REQUIRE(deadlines.size() == 3);
  for (absl::Time deadline : deadlines) CHECK(deadline == mesh.clock.Now() + absl::Seconds(9));
}

FakeNodes::Behaviour SaysGroups(int groups) {
  return [groups](const v1::CountAtNodeRequest&, absl::Time) {
    v1::NodeCount out;
    out.set_state(v1::NodeCount::STATE_ANSWERED);
    out.set_value(20);
    for (int i = 0; i < groups; ++i) {
      v1::Group* group = out.add_groups();
      for (const char* variable : {"manufacturer", "body_part", "topography"}) {
        v1::GroupKey* key = group->add_key();
        key->set_variable(variable);
        key->set_value(absl::StrCat("a value ", i));
      }
      group->set_value(20);
    }
    return out;
  };
}

TEST_CASE("federated count: the answer of a hundred nodes fits a message, whatever they say") {
  Mesh mesh;
  for (int i = 0; i < 100; ++i) mesh.nodes.nodes[absl::StrCat("node-", i)] = SaysGroups(1000);
  mesh.nodes.nodes["node-0"] = SaysGroups(5);
  mesh.nodes.nodes["node-1"] = SaysGroups(1001);
  REQUIRE_VALUE(v1::CountResponse count, mesh.Ask("all", {}, {"manufacturer"}));
  CHECK(count.ByteSizeLong() < (4 << 20));
  CHECK(count.total() == 99 * 20);
  for (const v1::NodeCount& node : count.nodes()) {
    INFO(node.node());
    if (node.node() == "node-0") {
      CHECK(node.groups_size() == 5);
      CHECK(node.state() == v1::NodeCount::STATE_ANSWERED);
    } else if (node.node() == "node-1") {
      CHECK(node.state() == v1::NodeCount::STATE_UNREACHABLE);  // more than a node may say
    } else {
      CHECK(node.groups().empty());
      CHECK(node.value() == 20);
      CHECK(node.state() == v1::NodeCount::STATE_PARTLY);
      CHECK(node.reasons(0).reason() == "GROUPS_TOO_MANY");
    }
  }
  // A few nodes are told in full.
  REQUIRE_VALUE(count, mesh.Ask("all", {"node-2", "node-3", "node-4"}, {"manufacturer"}));
  for (const v1::NodeCount& node : count.nodes()) CHECK(node.groups_size() == 1000);

  for (auto& [name, behaviour] : mesh.nodes.nodes) {
    behaviour = [](const v1::CountAtNodeRequest&, absl::Time) {
      v1::NodeCount out;
      out.set_state(v1::NodeCount::STATE_REFUSED);
      for (int i = 0; i < 300; ++i) {
        v1::Reason* reason = out.add_reasons();
        reason->set_reason("VARIABLE_UNKNOWN");
        reason->set_message(std::string(10'000, 'x'));
      }
      return out;
    };
  }
  REQUIRE_VALUE(count, mesh.Ask("all"));
  CHECK(count.ByteSizeLong() < (4 << 20));
  CHECK(count.nodes_size() == 100);
}

TEST_CASE("federated count: all calls together use no more threads than allowed") {
  Mesh mesh;
  FederatedCount few({.registry = Registry::Builtin(),
                      .nodes = mesh.nodes,
                      .counter = mesh.nodes,
                      .clock = mesh.clock,
                      .max_threads = 2});
  std::atomic<int> now{0}, most{0};
  for (int i = 0; i < 40; ++i) {
    mesh.nodes.nodes[absl::StrCat("node-", i)] = [&](const v1::CountAtNodeRequest&, absl::Time) {
      int seen = ++now;
      for (int before = most; before < seen && !most.compare_exchange_weak(before, seen);) {
      }
      std::this_thread::yield();
      --now;
      v1::NodeCount out;
      out.set_state(v1::NodeCount::STATE_ANSWERED);
      out.set_value(1);
      return out;
    };
  }
  v1::CountRequest request;
  request.set_text("all");
  auto ask = [&] {
    auto count = few.Count(request, "", mesh.clock.Now() + absl::Seconds(10));
    return count.ok() ? count->total() : -1;
  };
  std::vector<std::thread> callers;
  std::atomic<int> right{0};
  for (int i = 0; i < 4; ++i) callers.emplace_back([&] { right += ask() == 40; });
  for (std::thread& caller : callers) caller.join();
  CHECK(right == 4);
  CHECK(most <= 4 + 2);

  // They were given back: three nodes are asked at once again.
  base::Mutex mutex;
  base::CondVar arrived;
  int waiting = 0;
  mesh.nodes.nodes.clear();
  for (const char* name : {"a-node", "b-node", "c-node"}) {
    mesh.nodes.nodes[name] = [&](const v1::CountAtNodeRequest&, absl::Time) {
      base::MutexLock lock(mutex);
      ++waiting;
      arrived.SignalAll();
      while (waiting < 3) arrived.Wait(mutex);
      v1::NodeCount out;
      out.set_state(v1::NodeCount::STATE_ANSWERED);
      out.set_value(1);
      return out;
    };
  }
  CHECK(ask() == 3);
}

TEST_CASE("federated count: what is wrong with the question is said before any node is asked") {
  Mesh mesh;
  mesh.nodes.nodes = {{"north", [](const auto&, absl::Time) -> absl::StatusOr<v1::NodeCount> {
                         FAIL("the node was asked");
                         return v1::NodeCount();
                       }}};
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  REQUIRE_REASON(mesh.Ask("sex ="), kInvalid, "EXPRESSION_INVALID");
  REQUIRE_REASON(mesh.Ask("sexx = 'F'"), kInvalid, "VARIABLE_UNKNOWN");
  REQUIRE_REASON(mesh.Ask("sex > 'F'"), kInvalid, "OPERATOR_INVALID");
  REQUIRE_REASON(mesh.Ask("sex = 'Q'"), kInvalid, "VALUE_INVALID");
  REQUIRE_REASON(mesh.Ask("all", {"nowhere"}), kInvalid, "NODE_UNKNOWN");
  REQUIRE_REASON(mesh.Ask("all", {}, {"agee"}), kInvalid, "VARIABLE_UNKNOWN");
  REQUIRE_REASON(mesh.Ask("all", {}, {"sex", "sex"}), kInvalid, "GROUP_INVALID");
  // A name that is longer than any is not compared with all there are, and does not come back.
  absl::Status long_name = mesh.Ask("all", {}, {std::string(3 << 20, 's')}).status();
  REQUIRE_REASON(long_name, kInvalid, "VARIABLE_UNKNOWN");
  for (const auto& [key, value] : base::ErrorInfoOf(long_name).metadata) CHECK(value.size() < 4096);
  REQUIRE_REASON(mesh.count.Count({}, "", mesh.clock.Now()), kInvalid, "EXPRESSION_INVALID");
  mesh.nodes.unknown = true;
  REQUIRE_REASON(mesh.Ask("all"), absl::StatusCode::kUnavailable, "NODES_UNKNOWN");
}

}  // namespace
}  // namespace oncomesh::catalogue
