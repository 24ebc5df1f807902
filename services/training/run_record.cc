// SPDX-License-Identifier: Apache-2.0
#include "services/training/run_record.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/federated/plan.h"

namespace oncomesh::training {
namespace {

using v1::Contribution;
using v1::Round;
using v1::Run;

// 0: statistics, 1 … rounds: training, rounds + 1: evaluation.
std::optional<Round::Kind> KindOf(const v1::Plan& plan, int number) {
  if (number == 0 && plan.has_statistics()) return Round::KIND_STATISTICS;
  if (number >= 1 && number <= plan.rounds()) return Round::KIND_TRAIN;
  if (number == plan.rounds() + 1 && plan.has_evaluate()) return Round::KIND_EVALUATE;
  return std::nullopt;
}

void Open(RunRecord& record, int number, Round::Kind kind, absl::Time now, const IdMaker& ids) {
  record.round = Round();
  record.round.set_number(number);
  record.round.set_kind(kind);
  record.round.set_state(Round::STATE_OPEN);
  *record.round.mutable_open_time() = ToProto(now);
  *record.round.mutable_deadline_time() =
      ToProto(now + federated::RoundDeadlineOf(record.run.plan()));
  if (kind != Round::KIND_STATISTICS) record.round.set_input_sha256(record.run.model_sha256());
  record.tasks.clear();
  for (const std::string& node : federated::NodesOf(record.run.plan())) {
    TaskRecord task;
    task.name = ids("task-");
    task.contribution.set_node(node);
    task.contribution.set_state(Contribution::STATE_PENDING);
    if (auto left = record.left.find(node); left != record.left.end()) {
      task.contribution.set_state(Contribution::STATE_DROPPED);
      task.contribution.set_reason(left->second);
    }
    record.tasks.push_back(std::move(task));
  }
}

absl::Status RoundClosed() {
  return base::Error(absl::StatusCode::kFailedPrecondition, "ROUND_CLOSED",
                     "the round no longer takes contributions; ask for the next task");
}

}  // namespace

google::protobuf::Timestamp ToProto(absl::Time time) {
  google::protobuf::Timestamp out;
  out.set_seconds(absl::ToUnixSeconds(time));
  out.set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(out.seconds()))));
  return out;
}

absl::Time FromProto(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

void OpenFirstRound(RunRecord& record, absl::Time now, const IdMaker& ids) {
  for (int number = 0; number <= record.run.plan().rounds() + 1; ++number) {
    if (auto kind = KindOf(record.run.plan(), number)) {
      Open(record, number, *kind, now, ids);
      return;
    }
  }
}

TaskRecord* Acquire(RunRecord& record, const std::string& node, const std::string& session,
                    const std::string& token, absl::Time now, const LeaseRules& rules) {
  if (!record.running() || record.round.state() != Round::STATE_OPEN) return nullptr;
  if (now >= FromProto(record.round.deadline_time())) return nullptr;
  for (TaskRecord& task : record.tasks) {
    if (task.contribution.node() != node || task.ended() || now < task.not_before) continue;
    // A session has one worker: one that asks holds nothing that it knows of. The token stays, so
    // that of two answers on their way either will do.
    const bool held = task.contribution.state() == Contribution::STATE_WORKING &&
                      now < task.lease_end && task.session == session && !task.lease_token.empty();
    task.contribution.set_state(Contribution::STATE_WORKING);
    task.session = session;
    if (!held) task.lease_token = token;
    task.lease_end = now + rules.lease;
    return &task;
  }
  return nullptr;
}

absl::StatusOr<TaskRecord*> FindTask(RunRecord& record, const std::string& name,
                                     const std::string& node) {
  for (TaskRecord& task : record.tasks) {
    if (task.name != name) continue;
    // Another node's task does not exist for this one.
    if (task.contribution.node() != node) break;
    if (!record.running() || record.round.state() != Round::STATE_OPEN) return RoundClosed();
    return &task;
  }
  return base::Error(absl::StatusCode::kNotFound, "TASK_NOT_FOUND",
                     "there is no such task for this node; ask for the next one");
}

absl::StatusOr<TaskRecord*> FindLeased(RunRecord& record, const std::string& name,
                                       const std::string& node, const std::string& token) {
  ASSIGN_OR_RETURN(TaskRecord * task, FindTask(record, name, node));
  if (task->contribution.state() == Contribution::STATE_DROPPED) return RoundClosed();
  if (token.empty() || task->lease_token != token) {
    return base::Error(absl::StatusCode::kFailedPrecondition, "LEASE_LOST",
                       "the task was handed out again; ask for it anew");
  }
  return task;
}

absl::StatusOr<bool> IsAccepted(const TaskRecord& task, const Result& result) {
  if (task.contribution.state() != Contribution::STATE_DONE) return false;
  std::map<std::string, double> metrics(task.contribution.metrics().begin(),
                                        task.contribution.metrics().end());
  if (task.contribution.update_sha256() == result.update_sha256 &&
      task.contribution.examples() == result.examples && metrics == result.metrics) {
    return true;
  }
  return base::Error(absl::StatusCode::kAlreadyExists, "UPDATE_CONFLICT",
                     "another result of this task was accepted before; it stays");
}

absl::Status CheckResult(const RunRecord& record, const Result& result) {
  if (result.examples < 1 || result.examples > federated::kMaxWeight) {
    return base::Error(absl::StatusCode::kInvalidArgument, "UPDATE_EXAMPLES",
                       "a contribution is of at least 1 and at most 2^40 examples");
  }
  const auto& allowed = record.run.plan().metrics();
  for (const auto& [name, value] : result.metrics) {
    if (std::find(allowed.begin(), allowed.end(), name) == allowed.end()) {
      return base::Error(absl::StatusCode::kInvalidArgument, "METRIC_NOT_ALLOWED",
                         "a metric that the plan does not name cannot leave a node");
    }
    if (!std::isfinite(value)) {
      return base::Error(absl::StatusCode::kInvalidArgument, "METRIC_NOT_ALLOWED",
                         absl::StrCat("the metric ", name, " is not a finite number"));
    }
  }
  return absl::OkStatus();
}

void Accept(TaskRecord& task, const Result& result) {
  Contribution& contribution = task.contribution;
  contribution.set_state(Contribution::STATE_DONE);
  contribution.set_update_sha256(result.update_sha256);
  contribution.set_update_bytes(result.update_bytes);
  contribution.set_examples(result.examples);
  contribution.set_cases(result.cases);
  contribution.mutable_metrics()->clear();
  for (const auto& [name, value] : result.metrics) (*contribution.mutable_metrics())[name] = value;
  task.maxima = result.maxima;
}

void Refuse(RunRecord& record, TaskRecord& task, const std::string& reason,
            v1::ReportTaskFailedRequest::Outcome outcome, absl::Time now, const LeaseRules& rules) {
  Contribution& contribution = task.contribution;
  ++task.attempts;
  task.lease_token.clear();
  if (outcome == v1::ReportTaskFailedRequest::OUTCOME_RETRY && task.attempts < rules.max_attempts) {
    contribution.set_state(Contribution::STATE_PENDING);
    contribution.set_reason(reason);
    task.not_before = now + rules.retry_after * task.attempts;
    return;
  }
  contribution.set_state(Contribution::STATE_DROPPED);
  contribution.set_reason(reason);
  if (outcome == v1::ReportTaskFailedRequest::OUTCOME_LEAVE_RUN) {
    record.left[contribution.node()] = reason;
  }
}

bool IsDue(const RunRecord& record, absl::Time now) {
  if (!record.running() || record.round.state() != Round::STATE_OPEN) return false;
  if (now >= FromProto(record.round.deadline_time())) return true;
  return std::all_of(record.tasks.begin(), record.tasks.end(),
                     [](const TaskRecord& task) { return task.ended(); });
}

void Freeze(RunRecord& record, absl::Time now) {
  int done = 0;
  for (TaskRecord& task : record.tasks) {
    if (!task.ended()) {
      task.contribution.set_state(Contribution::STATE_DROPPED);
      // A reason given at a retry says more than that time ran out.
      if (task.contribution.reason().empty()) task.contribution.set_reason("DEADLINE");
    }
    if (task.contribution.state() == Contribution::STATE_DONE) ++done;
  }
  const int quorum = federated::QuorumOf(record.run.plan());
  if (done >= quorum) {
    record.round.set_state(Round::STATE_AGGREGATING);
    *record.round.mutable_close_time() = ToProto(now);
    return;
  }
  End(record, Run::STATE_FAILED, "QUORUM_NOT_REACHED",
      absl::StrCat("round ", record.round.number(), " had ", done, " contributors and needs ",
                   quorum, "; `oncomesh run show` says why each node is missing"),
      now);
}

void Close(RunRecord& record, const Closing& closing, absl::Time now) {
  Round& round = record.round;
  round.set_state(Round::STATE_CLOSED);
  if (!round.has_close_time()) *round.mutable_close_time() = ToProto(now);
  round.set_model_sha256(closing.model_sha256);
  round.set_manifest_sha256(closing.manifest_sha256);
  round.set_examples(closing.examples);
  for (const auto& [name, value] : closing.metrics) (*round.mutable_metrics())[name] = value;
  for (const auto& [name, grid] : closing.grids) {
    v1::Grid& out = (*round.mutable_grids())[name];
    out.set_scale(grid.scale);
    out.set_saturated(grid.saturated);
  }
  if (round.kind() == Round::KIND_TRAIN) record.run.set_model_sha256(closing.model_sha256);
  if (round.kind() == Round::KIND_STATISTICS) {
    record.run.set_statistics_sha256(closing.model_sha256);
  }
  record.run.set_manifest_sha256(closing.manifest_sha256);
}

bool OpenNextRound(RunRecord& record, absl::Time now, const IdMaker& ids) {
  const int number = record.round.number() + 1;
  if (auto kind = KindOf(record.run.plan(), number)) {
    Open(record, number, *kind, now, ids);
    return true;
  }
  record.run.set_state(Run::STATE_SUCCEEDED);
  *record.run.mutable_end_time() = ToProto(now);
  return false;
}

void End(RunRecord& record, Run::State state, const std::string& reason, const std::string& message,
         absl::Time now) {
  if (!record.running()) return;
  record.run.set_state(state);
  record.run.set_reason(reason);
  record.run.set_message(message);
  *record.run.mutable_end_time() = ToProto(now);
  if (record.round.state() != Round::STATE_CLOSED) {
    record.round.set_state(Round::STATE_FAILED);
    *record.round.mutable_close_time() = ToProto(now);
  }
}

}  // namespace oncomesh::training
