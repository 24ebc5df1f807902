// SPDX-License-Identifier: Apache-2.0
// The hub's RPCs over an in-process channel with the real guard; only the connection's certificate
// is told to it, since an in-process channel has none.
#include <grpcpp/grpcpp.h>

#include "libs/base/status_macros.h"
#include "libs/rpc/access_rules.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/status.h"
#include "services/training/grpc_hub_client.h"
#include "services/training/hub_fixture.h"
#include "services/training/training_service.h"

namespace oncomesh::training {
namespace {

using absl::StatusCode;

class Log final : public rpc::Auditor {
 public:
  absl::Status Record(const rpc::CallEvent& event) override {
    if (full) return base::Error(StatusCode::kResourceExhausted, "DISK_FULL", "no room");
    outcomes.push_back(absl::StrCat(event.type, " ", event.outcome));
    return absl::OkStatus();
  }
  bool full = false;
  std::vector<std::string> outcomes;
};

class Anyone final : public rpc::Authenticator, public rpc::PermitChecker {
 public:
  absl::StatusOr<rpc::Person> Authenticate(absl::string_view token) override {
    return rpc::Person{std::string(token), {"researcher"}, absl::InfiniteFuture()};
  }
  absl::Status Check(const rpc::Caller&, absl::string_view, absl::string_view) override {
    return absl::OkStatus();
  }
};

struct Served {
  Served()
      : guard(Deps()),
        training(guard, *hub.runs, hub.changes),
        tasks(guard, *hub.tasks, hub.changes) {
    grpc::ServerBuilder builder;
    builder.RegisterService(&training);
    builder.RegisterService(&tasks);
    server = builder.BuildAndStart();
    channel = server->InProcessChannel({});
    client = MakeGrpcHubClient(channel);
  }
  ~Served() { server->Shutdown(); }
  rpc::CallGuard::Deps Deps() {
    rpc::CallGuard::Deps deps;
    deps.site = "hub";
    deps.trust_domain = "test";
    deps.authenticator = &anyone;
    deps.permits = &anyone;
    deps.auditor = &log;
    deps.peer = [this](const grpc::ServerContext& context) {
      rpc::Peer out{{"spiffe://test/" + peer}, {}};
      for (const auto& [key, value] : context.client_metadata()) {
        out.metadata.emplace(std::string(key.data(), key.size()),
                             std::string(value.data(), value.size()));
      }
      return out;
    };
    return deps;
  }
  v1::Task Acquire() {
    v1::AcquireTaskRequest request;
    request.set_session("session-1");
    absl::StatusOr<v1::AcquireTaskResponse> response = client->Acquire(request);
    REQUIRE_OK(response);
    return response->task();
  }

  HubFixture hub;
  Anyone anyone;
  Log log;
  std::string peer = "node/north/training";
  rpc::CallGuard guard;
  TrainingServiceImpl training;
  TaskServiceImpl tasks;
  std::unique_ptr<grpc::Server> server;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<HubClient> client;
};

TEST_CASE("service: every RPC has an access rule") {
  for (const char* service :
       {"oncomesh.training.v1.TrainingService", "oncomesh.training.v1.TaskService",
        "oncomesh.training.v1.NodeTrainingService"}) {
    REQUIRE_OK(rpc::CheckServiceRules(service));
  }
}

TEST_CASE("service: a node's client fetches, goes on with a cut upload, and delivers") {
  Served served;
  v1::Run run = served.hub.Submit(HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north"}), {"north"});
  v1::Task task = served.Acquire();
  REQUIRE_FALSE(task.name().empty());
  const std::string input = served.hub.folder / "input";
  // What an interrupted fetch left, though of other bytes: noticed, thrown away, fetched anew.
  REQUIRE_OK(base::WriteFileAtomically(input + ".part", "garbage"));
  REQUIRE_REASON(served.client->Download(task.name(), task.model(), input),
                 StatusCode::kUnavailable, "INPUT_HASH_MISMATCH");
  // A hub that sends more than it announced fills no disk.
  v1::TaskInput shorter = task.model();
  shorter.set_bytes(shorter.bytes() - 1);
  REQUIRE_REASON(served.client->Download(task.name(), shorter, input), StatusCode::kUnavailable,
                 "INPUT_HASH_MISMATCH");
  REQUIRE_OK(served.client->Download(task.name(), task.model(), input));
  CHECK(crypto::Sha256Hex(*base::ReadFile(input)) == task.model().sha256());

  const std::string update = HubFixture::Update({2.5, -1});
  const std::string path = served.hub.folder / "update";
  REQUIRE_OK(base::WriteFileAtomically(path, update));
  v1::UploadHeader header = HubFixture::HeaderOf(task, update, 3);
  {
    // Half of it and then only the end of the stream: that commits nothing.
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Seconds(20));
    v1::UploadUpdateResponse response;
    auto writer = v1::TaskService::NewStub(served.channel)->UploadUpdate(&context, &response);
    v1::UploadUpdateRequest part;
    *part.mutable_header() = header;
    REQUIRE(writer->Write(part));
    part.set_chunk(update.substr(0, 40));
    REQUIRE(writer->Write(part));
    writer->WritesDone();
    REQUIRE_REASON(rpc::FromGrpc(writer->Finish()), StatusCode::kInvalidArgument, "UPLOAD_INVALID");
  }
  CHECK(served.hub.Get(run.name()).rounds(0).contributions(0).state() ==
        v1::Contribution::STATE_WORKING);
  REQUIRE_OK(served.client->Upload(header, path));
  REQUIRE_OK(served.client->Upload(header, path));  // the answer was lost: again is harmless
  REQUIRE_OK(served.hub.closer->Advance());
  run = served.hub.Get(run.name());
  CHECK(run.state() == v1::Run::STATE_SUCCEEDED);

  // The researcher's side, through the relay with a token.
  served.peer = "hub/relay";
  grpc::ClientContext context;
  rpc::SetDeadline(context, absl::Seconds(20));
  context.AddMetadata("authorization", "Bearer ana");
  v1::DownloadModelRequest request;
  request.set_sha256(run.model_sha256());
  auto stub = v1::TrainingService::NewStub(served.channel);
  auto reader = stub->DownloadModel(&context, request);
  v1::DownloadModelResponse part;
  std::string model;
  bool finished = false;
  while (reader->Read(&part)) {
    model += part.chunk();
    finished = finished || part.has_finish();
  }
  REQUIRE_OK(rpc::FromGrpc(reader->Finish()));
  CHECK(finished);
  CHECK(crypto::Sha256Hex(model) == run.model_sha256());

  grpc::ClientContext watch_context;
  rpc::SetDeadline(watch_context, absl::Seconds(20));
  watch_context.AddMetadata("authorization", "Bearer ana");
  v1::WatchRunRequest watch;
  watch.set_name(run.name());
  auto watcher = stub->WatchRun(&watch_context, watch);
  v1::WatchRunResponse seen;
  int states = 0;
  while (watcher->Read(&seen)) ++states;
  REQUIRE_OK(rpc::FromGrpc(watcher->Finish()));
  CHECK(states == 1);
  CHECK(seen.run().state() == v1::Run::STATE_SUCCEEDED);
}

TEST_CASE("service: no byte of a model leaves that is not on record first") {
  Served served;
  v1::Run run = served.hub.Submit(HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north"}), {"north"});
  v1::Task task = served.Acquire();
  const std::string update = HubFixture::Update({1, 2});
  REQUIRE_OK(served.hub.HandIn("north", HubFixture::HeaderOf(task, update, 1), update));
  REQUIRE_OK(served.hub.closer->Advance());
  served.peer = "hub/relay";
  v1::DownloadModelRequest request;
  request.set_sha256(served.hub.Get(run.name()).model_sha256());
  auto stub = v1::TrainingService::NewStub(served.channel);
  for (const bool full : {true, false}) {
    CAPTURE(full);
    served.log.full = full;
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Seconds(20));
    context.AddMetadata("authorization", "Bearer ana");
    auto reader = stub->DownloadModel(&context, request);
    v1::DownloadModelResponse part;
    int parts = 0;
    while (reader->Read(&part)) ++parts;
    absl::Status status = rpc::FromGrpc(reader->Finish());
    CHECK(status.ok() == !full);
    CHECK((parts == 0) == full);
    if (full) CHECK(base::ReasonOf(status) == "DISK_FULL");
  }
  CHECK(served.log.outcomes == std::vector<std::string>{"rpc.TrainingService.DownloadModel STARTED",
                                                        "rpc.TrainingService.DownloadModel OK"});
}

TEST_CASE("service: a person watches so many runs at once and no more") {
  Served served;
  v1::Run run = served.hub.Submit(HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north"}), {"north"});
  served.peer = "hub/relay";
  auto stub = v1::TrainingService::NewStub(served.channel);
  v1::WatchRunRequest request;
  request.set_name(run.name());
  struct Watch {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<v1::WatchRunResponse>> reader;
    v1::WatchRunResponse seen;
  };
  // Opened when its first answer is here: a watch of a running run does not end by itself.
  auto open = [&] {
    auto watch = std::make_unique<Watch>();
    rpc::SetDeadline(watch->context, absl::Seconds(60));
    watch->context.AddMetadata("authorization", "Bearer ana");
    watch->reader = stub->WatchRun(&watch->context, request);
    return watch;
  };
  std::vector<std::unique_ptr<Watch>> watches;
  for (int i = 0; i < kWatchesPerPerson; ++i) {
    watches.push_back(open());
    REQUIRE(watches.back()->reader->Read(&watches.back()->seen));
  }
  auto refused = open();
  CHECK_FALSE(refused->reader->Read(&refused->seen));
  REQUIRE_REASON(rpc::FromGrpc(refused->reader->Finish()), StatusCode::kResourceExhausted,
                 "TOO_MANY_WATCHERS");
  watches.front()->context.TryCancel();
  watches.front()->reader->Finish();
  bool again = false;
  // The service notices a watcher that left within its next look at the run.
  for (int i = 0; i < 100 && !again; ++i) {
    absl::SleepFor(absl::Milliseconds(100));
    auto next = open();
    again = next->reader->Read(&next->seen);
    next->context.TryCancel();
    next->reader->Finish();
  }
  CHECK(again);
  for (auto& watch : watches) watch->context.TryCancel();
}

TEST_CASE("service: a person cannot act as a node, nor one service as another") {
  Served served;
  served.hub.Submit(HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north"}), {"north"});
  v1::AcquireTaskRequest request;
  request.set_session("session-1");
  for (const char* peer : {"node/north/catalogue", "hub/catalogue", "hub/training"}) {
    served.peer = peer;
    CHECK_FALSE(served.client->Acquire(request).ok());
  }
  served.peer = "node/south/training";
  REQUIRE_VALUE(auto nothing, served.client->Acquire(request));
  CHECK_FALSE(nothing.has_task());
}

}  // namespace
}  // namespace oncomesh::training
