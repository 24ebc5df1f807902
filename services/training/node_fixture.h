// SPDX-License-Identifier: Apache-2.0
// For tests: a node's worker against the hub's own desks, without RPC.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "absl/functional/function_ref.h"
#include "absl/time/clock.h"
#include "libs/base/status_macros.h"
#include "services/training/hub_fixture.h"
#include "services/training/node_training_service.h"
#include "services/training/process_runner.h"
#include "services/training/task_worker.h"

namespace oncomesh::training {

// The hub's desk as one node reaches it; away when told.
class DeskClient final : public HubClient {
 public:
  DeskClient(HubFixture& hub, std::string node) : hub_(hub), node_(std::move(node)) {}
  int uploads_to_lose = 0;  // cut in the middle
  int answers_to_lose = 0;  // taken, the round closed, and the answer lost
  std::atomic<int> acquires{0};
  std::function<void()> on_renew;  // in the lease's thread

  absl::StatusOr<v1::AcquireTaskResponse> Acquire(const v1::AcquireTaskRequest& request) override {
    ++acquires;
    return hub_.tasks->Acquire(node_, request);
  }
  absl::Status Renew(const v1::RenewLeaseRequest& request) override {
    if (on_renew) on_renew();
    return hub_.tasks->Renew(node_, request).status();
  }
  absl::Status Download(const std::string& task, const v1::TaskInput& input,
                        const std::string& path) override {
    ASSIGN_OR_RETURN(std::string from, hub_.tasks->InputPath(node_, task, input.sha256()));
    ASSIGN_OR_RETURN(std::string bytes, base::ReadFile(from));
    return base::WriteFileAtomically(path, bytes);
  }
  absl::Status Upload(const v1::UploadHeader& header, const std::string& path) override {
    ASSIGN_OR_RETURN(std::string bytes, base::ReadFile(path));
    v1::GetUploadStateRequest ask;
    ask.set_task(header.task());
    ask.set_sha256(header.sha256());
    ASSIGN_OR_RETURN(auto state, hub_.tasks->UploadState(node_, ask));
    v1::UploadHeader rest = header;
    rest.set_offset(state.offset());
    ASSIGN_OR_RETURN(auto submission, hub_.tasks->Begin(node_, rest));
    if (uploads_to_lose > 0) {
      --uploads_to_lose;
      RETURN_IF_ERROR(submission->Append(
          absl::string_view(bytes).substr(static_cast<size_t>(state.offset()), 10)));
      return absl::UnavailableError("the line was cut");
    }
    RETURN_IF_ERROR(
        submission->Append(absl::string_view(bytes).substr(static_cast<size_t>(state.offset()))));
    return Answer(submission->Finish().status());
  }
  absl::Status SubmitMetrics(const v1::SubmitMetricsRequest& request) override {
    return Answer(hub_.tasks->SubmitMetrics(node_, request).status());
  }
  absl::Status ReportFailed(const v1::ReportTaskFailedRequest& request) override {
    return hub_.tasks->ReportFailed(node_, request);
  }

 private:
  absl::Status Answer(absl::Status status) {
    if (answers_to_lose == 0) return status;
    --answers_to_lose;
    REQUIRE_OK(status);
    REQUIRE_OK(hub_.closer->Advance());
    return absl::UnavailableError("the answer was lost");
  }
  HubFixture& hub_;
  const std::string node_;
};

// Stands where a trainer would run; `act` writes into the out folder.
class FakeRunner final : public Runner {
 public:
  std::function<TrainerEnd(const TrainerJob&)> act;
  absl::Status available;
  int runs = 0;
  absl::Status Check() override { return available; }
  absl::StatusOr<TrainerEnd> Run(const TrainerJob& job, absl::FunctionRef<bool()>) override {
    ++runs;
    return act(job);
  }
};

// A trainer that runs until it is told to stop, or for ten seconds.
class PatientRunner final : public Runner {
 public:
  std::function<void(absl::FunctionRef<bool()>)> begun;
  absl::Status Check() override { return absl::OkStatus(); }
  absl::StatusOr<TrainerEnd> Run(const TrainerJob&, absl::FunctionRef<bool()> go_on) override {
    begun(go_on);
    TrainerEnd end;
    end.reason = "TRAINER_TIMEOUT";
    for (int i = 0; i < 1000; ++i) {
      if (!go_on()) {
        end.reason = "STOPPED";
        break;
      }
      absl::SleepFor(absl::Milliseconds(10));
    }
    return end;
  }
};

struct NodeFixture {
  explicit NodeFixture(HubFixture& at, const std::string& name, Runner* other_runner = nullptr,
                       HubClient* other_hub = nullptr)
      : hub(at), client(at, name), shelf(folder / "trainers"), cases(folder / "cases") {
    REQUIRE_OK(base::MakeDirectories(folder / "trainers/t"));
    REQUIRE_OK(base::MakeDirectories(folder / "state"));
    REQUIRE_OK(
        base::WriteFileAtomically(folder / "trainers/t/trainer.json",
                                  R"({"name":"t","command":["/usr/bin/python3","train.py"]})"));
    REQUIRE_OK(base::WriteFileAtomically(folder / "trainers/t/train.py", ""));
    for (const char* patient : {"P1", "P2", "P3", "P4"}) {
      const std::string at_case = absl::StrCat(folder.path(), "/cases/sarcoma/1/", patient, "-a");
      REQUIRE_OK(base::MakeDirectories(at_case));
      REQUIRE_OK(base::WriteFileAtomically(at_case + "/case.json",
                                           absl::StrCat("{\"patient\":\"", patient, "\"}")));
    }
    auto opened = TaskHistory::Open(folder / "history");
    REQUIRE_OK(opened);
    history = *std::move(opened);
    fake.act = [](const TrainerJob& job) {
      REQUIRE_OK(base::WriteFileAtomically(job.out_folder + "/update.safetensors",
                                           HubFixture::Update({1, 2})));
      REQUIRE_OK(
          base::WriteFileAtomically(job.out_folder + "/metrics.json",
                                    R"({"examples":7,"metrics":{"loss":0.12345678,"secret":42}})"));
      TrainerEnd end;
      end.succeeded = true;
      return end;
    };
    policy.set_min_patients(2);
    policy.set_max_rounds(10);
    clock = &at.clock;
    runner = other_runner == nullptr ? &fake : other_runner;
    hub_client = other_hub == nullptr ? &client : other_hub;
    node = name;
    Start();
  }
  // As after kill −9: only the folder is left.
  void Start() {
    worker = std::make_unique<TaskWorker>(TaskWorker::Deps{
        .node = node,
        .session = absl::StrCat("session-", ++sessions),
        .state_dir = folder / "state",
        .version = "test",
        .hub = *hub_client,
        .trust = [this]() -> absl::StatusOr<permit::TrustState> {
          if (on_trust) on_trust();
          permit::TrustState out = hub.trust;
          out.fetched = hub.clock.Now() - trust_age;
          out.revoked.insert(revoked.begin(), revoked.end());
          return out;
        },
        .policy = [this]() -> absl::StatusOr<access::v1::NodePolicy> { return policy; },
        .record =
            [this](const v1::Task&, const std::string& outcome, const std::string& reason) {
              events.push_back(reason.empty() ? outcome : outcome + " " + reason);
              return log;
            },
        .trainers = shelf,
        .cases = *cases_at,
        .runner = *runner,
        .history = *history,
        .clock = *clock,
        .stop = stop,
        .wait = wait,
        .backoff = absl::Milliseconds(1),
        .cache_bytes = 700 << 10});
  }
  std::string Digest() {
    auto package = shelf.Load("t");
    REQUIRE_OK(package);
    return package->digest;
  }
  v1::Plan Plan(int rounds = 1) {
    v1::Plan plan = HubFixture::Plan(v1::STRATEGY_FEDAVG, rounds, {node});
    plan.mutable_trainer()->set_digest(Digest());
    return plan;
  }
  void Allow() { policy.add_trainer_digests(Digest()); }
  // Runs the one task there is and returns the reason with which it was dropped, if it was.
  std::string Work(const std::string& run) {
    absl::StatusOr<bool> worked = worker->RunOnce();
    REQUIRE_OK(worked);
    REQUIRE(*worked);
    REQUIRE_OK(hub.closer->Advance());
    return hub.Get(run).rounds(0).contributions(0).reason();
  }

  HubFixture& hub;
  testing::TemporaryFolder folder;
  DeskClient client;
  TrainerShelf shelf;
  FolderCaseProvider cases;
  CaseProvider* cases_at = &cases;
  FakeRunner fake;
  Runner* runner;
  HubClient* hub_client;
  std::function<void()> on_trust;
  base::Clock* clock;
  absl::Duration wait = absl::ZeroDuration();
  std::unique_ptr<TaskHistory> history;
  access::v1::NodePolicy policy;
  absl::Duration trust_age = absl::ZeroDuration();
  std::set<std::string> revoked;
  std::vector<std::string> events;
  absl::Status log;
  ChangeSignal stop;
  std::unique_ptr<TaskWorker> worker;
  std::string node;
  int sessions = 0;
};

}  // namespace oncomesh::training
