// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "services/training/hub_fixture.h"
#include "services/training/manifest.h"

namespace oncomesh::training {
namespace {

using absl::StatusCode;

TEST_CASE("run: two nodes, two averaged rounds, a signed chain, a model with its lineage") {
  HubFixture hub;
  v1::Run run =
      hub.Submit(HubFixture::Plan(v1::STRATEGY_FEDAVG, 2, {"north", "south"}), {"north", "south"});
  for (int round = 1; round <= 2; ++round) {
    v1::Task north = hub.Acquire("north"), south = hub.Acquire("south");
    REQUIRE(north.round() == round);
    CHECK(north.datasets().size() == 1);
    CHECK(north.datasets(0) == HubFixture::Dataset("north"));
    std::string a = HubFixture::Update({1.0 * round, 2}), b = HubFixture::Update({4.0 * round, -1});
    REQUIRE_VALUE(bool again, hub.HandIn("north", HubFixture::HeaderOf(north, a, 1), a));
    CHECK_FALSE(again);
    REQUIRE_OK(hub.closer->Advance());
    CHECK(hub.Get(run.name()).rounds(round - 1).state() == v1::Round::STATE_OPEN);
    REQUIRE_OK(hub.HandIn("south", HubFixture::HeaderOf(south, b, 2), b));
    REQUIRE_OK(hub.closer->Advance());
  }
  run = hub.Get(run.name());
  CHECK(run.state() == v1::Run::STATE_SUCCEEDED);
  CHECK(run.has_end_time());
  REQUIRE(run.rounds_size() == 2);
  CHECK(hub.Model(run.rounds(0).model_sha256()) == std::vector<double>{3, 0});
  CHECK(hub.Model(run.model_sha256()) == std::vector<double>{6, 0});
  CHECK(run.rounds(1).input_sha256() == run.rounds(0).model_sha256());
  CHECK(run.rounds(1).metrics().at("loss") == Approx((0.5 + 2 * 0.25) / 3));

  std::string previous;
  for (int round = 1; round <= 2; ++round) {
    v1::GetRoundManifestResponse manifest;
    REQUIRE_OK(hub.runs->Manifest(hub.Ana(""), run.name(), round, manifest));
    CHECK(manifest.sha256() == run.rounds(round - 1).manifest_sha256());
    REQUIRE_VALUE(std::string payload, VerifyManifest(manifest.jws(), hub.keys));
    auto json = nlohmann::json::parse(payload);
    CHECK(json["previousManifestSha256"] == previous);
    CHECK(json["contributors"].size() == 2);
    CHECK(json["contributors"][1]["examples"] == 2);
    CHECK(json["output"]["sha256"] == run.rounds(round - 1).model_sha256());
    CHECK(json["permit"]["id"] == hub.last_permit);
    CHECK(json["trainer"]["digest"] == kTrainerDigest);
    previous = manifest.sha256();
    // One changed byte is found.
    std::string forged = manifest.jws();
    forged[forged.size() / 2] = forged[forged.size() / 2] == 'A' ? 'B' : 'A';
    CHECK_FALSE(VerifyManifest(forged, hub.keys).ok());
  }
  CHECK(run.manifest_sha256() == previous);

  v1::ListModelsResponse models;
  v1::ListModelsRequest all;
  REQUIRE_OK(hub.runs->ListModels(hub.Ana(""), all, models));
  REQUIRE(models.models_size() == 2);
  CHECK(models.models(0).final());
  CHECK_FALSE(models.models(1).final());
  CHECK(models.models(0).parent_sha256() == models.models(1).sha256());
  CHECK(models.models(0).contributors_size() == 2);
  rpc::Caller bob = hub.Ana("");
  bob.subject = "bob";
  int next = 0;
  REQUIRE_REASON(hub.runs->Get(bob, run.name(), 0, next), StatusCode::kNotFound, "RUN_NOT_FOUND");
  REQUIRE_REASON(hub.runs->ModelPath(bob, run.model_sha256()), StatusCode::kNotFound,
                 "MODEL_NOT_FOUND");
  REQUIRE_OK(hub.runs->ModelPath(hub.Ana(""), run.model_sha256()));
  CHECK(hub.spool->Tasks().empty());
}

TEST_CASE("run: statistics come first, evaluation last, each with its own record") {
  HubFixture hub;
  v1::Plan plan = HubFixture::Plan(v1::STRATEGY_GRADIENT, 1, {"north", "south"});
  (*plan.mutable_statistics()->mutable_tensors())["sum"].add_shape(1);
  plan.mutable_evaluate()->set_held_out(0.25);
  plan.add_metrics("dice");
  v1::Run run = hub.Submit(plan, {"north", "south"});
  int part = 0;
  for (const std::string node : {"north", "south"}) {
    v1::Task task = hub.Acquire(node);
    REQUIRE(task.kind() == v1::Round::KIND_STATISTICS);
    CHECK_FALSE(task.has_model());
    REQUIRE_VALUE(std::string sums, federated::WriteTensors(
                                        {{{"sum", federated::Dtype::kF64, {1}}, {0.1 * ++part}}}));
    REQUIRE_OK(hub.HandIn(node, HubFixture::HeaderOf(task, sums, 10), sums));
  }
  REQUIRE_OK(hub.closer->Advance());
  run = hub.Get(run.name());
  CHECK(hub.Model(run.statistics_sha256(), "sum")[0] == Approx(0.3).margin(1e-15));
  for (const std::string node : {"north", "south"}) {
    v1::Task task = hub.Acquire(node);
    REQUIRE(task.kind() == v1::Round::KIND_TRAIN);
    CHECK(task.statistics().sha256() == run.statistics_sha256());
    CHECK(task.statistics().bytes() > 0);
    REQUIRE_OK(hub.tasks->InputPath(node, task.name(), task.statistics().sha256()));
    REQUIRE_OK(hub.tasks->InputPath(node, task.name(), task.model().sha256()));
    REQUIRE_REASON(hub.tasks->InputPath(node, task.name(), std::string(64, '0')),
                   StatusCode::kNotFound, "INPUT_NOT_FOUND");
    std::string update = HubFixture::Update({4, -8});
    REQUIRE_OK(hub.HandIn(node, HubFixture::HeaderOf(task, update, 4), update));
  }
  REQUIRE_OK(hub.closer->Advance());
  for (const std::string node : {"north", "south"}) {
    v1::Task task = hub.Acquire(node);
    REQUIRE(task.kind() == v1::Round::KIND_EVALUATE);
    v1::SubmitMetricsRequest request;
    request.set_task(task.name());
    request.set_lease_token(task.lease_token());
    request.set_examples(2);
    request.set_cases(2);
    (*request.mutable_metrics())["volume_ml"] = 17;
    REQUIRE_REASON(hub.tasks->SubmitMetrics(node, request), StatusCode::kInvalidArgument,
                   "METRIC_NOT_ALLOWED");
    request.clear_metrics();
    (*request.mutable_metrics())["dice"] = node == std::string("north") ? 0.6 : 0.8;
    REQUIRE_OK(hub.tasks->SubmitMetrics(node, request));
    REQUIRE_VALUE(bool again, hub.tasks->SubmitMetrics(node, request));
    CHECK(again);
  }
  REQUIRE_OK(hub.closer->Advance());
  run = hub.Get(run.name());
  CHECK(run.state() == v1::Run::STATE_SUCCEEDED);
  REQUIRE(run.rounds_size() == 3);
  CHECK(run.rounds(0).number() == 0);
  CHECK(hub.Model(run.model_sha256()) == std::vector<double>{-1, 2});
  CHECK(run.rounds(2).metrics().at("dice") == Approx(0.7));
  CHECK(run.rounds(2).contributions(1).metrics().at("dice") == 0.8);
  CHECK_FALSE(run.rounds(2).manifest_sha256().empty());
}

TEST_CASE("run: killed between any two steps it ends with the identical model") {
  auto play = [](int restart_every) {
    HubFixture hub;
    v1::Run run = hub.Submit(HubFixture::Plan(v1::STRATEGY_FEDAVG, 3, {"aa", "bb", "cc"}),
                             {"aa", "bb", "cc"});
    int step = 0;
    auto maybe_restart = [&] {
      if (restart_every > 0 && ++step % restart_every == 0) hub.Restart();
    };
    for (int round = 1; round <= 3; ++round) {
      int which = 0;
      for (const std::string node : {"cc", "aa", "bb"}) {
        maybe_restart();
        v1::Task task = hub.Acquire(node, absl::StrCat("session-", step));
        REQUIRE(task.round() == round);
        maybe_restart();
        std::string update =
            HubFixture::Update({std::sin(round + which), std::exp(0.1 * which) / 3});
        v1::UploadHeader header = HubFixture::HeaderOf(task, update, 7 + which++);
        {
          // Half of it, and then the hub dies.
          REQUIRE_VALUE(auto half, hub.tasks->Begin(node, header));
          REQUIRE_OK(half->Append(absl::string_view(update).substr(0, update.size() / 2)));
        }
        maybe_restart();
        v1::GetUploadStateRequest ask;
        ask.set_task(task.name());
        ask.set_sha256(header.sha256());
        REQUIRE_VALUE(auto state, hub.tasks->UploadState(node, ask));
        CHECK(state.offset() == static_cast<int64_t>(update.size() / 2));
        CHECK(state.prefix_sha256() ==
              crypto::Sha256Hex(absl::string_view(update).substr(0, update.size() / 2)));
        header.set_offset(state.offset());
        REQUIRE_OK(hub.HandIn(node, header, update));
        maybe_restart();
        REQUIRE_OK(hub.closer->Advance());
      }
    }
    run = hub.Get(run.name());
    REQUIRE(run.state() == v1::Run::STATE_SUCCEEDED);
    return run.model_sha256();
  };
  const std::string undisturbed = play(0);
  for (int every = 1; every <= 5; ++every) CHECK(play(every) == undisturbed);
}

TEST_CASE("run: killed after the set was fixed and before the model was there, it goes on") {
  HubFixture hub;
  v1::Run run = hub.Submit(HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north"}), {"north"});
  v1::Task task = hub.Acquire("north");
  std::string update = HubFixture::Update({5, 6});
  REQUIRE_OK(hub.HandIn("north", HubFixture::HeaderOf(task, update, 1), update));
  REQUIRE_OK(hub.store->ChangeRun(run.name(), [&](RunRecord& record, Additions&) {
    Freeze(record, hub.clock.Now());
    return absl::OkStatus();
  }));
  // The scratch file of the aggregation that was going on is left behind.
  REQUIRE_OK(base::MakeDirectories(hub.folder / "scratch"));
  REQUIRE_OK(base::WriteFileAtomically(hub.folder / "scratch/model-old", "half"));
  hub.Restart();
  CHECK_FALSE(std::filesystem::exists(hub.folder / "scratch/model-old"));
  REQUIRE_OK(hub.closer->Advance());
  run = hub.Get(run.name());
  CHECK(run.state() == v1::Run::STATE_SUCCEEDED);
  CHECK(hub.Model(run.model_sha256()) == std::vector<double>{5, 6});
}

TEST_CASE("run: it ends and says so when an accepted update is lost or has other bytes") {
  for (const bool gone : {true, false}) {
    CAPTURE(gone);
    HubFixture hub;
    v1::Run run = hub.Submit(HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north"}), {"north"});
    v1::Task task = hub.Acquire("north");
    const std::string update = HubFixture::Update({1, 2});
    const v1::UploadHeader header = HubFixture::HeaderOf(task, update, 1);
    REQUIRE_OK(hub.HandIn("north", header, update));
    const std::string path = hub.spool->PathOf(task.name(), header.sha256());
    if (gone) {
      std::filesystem::remove(path);
    } else {
      // Another number in a file that is still as documented.
      std::ofstream(path, std::ios::binary) << HubFixture::Update({1, 3});
    }
    REQUIRE_OK(hub.closer->Advance());
    run = hub.Get(run.name());
    CHECK(run.state() == v1::Run::STATE_FAILED);
    CHECK(run.reason() == "UPDATE_LOST");
    CHECK(run.manifest_sha256().empty());
  }
}

TEST_CASE("task: a run that cannot be read, or whose model is lost, does not stop the others") {
  HubFixture hub;
  v1::Plan plan = HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north"});
  (*plan.mutable_model()->mutable_tensors())["w"].set_shape(0, 3);
  v1::Run lost = hub.Submit(plan, {"north"});
  v1::Run good = hub.Submit(HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north"}), {"north"});
  REQUIRE_OK(hub.objects->Remove(lost.model_sha256()));
  CHECK(hub.Acquire("north").run() == good.name());
  // The lease of the task that cannot be done was not given.
  CHECK(hub.Get(lost.name()).rounds(0).contributions(0).state() == v1::Contribution::STATE_PENDING);
}

TEST_CASE("lease: it ends, another session takes over, and the old holder is told") {
  HubFixture hub;
  hub.Submit(HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north"}), {"north"});
  v1::Task first = hub.Acquire("north", "session-1");
  CHECK_FALSE(first.name().empty());
  // The answer was lost on its way: the same once more, and either will do.
  v1::Task repeated = hub.Acquire("north", "session-1");
  CHECK(repeated.name() == first.name());
  CHECK(repeated.lease_token() == first.lease_token());
  v1::RenewLeaseRequest renew;
  renew.set_task(first.name());
  renew.set_lease_token(first.lease_token());
  hub.clock.Advance(absl::Seconds(50));
  REQUIRE_OK(hub.tasks->Renew("north", renew));
  hub.clock.Advance(absl::Seconds(70));
  v1::Task second = hub.Acquire("north", "session-1");  // the lease had ended
  CHECK(second.name() == first.name());
  REQUIRE_REASON(hub.tasks->Renew("north", renew), StatusCode::kFailedPrecondition, "LEASE_LOST");
  v1::Task third = hub.Acquire("north", "session-2");  // the service was started anew
  CHECK(third.name() == first.name());
  std::string update = HubFixture::Update({1, 2});
  REQUIRE_REASON(hub.HandIn("north", HubFixture::HeaderOf(second, update, 1), update),
                 StatusCode::kFailedPrecondition, "LEASE_LOST");
  REQUIRE_OK(hub.HandIn("north", HubFixture::HeaderOf(third, update, 1), update));
}

TEST_CASE("lease: renewing it ends the run of a permit that is over, also while every node works") {
  for (const bool revoked : {true, false}) {
    CAPTURE(revoked);
    HubFixture hub;
    v1::Plan plan = HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north"});
    plan.mutable_round_deadline()->set_seconds(7 * 24 * 3600);
    v1::Run run = hub.Submit(plan, {"north"});
    v1::Task task = hub.Acquire("north");
    v1::RenewLeaseRequest renew;
    renew.set_task(task.name());
    renew.set_lease_token(task.lease_token());
    REQUIRE_OK(hub.tasks->Renew("north", renew));
    if (revoked) {
      hub.trust.revoked.insert(run.permit());
    } else {
      hub.clock.Advance(absl::Hours(24 * 30));
    }
    REQUIRE_REASON(hub.tasks->Renew("north", renew), StatusCode::kFailedPrecondition,
                   "ROUND_CLOSED");
    run = hub.Get(run.name());
    CHECK(run.state() == v1::Run::STATE_FAILED);
    CHECK(run.reason() == (revoked ? "PERMIT_REVOKED" : "PERMIT_EXPIRED"));
  }
}

TEST_CASE("node: it cannot see, renew, fail or answer the task of another node") {
  HubFixture hub;
  hub.Submit(HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north", "south"}), {"north", "south"});
  v1::Task task = hub.Acquire("north");
  std::string update = HubFixture::Update({1, 2});
  REQUIRE_REASON(hub.HandIn("south", HubFixture::HeaderOf(task, update, 1), update),
                 StatusCode::kNotFound, "TASK_NOT_FOUND");
  v1::RenewLeaseRequest renew;
  renew.set_task(task.name());
  renew.set_lease_token(task.lease_token());
  REQUIRE_REASON(hub.tasks->Renew("south", renew), StatusCode::kNotFound, "TASK_NOT_FOUND");
  REQUIRE_REASON(hub.tasks->InputPath("south", task.name(), task.model().sha256()),
                 StatusCode::kNotFound, "TASK_NOT_FOUND");
  v1::ReportTaskFailedRequest failed;
  failed.set_task(task.name());
  failed.set_lease_token(task.lease_token());
  failed.set_reason("POLICY_TRAINER");
  REQUIRE_REASON(hub.tasks->ReportFailed("south", failed), StatusCode::kNotFound, "TASK_NOT_FOUND");
  CHECK(hub.Acquire("west").name().empty());
}

TEST_CASE("deadline: the round goes on with those who came, and says who did not") {
  HubFixture hub;
  v1::Plan plan = HubFixture::Plan(v1::STRATEGY_FEDAVG, 2, {"north", "south", "west"});
  plan.set_min_contributors(2);
  v1::Run run = hub.Submit(plan, {"north", "south", "west"});
  std::string update = HubFixture::Update({1, 2});
  for (const std::string node : {"north", "west"}) {
    v1::Task task = hub.Acquire(node);
    REQUIRE_OK(hub.HandIn(node, HubFixture::HeaderOf(task, update, 1), update));
  }
  v1::Task late = hub.Acquire("south");
  hub.clock.Advance(absl::Seconds(599));
  REQUIRE_OK(hub.closer->Advance());
  CHECK(hub.Get(run.name()).rounds_size() == 1);
  hub.clock.Advance(absl::Seconds(1));
  CHECK(hub.Acquire("south", "session-9").name().empty());
  REQUIRE_OK(hub.closer->Advance());
  run = hub.Get(run.name());
  REQUIRE(run.rounds_size() == 2);
  CHECK(run.rounds(0).contributions(1).reason() == "DEADLINE");
  CHECK(run.rounds(0).contributions(1).state() == v1::Contribution::STATE_DROPPED);
  std::string too_late = HubFixture::Update({9, 9});
  absl::Status status =
      hub.HandIn("south", HubFixture::HeaderOf(late, too_late, 1), too_late).status();
  CHECK_FALSE(status.ok());
  CHECK((base::ReasonOf(status) == "ROUND_CLOSED" || base::ReasonOf(status) == "TASK_NOT_FOUND"));
  CHECK(hub.Acquire("south", "session-9").round() == 2);  // it may take part again
}

TEST_CASE("quorum: with too few contributors the run fails and says why") {
  HubFixture hub;
  v1::Run run =
      hub.Submit(HubFixture::Plan(v1::STRATEGY_FEDAVG, 2, {"north", "south"}), {"north", "south"});
  for (const std::string node : {"north", "south"}) {
    v1::Task task = hub.Acquire(node);
    v1::ReportTaskFailedRequest failed;
    failed.set_task(task.name());
    failed.set_lease_token(task.lease_token());
    failed.set_outcome(v1::ReportTaskFailedRequest::OUTCOME_LEAVE_RUN);
    REQUIRE_REASON(hub.tasks->ReportFailed(node, failed), StatusCode::kInvalidArgument,
                   "REASON_NEEDED");
    failed.set_reason("PERMIT_REVOKED");
    REQUIRE_OK(hub.tasks->ReportFailed(node, failed));
  }
  REQUIRE_OK(hub.closer->Advance());
  run = hub.Get(run.name());
  CHECK(run.state() == v1::Run::STATE_FAILED);
  CHECK(run.reason() == "QUORUM_NOT_REACHED");
  CHECK(run.rounds(0).state() == v1::Round::STATE_FAILED);
  CHECK(run.rounds(0).contributions(0).reason() == "PERMIT_REVOKED");
  CHECK(hub.Acquire("north").name().empty());
}

TEST_CASE("retry: a task comes back later, and after five times no more") {
  HubFixture hub;
  v1::Plan plan = HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north", "south"});
  plan.set_min_contributors(1);
  v1::Run run = hub.Submit(plan, {"north", "south"});
  for (int attempt = 1; attempt <= 5; ++attempt) {
    v1::Task task = hub.Acquire("north");
    REQUIRE_FALSE(task.name().empty());
    v1::ReportTaskFailedRequest failed;
    failed.set_task(task.name());
    failed.set_lease_token(task.lease_token());
    failed.set_reason("TRAINER_FAILED");
    failed.set_outcome(v1::ReportTaskFailedRequest::OUTCOME_RETRY);
    REQUIRE_OK(hub.tasks->ReportFailed("north", failed));
    CHECK(hub.Acquire("north").name().empty());  // not at once
    hub.clock.Advance(absl::Seconds(5 * attempt));
  }
  CHECK(hub.Acquire("north").name().empty());
  v1::Task task = hub.Acquire("south");
  std::string update = HubFixture::Update({1, 2});
  REQUIRE_OK(hub.HandIn("south", HubFixture::HeaderOf(task, update, 1), update));
  REQUIRE_OK(hub.closer->Advance());
  run = hub.Get(run.name());
  CHECK(run.state() == v1::Run::STATE_SUCCEEDED);
  CHECK(run.rounds(0).contributions(0).reason() == "TRAINER_FAILED");
}

TEST_CASE("permit: it must name the datasets, the person and the operation, and stay in force") {
  HubFixture hub;
  v1::SubmitRunRequest request;
  request.set_request_id(base::NewUuid());
  *request.mutable_plan() = HubFixture::Plan(v1::STRATEGY_FEDAVG, 3, {"north", "south"});
  REQUIRE_REASON(hub.runs->Submit(hub.Ana(hub.Permit({"north"})), request),
                 StatusCode::kPermissionDenied, "PERMIT_WRONG_DATASET");
  REQUIRE_REASON(hub.runs->Submit(hub.Ana(hub.Permit({"north", "south"}, {"count"})), request),
                 StatusCode::kPermissionDenied, "PERMIT_OPERATION_NOT_ALLOWED");
  REQUIRE_REASON(hub.runs->Submit(hub.Ana(hub.Permit({"north", "south"}, {"train"}, 2)), request),
                 StatusCode::kPermissionDenied, "PERMIT_ROUNDS_EXCEEDED");
  rpc::Caller bob = hub.Ana(hub.Permit({"north", "south"}));
  bob.subject = "bob";
  REQUIRE_REASON(hub.runs->Submit(bob, request), StatusCode::kPermissionDenied,
                 "PERMIT_NOT_FOR_PERSON");
  request.mutable_plan()->mutable_evaluate();
  REQUIRE_REASON(hub.runs->Submit(hub.Ana(hub.Permit({"north", "south"}, {"train"})), request),
                 StatusCode::kPermissionDenied, "PERMIT_OPERATION_NOT_ALLOWED");
  request.mutable_plan()->clear_evaluate();
  v1::SubmitRunRequest bad = request;
  bad.set_request_id("1");
  REQUIRE_REASON(hub.runs->Submit(hub.Ana(hub.Permit({"north", "south"})), bad),
                 StatusCode::kInvalidArgument, "REQUEST_ID_INVALID");

  REQUIRE_VALUE(v1::Run run, hub.runs->Submit(hub.Ana(hub.Permit({"north", "south"})), request));
  REQUIRE_VALUE(v1::Run same, hub.runs->Submit(hub.Ana(hub.Permit({"north", "south"})), request));
  CHECK(same.name() == run.name());
  v1::SubmitRunRequest reused = request;
  reused.mutable_plan()->set_name("another");
  REQUIRE_REASON(hub.runs->Submit(hub.Ana(hub.Permit({"north", "south"})), reused),
                 StatusCode::kAlreadyExists, "REQUEST_ID_REUSED");
  hub.trust.revoked.insert(run.permit());
  // The answer was lost, and the permit is over by now: the run exists all the same.
  REQUIRE_VALUE(same, hub.runs->Submit(hub.Ana(""), request));
  CHECK(same.name() == run.name());
  CHECK(hub.Acquire("north").name().empty());
  run = hub.Get(run.name());
  CHECK(run.state() == v1::Run::STATE_FAILED);
  CHECK(run.reason() == "PERMIT_REVOKED");
}

TEST_CASE("run: with more rounds than a message carries it is read in parts") {
  HubFixture hub;
  v1::Run run = hub.Submit(HubFixture::Plan(v1::STRATEGY_FEDAVG, 9, {"north"}), {"north"});
  for (int round = 1; round <= 8; ++round) {
    REQUIRE_OK(hub.store->ChangeRun(run.name(), [&](RunRecord& record, Additions& additions) {
      v1::Round closed = record.round;
      closed.set_state(v1::Round::STATE_CLOSED);
      closed.set_manifest_sha256(std::string(300 << 10, 'f'));
      additions.closed = closed;
      additions.manifest_jws = "jws";
      record.round.set_number(round + 1);
      record.tasks.clear();
      return absl::OkStatus();
    }));
  }
  std::vector<int> seen;
  int from = 0, parts = 0;
  do {
    int next = 0;
    REQUIRE_VALUE(v1::Run part, hub.runs->Get(hub.Ana(""), run.name(), from, next));
    CHECK(part.ByteSizeLong() < (3 << 20));
    for (const v1::Round& round : part.rounds()) seen.push_back(round.number());
    CHECK((next == 0 || next > from));
    from = next;
    ++parts;
  } while (from != 0);
  CHECK(seen == std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8, 9});
  CHECK(parts == 3);
}

TEST_CASE("run: cancelled, it takes nothing more; a fourth at once is one too many") {
  HubFixture hub;
  v1::Plan plan = HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north"});
  v1::Run first = hub.Submit(plan, {"north"});
  v1::Task task = hub.Acquire("north");
  rpc::Caller bob = hub.Ana("");
  bob.subject = "bob";
  REQUIRE_REASON(hub.runs->Cancel(bob, first.name()), StatusCode::kNotFound, "RUN_NOT_FOUND");
  REQUIRE_VALUE(v1::Run cancelled, hub.runs->Cancel(hub.Ana(""), first.name()));
  CHECK(cancelled.state() == v1::Run::STATE_CANCELLED);
  std::string update = HubFixture::Update({1, 2});
  REQUIRE_REASON(hub.HandIn("north", HubFixture::HeaderOf(task, update, 1), update),
                 StatusCode::kFailedPrecondition, "ROUND_CLOSED");
  for (int i = 0; i < 3; ++i) hub.Submit(plan, {"north"});
  v1::SubmitRunRequest request;
  request.set_request_id(base::NewUuid());
  *request.mutable_plan() = plan;
  // Refused before a model of zeros is written for it.
  (*request.mutable_plan()->mutable_model()->mutable_tensors())["other"].add_shape(3);
  const auto count = [&] {
    int objects = 0;
    REQUIRE_OK(hub.objects->List([&](const std::string&) { return ++objects > 0; }));
    return objects;
  };
  const int before = count();
  REQUIRE_REASON(hub.runs->Submit(hub.Ana(hub.Permit({"north"})), request),
                 StatusCode::kResourceExhausted, "TOO_MANY_RUNS");
  CHECK(count() == before);
  v1::ListRunsRequest list;
  list.set_page_size(3);
  v1::ListRunsResponse page;
  REQUIRE_OK(hub.runs->List(hub.Ana(""), list, page));
  CHECK(page.runs_size() == 3);
  list.set_page_token(page.next_page_token());
  page.Clear();
  REQUIRE_OK(hub.runs->List(hub.Ana(""), list, page));
  REQUIRE(page.runs_size() == 1);
  CHECK(page.runs(0).name() == first.name());
  CHECK(page.next_page_token().empty());
  list.set_page_token("run-none");
  REQUIRE_REASON(hub.runs->List(hub.Ana(""), list, page), StatusCode::kInvalidArgument,
                 "PAGE_TOKEN_INVALID");
}

TEST_CASE("run: a list of runs with large plans comes in parts that a message carries") {
  HubFixture hub;
  v1::Plan plan = HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north"});
  for (int i = 0; i < 2000; ++i) {
    const std::string name = absl::StrCat(std::string(90, 'x'), 10'000 + i);
    (*plan.mutable_model()->mutable_tensors())[name].add_shape(1);
  }
  REQUIRE(plan.ByteSizeLong() > (200 << 10));
  for (int i = 0; i < 12; ++i) {
    v1::Run run = hub.Submit(plan, {"north"});
    REQUIRE_OK(hub.runs->Cancel(hub.Ana(""), run.name()));
  }
  v1::ListRunsRequest list;
  list.set_page_size(200);
  int runs = 0, pages = 0;
  do {
    v1::ListRunsResponse page;
    REQUIRE_OK(hub.runs->List(hub.Ana(""), list, page));
    CHECK(page.ByteSizeLong() < (2 << 20));
    runs += page.runs_size();
    ++pages;
    list.set_page_token(page.next_page_token());
  } while (!list.page_token().empty() && pages < 20);
  CHECK(runs == 12);
  CHECK(pages == 3);
}

TEST_CASE("run: a given model that does not fit is refused before the nodes work for statistics") {
  HubFixture hub;
  v1::Plan first_plan = HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north"});
  (*first_plan.mutable_model()->mutable_tensors())["hessian"].add_shape(3);
  v1::Run first = hub.Submit(first_plan, {"north"});
  v1::Task task = hub.Acquire("north");
  REQUIRE_VALUE(std::string update,
                federated::WriteTensors({{{"hessian", federated::Dtype::kF64, {3}}, {1, 2, 3}},
                                         {{"w", federated::Dtype::kF64, {2}}, {1, 2}}}));
  REQUIRE_OK(hub.HandIn("north", HubFixture::HeaderOf(task, update, 1), update));
  REQUIRE_OK(hub.closer->Advance());
  // Newton's method has a tensor of this name itself.
  v1::Plan plan = HubFixture::Plan(v1::STRATEGY_NEWTON, 1, {"north"});
  plan.mutable_model()->clear_tensors();
  plan.mutable_model()->set_initial(hub.Get(first.name()).model_sha256());
  (*plan.mutable_statistics()->mutable_tensors())["sum"].add_shape(1);
  v1::SubmitRunRequest request;
  request.set_request_id(base::NewUuid());
  *request.mutable_plan() = plan;
  CHECK_FALSE(hub.runs->Submit(hub.Ana(hub.Permit({"north"})), request).ok());
}

TEST_CASE("run: it can start from a model of the registry, and only from one's own") {
  HubFixture hub;
  v1::Run first = hub.Submit(HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north"}), {"north"});
  v1::Task task = hub.Acquire("north");
  std::string update = HubFixture::Update({7, 8});
  REQUIRE_OK(hub.HandIn("north", HubFixture::HeaderOf(task, update, 1), update));
  REQUIRE_OK(hub.closer->Advance());
  first = hub.Get(first.name());
  v1::Plan plan = HubFixture::Plan(v1::STRATEGY_GRADIENT, 1, {"north"});
  plan.mutable_model()->clear_tensors();
  plan.mutable_model()->set_initial(first.model_sha256());
  v1::Run second = hub.Submit(plan, {"north"});
  CHECK(hub.Acquire("north").model().sha256() == first.model_sha256());
  plan.mutable_model()->set_initial(std::string(64, '1'));
  v1::SubmitRunRequest request;
  request.set_request_id(base::NewUuid());
  *request.mutable_plan() = plan;
  REQUIRE_REASON(hub.runs->Submit(hub.Ana(hub.Permit({"north"})), request), StatusCode::kNotFound,
                 "MODEL_NOT_FOUND");
}

TEST_CASE("run: numbers that cannot be solved end it with their reason") {
  HubFixture hub;
  v1::Run run = hub.Submit(HubFixture::Plan(v1::STRATEGY_NEWTON, 1, {"north"}), {"north"});
  v1::Task task = hub.Acquire("north");
  REQUIRE_VALUE(
      std::string update,
      federated::WriteTensors({{{"w", federated::Dtype::kF64, {2}}, {1, 1}},
                               {{"hessian", federated::Dtype::kF64, {2, 2}}, {1, 1, 1, 1}}}));
  REQUIRE_OK(hub.HandIn("north", HubFixture::HeaderOf(task, update, 1), update));
  REQUIRE_OK(hub.closer->Advance());
  run = hub.Get(run.name());
  CHECK(run.state() == v1::Run::STATE_FAILED);
  CHECK(run.reason() == "HESSIAN_NOT_POSITIVE");
}

}  // namespace

}  // namespace oncomesh::training
