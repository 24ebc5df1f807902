// SPDX-License-Identifier: Apache-2.0
#include "services/training/task_desk.h"

#include <functional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/log.h"
#include "libs/base/status_macros.h"
#include "libs/federated/plan.h"
#include "services/training/aggregation.h"

namespace oncomesh::training {
namespace {

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration out;
  out.set_seconds(absl::ToInt64Seconds(duration));
  out.set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(duration - absl::Seconds(out.seconds()))));
  return out;
}

template <typename Message>
Result ResultOf(const Message& message) {
  Result result;
  result.examples = message.examples();
  result.cases = message.cases();
  result.metrics = {message.metrics().begin(), message.metrics().end()};
  return result;
}

absl::Status UploadInvalid(absl::string_view what) {
  return base::Error(absl::StatusCode::kInvalidArgument, "UPLOAD_INVALID", what);
}

}  // namespace

absl::Status TaskDesk::StillPermitted(const RunRecord& record) {
  ASSIGN_OR_RETURN(permit::TrustState trust, deps_.trust());
  return permit::CheckInForce(record.permit_jws, trust, deps_.clock.Now()).status();
}

absl::Status TaskDesk::EndIfOver(const std::string& run, const absl::Status& permitted) {
  if (!IsOver(permitted)) return absl::OkStatus();
  RETURN_IF_ERROR(deps_.store.ChangeRun(run, [&](RunRecord& record, Additions&) {
    End(record, v1::Run::STATE_FAILED, base::ReasonOf(permitted),
        "the permit of this run is no longer in force", deps_.clock.Now());
    return absl::OkStatus();
  }));
  deps_.changes.Notify();
  return absl::OkStatus();
}

absl::StatusOr<TaskRecord> TaskDesk::ReadPast(const std::string& node, const std::string& task,
                                              const absl::Status& closed) {
  ASSIGN_OR_RETURN(TaskRecord past, deps_.store.ReadTask(task));
  if (past.contribution.node() != node) return closed;
  return past;
}

absl::StatusOr<bool> TaskDesk::Already(RunRecord& record, const std::string& node,
                                       const std::string& task, const Result& result) {
  absl::StatusOr<TaskRecord*> open = FindTask(record, task, node);
  if (open.ok()) return IsAccepted(**open, result);
  ASSIGN_OR_RETURN(TaskRecord past, ReadPast(node, task, open.status()));
  ASSIGN_OR_RETURN(bool accepted, IsAccepted(past, result));
  if (!accepted) return open.status();
  return true;
}

base::Mutex& TaskDesk::LockOf(const std::string& task) {
  return locks_[std::hash<std::string>()(task) % locks_.size()];
}

absl::StatusOr<v1::AcquireTaskResponse> TaskDesk::AcquireOf(const std::string& run,
                                                            const std::string& node,
                                                            const std::string& session) {
  v1::AcquireTaskResponse response;
  ASSIGN_OR_RETURN(RunRecord current, deps_.store.ReadRun(run));
  if (absl::Status permitted = StillPermitted(current); !permitted.ok()) {
    RETURN_IF_ERROR(EndIfOver(run, permitted));
    return response;  // or the trust bundle cannot be had: hand out nothing
  }
  const std::string token = absl::BytesToHexString(deps_.random.Bytes(16));
  RETURN_IF_ERROR(deps_.store.ChangeRun(run, [&](RunRecord& record, Additions&) -> absl::Status {
    response.clear_task();
    TaskRecord* task =
        training::Acquire(record, node, session, token, deps_.clock.Now(), deps_.rules);
    if (task == nullptr) return absl::OkStatus();
    v1::Task& out = *response.mutable_task();
    out.set_name(task->name);
    out.set_run(run);
    out.set_round(record.round.number());
    out.set_kind(record.round.kind());
    out.set_lease_token(task->lease_token);
    *out.mutable_lease() = ToProto(deps_.rules.lease);
    *out.mutable_deadline_time() = record.round.deadline_time();
    *out.mutable_plan() = record.run.plan();
    out.set_plan_sha256(record.run.plan_sha256());
    for (std::string& dataset : federated::DatasetsOf(record.run.plan(), node)) {
      out.add_datasets(std::move(dataset));
    }
    out.set_permit_jws(record.permit_jws);
    out.set_owner(record.run.owner());
    // Before the lease is given: a task whose input is lost is handed to nobody.
    if (const std::string& sha256 = record.round.input_sha256(); !sha256.empty()) {
      ASSIGN_OR_RETURN(uint64_t bytes, deps_.objects.Size(sha256));
      out.mutable_model()->set_sha256(sha256);
      out.mutable_model()->set_bytes(static_cast<int64_t>(bytes));
    }
    if (const std::string& sha256 = record.run.statistics_sha256(); !sha256.empty()) {
      ASSIGN_OR_RETURN(uint64_t bytes, deps_.objects.Size(sha256));
      out.mutable_statistics()->set_sha256(sha256);
      out.mutable_statistics()->set_bytes(static_cast<int64_t>(bytes));
    }
    return absl::OkStatus();
  }));
  return response;
}

absl::StatusOr<v1::AcquireTaskResponse> TaskDesk::Acquire(const std::string& node,
                                                          const v1::AcquireTaskRequest& request) {
  if (request.session().size() < 8 || request.session().size() > 64) {
    return base::Error(absl::StatusCode::kInvalidArgument, "SESSION_INVALID",
                       "a session is a random text of 8 to 64 characters");
  }
  ASSIGN_OR_RETURN(std::vector<std::string> runs, deps_.store.RunsWaitingFor(node));
  for (const std::string& run : runs) {
    absl::StatusOr<v1::AcquireTaskResponse> response = AcquireOf(run, node, request.session());
    if (response.ok() && response->has_task()) return response;
    if (response.ok()) continue;
    // What one run has lost is not the others' fault; that the database is away is.
    if (response.status().code() != absl::StatusCode::kDataLoss &&
        response.status().code() != absl::StatusCode::kNotFound) {
      return response.status();
    }
    base::LogError("task.not_handed_out", response.status(), {{"run", run}, {"node", node}});
  }
  v1::AcquireTaskResponse nothing;
  *nothing.mutable_retry_after() = ToProto(absl::Seconds(1));
  return nothing;
}

absl::StatusOr<absl::Duration> TaskDesk::Renew(const std::string& node,
                                               const v1::RenewLeaseRequest& request) {
  ASSIGN_OR_RETURN(std::string run, deps_.store.RunOfTask(request.task()));
  // While every node works, nobody else looks at the permit.
  ASSIGN_OR_RETURN(RunRecord current, deps_.store.ReadRun(run));
  RETURN_IF_ERROR(FindTask(current, request.task(), node).status());
  RETURN_IF_ERROR(EndIfOver(run, StillPermitted(current)));
  RETURN_IF_ERROR(deps_.store.ChangeRun(run, [&](RunRecord& record, Additions&) -> absl::Status {
    ASSIGN_OR_RETURN(TaskRecord * task,
                     FindLeased(record, request.task(), node, request.lease_token()));
    task->lease_end = deps_.clock.Now() + deps_.rules.lease;
    return absl::OkStatus();
  }));
  return deps_.rules.lease;
}

absl::StatusOr<std::string> TaskDesk::InputPath(const std::string& node, const std::string& name,
                                                const std::string& sha256) {
  ASSIGN_OR_RETURN(std::string run, deps_.store.RunOfTask(name));
  ASSIGN_OR_RETURN(RunRecord record, deps_.store.ReadRun(run));
  RETURN_IF_ERROR(FindTask(record, name, node).status());
  if (sha256.empty() ||
      (sha256 != record.round.input_sha256() && sha256 != record.run.statistics_sha256())) {
    return base::Error(absl::StatusCode::kNotFound, "INPUT_NOT_FOUND",
                       "this is not an input of the task");
  }
  return deps_.objects.LocalPath(sha256);
}

absl::StatusOr<v1::GetUploadStateResponse> TaskDesk::UploadState(
    const std::string& node, const v1::GetUploadStateRequest& request) {
  if (!objects::IsObjectName(request.sha256())) return UploadInvalid("sha256 is 64 hex digits");
  ASSIGN_OR_RETURN(std::string run, deps_.store.RunOfTask(request.task()));
  ASSIGN_OR_RETURN(RunRecord record, deps_.store.ReadRun(run));
  absl::StatusOr<TaskRecord*> task = FindTask(record, request.task(), node);
  const auto accepted = [&](const TaskRecord& of) {
    return of.contribution.state() == v1::Contribution::STATE_DONE &&
           of.contribution.update_sha256() == request.sha256();
  };
  v1::GetUploadStateResponse response;
  if (!task.ok()) {
    ASSIGN_OR_RETURN(TaskRecord past, ReadPast(node, request.task(), task.status()));
    if (!accepted(past)) return task.status();
    response.set_accepted(true);
    return response;
  }
  response.set_accepted(accepted(**task));
  ASSIGN_OR_RETURN(UpdateSpool::State state,
                   deps_.spool.GetState(request.task(), request.sha256()));
  response.set_offset(state.offset);
  response.set_prefix_sha256(state.prefix_sha256);
  return response;
}

absl::StatusOr<std::unique_ptr<TaskDesk::Submission>> TaskDesk::Begin(
    const std::string& node, const v1::UploadHeader& header) {
  if (!objects::IsObjectName(header.sha256())) return UploadInvalid("sha256 is 64 hex digits");
  if (header.bytes() < 10) return UploadInvalid("an update has at least 10 bytes");
  ASSIGN_OR_RETURN(std::string run, deps_.store.RunOfTask(header.task()));
  ASSIGN_OR_RETURN(RunRecord record, deps_.store.ReadRun(run));
  if (absl::Status permitted = StillPermitted(record); IsOver(permitted)) {
    RETURN_IF_ERROR(EndIfOver(run, permitted));
    ASSIGN_OR_RETURN(record, deps_.store.ReadRun(run));
  }
  auto submission = std::unique_ptr<Submission>(new Submission(*this));
  submission->node_ = node;
  submission->run_ = run;
  submission->header_ = header;
  submission->result_ = ResultOf(header);
  submission->result_.update_sha256 = header.sha256();
  submission->result_.update_bytes = header.bytes();
  ASSIGN_OR_RETURN(submission->already_, Already(record, node, header.task(), submission->result_));
  if (submission->already_) return submission;
  if (record.round.kind() == v1::Round::KIND_EVALUATE) {
    return UploadInvalid("an evaluation sends numbers with SubmitMetrics, not an update");
  }
  RETURN_IF_ERROR(FindLeased(record, header.task(), node, header.lease_token()).status());
  RETURN_IF_ERROR(CheckResult(record, submission->result_));
  ASSIGN_OR_RETURN(federated::Template expected, TemplateOf(record, deps_.objects));
  if (header.bytes() > MaxUpdateBytes(expected)) {
    return base::Error(absl::StatusCode::kResourceExhausted, "UPDATE_TOO_LARGE",
                       "the update is larger than the model can make it");
  }
  base::MutexLock lock(LockOf(header.task()));
  // Nothing of a task is touched once its update was accepted, also not if that was just now.
  ASSIGN_OR_RETURN(record, deps_.store.ReadRun(run));
  ASSIGN_OR_RETURN(submission->already_, Already(record, node, header.task(), submission->result_));
  if (submission->already_) return submission;
  ASSIGN_OR_RETURN(submission->upload_, deps_.spool.Begin(header.task(), header.sha256(),
                                                          header.bytes(), header.offset()));
  return submission;
}

absl::Status TaskDesk::Submission::Append(absl::string_view chunk) {
  if (chunk.size() > (1 << 20)) return UploadInvalid("a chunk has at most 1 MiB");
  return already_ ? absl::OkStatus() : upload_->Append(chunk);
}

absl::Status TaskDesk::Submission::CheckUpdate(const RunRecord& record, const std::string& path) {
  ASSIGN_OR_RETURN(federated::Template expected, TemplateOf(record, desk_.deps_.objects));
  ASSIGN_OR_RETURN(federated::TensorFile file, federated::TensorFile::Open(path));
  ASSIGN_OR_RETURN(result_.maxima, federated::CheckUpdate(file, expected));
  const v1::Plan& plan = record.run.plan();
  return federated::CheckRange(
      result_.maxima, WeightOf(record, result_.examples),
      std::map<std::string, double>(plan.bounds().begin(), plan.bounds().end()));
}

void TaskDesk::Submission::Discard() {
  base::MutexLock lock(desk_.LockOf(header_.task()));
  // The newest upload is not of an accepted update: none begins after that.
  if (upload_->CheckCurrent().ok()) desk_.deps_.spool.Remove(header_.task(), header_.sha256());
}

absl::StatusOr<bool> TaskDesk::Submission::Finish() {
  if (already_) return true;
  std::string path;
  {
    base::MutexLock lock(desk_.LockOf(header_.task()));
    ASSIGN_OR_RETURN(path, upload_->Finish());
  }
  ASSIGN_OR_RETURN(RunRecord current, desk_.deps_.store.ReadRun(run_));
  RETURN_IF_ERROR(FindLeased(current, header_.task(), node_, header_.lease_token()).status());
  if (absl::Status checked = CheckUpdate(current, path); !checked.ok()) {
    if (checked.code() == absl::StatusCode::kInvalidArgument) Discard();
    return checked;
  }
  bool already = false;
  // Sending it can have taken hours.
  RETURN_IF_ERROR(desk_.EndIfOver(run_, desk_.StillPermitted(current)));
  {
    base::MutexLock lock(desk_.LockOf(header_.task()));
    // A newer upload may have removed the file, or have been accepted.
    RETURN_IF_ERROR(upload_->CheckCurrent());
    RETURN_IF_ERROR(
        desk_.deps_.store.ChangeRun(run_, [&](RunRecord& record, Additions&) -> absl::Status {
          ASSIGN_OR_RETURN(TaskRecord * task, FindTask(record, header_.task(), node_));
          ASSIGN_OR_RETURN(already, IsAccepted(*task, result_));
          if (already) return absl::OkStatus();
          RETURN_IF_ERROR(
              FindLeased(record, header_.task(), node_, header_.lease_token()).status());
          Accept(*task, result_);
          return absl::OkStatus();
        }));
  }
  desk_.deps_.changes.Notify();
  return already;
}

absl::StatusOr<bool> TaskDesk::SubmitMetrics(const std::string& node,
                                             const v1::SubmitMetricsRequest& request) {
  ASSIGN_OR_RETURN(std::string run, deps_.store.RunOfTask(request.task()));
  ASSIGN_OR_RETURN(RunRecord current, deps_.store.ReadRun(run));
  if (absl::Status permitted = StillPermitted(current); IsOver(permitted)) {
    RETURN_IF_ERROR(EndIfOver(run, permitted));
    ASSIGN_OR_RETURN(current, deps_.store.ReadRun(run));
  }
  const Result result = ResultOf(request);
  ASSIGN_OR_RETURN(bool already, Already(current, node, request.task(), result));
  if (already) return true;
  RETURN_IF_ERROR(deps_.store.ChangeRun(run, [&](RunRecord& record, Additions&) -> absl::Status {
    ASSIGN_OR_RETURN(TaskRecord * task, FindTask(record, request.task(), node));
    if (record.round.kind() != v1::Round::KIND_EVALUATE) {
      return base::Error(absl::StatusCode::kInvalidArgument, "TASK_KIND",
                         "this task asks for an update, not for metrics alone");
    }
    ASSIGN_OR_RETURN(already, IsAccepted(*task, result));
    if (already) return absl::OkStatus();
    RETURN_IF_ERROR(FindLeased(record, request.task(), node, request.lease_token()).status());
    RETURN_IF_ERROR(CheckResult(record, result));
    Accept(*task, result);
    return absl::OkStatus();
  }));
  deps_.changes.Notify();
  return already;
}

absl::Status TaskDesk::ReportFailed(const std::string& node,
                                    const v1::ReportTaskFailedRequest& request) {
  const std::string& reason = request.reason();
  if (reason.empty() || reason.size() > 63 ||
      reason.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != std::string::npos) {
    return base::Error(absl::StatusCode::kInvalidArgument, "REASON_NEEDED",
                       "a reason is one word in UPPER_SNAKE_CASE of at most 63 characters");
  }
  ASSIGN_OR_RETURN(std::string run, deps_.store.RunOfTask(request.task()));
  RETURN_IF_ERROR(deps_.store.ChangeRun(run, [&](RunRecord& record, Additions&) -> absl::Status {
    ASSIGN_OR_RETURN(TaskRecord * task,
                     FindLeased(record, request.task(), node, request.lease_token()));
    if (task->ended()) return absl::OkStatus();
    Refuse(record, *task, reason, request.outcome(), deps_.clock.Now(), deps_.rules);
    return absl::OkStatus();
  }));
  base::Log(base::Level::kWarning, "task.not_done",
            {{"run", run}, {"node", node}, {"reason", reason}});
  deps_.changes.Notify();
  return absl::OkStatus();
}

}  // namespace oncomesh::training
