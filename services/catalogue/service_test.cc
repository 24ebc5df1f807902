// SPDX-License-Identifier: Apache-2.0
// The hub's and the node's services over in-process channels with the real guard; only the
// connection's certificate is told to it.
#include <grpcpp/grpcpp.h>

#include <catch2/catch.hpp>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "libs/base/error.h"
#include "libs/query/text.h"
#include "libs/rpc/access_rules.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/status.h"
#include "libs/store/test_database.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "services/catalogue/catalogue_service.h"
#include "services/catalogue/node_catalogue_service.h"
#include "services/catalogue/testing_objects.h"

namespace oncomesh::catalogue {
namespace {

using terminology::Registry;

// People by token "<role>"; permits by "good" at the hub, and at the node by the names of their
// datasets; events counted.
struct Site final : rpc::Authenticator, rpc::PermitChecker, rpc::Auditor, CountPermits {
  absl::StatusOr<rpc::Person> Authenticate(absl::string_view token) override {
    return rpc::Person{"somebody", {std::string(token)}, absl::InfiniteFuture()};
  }
  absl::Status Check(const rpc::Caller& caller, absl::string_view operation,
                     absl::string_view permit) override {
    CHECK(caller.subject == "somebody");
    if (permit == "good" && operation == "count") return absl::OkStatus();
    return base::Error(absl::StatusCode::kPermissionDenied, "PERMIT_NOT_FOR_PERSON", "no");
  }
  absl::StatusOr<std::vector<std::string>> Datasets(absl::string_view permit) override {
    if (absl::StartsWith(permit, "nodes/")) {
      return std::vector<std::string>(absl::StrSplit(permit, ','));
    }
    return base::Error(absl::StatusCode::kPermissionDenied, "PERMIT_REVOKED", "it was revoked");
  }
  absl::Status Record(const rpc::CallEvent& event) override {
    events.push_back(event);
    return absl::OkStatus();
  }
  std::vector<rpc::CallEvent> events;
  std::string peer;  // path of the caller's certificate

  std::unique_ptr<rpc::CallGuard> Guard(const std::string& site) {
    rpc::CallGuard::Deps deps;
    deps.site = site;
    deps.trust_domain = "test";
    deps.authenticator = this;
    deps.permits = this;
    deps.auditor = this;
    deps.peer = [this](const grpc::ServerContext& context) {
      rpc::Peer out;
      out.uris = {absl::StrCat("spiffe://test/", peer)};
      for (const auto& [key, value] : context.client_metadata()) {
        out.metadata.emplace(std::string(key.data(), key.size()),
                             std::string(value.data(), value.size()));
      }
      return out;
    };
    return std::make_unique<rpc::CallGuard>(deps);
  }
};

// Calls as a person with `role` through the site's relay, or as the service `as`.
template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Call(Site& site, Stub& stub,
                              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                           Response*),
                              const Request& request, const std::string& as,
                              const std::string& role = "", const std::string& permit = "") {
  site.peer = as;
  grpc::ClientContext context;
  rpc::SetDeadline(context, absl::Seconds(20));
  if (!role.empty()) context.AddMetadata("authorization", absl::StrCat("Bearer ", role));
  if (!permit.empty()) context.AddMetadata(rpc::kPermitKey, permit);
  Response response;
  absl::Status status = rpc::FromGrpc((stub.*method)(&context, request, &response));
  if (!status.ok()) return status;
  return response;
}

struct OneNode final : NodeDirectory, NodeCounter {
  absl::StatusOr<std::vector<MeshNode>> Nodes() override {
    return std::vector<MeshNode>{{"north", true}};
  }
  absl::StatusOr<v1::NodeCount> Count(const std::string&, const v1::CountAtNodeRequest&,
                                      const std::string& permit, absl::Time) override {
    v1::NodeCount out;
    out.set_state(v1::NodeCount::STATE_ANSWERED);
    out.set_value(permit == "good" ? 40 : 20);
    return out;
  }
};

struct HubServer {
  Site site;
  testing::TemporaryFolder folder;
  std::unique_ptr<RecordStore> store;
  OneNode node;
  std::unique_ptr<Records> records;
  std::unique_ptr<FederatedCount> count;
  std::unique_ptr<rpc::CallGuard> guard = site.Guard("hub");
  std::unique_ptr<CatalogueServiceImpl> service;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<v1::CatalogueService::Stub> stub;

  HubServer() {
    REQUIRE_VALUE(store, RecordStore::Open(store::TestDatabaseUrl(folder / "hub.db")));
    const Registry& registry = Registry::Builtin();
    records = std::make_unique<Records>(*store, registry);
    count = std::make_unique<FederatedCount>(
        FederatedCount::Deps{registry, node, node, base::SystemClock::Get()});
    service = std::make_unique<CatalogueServiceImpl>(*guard, *records, *count, registry, site);
    grpc::ServerBuilder builder;
    builder.RegisterService(service.get());
    server = builder.BuildAndStart();
    stub = v1::CatalogueService::NewStub(server->InProcessChannel({}));
  }
  ~HubServer() { server->Shutdown(); }
};

using HubStub = v1::CatalogueService::Stub;

TEST_CASE("catalogue service: every call of both services has a rule") {
  REQUIRE_OK(rpc::CheckServiceRules("oncomesh.catalogue.v1.CatalogueService"));
  REQUIRE_OK(rpc::CheckServiceRules("oncomesh.catalogue.v1.NodeCatalogueService"));
}

TEST_CASE("catalogue service: a node's certificate decides whose dataset is published") {
  HubServer hub;
  v1::PublishRecordRequest request;
  request.mutable_record()->set_name("nodes/north/datasets/lung/versions/1");
  request.mutable_record()->set_title("Lung");
  request.mutable_record()->add_duo_codes("DUO:0000042");
  request.mutable_record()->set_digest(std::string(64, 'a'));
  auto publish = [&](const std::string& as, const std::string& role = "") {
    return Call(hub.site, *hub.stub, &HubStub::PublishRecord, request, as, role);
  };
  REQUIRE_REASON(publish("node/south/catalogue"), absl::StatusCode::kPermissionDenied,
                 "NOT_YOUR_DATASET");
  REQUIRE_REASON(publish("node/north/training"), absl::StatusCode::kPermissionDenied,
                 "SERVICE_NOT_ALLOWED");
  REQUIRE_REASON(publish("hub/training"), absl::StatusCode::kPermissionDenied,
                 "SERVICE_NOT_ALLOWED");
  CHECK_FALSE(publish("hub/relay", "operator").ok());
  REQUIRE_OK(publish("node/north/catalogue"));
  CHECK(hub.site.events.size() == 5);

  v1::GetDatasetRequest get;
  get.set_name("nodes/north/datasets/lung");
  REQUIRE_OK(Call(hub.site, *hub.stub, &HubStub::GetDataset, get, "hub/relay", "researcher"));
  REQUIRE_OK(Call(hub.site, *hub.stub, &HubStub::GetDataset, get, "hub/access"));
  CHECK_FALSE(Call(hub.site, *hub.stub, &HubStub::GetDataset, get, "hub/relay").ok());
  REQUIRE_VALUE(auto found,
                Call(hub.site, *hub.stub, &HubStub::SearchDatasets, {}, "hub/relay", "researcher"));
  CHECK(found.total() == 1);
}

TEST_CASE("catalogue service: researchers count, and their permit reaches the nodes") {
  HubServer hub;
  v1::CountRequest request;
  request.set_text("modality = 'CT'");
  REQUIRE_VALUE(auto count,
                Call(hub.site, *hub.stub, &HubStub::Count, request, "hub/relay", "researcher"));
  CHECK(count.total() == 20);
  REQUIRE_VALUE(count, Call(hub.site, *hub.stub, &HubStub::Count, request, "hub/relay",
                            "researcher", "good"));
  CHECK(count.total() == 40);
  // A permit of somebody else, or for something else, is refused here: no node knows the person.
  REQUIRE_REASON(Call(hub.site, *hub.stub, &HubStub::Count, request, "hub/relay", "researcher",
                      "of somebody else"),
                 absl::StatusCode::kPermissionDenied, "PERMIT_NOT_FOR_PERSON");
  REQUIRE_REASON(Call(hub.site, *hub.stub, &HubStub::Count, request, "hub/relay", "holder"),
                 absl::StatusCode::kPermissionDenied, "ROLE_NEEDED");
  request.set_text("modality =");
  REQUIRE_REASON(Call(hub.site, *hub.stub, &HubStub::Count, request, "hub/relay", "researcher"),
                 absl::StatusCode::kInvalidArgument, "EXPRESSION_INVALID");
  REQUIRE_VALUE(auto variables,
                Call(hub.site, *hub.stub, &HubStub::ListVariables, {}, "hub/relay", "researcher"));
  CHECK(variables.variables_size() == static_cast<int>(Registry::Builtin().variables().size()));
}

struct NoHub final : RecordPublisher {
  absl::Status Publish(const v1::DatasetRecord&) override { return absl::OkStatus(); }
  absl::Status Withdraw(const std::string&) override { return absl::OkStatus(); }
};

struct NodeServer {
  Site site;
  testing::TemporaryFolder folder;
  FakeFeed feed;
  CurrentIndex index;
  FixedPolicy policy{CountPolicy{.rules = {.min_cell = 1, .rounding = 1}, .open_counts = false}};
  AnswerMemory memory;
  NoHub hub;
  std::unique_ptr<NodeStore> store;
  std::unique_ptr<objects::ObjectStore> objects;
  std::unique_ptr<Indexer> indexer;
  std::unique_ptr<DatasetIndex> dataset_index;
  std::unique_ptr<NodeCount> count;
  std::unique_ptr<Datasets> datasets;
  std::unique_ptr<rpc::CallGuard> guard = site.Guard("north");
  std::unique_ptr<NodeCatalogueServiceImpl> service;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<v1::NodeCatalogueService::Stub> stub;

  NodeServer() {
    const Registry& registry = Registry::Builtin();
    REQUIRE_VALUE(store, NodeStore::Open(store::TestDatabaseUrl(folder / "node.db")));
    REQUIRE_VALUE(objects, objects::OpenFolder(folder / "objects"));
    indexer = std::make_unique<Indexer>(
        Indexer::Deps{feed, *objects, *store, index, registry, base::SystemClock::Get()});
    dataset_index = std::make_unique<DatasetIndex>("north", registry, *store, index);
    count = std::make_unique<NodeCount>(
        NodeCount::Deps{"north", registry, index, policy, memory, site, *dataset_index});
    datasets = std::make_unique<Datasets>(Datasets::Deps{"north", registry, index, *store, policy,
                                                         memory, hub, base::SystemClock::Get()});
    service = std::make_unique<NodeCatalogueServiceImpl>(*guard, *count, *datasets, *indexer);
    grpc::ServerBuilder builder;
    builder.RegisterService(service.get());
    server = builder.BuildAndStart();
    stub = v1::NodeCatalogueService::NewStub(server->InProcessChannel({}));
  }
  ~NodeServer() { server->Shutdown(); }
};

using NodeStub = v1::NodeCatalogueService::Stub;

TEST_CASE("node catalogue service: from a released object to a count and a streamed manifest") {
  NodeServer node;
  REQUIRE_VALUE(std::string sha256,
                node.objects->Put(MakeObject({{0x00080060, {"CS", "CT"}}}, "PATIENTA", "2.25.1",
                                             "2.25.2", "2.25.3")));
  node.feed.Add({.kind = Released::Kind::kObject, .sha256 = sha256});
  REQUIRE_VALUE(auto synced, Call(node.site, *node.stub, &NodeStub::SyncIndex, {},
                                  "node/north/relay", "holder"));
  CHECK(synced.status().objects() == 1);

  v1::CountAtNodeRequest count;
  *count.mutable_where() = *query::ParseText("modality = 'CT'");
  auto ask = [&](const std::string& as, const std::string& permit = "") {
    return Call(node.site, *node.stub, &NodeStub::CountAtNode, count, as, "", permit);
  };
  // Only the hub's catalogue asks; the policy of this node wants a permit, and a good one.
  REQUIRE_REASON(ask("hub/training"), absl::StatusCode::kPermissionDenied, "SERVICE_NOT_ALLOWED");
  REQUIRE_REASON(ask("node/south/catalogue"), absl::StatusCode::kPermissionDenied,
                 "SERVICE_NOT_ALLOWED");
  REQUIRE_VALUE(auto without, ask("hub/catalogue"));
  CHECK(without.count().state() == v1::NodeCount::STATE_REFUSED);
  REQUIRE_VALUE(auto revoked, ask("hub/catalogue", "revoked"));
  CHECK(revoked.count().state() == v1::NodeCount::STATE_REFUSED);
  CHECK(revoked.count().reasons(0).message() == "it was revoked");

  v1::CreateDatasetRequest create;
  create.set_dataset("lung");
  create.set_title("Lung");
  create.add_duo_codes("DUO:0000042");
  create.set_text("modality = 'CT'");
  REQUIRE_REASON(Call(node.site, *node.stub, &NodeStub::CreateDataset, create, "node/north/relay",
                      "researcher"),
                 absl::StatusCode::kPermissionDenied, "ROLE_NEEDED");
  REQUIRE_VALUE(auto made, Call(node.site, *node.stub, &NodeStub::CreateDataset, create,
                                "node/north/relay", "holder"));
  REQUIRE_VALUE(auto counted, ask("hub/catalogue", made.dataset().name()));
  CHECK(counted.count().value() == 1);

  v1::PublishDatasetRequest publish;
  publish.set_name("lung");
  REQUIRE_VALUE(auto published, Call(node.site, *node.stub, &NodeStub::PublishDataset, publish,
                                     "node/north/relay", "holder"));
  CHECK(published.dataset().state() == v1::DatasetRecord::STATE_PUBLISHED);
  REQUIRE_VALUE(auto listed,
                Call(node.site, *node.stub, &NodeStub::ListNodeDatasets, {}, "node/north/access"));
  CHECK(listed.datasets_size() == 1);

  auto manifest = [&](const std::string& as) {
    node.site.peer = as;
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Seconds(20));
    v1::GetDatasetManifestRequest request;
    request.set_name(made.dataset().name());
    auto reader = node.stub->GetDatasetManifest(&context, request);
    std::string seen;
    v1::GetDatasetManifestResponse part;
    while (reader->Read(&part)) {
      if (part.has_header()) absl::StrAppend(&seen, "header ", part.header().items(), ";");
      for (const auto& item : part.items().items()) absl::StrAppend(&seen, item.sha256(), ";");
      if (part.has_finish()) absl::StrAppend(&seen, part.finish().digest());
    }
    absl::Status status = rpc::FromGrpc(reader->Finish());
    return status.ok() ? seen : base::ReasonOf(status);
  };
  CHECK(manifest("node/north/training") ==
        absl::StrCat("header 1;", sha256, ";", made.dataset().digest()));
  CHECK(manifest("hub/training") == "SERVICE_NOT_ALLOWED");
  CHECK(manifest("node/south/training") == "SERVICE_NOT_ALLOWED");
}

TEST_CASE("node catalogue service: a permit opens a closed node's named datasets and no more") {
  NodeServer node;
  int last = 0;
  auto release = [&](const std::string& patient, const std::string& modality) {
    // One study per patient, one object per series.
    std::string study = absl::StrCat("2.25.1.", patient == "PATIENTA" ? 1 : 2);
    ++last;
    REQUIRE_VALUE(std::string sha256,
                  node.objects->Put(MakeObject({{0x00080060, {"CS", modality}}}, patient, study,
                                               absl::StrCat("2.25.2.", last),
                                               absl::StrCat("2.25.3.", last))));
    node.feed.Add({.kind = Released::Kind::kObject, .sha256 = sha256});
    REQUIRE_OK(node.indexer->Sync());
  };
  auto freeze = [&](const std::string& name, const std::string& text) {
    v1::CreateDatasetRequest create;
    create.set_dataset(name);
    create.set_title(name);
    create.add_duo_codes("DUO:0000042");
    create.set_text(text);
    REQUIRE_VALUE(v1::DatasetRecord record, node.datasets->Create(create));
    return record.name();
  };
  release("PATIENTA", "CT");
  release("PATIENTA", "MR");
  release("PATIENTB", "CT");
  const std::string ct = freeze("ct", "modality = 'CT'");
  const std::string mr = freeze("mr", "modality = 'MR'");
  release("PATIENTB", "PT");
  auto ask = [&](const std::string& text, const std::string& permit) -> v1::NodeCount {
    v1::CountAtNodeRequest request;
    *request.mutable_where() = *query::ParseText(text);
    REQUIRE_VALUE(auto answer, Call(node.site, *node.stub, &NodeStub::CountAtNode, request,
                                    "hub/catalogue", "", permit));
    return answer.count();
  };
  // Another node's permit, or one for a version that is not there, opens nothing.
  for (const std::string& foreign :
       {std::string("nodes/south/datasets/ct/versions/1"),
        std::string("nodes/north/datasets/ct/versions/2"),
        std::string("nodes/north/datasets/none/versions/1"), std::string("nodes/north")}) {
    INFO(foreign);
    v1::NodeCount refused = ask("all", foreign);
    CHECK(refused.state() == v1::NodeCount::STATE_REFUSED);
    CHECK_FALSE(refused.has_value());
    CHECK(refused.reasons(0).reason() == "POLICY_REFUSES");
  }
  CHECK(ask("all", ct).value() == 2);
  CHECK(ask("all", mr).value() == 1);
  CHECK(ask("all", absl::StrCat(ct, ",", mr, ",nodes/south/datasets/x/versions/1")).value() == 2);
  // What is not in the datasets is not seen, however it is asked.
  CHECK_FALSE(ask("modality = 'PT'", ct).has_value());
  CHECK_FALSE(ask("patient has (modality = 'MR')", ct).has_value());
  CHECK(ask("not patient has (modality = 'MR')", ct).value() == 2);
  CHECK(ask("patient has (modality = 'MR')", absl::StrCat(ct, ",", mr)).value() == 1);
  // A withdrawn version is out at once.
  REQUIRE_OK(node.datasets->Withdraw(ct));
  CHECK(ask("all", ct).state() == v1::NodeCount::STATE_REFUSED);
}

}  // namespace
}  // namespace oncomesh::catalogue
