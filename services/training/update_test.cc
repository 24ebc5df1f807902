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

TEST_CASE("update: the same twice is accepted once, another one is refused") {
  HubFixture hub;
  hub.Submit(HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north", "south"}), {"north", "south"});
  v1::Task task = hub.Acquire("north");
  std::string update = HubFixture::Update({1, 2}), other = HubFixture::Update({1, 3});
  v1::UploadHeader header = HubFixture::HeaderOf(task, update, 4);
  REQUIRE_VALUE(bool first, hub.HandIn("north", header, update));
  CHECK_FALSE(first);
  REQUIRE_VALUE(bool second, hub.HandIn("north", header, update));
  CHECK(second);
  REQUIRE_REASON(hub.HandIn("north", HubFixture::HeaderOf(task, other, 4), other),
                 StatusCode::kAlreadyExists, "UPDATE_CONFLICT");
  // The same bytes with another weight are another update.
  REQUIRE_REASON(hub.HandIn("north", HubFixture::HeaderOf(task, update, 5), update),
                 StatusCode::kAlreadyExists, "UPDATE_CONFLICT");
}

// Four steps with which a node could remove its own accepted update, so that the round never ends.
TEST_CASE("update: an older upload of the same bytes does not take away the accepted one") {
  HubFixture hub;
  v1::Run run =
      hub.Submit(HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north", "south"}), {"north", "south"});
  const std::string update = HubFixture::Update({std::ldexp(1, 930), 2});
  v1::Task task = hub.Acquire("north");
  {
    // All of it is there, and the lease goes to another session before it is taken.
    REQUIRE_VALUE(auto first, hub.tasks->Begin("north", HubFixture::HeaderOf(task, update, 1)));
    REQUIRE_OK(first->Append(update));
    task = hub.Acquire("north", "session-2");
    REQUIRE_REASON(first->Finish(), StatusCode::kFailedPrecondition, "LEASE_LOST");
  }
  // Out of range with this weight, not with the next.
  v1::UploadHeader heavy = HubFixture::HeaderOf(task, update, int64_t{1} << 40);
  REQUIRE_VALUE(auto held, hub.tasks->Begin("north", heavy));
  REQUIRE_OK(hub.HandIn("north", HubFixture::HeaderOf(task, update, 1), update));
  CHECK_FALSE(held->Finish().ok());
  REQUIRE_REASON(hub.HandIn("north", heavy, update), StatusCode::kAlreadyExists, "UPDATE_CONFLICT");
  v1::Task south = hub.Acquire("south");
  const std::string other = HubFixture::Update({0, 4});
  REQUIRE_OK(hub.HandIn("south", HubFixture::HeaderOf(south, other, 1), other));
  REQUIRE_OK(hub.closer->Advance());
  run = hub.Get(run.name());
  REQUIRE(run.state() == v1::Run::STATE_SUCCEEDED);
  CHECK(hub.Model(run.model_sha256()).at(0) == std::ldexp(1, 929));
}

TEST_CASE("update: what is out of range with its weight is not kept, and may come with another") {
  HubFixture hub;
  v1::Run run = hub.Submit(HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north"}), {"north"});
  const std::string update = HubFixture::Update({std::ldexp(1, 930), 2});
  v1::Task task = hub.Acquire("north");
  REQUIRE_REASON(hub.HandIn("north", HubFixture::HeaderOf(task, update, int64_t{1} << 40), update),
                 StatusCode::kInvalidArgument, "UPDATE_RANGE");
  REQUIRE_VALUE(auto files, base::ListFiles(hub.folder / "updates"));
  CHECK(files.empty());
  REQUIRE_OK(hub.HandIn("north", HubFixture::HeaderOf(task, update, 1), update));
  REQUIRE_OK(hub.closer->Advance());
  CHECK(hub.Get(run.name()).state() == v1::Run::STATE_SUCCEEDED);
}

TEST_CASE("update: whole ones that were never accepted do not fill the disk either") {
  HubFixture hub;
  hub.Submit(HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north"}), {"north"});
  for (int i = 1; i <= 3; ++i) {
    v1::Task task = hub.Acquire("north", absl::StrCat("session-", i));
    const std::string update = HubFixture::Update({1.0 * i, 2});
    REQUIRE_VALUE(auto upload, hub.tasks->Begin("north", HubFixture::HeaderOf(task, update, 1)));
    REQUIRE_OK(upload->Append(update));
    hub.Acquire("north", absl::StrCat("session-other-", i));
    REQUIRE_REASON(upload->Finish(), StatusCode::kFailedPrecondition, "LEASE_LOST");
    REQUIRE_VALUE(auto files, base::ListFiles(hub.folder / "updates"));
    CHECK(files.size() == 1);
  }
}

TEST_CASE("update: what does not fit, is not finite, or is not what was promised is refused") {
  HubFixture hub;
  hub.Submit(HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north"}), {"north"});
  v1::Task task = hub.Acquire("north");
  auto hand_in = [&](const std::string& update) {
    return hub.HandIn("north", HubFixture::HeaderOf(task, update, 1), update).status();
  };
  REQUIRE_REASON(hand_in(HubFixture::Update({1, 2, 3})), StatusCode::kInvalidArgument,
                 "UPDATE_SHAPE");
  REQUIRE_REASON(hand_in(HubFixture::Update({1, std::nan("")})), StatusCode::kInvalidArgument,
                 "UPDATE_NOT_FINITE");
  REQUIRE_REASON(hand_in(HubFixture::Update({1, HUGE_VAL})), StatusCode::kInvalidArgument,
                 "UPDATE_NOT_FINITE");
  REQUIRE_REASON(hand_in("no tensors at all"), StatusCode::kInvalidArgument, "TENSOR_FILE_INVALID");
  std::string good = HubFixture::Update({1, 2});
  v1::UploadHeader header = HubFixture::HeaderOf(task, good, 1);
  std::string flipped = good;
  flipped.back() = static_cast<char>(flipped.back() ^ 1);
  REQUIRE_REASON(hub.HandIn("north", header, flipped), StatusCode::kDataLoss,
                 "UPDATE_HASH_MISMATCH");
  REQUIRE_REASON(hub.HandIn("north", header, good.substr(0, 20)), StatusCode::kInvalidArgument,
                 "UPLOAD_INVALID");
  REQUIRE_REASON(hub.HandIn("north", header, good + "x"), StatusCode::kOutOfRange,
                 "OFFSET_INVALID");
  v1::UploadHeader ahead = header;
  ahead.set_offset(static_cast<int64_t>(good.size()) - 1);
  REQUIRE_REASON(hub.HandIn("north", ahead, good), StatusCode::kOutOfRange, "OFFSET_INVALID");
  v1::UploadHeader huge = header;
  huge.set_bytes(int64_t{1} << 40);
  REQUIRE_REASON(hub.HandIn("north", huge, good), StatusCode::kResourceExhausted,
                 "UPDATE_TOO_LARGE");
  v1::UploadHeader none = header;
  none.set_examples(0);
  REQUIRE_REASON(hub.HandIn("north", none, good), StatusCode::kInvalidArgument, "UPDATE_EXAMPLES");
  v1::UploadHeader chatty = header;
  (*chatty.mutable_metrics())["patient_name_length"] = 1;
  REQUIRE_REASON(hub.HandIn("north", chatty, good), StatusCode::kInvalidArgument,
                 "METRIC_NOT_ALLOWED");
  v1::UploadHeader path = header;
  path.set_sha256("../../../etc/passwd");
  REQUIRE_REASON(hub.HandIn("north", path, good), StatusCode::kInvalidArgument, "UPLOAD_INVALID");
  REQUIRE_OK(hub.HandIn("north", header, good));
}

TEST_CASE("update: a newer upload of the task ends the older one") {
  HubFixture hub;
  hub.Submit(HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north"}), {"north"});
  v1::Task task = hub.Acquire("north");
  std::string update = HubFixture::Update({1, 2});
  v1::UploadHeader header = HubFixture::HeaderOf(task, update, 1);
  REQUIRE_VALUE(auto old, hub.tasks->Begin("north", header));
  REQUIRE_OK(old->Append(update.substr(0, 30)));
  v1::UploadHeader rest = header;
  rest.set_offset(30);
  REQUIRE_VALUE(auto fresh, hub.tasks->Begin("north", rest));
  REQUIRE_REASON(old->Append(update.substr(30)), StatusCode::kAborted, "UPLOAD_SUPERSEDED");
  REQUIRE_OK(fresh->Append(update.substr(30)));
  REQUIRE_REASON(old->Finish(), StatusCode::kAborted, "UPLOAD_SUPERSEDED");
  REQUIRE_OK(fresh->Finish());
}

TEST_CASE("update: the beginnings of ever other updates are not all kept") {
  testing::TemporaryFolder folder;
  REQUIRE_VALUE(auto spool, UpdateSpool::Open(folder / "updates"));
  for (char digit : {'a', 'b', 'c'}) {
    REQUIRE_VALUE(auto upload, spool->Begin("task-1", std::string(64, digit), 100, 0));
    REQUIRE_OK(upload->Append("a beginning"));
  }
  REQUIRE_VALUE(std::vector<std::string> left, base::ListFiles(folder / "updates"));
  CHECK(left.size() == 1);
  REQUIRE_VALUE(auto state, spool->GetState("task-1", std::string(64, 'c')));
  CHECK(state.offset == 11);
}

TEST_CASE("update: what was begun under a permit is not taken once it is revoked") {
  HubFixture hub;
  v1::Run run = hub.Submit(HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north"}), {"north"});
  v1::Task task = hub.Acquire("north");
  const std::string update = HubFixture::Update({1, 2});
  REQUIRE_VALUE(auto submission, hub.tasks->Begin("north", HubFixture::HeaderOf(task, update, 1)));
  REQUIRE_OK(submission->Append(update));
  hub.trust.revoked.insert(run.permit());
  REQUIRE_REASON(submission->Finish(), StatusCode::kFailedPrecondition, "ROUND_CLOSED");
  run = hub.Get(run.name());
  CHECK(run.state() == v1::Run::STATE_FAILED);
  CHECK(run.reason() == "PERMIT_REVOKED");
  // Its bytes do not stay at the hub.
  CHECK_FALSE(hub.spool->Tasks().empty());
  REQUIRE_OK(hub.closer->Sweep());
  CHECK(hub.spool->Tasks().empty());
}

TEST_CASE("update: numbers that no sum can hold are refused, and the run goes on without them") {
  HubFixture hub;
  v1::Plan plan = HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north", "south"});
  plan.set_min_contributors(1);
  v1::Run run = hub.Submit(plan, {"north", "south"});
  v1::Task north = hub.Acquire("north"), south = hub.Acquire("south");
  const std::string huge = HubFixture::Update({1e308, 2});
  REQUIRE_REASON(hub.HandIn("north", HubFixture::HeaderOf(north, huge, 1000), huge),
                 StatusCode::kInvalidArgument, "UPDATE_RANGE");
  v1::ReportTaskFailedRequest failed;
  failed.set_task(north.name());
  failed.set_lease_token(north.lease_token());
  failed.set_reason("UPDATE_RANGE");
  failed.set_outcome(v1::ReportTaskFailedRequest::OUTCOME_LEAVE_RUN);
  REQUIRE_OK(hub.tasks->ReportFailed("north", failed));
  const std::string good = HubFixture::Update({1, 2});
  REQUIRE_OK(hub.HandIn("south", HubFixture::HeaderOf(south, good, 3), good));
  REQUIRE_OK(hub.closer->Advance());
  CHECK(hub.Get(run.name()).state() == v1::Run::STATE_SUCCEEDED);
}

TEST_CASE("task: a result that was accepted is told so for ever, another one or another node not") {
  HubFixture hub;
  v1::Plan plan = HubFixture::Plan(v1::STRATEGY_FEDAVG, 1, {"north", "south"});
  plan.set_min_contributors(1);
  plan.mutable_evaluate();
  v1::Run run = hub.Submit(plan, {"north", "south"});
  v1::Task task = hub.Acquire("north"), other = hub.Acquire("south");
  const std::string update = HubFixture::Update({1, 2}), another = HubFixture::Update({3, 4});
  v1::UploadHeader header = HubFixture::HeaderOf(task, update, 1);
  REQUIRE_OK(hub.HandIn("north", header, update));
  v1::GetUploadStateRequest ask;
  ask.set_task(task.name());
  ask.set_sha256(header.sha256());
  v1::SubmitMetricsRequest metrics;
  auto check = [&] {
    REQUIRE_VALUE(bool again, hub.HandIn("north", header, update));
    CHECK(again);
    REQUIRE_VALUE(auto state, hub.tasks->UploadState("north", ask));
    CHECK(state.accepted());
    REQUIRE_REASON(hub.HandIn("north", HubFixture::HeaderOf(task, another, 1), another),
                   StatusCode::kAlreadyExists, "UPDATE_CONFLICT");
    REQUIRE_REASON(hub.HandIn("south", header, update), StatusCode::kNotFound, "TASK_NOT_FOUND");
    REQUIRE_REASON(hub.tasks->UploadState("south", ask), StatusCode::kNotFound, "TASK_NOT_FOUND");
    CHECK_FALSE(hub.HandIn("south", HubFixture::HeaderOf(other, update, 1), update).ok());
    v1::GetUploadStateRequest none = ask;
    none.set_task(other.name());
    CHECK_FALSE(hub.tasks->UploadState("south", none).ok());
  };
  hub.clock.Advance(absl::Seconds(600));
  REQUIRE_OK(hub.store->ChangeRun(run.name(), [&](RunRecord& record, Additions&) {
    Freeze(record, hub.clock.Now());
    return absl::OkStatus();
  }));
  check();  // the set is fixed
  REQUIRE_OK(hub.closer->Advance());
  check();  // the next round is open
  v1::Task last = hub.Acquire("north");
  REQUIRE(last.kind() == v1::Round::KIND_EVALUATE);
  metrics.set_task(last.name());
  metrics.set_lease_token(last.lease_token());
  metrics.set_examples(2);
  REQUIRE_OK(hub.tasks->SubmitMetrics("north", metrics));
  hub.clock.Advance(absl::Seconds(600));
  REQUIRE_OK(hub.closer->Advance());
  CHECK(hub.Get(run.name()).state() == v1::Run::STATE_SUCCEEDED);
  check();  // the run has ended
  REQUIRE_VALUE(bool again, hub.tasks->SubmitMetrics("north", metrics));
  CHECK(again);
  REQUIRE_REASON(hub.tasks->SubmitMetrics("south", metrics), StatusCode::kNotFound,
                 "TASK_NOT_FOUND");
  metrics.set_examples(3);
  REQUIRE_REASON(hub.tasks->SubmitMetrics("north", metrics), StatusCode::kAlreadyExists,
                 "UPDATE_CONFLICT");
}

}  // namespace
}  // namespace oncomesh::training
