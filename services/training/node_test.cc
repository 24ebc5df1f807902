// SPDX-License-Identifier: Apache-2.0
// A node's worker against the hub's own desks, without RPC: real files, real trainers in real
// sandboxes where the machine can make them.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "libs/base/status_macros.h"
#include "services/training/node_fixture.h"
#include "services/training/node_training_service.h"
#include "services/training/process_runner.h"

namespace oncomesh::training {
namespace {

using absl::StatusCode;

TEST_CASE(
    "node: an allowed task is done, only the plan's metrics leave, and nothing stays behind") {
  HubFixture hub;
  NodeFixture node(hub, "north");
  node.Allow();
  v1::Run run = hub.Submit(node.Plan(), {"north"});
  CHECK(node.Work(run.name()).empty());
  run = hub.Get(run.name());
  CHECK(run.state() == v1::Run::STATE_SUCCEEDED);
  const v1::Contribution& contribution = run.rounds(0).contributions(0);
  CHECK(contribution.examples() == 7);
  CHECK(contribution.cases() == 4);
  REQUIRE(contribution.metrics().size() == 1);
  CHECK(contribution.metrics().at("loss") == 0.123457);  // six digits
  CHECK(hub.Model(run.model_sha256()) == std::vector<double>{1, 2});
  CHECK(node.events == std::vector<std::string>{"STARTED", "DONE"});
  REQUIRE(node.history->List().size() == 1);
  CHECK(node.history->List()[0].state() == v1::NodeTask::STATE_DONE);
  CHECK(node.history->List()[0].update_bytes() > 0);
  CHECK(std::filesystem::is_empty(node.folder / "state/tasks"));
  REQUIRE_VALUE(bool more, node.worker->RunOnce());
  CHECK_FALSE(more);
}

TEST_CASE("node: it refuses on its own what the hub would let through, and says why") {
  struct Case {
    const char* reason;
    std::function<void(NodeFixture&, v1::Plan&)> spoil;
  };
  for (const Case& c : std::vector<Case>{
           {"POLICY_TRAINER", [](NodeFixture& n, v1::Plan&) { n.policy.clear_trainer_digests(); }},
           {"POLICY_PURPOSE",
            [](NodeFixture& n, v1::Plan&) { n.policy.add_purposes("DUO:0000042"); }},
           {"POLICY_MAX_ROUNDS", [](NodeFixture& n, v1::Plan&) { n.policy.set_max_rounds(1); }},
           {"POLICY_MIN_PATIENTS", [](NodeFixture& n, v1::Plan&) { n.policy.set_min_patients(5); }},
           {"TRAINER_DIGEST",
            [](NodeFixture& n, v1::Plan& p) {
              p.mutable_trainer()->set_digest(kTrainerDigest);
              n.policy.add_trainer_digests(kTrainerDigest);
            }},
           {"TRAINER_NOT_INSTALLED",
            [](NodeFixture&, v1::Plan& p) { p.mutable_trainer()->set_name("absent"); }},
           {"PERMIT_REVOKED",
            [](NodeFixture& n, v1::Plan&) {
              for (int i = 1; i < 9; ++i) n.revoked.insert(absl::StrCat("permit-", i));
            }},
           {"EPOCH_TOO_OLD", [](NodeFixture& n, v1::Plan&) { n.trust_age = absl::Hours(2); }},
           {"DATASET_NOT_FOUND",
            [](NodeFixture& n, v1::Plan&) {
              std::filesystem::remove_all(n.folder / "cases/sarcoma");
            }},
           {"ACCESS_UNAVAILABLE",
            [](NodeFixture& n, v1::Plan&) {
              n.log = base::Error(StatusCode::kUnavailable, "ACCESS_UNAVAILABLE", "no log");
            }},
           {"RUNNER_UNAVAILABLE", [](NodeFixture& n, v1::Plan&) {
              n.fake.available =
                  base::Error(StatusCode::kFailedPrecondition, "RUNNER_UNAVAILABLE", "no bwrap");
            }}}) {
    CAPTURE(c.reason);
    HubFixture hub;
    NodeFixture node(hub, "north");
    node.Allow();
    v1::Plan plan = node.Plan(2);
    c.spoil(node, plan);
    v1::Run run = hub.Submit(plan, {"north"});
    CHECK(node.Work(run.name()) == c.reason);
    CHECK(node.fake.runs == 0);
  }
}

TEST_CASE("node: what a trainer writes that it should not never leaves") {
  struct Case {
    const char* reason;
    std::function<void(const std::string& out)> write;
  };
  const auto metrics = [](const std::string& out) {
    REQUIRE_OK(base::WriteFileAtomically(out + "/metrics.json", R"({"examples":7})"));
  };
  for (const Case& c : std::vector<Case>{
           {"TRAINER_OUTPUT_INVALID", [](const std::string&) {}},
           {"TRAINER_OUTPUT_INVALID", metrics},
           {"TRAINER_OUTPUT_INVALID",
            [&](const std::string& out) {
              metrics(out);
              REQUIRE(symlink("/etc/passwd", (out + "/update.safetensors").c_str()) == 0);
            }},
           {"TRAINER_OUTPUT_INVALID",
            [&](const std::string& out) {
              REQUIRE(symlink("/etc/passwd", (out + "/metrics.json").c_str()) == 0);
            }},
           {"UPDATE_SHAPE",
            [&](const std::string& out) {
              metrics(out);
              REQUIRE_OK(base::WriteFileAtomically(out + "/update.safetensors",
                                                   HubFixture::Update({1, 2, 3})));
            }},
           {"UPDATE_NOT_FINITE",
            [&](const std::string& out) {
              metrics(out);
              REQUIRE_OK(base::WriteFileAtomically(out + "/update.safetensors",
                                                   HubFixture::Update({1, std::nan("")})));
            }},
           {"TENSOR_FILE_INVALID", [&](const std::string& out) {
              metrics(out);
              REQUIRE_OK(base::WriteFileAtomically(out + "/update.safetensors", "patient list"));
            }}}) {
    CAPTURE(c.reason);
    HubFixture hub;
    NodeFixture node(hub, "north");
    node.Allow();
    node.fake.act = [&](const TrainerJob& job) {
      c.write(job.out_folder);
      TrainerEnd end;
      end.succeeded = true;
      return end;
    };
    v1::Run run = hub.Submit(node.Plan(), {"north"});
    CHECK(node.Work(run.name()) == c.reason);
    CHECK(hub.spool->Tasks().empty());
  }
}

TEST_CASE("node: what would end the same each time is tried once in a run, the rest again") {
  struct Case {
    const char* reason;
    int runs;  // of the trainer, over two rounds
    v1::NodeTask::State state;
  };
  for (const Case& c : std::vector<Case>{{"HYPERPARAMETER_INVALID", 1, v1::NodeTask::STATE_FAILED},
                                         {"MODALITY_MISSING", 1, v1::NodeTask::STATE_FAILED},
                                         {"MODEL_SHAPE", 1, v1::NodeTask::STATE_FAILED},
                                         {"NO_CASES", 1, v1::NodeTask::STATE_FAILED},
                                         {"TRAINER_OUTPUT_INVALID", 1, v1::NodeTask::STATE_FAILED},
                                         {"TRAINER_DISK", 2, v1::NodeTask::STATE_FAILED},
                                         {"UPDATE_NOT_FINITE", 2, v1::NodeTask::STATE_FAILED},
                                         {"TRAINER_FAILED", 10, v1::NodeTask::STATE_FAILED}}) {
    CAPTURE(c.reason);
    HubFixture hub;
    NodeFixture node(hub, "north"), other(hub, "south");
    node.Allow();
    node.fake.act = [&](const TrainerJob&) {
      TrainerEnd end;
      end.reason = c.reason;
      return end;
    };
    v1::Plan plan = HubFixture::Plan(v1::STRATEGY_FEDAVG, 2, {"north", "south"});
    plan.mutable_trainer()->set_digest(node.Digest());
    plan.set_min_contributors(1);
    v1::Run run = hub.Submit(plan, {"north", "south"});
    for (int round = 1; round <= 2; ++round) {
      for (int attempt = 1; attempt <= 6; ++attempt) {
        REQUIRE_OK(node.worker->RunOnce());
        hub.clock.Advance(absl::Seconds(30));
      }
      v1::Task task = hub.Acquire("south");
      REQUIRE(task.round() == round);
      const std::string update = HubFixture::Update({1, 2});
      REQUIRE_OK(hub.HandIn("south", HubFixture::HeaderOf(task, update, 1), update));
      REQUIRE_OK(hub.closer->Advance());
    }
    run = hub.Get(run.name());
    REQUIRE(run.state() == v1::Run::STATE_SUCCEEDED);
    CHECK(run.rounds(0).contributions(0).reason() == c.reason);
    CHECK(run.rounds(1).contributions(0).reason() == c.reason);
    CHECK(node.fake.runs == c.runs);
    CHECK(node.history->List()[0].state() == c.state);
  }
}

TEST_CASE("node: a disk that fails is no refusal, and the task is tried again") {
  HubFixture hub;
  NodeFixture node(hub, "north");
  node.Allow();
  v1::Run run = hub.Submit(node.Plan(), {"north"});
  class Refused final : public CaseProvider {
   public:
    absl::StatusOr<std::vector<PreparedCase>> Prepare(const std::vector<std::string>&,
                                                      const v1::CaseInputs&,
                                                      absl::FunctionRef<bool()>) override {
      return base::ErrnoStatus(EACCES, "read a folder");
    }
  } refused;
  node.cases_at = &refused;
  node.Start();
  REQUIRE_OK(node.worker->RunOnce());
  CHECK(node.events == std::vector<std::string>{"STARTED", "FAILED FILE_NOT_ALLOWED"});
  CHECK(node.history->List()[0].state() == v1::NodeTask::STATE_FAILED);
  CHECK(hub.Get(run.name()).rounds(0).contributions(0).state() == v1::Contribution::STATE_PENDING);
  node.cases_at = &node.cases;
  node.Start();
  hub.clock.Advance(absl::Seconds(30));
  CHECK(node.Work(run.name()) == "FILE_NOT_ALLOWED");  // of the attempt before; this one is taken
  CHECK(hub.Get(run.name()).state() == v1::Run::STATE_SUCCEEDED);
}

TEST_CASE("node: what runs is the copy that was hashed, whatever is installed meanwhile") {
  HubFixture hub;
  NodeFixture node(hub, "north");
  node.Allow();
  v1::Run run = hub.Submit(node.Plan(), {"north"});
  const auto good = node.fake.act;
  node.fake.act = [&](const TrainerJob& job) {
    REQUIRE_OK(base::WriteFileAtomically(node.folder / "trainers/t/train.py", "another program"));
    REQUIRE_VALUE(std::string program, base::ReadFile(job.trainer_folder + "/train.py"));
    CHECK(program.empty());
    REQUIRE_VALUE(std::string digest, FolderDigest(job.trainer_folder));
    CHECK(digest == run.plan().trainer().digest());
    return good(job);
  };
  CHECK(node.Work(run.name()).empty());
  CHECK(hub.Get(run.name()).state() == v1::Run::STATE_SUCCEEDED);
}

TEST_CASE(
    "node: what an earlier start left unfinished and the hub has not for it ends in the log") {
  HubFixture hub;
  NodeFixture node(hub, "north");
  for (auto state : {v1::NodeTask::STATE_UPLOADING, v1::NodeTask::STATE_DONE}) {
    v1::NodeTask entry;
    entry.set_name(absl::StrCat("task-", int{state}));
    entry.set_state(state);
    REQUIRE_OK(node.history->Put(entry));
  }
  REQUIRE_VALUE(bool worked, node.worker->RunOnce());
  CHECK_FALSE(worked);
  REQUIRE(node.history->List().size() == 2);
  CHECK(node.history->List()[0].state() == v1::NodeTask::STATE_DONE);
  CHECK(node.history->List()[1].state() == v1::NodeTask::STATE_FAILED);
  CHECK(node.history->List()[1].reason() == "INTERRUPTED");
  CHECK(node.history->List()[1].has_end_time());
  CHECK(node.events == std::vector<std::string>{"FAILED INTERRUPTED"});
  REQUIRE_OK(node.worker->RunOnce());
  CHECK(node.events.size() == 1);
}

TEST_CASE("node: a task that another session took away is not shown as going on") {
  HubFixture hub;
  NodeFixture node(hub, "north");
  node.Allow();
  hub.Submit(node.Plan(), {"north"});
  const auto good = node.fake.act;
  node.fake.act = [&](const TrainerJob& job) {
    hub.Acquire("north", "session-other");
    return good(job);
  };
  REQUIRE_OK(node.worker->RunOnce());
  CHECK(node.history->List()[0].state() == v1::NodeTask::STATE_WITHDRAWN);
  CHECK(node.history->List()[0].reason() == "LEASE_LOST");
}

TEST_CASE("node: what was not used for a week goes, also while the service runs") {
  HubFixture hub;
  NodeFixture node(hub, "north");
  for (const char* kind : {"cache", "cases", "tasks"}) {
    for (const char* age : {"old", "new"}) {
      const std::string path = absl::StrCat(node.folder.path(), "/state/", kind, "/", age);
      REQUIRE_OK(base::MakeDirectories(path + "/below"));
      const timespec time = absl::ToTimespec(
          hub.clock.Now() - (age == std::string("old") ? absl::Hours(24 * 8) : absl::Hours(1)));
      const timespec times[2] = {time, time};
      REQUIRE(utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
    }
  }
  node.worker->RemoveOldLeftovers();
  for (const char* kind : {"cache", "cases", "tasks"}) {
    const std::string path = absl::StrCat(node.folder.path(), "/state/", kind);
    CHECK_FALSE(std::filesystem::exists(path + "/old"));
    CHECK(std::filesystem::exists(path + "/new"));
  }
}

TEST_CASE("node: the caches of other runs keep to their limit, the newest longest") {
  HubFixture hub;
  NodeFixture node(hub, "north");
  node.Allow();
  for (int age = 1; age <= 3; ++age) {
    const std::string path = absl::StrCat(node.folder.path(), "/state/cache/run-", age);
    REQUIRE_OK(base::MakeDirectories(path));
    REQUIRE_OK(base::WriteFileAtomically(path + "/kept", std::string(300 << 10, 'x')));
    const timespec time = absl::ToTimespec(hub.clock.Now() - absl::Hours(age));
    const timespec times[2] = {time, time};
    REQUIRE(utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
  }
  v1::Run run = hub.Submit(node.Plan(), {"north"});
  CHECK(node.Work(run.name()).empty());
  CHECK(std::filesystem::exists(node.folder / "state/cache/run-1"));
  CHECK(std::filesystem::exists(node.folder / "state/cache/run-2"));
  CHECK_FALSE(std::filesystem::exists(node.folder / "state/cache/run-3"));
}

TEST_CASE("node: an input larger than the plan can make it is not fetched") {
  class Announcing final : public HubClient {
   public:
    explicit Announcing(DeskClient& desk) : desk_(desk) {}
    absl::StatusOr<v1::AcquireTaskResponse> Acquire(
        const v1::AcquireTaskRequest& request) override {
      ASSIGN_OR_RETURN(v1::AcquireTaskResponse response, desk_.Acquire(request));
      response.mutable_task()->mutable_model()->set_bytes(int64_t{9} << 20);
      return response;
    }
    absl::Status Renew(const v1::RenewLeaseRequest& request) override {
      return desk_.Renew(request);
    }
    absl::Status Download(const std::string&, const v1::TaskInput&, const std::string&) override {
      ++downloads;
      return absl::UnavailableError("");
    }
    absl::Status Upload(const v1::UploadHeader&, const std::string&) override {
      return absl::UnavailableError("");
    }
    absl::Status SubmitMetrics(const v1::SubmitMetricsRequest&) override {
      return absl::UnavailableError("");
    }
    absl::Status ReportFailed(const v1::ReportTaskFailedRequest& request) override {
      return desk_.ReportFailed(request);
    }
    int downloads = 0;

   private:
    DeskClient& desk_;
  };
  HubFixture hub;
  DeskClient desk(hub, "north");
  Announcing announcing(desk);
  NodeFixture node(hub, "north", nullptr, &announcing);
  node.Allow();
  v1::Run run = hub.Submit(node.Plan(), {"north"});
  CHECK(node.Work(run.name()) == "INPUT_TOO_LARGE");
  CHECK(announcing.downloads == 0);
}

TEST_CASE("node: an upload that is cut goes on; one that was finished is not trained again") {
  HubFixture hub;
  NodeFixture node(hub, "north");
  node.Allow();
  v1::Run run = hub.Submit(node.Plan(), {"north"});
  node.client.uploads_to_lose = 3;
  CHECK(node.Work(run.name()).empty());
  CHECK(node.client.uploads_to_lose == 0);
  CHECK(node.fake.runs == 1);
  CHECK(hub.Get(run.name()).state() == v1::Run::STATE_SUCCEEDED);

  // Killed after the result was kept and before the hub had it.
  run = hub.Submit(node.Plan(), {"north"});
  node.client.uploads_to_lose = 1;
  node.fake.act = [&, good = node.fake.act](const TrainerJob& job) {
    node.stop.Stop();
    return good(job);
  };
  REQUIRE_OK(node.worker->RunOnce());
  CHECK(node.fake.runs == 2);
  ChangeSignal fresh;
  NodeFixture* same = &node;
  TaskWorker again(TaskWorker::Deps{
      .node = "north",
      .session = "session-after",
      .state_dir = same->folder / "state",
      .version = "test",
      .hub = same->client,
      .trust = [&]() -> absl::StatusOr<permit::TrustState> {
        permit::TrustState out = hub.trust;
        out.fetched = hub.clock.Now();
        return out;
      },
      .policy = [&]() -> absl::StatusOr<access::v1::NodePolicy> { return same->policy; },
      .record = [](const v1::Task&, const std::string&,
                   const std::string&) { return absl::OkStatus(); },
      .trainers = same->shelf,
      .cases = same->cases,
      .runner = same->fake,
      .history = *same->history,
      .clock = hub.clock,
      .stop = fresh,
      .wait = absl::ZeroDuration(),
      .backoff = absl::Milliseconds(1)});
  REQUIRE_VALUE(bool worked, again.RunOnce());
  CHECK(worked);
  CHECK(node.fake.runs == 2);
  REQUIRE_OK(hub.closer->Advance());
  CHECK(hub.Get(run.name()).state() == v1::Run::STATE_SUCCEEDED);
}

TEST_CASE("node: held-out patients are never trained on, and only they are evaluated") {
  HubFixture hub;
  NodeFixture node(hub, "north");
  node.Allow();
  v1::Plan plan = node.Plan();
  plan.mutable_evaluate()->set_held_out(0.5);
  std::map<std::string, std::set<std::string>> seen;
  auto good = node.fake.act;
  node.fake.act = [&](const TrainerJob& job) {
    auto task = nlohmann::json::parse(*base::ReadFile(job.task_file));
    for (const auto& code : task["cases"]) seen[task["kind"]].insert(code.get<std::string>());
    CHECK(task["paths"].contains("model"));
    CHECK_FALSE(task["paths"].contains("statistics"));
    return good(job);
  };
  v1::Run run = hub.Submit(plan, {"north"});
  node.Work(run.name());
  node.Work(run.name());
  CHECK(hub.Get(run.name()).state() == v1::Run::STATE_SUCCEEDED);
  CHECK(seen["train"].size() == 2);
  REQUIRE(seen["evaluate"].size() == 2);
  for (const std::string& code : seen["evaluate"]) CHECK(seen["train"].count(code) == 0);
}

TEST_CASE("node: the fewest patients are counted after the split, in training and in evaluation") {
  // Of four patients, 0.75 leaves one to train on, 0.25 one to evaluate: either would show one
  // person's numbers.
  for (double held_out : {0.75, 0.25}) {
    CAPTURE(held_out);
    HubFixture hub;
    NodeFixture node(hub, "north");
    node.Allow();
    v1::Plan plan = node.Plan();
    plan.mutable_evaluate()->set_held_out(held_out);
    v1::Run run = hub.Submit(plan, {"north"});
    std::string reason = node.Work(run.name());
    if (held_out < 0.5) {
      CHECK(reason.empty());
      node.Work(run.name());
      reason = hub.Get(run.name()).rounds(1).contributions(0).reason();
    }
    CHECK(reason == "POLICY_MIN_PATIENTS");
    CHECK(node.fake.runs == (held_out < 0.5 ? 1 : 0));
  }
}

TEST_CASE("node: a hub that names an input by a path gets nothing") {
  class Lying final : public HubClient {
   public:
    absl::StatusOr<v1::AcquireTaskResponse> Acquire(const v1::AcquireTaskRequest&) override {
      v1::AcquireTaskResponse response;
      response.mutable_task()->set_name("task-1");
      response.mutable_task()->set_run("run-1");
      response.mutable_task()->mutable_model()->set_sha256("../../history");
      return response;
    }
    absl::Status Renew(const v1::RenewLeaseRequest&) override { return absl::OkStatus(); }
    absl::Status Download(const std::string&, const v1::TaskInput&, const std::string&) override {
      ++calls;
      return absl::OkStatus();
    }
    absl::Status Upload(const v1::UploadHeader&, const std::string&) override {
      ++calls;
      return absl::OkStatus();
    }
    absl::Status SubmitMetrics(const v1::SubmitMetricsRequest&) override {
      ++calls;
      return absl::OkStatus();
    }
    absl::Status ReportFailed(const v1::ReportTaskFailedRequest&) override {
      return absl::OkStatus();
    }
    int calls = 0;
  };
  HubFixture hub;
  Lying lying;
  NodeFixture node(hub, "north", nullptr, &lying);
  REQUIRE_REASON(node.worker->RunOnce(), StatusCode::kInvalidArgument, "TASK_INVALID");
  CHECK(lying.calls == 0);
  CHECK(node.fake.runs == 0);
}

TEST_CASE("node: trainers and past tasks are listed in pages") {
  HubFixture hub;
  NodeFixture node(hub, "north");
  node.Allow();
  for (const char* name : {"a", "z"}) {
    REQUIRE_OK(base::MakeDirectories(absl::StrCat(node.folder.path(), "/trainers/", name)));
  }
  const auto policy = [&]() -> absl::StatusOr<access::v1::NodePolicy> { return node.policy; };
  v1::ListTrainersRequest request;
  request.set_page_size(2);
  v1::ListTrainersResponse trainers;
  REQUIRE_OK(ListTrainers(node.shelf, policy, request, trainers));
  REQUIRE(trainers.trainers_size() == 2);
  CHECK(trainers.trainers(0).name() == "a");
  CHECK(trainers.trainers(0).reason() == "TRAINER_DAMAGED");
  CHECK(trainers.trainers(1).name() == "t");
  CHECK(trainers.trainers(1).allowed());
  request.set_page_token(trainers.next_page_token());
  trainers.Clear();
  REQUIRE_OK(ListTrainers(node.shelf, policy, request, trainers));
  REQUIRE(trainers.trainers_size() == 1);
  CHECK(trainers.trainers(0).name() == "z");
  CHECK(trainers.next_page_token().empty());

  for (int i = 1; i <= 5; ++i) {
    v1::NodeTask entry;
    entry.set_name(absl::StrCat("task-", i));
    REQUIRE_OK(node.history->Put(entry));
  }
  std::vector<std::string> seen;
  v1::ListTasksRequest list;
  list.set_page_size(2);
  do {
    v1::ListTasksResponse page;
    REQUIRE_OK(ListTasks(*node.history, list, page));
    REQUIRE(page.tasks_size() <= 2);
    for (const auto& task : page.tasks()) seen.push_back(task.name());
    list.set_page_token(page.next_page_token());
  } while (!list.page_token().empty());
  CHECK(seen == std::vector<std::string>{"task-5", "task-4", "task-3", "task-2", "task-1"});
  list.set_page_token("task-0");
  v1::ListTasksResponse none;
  REQUIRE_REASON(ListTasks(*node.history, list, none), StatusCode::kInvalidArgument,
                 "PAGE_TOKEN_INVALID");
}

TEST_CASE("node: a whole run with a real trainer in a sandbox ends with the right sums") {
  HubFixture hub;
  ProcessRunner runner(ProcessRunner::Options{.readable = {}, .path = {}});
  if (!runner.Check().ok()) {
    WARN("no sandbox on this machine");
    return;
  }
  NodeFixture node(hub, "north", &runner);
  // The format is simple enough for a trainer without libraries.
  REQUIRE_OK(base::WriteFileAtomically(node.folder / "trainers/t/train.py", R"(
import json, os, struct
task = json.load(open(os.environ['ONCOMESH_TASK']))
blob = open(task['paths']['model'], 'rb').read()
size = struct.unpack('<Q', blob[:8])[0]
w = struct.unpack('<2d', blob[8 + size:])
cases = sorted(os.listdir(task['paths']['data']))
assert cases == sorted(task['cases']), cases
g = [w[0] - 3, w[1] + 1]
head = json.dumps({'w': {'dtype': 'F64', 'shape': [2], 'data_offsets': [0, 16]}}).encode()
open(task['paths']['update'], 'wb').write(
    struct.pack('<Q', len(head)) + head + struct.pack('<2d', *[x * len(cases) for x in g]))
json.dump({'examples': len(cases), 'metrics': {'loss': 0.5}}, open(task['paths']['metrics'], 'w'))
)"));
  node.Allow();
  v1::Plan plan = node.Plan(2);
  plan.set_strategy(v1::STRATEGY_GRADIENT);
  plan.mutable_step()->set_learning_rate(0.5);
  v1::Run run = hub.Submit(plan, {"north"});
  CHECK(node.Work(run.name()).empty());
  CHECK(node.Work(run.name()).empty());
  run = hub.Get(run.name());
  REQUIRE(run.state() == v1::Run::STATE_SUCCEEDED);
  CHECK(hub.Model(run.model_sha256()) == std::vector<double>{2.25, -0.75});
  CHECK(node.history->List()[0].peak_memory_bytes() > 0);
}

}  // namespace
}  // namespace oncomesh::training
