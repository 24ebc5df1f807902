// SPDX-License-Identifier: Apache-2.0
#include "services/training/task_worker.h"

#include <fcntl.h>
#include <google/protobuf/util/json_util.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/jws.h"
#include "libs/federated/plan.h"
#include "libs/objects/object_store.h"
#include "libs/permit/permit.h"
#include "services/training/file_hash.h"
#include "services/training/process_runner_watch.h"
#include "services/training/run_record.h"
#include "services/training/task_lease.h"

namespace oncomesh::training {
namespace {

namespace fs = std::filesystem;
using v1::NodeTask;
using Outcome = v1::ReportTaskFailedRequest;

constexpr absl::Duration kLeftoverAge = absl::Hours(24 * 7);
constexpr absl::Duration kCleanEvery = absl::Hours(1);
// The longest pause that the hub may ask for.
constexpr absl::Duration kMaxPause = absl::Seconds(30);
// What a model can hold at most: the numbers that a plan may ask for, 8 bytes each.
constexpr uint64_t kMaxModelBytes = uint64_t{8} << 30;

bool Exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// A trainer can leave folders that even their owner may not read.
void OpenUp(const std::string& path) {
  std::error_code ignored;
  if (!fs::is_directory(fs::symlink_status(path, ignored))) return;
  fs::permissions(path, fs::perms::owner_all, fs::perm_options::add, ignored);
  for (const auto& entry : fs::directory_iterator(path, ignored)) OpenUp(entry.path().string());
}

void RemoveAll(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (!error) return;
  OpenUp(path);
  fs::remove_all(path, error);
  if (error) base::LogError("leftover.not_removed", base::ErrnoStatus(error.value(), "remove it"));
}

// Now is when it was used last.
void Touch(const std::string& path) { (void)utimensat(AT_FDCWD, path.c_str(), nullptr, 0); }

const char* KindName(v1::Round::Kind kind) {
  switch (kind) {
    case v1::Round::KIND_STATISTICS:
      return "statistics";
    case v1::Round::KIND_EVALUATE:
      return "evaluate";
    default:
      return "train";
  }
}

bool IsAway(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kInternal:
      return base::ReasonOf(status) != "UPDATE_TOO_LARGE";
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kOutOfRange:
      return true;  // the bytes are sent anew
    default:
      return false;
  }
}

// What follows from plan and data alone: later attempts and later rounds would end the same.
bool IsLasting(const std::string& reason) {
  static constexpr absl::string_view kReasons[] = {
      // of the node
      "TRAINER_NOT_INSTALLED", "TRAINER_DAMAGED", "TRAINER_DIGEST", "RUNNER_UNAVAILABLE",
      "DATASET_NOT_FOUND", "DATASET_WITHDRAWN", "CASES_NOT_PREPARED", "NO_CASES",
      // of the plan
      "PLAN_INVALID", "PLAN_DIGEST", "INPUT_TOO_LARGE", "TRAINER_OUTPUT_INVALID",
      // in the trainer's words
      "TASK_MISSING", "TASK_INVALID", "MODEL_MISSING", "MODEL_SHAPE", "MODALITY_MISSING",
      "MASK_MISSING", "CASE_UNREADABLE", "CASE_NOT_FINITE", "GRID_MISMATCH",
      "HYPERPARAMETER_INVALID", "STATISTICS_MISSING", "STATISTICS_SHAPE", "SAMPLES_INVALID",
      "NO_EXAMPLES"};
  return std::find(std::begin(kReasons), std::end(kReasons), reason) != std::end(kReasons);
}

// What follows from this round's model too, or took up a limit: not again in this round.
bool IsOfRound(const std::string& reason) {
  return absl::StartsWith(reason, "UPDATE_") || absl::StartsWith(reason, "TENSOR_") ||
         reason == "TRAINER_OUT_OF_MEMORY" || reason == "TRAINER_PROCESSES" ||
         reason == "TRAINER_DISK" || reason == "TRAINER_TIMEOUT";
}

// A file or program that this service may not use is the machine's trouble, no decision on the
// task.
bool IsOfMachine(const std::string& reason) {
  return absl::StartsWith(reason, "FILE_") || absl::StartsWith(reason, "PROGRAM_");
}

// The node decided against the task: permit or policy.
bool IsRefusal(const std::string& reason) {
  return absl::StartsWith(reason, "PERMIT_") || absl::StartsWith(reason, "POLICY_");
}

// How a refusal or failure is told to the hub.
Outcome::Outcome OutcomeOf(const absl::Status& why) {
  const std::string reason = base::ReasonOf(why);
  // A permit that is not yet in force is so by this machine's clock; it will be.
  if (why.code() == absl::StatusCode::kUnavailable || reason == "EPOCH_TOO_OLD" ||
      reason == "PERMIT_NOT_YET_VALID" || why.code() == absl::StatusCode::kAborted ||
      why.code() == absl::StatusCode::kResourceExhausted || IsOfMachine(reason)) {
    return Outcome::OUTCOME_RETRY;
  }
  if (why.code() == absl::StatusCode::kPermissionDenied ||
      why.code() == absl::StatusCode::kUnauthenticated || IsLasting(reason)) {
    return Outcome::OUTCOME_LEAVE_RUN;
  }
  return IsOfRound(reason) ? Outcome::OUTCOME_DROP_ROUND : Outcome::OUTCOME_RETRY;
}

// OK when an input of that size can be what the plan describes; the hub is not trusted with the
// node's disk.
absl::Status CheckInputSize(const v1::Plan& plan, const v1::TaskInput& input, bool model) {
  uint64_t most = kMaxModelBytes;
  if (!model || plan.model().initial().empty()) {
    most = 0;
    const auto& tensors = model ? plan.model().tensors() : plan.statistics().tensors();
    for (const federated::TensorSpec& tensor : federated::TensorsOf(tensors)) {
      most += 8 * federated::ElementsOf(tensor.shape).value_or(0);
    }
  }
  if (input.bytes() >= 0 &&
      static_cast<uint64_t>(input.bytes()) <= 8 + federated::kMaxHeaderBytes + most) {
    return absl::OkStatus();
  }
  return base::Error(absl::StatusCode::kFailedPrecondition, "INPUT_TOO_LARGE",
                     "the hub announced an input that is larger than the plan can make it");
}

// Six significant digits: enough to compare models, too few to carry anything else.
double Rounded(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.6g", value);
  return std::strtod(text, nullptr);
}

absl::Status OutputInvalid(absl::string_view what) {
  return base::Error(absl::StatusCode::kFailedPrecondition, "TRAINER_OUTPUT_INVALID",
                     absl::StrCat("the trainer's output is not as documented: ", what));
}

// Opens what a trainer wrote: a link could lead anywhere.
absl::StatusOr<std::string> ReadPlainFile(const std::string& path, uint64_t limit) {
  struct stat info{};
  if (lstat(path.c_str(), &info) != 0) return OutputInvalid("a file is missing");
  if (!S_ISREG(info.st_mode)) return OutputInvalid("something that is not a plain file");
  return base::ReadFile(path, limit);
}

// The digest of a file that is durable afterwards.
absl::StatusOr<FileDigest> KeepFile(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return base::ErrnoStatus(errno, "open an update");
  absl::StatusOr<FileDigest> digest = HashWhole(fd);
  const int error = fsync(fd) == 0 ? 0 : errno;
  close(fd);
  if (error != 0) return base::ErrnoStatus(error, "write an update");
  return digest;
}

}  // namespace

absl::Status CheckPolicy(const access::v1::NodePolicy& policy, const std::string& purpose,
                         const v1::Plan& plan) {
  auto refuse = [](absl::string_view reason, absl::string_view what) {
    return base::Error(absl::StatusCode::kPermissionDenied, reason,
                       absl::StrCat("the node's policy ", what));
  };
  const auto has = [](const auto& list, const std::string& value) {
    return std::find(list.begin(), list.end(), value) != list.end();
  };
  if (!policy.purposes().empty() && !has(policy.purposes(), purpose)) {
    return refuse("POLICY_PURPOSE", "does not allow the permit's purpose");
  }
  if (!has(policy.trainer_digests(), plan.trainer().digest())) {
    return refuse("POLICY_TRAINER", "does not allow this trainer");
  }
  if (policy.max_rounds() > 0 && plan.rounds() > policy.max_rounds()) {
    return refuse("POLICY_MAX_ROUNDS", "allows fewer rounds in one run");
  }
  return absl::OkStatus();
}

std::string TaskWorker::FolderOf(const v1::Task& task) const {
  return absl::StrCat(deps_.state_dir, "/tasks/", task.name());
}
std::string TaskWorker::InputPath(const std::string& sha256) const {
  return absl::StrCat(deps_.state_dir, "/inputs/", sha256);
}

void TaskWorker::Note(NodeTask& entry, NodeTask::State state, const std::string& reason) {
  entry.set_state(state);
  entry.set_reason(reason);
  if (state == NodeTask::STATE_DONE || state == NodeTask::STATE_REFUSED ||
      state == NodeTask::STATE_FAILED || state == NodeTask::STATE_WITHDRAWN) {
    *entry.mutable_end_time() = ToProto(deps_.clock.Now());
  }
  absl::Status status = deps_.history.Put(entry);
  if (!status.ok()) base::LogError("history.not_written", status);
}

absl::StatusOr<bool> TaskWorker::RunOnce() {
  v1::AcquireTaskRequest request;
  request.set_session(deps_.session);
  request.set_version(deps_.version);
  request.mutable_wait()->set_seconds(absl::ToInt64Seconds(deps_.wait));
  const auto asked = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(v1::AcquireTaskResponse response, deps_.hub.Acquire(request));
  if (!response.has_task()) {
    CloseInterrupted();
    // The hub has waited already, but not when it stops: without a pause it would be asked all the
    // time.
    const bool waited = deps_.wait > absl::ZeroDuration() &&
                        absl::FromChrono(std::chrono::steady_clock::now() - asked) >= deps_.wait;
    const absl::Duration told = absl::Seconds(response.retry_after().seconds()) +
                                absl::Nanoseconds(response.retry_after().nanos());
    pause_ = waited ? absl::ZeroDuration() : std::clamp(told, deps_.backoff, kMaxPause);
    return false;
  }
  RETURN_IF_ERROR(Do(response.task()));
  return true;
}

absl::Status TaskWorker::Do(const v1::Task& task) {
  // The name becomes a folder; the run too. The hub is not trusted with paths.
  for (const std::string& name : {task.name(), task.run()}) {
    if (name.empty() || name.size() > 64 ||
        name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") != std::string::npos) {
      return base::Error(absl::StatusCode::kInvalidArgument, "TASK_INVALID",
                         "the hub sent a task whose name cannot be one");
    }
  }
  for (const v1::TaskInput* input : {&task.model(), &task.statistics()}) {
    if (!input->sha256().empty() && !objects::IsObjectName(input->sha256())) {
      return base::Error(absl::StatusCode::kInvalidArgument, "TASK_INVALID",
                         "the hub sent a task whose input is not named by a SHA-256");
    }
  }
  TaskLease lease({deps_.hub, deps_.trust, deps_.clock, deps_.stop}, task);
  NodeTask entry;
  entry.set_name(task.name());
  entry.set_run(task.run());
  entry.set_round(task.round());
  entry.set_kind(task.kind());
  entry.set_owner(task.owner());
  entry.set_permit_sha256(permit::Digest(task.permit_jws()));
  *entry.mutable_start_time() = ToProto(deps_.clock.Now());
  const std::string folder = FolderOf(task);
  absl::Status status;
  if (!Exists(folder + "/result.pb")) {
    Note(entry, NodeTask::STATE_PREPARING);
    status = CheckAllowed(task);
    // The use is in the site's log before data are touched.
    if (status.ok()) status = deps_.record(task, "STARTED", "");
    if (status.ok()) status = MakeResult(task, lease, entry);
    if (!status.ok() && !lease.lost().ok()) status = lease.lost();
  }
  if (status.ok()) {
    Note(entry, NodeTask::STATE_UPLOADING);
    status = Deliver(task, entry);
  }
  if (status.ok()) {
    Note(entry, NodeTask::STATE_DONE);
    // The use itself is on record since STARTED; that its end is not must be seen.
    if (absl::Status told = deps_.record(task, "DONE", ""); !told.ok()) {
      base::LogError("audit.failed", told, {{"task", task.name()}});
    }
    RemoveAll(folder);
    base::Log(base::Level::kInfo, "task.done",
              {{"task", task.name()}, {"run", task.run()}, {"round", task.round()}});
    return absl::OkStatus();
  }
  if (deps_.stop.stopped()) return absl::OkStatus();  // taken up again at the next start
  if (base::ReasonOf(status) == "LEASE_LOST") {
    // Handed out again, to this session or the next: what is kept is used then.
    Note(entry, NodeTask::STATE_WITHDRAWN, "LEASE_LOST");
    return absl::OkStatus();
  }
  if (IsWithdrawn(status) || base::ReasonOf(status) == "UPDATE_CONFLICT") {
    Note(entry, NodeTask::STATE_WITHDRAWN, base::ReasonOf(status));
    RemoveAll(folder);
    return absl::OkStatus();
  }
  GiveUp(task, status, entry);
  RemoveAll(folder);
  return absl::OkStatus();
}

absl::Status TaskWorker::CheckAllowed(const v1::Task& task) {
  absl::Status plan = federated::CheckPlan(task.plan());
  RETURN_IF_ERROR(plan);
  if (federated::PlanDigest(task.plan()) != task.plan_sha256()) {
    return base::Error(absl::StatusCode::kFailedPrecondition, "PLAN_DIGEST",
                       "the plan is not the one that was hashed");
  }
  permit::Use use;
  use.person = task.owner();
  use.operation = task.kind() == v1::Round::KIND_EVALUATE ? "evaluate" : "train";
  use.datasets = {task.datasets().begin(), task.datasets().end()};
  use.node = deps_.node;
  use.now = deps_.clock.Now();
  const std::vector<std::string> planned = federated::DatasetsOf(task.plan(), deps_.node);
  if (use.datasets.empty() || use.datasets != planned) {
    return base::Error(absl::StatusCode::kPermissionDenied, "PERMIT_WRONG_DATASET",
                       "the task's datasets are not those of the plan at this node");
  }
  ASSIGN_OR_RETURN(permit::TrustState trust, deps_.trust());
  ASSIGN_OR_RETURN(permit::Permit permit, permit::Check(task.permit_jws(), trust, use));
  if (permit.max_rounds > 0 && task.plan().rounds() > permit.max_rounds) {
    return base::Error(absl::StatusCode::kPermissionDenied, "PERMIT_ROUNDS_EXCEEDED",
                       "the permit allows fewer rounds in one run");
  }
  ASSIGN_OR_RETURN(access::v1::NodePolicy policy, deps_.policy());
  return CheckPolicy(policy, permit.purpose, task.plan());
}

absl::Status TaskWorker::MakeResult(const v1::Task& task, TaskLease& lease, NodeTask& entry) {
  const v1::Plan& plan = task.plan();
  const std::string folder = FolderOf(task);
  RemoveAll(folder);
  // Preparing and training can take hours, in which somebody may install another one: what runs is
  // the copy that is hashed here.
  ASSIGN_OR_RETURN(TrainerPackage trainer,
                   deps_.trainers.Copy(plan.trainer().name(), folder + "/trainer"));
  if (trainer.digest != plan.trainer().digest()) {
    return base::Error(absl::StatusCode::kFailedPrecondition, "TRAINER_DIGEST",
                       "the trainer installed here is not the one that the plan names");
  }
  RETURN_IF_ERROR(deps_.runner.Check());

  TrimCaches(task.run());
  const std::string cache = absl::StrCat(deps_.state_dir, "/cache/", task.run());
  for (const std::string& path : {folder + "/out", cache, deps_.state_dir + "/inputs"}) {
    RETURN_IF_ERROR(base::MakeDirectories(path, 0700));
  }
  Touch(cache);
  TrainerJob job;
  for (const v1::TaskInput* input : {&task.model(), &task.statistics()}) {
    if (input->sha256().empty()) continue;
    const std::string path = InputPath(input->sha256());
    RETURN_IF_ERROR(CheckInputSize(plan, *input, input == &task.model()));
    if (!Exists(path)) RETURN_IF_ERROR(deps_.hub.Download(task.name(), *input, path));
    job.inputs.emplace_back(path, input == &task.model() ? "/model/model.safetensors"
                                                         : "/model/statistics.safetensors");
  }
  std::error_code ignored;
  for (const auto& file : fs::directory_iterator(deps_.state_dir + "/inputs", ignored)) {
    const std::string name = file.path().filename().string();
    if (name != task.model().sha256() && name != task.statistics().sha256()) {
      fs::remove(file.path(), ignored);
    }
  }

  std::vector<std::string> datasets(task.datasets().begin(), task.datasets().end());
  ASSIGN_OR_RETURN(std::vector<PreparedCase> cases,
                   deps_.cases.Prepare(datasets, plan.case_inputs(), [&] { return lease.GoOn(); }));
  const bool evaluate = task.kind() == v1::Round::KIND_EVALUATE;
  if (plan.has_evaluate()) {
    cases = SplitCases(cases, plan.evaluate().held_out(), plan.evaluate().salt(), evaluate);
  }
  if (cases.empty()) {
    return base::Error(absl::StatusCode::kFailedPrecondition, "NO_CASES",
                       "no case of the datasets is left for this task");
  }
  // Counted after the split: what leaves is computed from these patients only.
  ASSIGN_OR_RETURN(access::v1::NodePolicy policy, deps_.policy());
  if (PatientsIn(cases) < std::max(1, policy.min_patients())) {
    return base::Error(absl::StatusCode::kPermissionDenied, "POLICY_MIN_PATIENTS",
                       "the node's policy asks for more patients than are left for this task");
  }

  nlohmann::json description = {
      {"version", 1},
      {"kind", KindName(task.kind())},
      {"strategy", v1::Strategy_Name(plan.strategy()).substr(9)},
      {"run", task.run()},
      {"round", task.round()},
      {"cases", nlohmann::json::array()},
      {"modalities", std::vector<std::string>(plan.case_inputs().modalities().begin(),
                                              plan.case_inputs().modalities().end())},
      {"metrics", std::vector<std::string>(plan.metrics().begin(), plan.metrics().end())},
      {"paths",
       {{"data", "/data/cases"},
        {"cache", "/cache"},
        {"update", "/out/update.safetensors"},
        {"metrics", "/out/metrics.json"}}}};
  if (task.has_model()) description["paths"]["model"] = "/model/model.safetensors";
  if (task.has_statistics()) description["paths"]["statistics"] = "/model/statistics.safetensors";
  std::string hyperparameters = "{}";
  if (plan.has_hyperparameters()) {
    hyperparameters.clear();
    (void)google::protobuf::util::MessageToJsonString(plan.hyperparameters(), &hyperparameters);
  }
  description["hyperparameters"] = nlohmann::json::parse(hyperparameters, nullptr, false);
  for (const PreparedCase& entry_case : cases) {
    description["cases"].push_back(entry_case.code);
    job.inputs.emplace_back(entry_case.folder, "/data/cases/" + entry_case.code);
  }
  job.task_file = folder + "/task.json";
  RETURN_IF_ERROR(base::WriteFileAtomically(job.task_file, description.dump(1), 0644));
  job.trainer_folder = trainer.folder;
  job.command = trainer.command;
  job.out_folder = folder + "/out";
  job.cache_folder = cache;
  job.time_limit = deps_.time_limit;

  Note(entry, NodeTask::STATE_TRAINING);
  ASSIGN_OR_RETURN(TrainerEnd end, deps_.runner.Run(job, [&] { return lease.GoOn(); }));
  entry.set_peak_memory_bytes(static_cast<int64_t>(end.peak_memory_bytes));
  entry.set_cpu_seconds(absl::ToDoubleSeconds(end.cpu_time));
  if (!end.succeeded) {
    RETURN_IF_ERROR(lease.lost());
    // What the trainer printed may speak of patients: it stays in a file of the node.
    (void)base::WriteFileAtomically(deps_.state_dir + "/last-trainer-failure.log", end.log, 0600);
    if (end.reason == "TRAINER_DISK") RemoveAll(cache);
    return base::Error(end.reason == "STOPPED" ? absl::StatusCode::kAborted
                                               : absl::StatusCode::kFailedPrecondition,
                       end.reason,
                       "the trainer did not finish; its output is in "
                       "last-trainer-failure.log of the service's state folder");
  }
  return TakeResult(task, folder);
}

absl::Status TaskWorker::TakeResult(const v1::Task& task, const std::string& folder) {
  ASSIGN_OR_RETURN(std::string text, ReadPlainFile(folder + "/out/metrics.json", 64 << 10));
  absl::StatusOr<nlohmann::json> json = crypto::ParseStrictJson(text);
  if (!json.ok() || !json->is_object()) return OutputInvalid("metrics.json is not a JSON object");
  auto examples = json->find("examples");
  if (examples == json->end() || !examples->is_number_integer() || *examples < 1 ||
      *examples > federated::kMaxWeight) {
    return OutputInvalid("metrics.json has no number of examples from 1 to 2^40");
  }
  v1::UploadHeader result;
  result.set_task(task.name());
  result.set_examples(examples->get<int64_t>());
  if (auto metrics = json->find("metrics"); metrics != json->end()) {
    if (!metrics->is_object()) return OutputInvalid("metrics is not an object");
    // Only what the plan names leaves the node.
    for (const std::string& name : task.plan().metrics()) {
      auto value = metrics->find(name);
      if (value == metrics->end()) continue;
      if (!value->is_number() || !std::isfinite(value->get<double>())) {
        return OutputInvalid("a metric is not a finite number");
      }
      (*result.mutable_metrics())[name] = Rounded(value->get<double>());
    }
  }
  absl::StatusOr<nlohmann::json> described =
      crypto::ParseStrictJson(base::ReadFile(folder + "/task.json").value_or("{}"));
  if (described.ok()) result.set_cases(static_cast<int32_t>(described->at("cases").size()));
  if (task.kind() != v1::Round::KIND_EVALUATE) {
    const std::string made = folder + "/out/update.safetensors";
    struct stat info{};
    if (lstat(made.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) {
      return OutputInvalid("update.safetensors is missing or not a plain file");
    }
    federated::Template expected = federated::StatisticsTemplate(task.plan());
    if (task.kind() == v1::Round::KIND_TRAIN) {
      ASSIGN_OR_RETURN(federated::TensorFile model,
                       federated::TensorFile::Open(InputPath(task.model().sha256())));
      ASSIGN_OR_RETURN(
          expected, federated::UpdateTemplate(federated::StrategyOf(task.plan()), model.header()));
    }
    {
      // The node's own check of what leaves: these tensors, these shapes, numbers only.
      ASSIGN_OR_RETURN(federated::TensorFile update, federated::TensorFile::Open(made));
      RETURN_IF_ERROR(federated::CheckUpdate(update, expected).status());
    }
    const std::string kept = folder + "/update.safetensors";
    if (rename(made.c_str(), kept.c_str()) != 0) return base::ErrnoStatus(errno, "keep an update");
    ASSIGN_OR_RETURN(FileDigest digest, KeepFile(kept));
    result.set_sha256(digest.sha256);
    result.set_bytes(digest.bytes);
  }
  return base::WriteFileAtomically(folder + "/result.pb", result.SerializeAsString(), 0600);
}

absl::Status TaskWorker::Deliver(const v1::Task& task, NodeTask& entry) {
  const std::string folder = FolderOf(task);
  ASSIGN_OR_RETURN(std::string bytes, base::ReadFile(folder + "/result.pb", 1 << 20));
  v1::UploadHeader result;
  if (!result.ParseFromString(bytes)) {
    RemoveAll(folder);
    return base::Error(absl::StatusCode::kAborted, "RESULT_DAMAGED",
                       "the kept result cannot be read; it is made again");
  }
  result.set_lease_token(task.lease_token());
  entry.set_update_bytes(result.bytes());
  absl::Duration pause = deps_.backoff;
  while (true) {
    // A trainer can run for hours, the hub can be away as long: what was made leaves only while it
    // would still be allowed to begin. A view that is too old to tell is no answer, so it waits.
    absl::Status status = CheckAllowed(task);
    const bool unknown = base::ReasonOf(status) == "EPOCH_TOO_OLD";
    if (!status.ok()) {
      if (!unknown && !IsAway(status)) return status;
    } else if (task.kind() == v1::Round::KIND_EVALUATE) {
      v1::SubmitMetricsRequest request;
      request.set_task(task.name());
      request.set_lease_token(task.lease_token());
      request.set_examples(result.examples());
      request.set_cases(result.cases());
      *request.mutable_metrics() = result.metrics();
      status = deps_.hub.SubmitMetrics(request);
    } else {
      status = deps_.hub.Upload(result, folder + "/update.safetensors");
    }
    if (status.ok() || (!unknown && !IsAway(status))) return status;
    base::LogError("update.not_delivered", status, {{"task", task.name()}});
    deps_.stop.Wait(deps_.stop.version(), pause);
    pause = std::min(pause * 2, kMaxPause);
    // A round that has closed may have closed with this result, its answer lost: the hub says which
    // when it is handed in again, not when the lease is renewed.
    if (deps_.stop.stopped()) return absl::AbortedError("stopped");
  }
}

void TaskWorker::GiveUp(const v1::Task& task, const absl::Status& why, NodeTask& entry) {
  std::string reason = base::ReasonOf(why);
  const bool refused = IsRefusal(reason);
  if (reason.size() > 63) reason = "TASK_FAILED";
  Note(entry, refused ? NodeTask::STATE_REFUSED : NodeTask::STATE_FAILED, reason);
  if (absl::Status told = deps_.record(task, refused ? "REFUSED" : "FAILED", reason); !told.ok()) {
    base::LogError("audit.failed", told, {{"task", task.name()}});
  }
  base::LogError("task.not_done", why, {{"task", task.name()}, {"run", task.run()}});
  Outcome request;
  request.set_task(task.name());
  request.set_lease_token(task.lease_token());
  request.set_reason(reason);
  request.set_outcome(OutcomeOf(why));
  absl::Duration pause = deps_.backoff;
  // Until it is told: a hub that does not know waits for the deadline of the round.
  while (true) {
    absl::Status status = deps_.hub.ReportFailed(request);
    if (status.ok() || !IsAway(status) || deps_.stop.stopped()) return;
    deps_.stop.Wait(deps_.stop.version(), pause);
    pause = std::min(pause * 2, kMaxPause);
  }
}

void TaskWorker::CloseInterrupted() {
  if (interrupted_closed_) return;
  interrupted_closed_ = true;
  // The hub has nothing for this node: what a service that was killed had begun is not handed out
  // again, or not soon; then its entry is opened anew. What the hub took of it, its manifests say.
  for (NodeTask& entry : deps_.history.List()) {
    if (entry.state() != NodeTask::STATE_PREPARING && entry.state() != NodeTask::STATE_TRAINING &&
        entry.state() != NodeTask::STATE_UPLOADING) {
      continue;
    }
    v1::Task task;
    task.set_name(entry.name());
    task.set_run(entry.run());
    task.set_round(entry.round());
    task.set_owner(entry.owner());
    if (absl::Status told = deps_.record(task, "FAILED", "INTERRUPTED"); !told.ok()) {
      base::LogError("audit.failed", told, {{"task", task.name()}});
    }
    Note(entry, NodeTask::STATE_FAILED, "INTERRUPTED");
  }
}

void TaskWorker::TrimCaches(const std::string& run) {
  struct Cache {
    absl::Time used;
    std::string path;
  };
  std::vector<Cache> caches;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(deps_.state_dir + "/cache", error)) {
    struct stat info{};
    if (entry.path().filename() == run || stat(entry.path().c_str(), &info) != 0) continue;
    caches.push_back({absl::TimeFromTimespec(info.st_mtim), entry.path().string()});
  }
  std::sort(caches.begin(), caches.end(),
            [](const Cache& a, const Cache& b) { return a.used > b.used; });
  uint64_t bytes = 0;
  for (const Cache& cache : caches) {
    bytes += DiskUse({cache.path}, deps_.cache_bytes + 1);
    if (bytes > deps_.cache_bytes) RemoveAll(cache.path);
  }
}

void TaskWorker::RemoveOldLeftovers() {
  std::error_code error;
  for (const char* kind : {"/tasks", "/cache", "/cases"}) {
    for (const auto& entry : fs::directory_iterator(deps_.state_dir + kind, error)) {
      struct stat info{};
      if (stat(entry.path().c_str(), &info) != 0) continue;
      if (deps_.clock.Now() - absl::TimeFromTimespec(info.st_mtim) > kLeftoverAge) {
        RemoveAll(entry.path().string());
      }
    }
  }
}

void TaskWorker::RunUntilStopped() {
  absl::Duration pause = deps_.backoff;
  std::string last;
  while (!deps_.stop.stopped()) {
    if (deps_.clock.Now() - cleaned_ >= kCleanEvery) {
      cleaned_ = deps_.clock.Now();
      RemoveOldLeftovers();
    }
    absl::StatusOr<bool> worked = RunOnce();
    if (deps_.stop.stopped()) return;
    const std::string now = worked.ok() ? "" : base::ReasonOf(worked.status());
    // Only a change of what is wrong is news.
    if (!worked.ok() && now != last) base::LogError("tasks.not_fetched", worked.status());
    last = now;
    if (worked.ok()) {
      pause = deps_.backoff;
      if (!*worked && pause_ > absl::ZeroDuration()) deps_.stop.Wait(deps_.stop.version(), pause_);
      continue;
    }
    deps_.stop.Wait(deps_.stop.version(), pause);
    pause = std::min(pause * 2, kMaxPause);
  }
}

}  // namespace oncomesh::training
