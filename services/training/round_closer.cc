// SPDX-License-Identifier: Apache-2.0
#include "services/training/round_closer.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/log.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "libs/federated/plan.h"
#include "services/training/aggregation.h"
#include "services/training/manifest.h"

namespace oncomesh::training {
namespace {

constexpr absl::Duration kSweepEvery = absl::Minutes(1);

v1::Model ModelOf(const RunRecord& record, const Closing& closing, int64_t bytes, absl::Time now) {
  const v1::Run& run = record.run;
  v1::Model model;
  model.set_sha256(closing.model_sha256);
  model.set_bytes(bytes);
  model.set_run(run.name());
  model.set_round(record.round.number());
  model.set_parent_sha256(record.round.input_sha256());
  model.set_plan_sha256(run.plan_sha256());
  model.set_trainer_digest(run.plan().trainer().digest());
  model.set_permit(run.permit());
  for (const TaskRecord& task : record.tasks) {
    if (task.contribution.state() != v1::Contribution::STATE_DONE) continue;
    model.add_contributors(task.contribution.node());
    for (std::string& name : federated::DatasetsOf(run.plan(), task.contribution.node())) {
      model.add_datasets(std::move(name));
    }
  }
  model.set_manifest_sha256(closing.manifest_sha256);
  *model.mutable_create_time() = ToProto(now);
  model.set_owner(run.owner());
  return model;
}

// Errors of the numbers themselves, and files that are lost: trying again gives the same.
bool IsFinal(const absl::Status& status) {
  return status.code() == absl::StatusCode::kInvalidArgument ||
         status.code() == absl::StatusCode::kFailedPrecondition ||
         status.code() == absl::StatusCode::kNotFound ||
         status.code() == absl::StatusCode::kDataLoss;
}

}  // namespace

absl::Status RoundCloser::AdvanceRun(const std::string& name) {
  while (true) {
    ASSIGN_OR_RETURN(RunRecord record, deps_.store.ReadRun(name));
    if (IsDue(record, deps_.clock.Now())) {
      RETURN_IF_ERROR(deps_.store.ChangeRun(name, [&](RunRecord& current, Additions&) {
        if (IsDue(current, deps_.clock.Now())) Freeze(current, deps_.clock.Now());
        return absl::OkStatus();
      }));
      ASSIGN_OR_RETURN(record, deps_.store.ReadRun(name));
      if (!record.running()) {
        base::Log(base::Level::kWarning, "run.failed",
                  {{"run", name}, {"reason", record.run.reason()}});
        deps_.changes.Notify();
      }
    }
    if (!record.running() || record.round.state() != v1::Round::STATE_AGGREGATING) {
      return absl::OkStatus();
    }
    absl::StatusOr<Closing> closing = Aggregate(record, deps_.spool, deps_.objects, deps_.scratch);
    if (!closing.ok() && !IsFinal(closing.status())) return closing.status();
    if (!closing.ok()) {
      RETURN_IF_ERROR(deps_.store.ChangeRun(name, [&](RunRecord& current, Additions&) {
        End(current, v1::Run::STATE_FAILED, base::ReasonOf(closing.status()),
            std::string(closing.status().message()), deps_.clock.Now());
        return absl::OkStatus();
      }));
      base::LogError("run.failed", closing.status(), {{"run", name}});
      deps_.changes.Notify();
      return absl::OkStatus();
    }
    const std::string jws =
        SignManifest(deps_.key, ManifestPayload(record, *closing, deps_.software));
    closing->manifest_sha256 = crypto::Sha256Hex(jws);
    int64_t bytes = 0;
    if (!closing->model_sha256.empty()) {
      ASSIGN_OR_RETURN(uint64_t size, deps_.objects.Size(closing->model_sha256));
      bytes = static_cast<int64_t>(size);
    }
    const IdMaker ids = [this](const char* prefix) { return base::NewId(prefix, deps_.random); };
    RETURN_IF_ERROR(deps_.store.ChangeRun(name, [&](RunRecord& current, Additions& additions) {
      // A run can have been cancelled meanwhile.
      if (!current.running() || current.round.state() != v1::Round::STATE_AGGREGATING) {
        return absl::OkStatus();
      }
      const absl::Time now = deps_.clock.Now();
      Close(current, *closing, now);
      additions.closed = current.round;
      additions.closed_tasks = current.tasks;
      additions.manifest_jws = jws;
      if (current.round.kind() == v1::Round::KIND_TRAIN) {
        additions.model = ModelOf(current, *closing, bytes, now);
      }
      additions.mark_final = !OpenNextRound(current, now, ids);
      return absl::OkStatus();
    }));
    for (const TaskRecord& task : record.tasks) deps_.spool.RemoveTask(task.name);
    base::Log(base::Level::kInfo, "round.closed",
              {{"run", name}, {"round", record.round.number()}, {"examples", closing->examples}});
    deps_.changes.Notify();
  }
}

absl::Status RoundCloser::Advance() {
  ASSIGN_OR_RETURN(std::vector<std::string> runs, deps_.store.RunningRuns());
  absl::Status first;
  for (const std::string& run : runs) {
    absl::Status status = AdvanceRun(run);
    if (!status.ok()) {
      base::LogError("run.not_advanced", status, {{"run", run}});
      if (first.ok()) first = status;
    }
  }
  return first;
}

absl::Status RoundCloser::Sweep() {
  RETURN_IF_ERROR(deps_.starting.Sweep());
  // What is there is listed first: an update that comes meanwhile is of a task that is read below.
  const std::vector<std::string> spooled = deps_.spool.Tasks();
  if (spooled.empty()) return absl::OkStatus();
  std::set<std::string> needed;
  ASSIGN_OR_RETURN(std::vector<std::string> runs, deps_.store.RunningRuns());
  for (const std::string& run : runs) {
    ASSIGN_OR_RETURN(RunRecord record, deps_.store.ReadRun(run));
    if (!record.running()) continue;
    for (const TaskRecord& task : record.tasks) needed.insert(task.name);
  }
  for (const std::string& task : spooled) {
    if (needed.count(task) == 0) deps_.spool.RemoveTask(task);
  }
  return absl::OkStatus();
}

void RoundCloser::Start() {
  thread_ = std::thread([this] {
    absl::Time swept = absl::InfinitePast();
    while (!deps_.changes.stopped()) {
      const uint64_t seen = deps_.changes.version();
      (void)Advance();  // logged there; the next turn tries again
      // Runs also end elsewhere: cancelled, their permit revoked. Their files go within a minute.
      if (deps_.clock.Now() - swept >= kSweepEvery) {
        swept = deps_.clock.Now();
        if (absl::Status done = Sweep(); !done.ok()) base::LogError("files.not_swept", done);
      }
      deps_.changes.Wait(seen, absl::Seconds(1));
    }
  });
}

void RoundCloser::Stop() {
  deps_.changes.Stop();
  if (thread_.joinable()) thread_.join();
}

}  // namespace oncomesh::training
