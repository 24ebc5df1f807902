// SPDX-License-Identifier: Apache-2.0
#include "services/training/wire.h"

#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/base/random.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/jws.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/identity.h"
#include "libs/site/site_access.h"
#include "libs/store/database.h"
#include "services/training/aggregation.h"
#include "services/training/grpc_hub_client.h"
#include "services/training/node_training_service.h"
#include "services/training/process_runner.h"
#include "services/training/round_closer.h"
#include "services/training/site_case_provider.h"
#include "services/training/site_services.h"
#include "services/training/training_service.h"

namespace oncomesh::training {
namespace {

using config::v1::TrainingConfig;

constexpr char kSoftware[] = "oncomesh/" ONCOMESH_VERSION;

class HubApp final : public rpc::App {
 public:
  HubApp(const TrainingConfig& config, std::unique_ptr<TrainingStore> store,
         std::unique_ptr<UpdateSpool> spool, std::unique_ptr<objects::ObjectStore> models,
         crypto::PrivateKey key)
      : store_(std::move(store)),
        spool_(std::move(spool)),
        models_(std::move(models)),
        key_(std::move(key)),
        starting_(*store_, *models_),
        site_(config.service(), "training", base::SystemClock::Get()),
        runs_({*store_,
               *models_,
               base::SystemClock::Get(),
               base::SystemRandom::Get(),
               [this] { return site_.Trust(); },
               changes_,
               Scratch(config),
               {{crypto::Thumbprint(key_.Public()), key_.Public()}},
               starting_,
               config.max_running_runs() > 0 ? config.max_running_runs() : 20}),
        tasks_({*store_, *spool_, *models_, base::SystemClock::Get(), base::SystemRandom::Get(),
                [this] { return site_.Trust(); }, changes_, Rules(config)}),
        closer_({*store_, *spool_, *models_, base::SystemClock::Get(), base::SystemRandom::Get(),
                 changes_, starting_, key_, kSoftware, Scratch(config)}),
        guard_(site::GuardDeps(config.service(), site_)),
        training_(guard_, runs_, changes_),
        task_service_(guard_, tasks_, changes_) {}

  std::vector<rpc::Served> services() override {
    return {{"oncomesh.training.v1.TrainingService", &training_},
            {"oncomesh.training.v1.TaskService", &task_service_}};
  }
  absl::Status Start() override {
    closer_.Start();
    return absl::OkStatus();
  }
  void Drain() override { closer_.Stop(); }

 private:
  static std::string Scratch(const TrainingConfig& config) {
    return config.service().state_dir() + "/scratch";
  }
  static LeaseRules Rules(const TrainingConfig& config) {
    LeaseRules rules;
    if (config.lease_seconds() > 0) rules.lease = absl::Seconds(config.lease_seconds());
    return rules;
  }

  std::unique_ptr<TrainingStore> store_;
  std::unique_ptr<UpdateSpool> spool_;
  std::unique_ptr<objects::ObjectStore> models_;
  crypto::PrivateKey key_;
  StartingModels starting_;
  site::SiteAccess site_;
  ChangeSignal changes_;
  RunDesk runs_;
  TaskDesk tasks_;
  RoundCloser closer_;
  rpc::CallGuard guard_;
  TrainingServiceImpl training_;
  TaskServiceImpl task_service_;
};

ProcessRunner::Options RunnerOptions(const config::v1::TrainerLimits& limits) {
  ProcessRunner::Options options;
  if (limits.memory_mib() > 0) options.memory_bytes = uint64_t(limits.memory_mib()) << 20;
  if (limits.file_mib() > 0) options.file_bytes = uint64_t(limits.file_mib()) << 20;
  if (limits.temporary_mib() > 0) options.temporary_bytes = uint64_t(limits.temporary_mib()) << 20;
  if (limits.disk_mib() > 0) options.disk_bytes = uint64_t(limits.disk_mib()) << 20;
  if (limits.cpu_minutes() > 0) options.cpu_time = absl::Minutes(limits.cpu_minutes());
  options.readable = {limits.readable().begin(), limits.readable().end()};
  options.path = {limits.path().begin(), limits.path().end()};
  return options;
}

class NodeApp final : public rpc::App {
 public:
  NodeApp(const TrainingConfig& config, std::unique_ptr<TaskHistory> history,
          std::unique_ptr<CaseProvider> cases)
      : history_(std::move(history)),
        cases_(std::move(cases)),
        site_(config.service(), "training", base::SystemClock::Get()),
        hub_(MakeGrpcHubClient(
            rpc::Connect({.target = config.service().relay_address(),
                          .identity_dir = config.service().identity_dir(),
                          .trust_domain = config.service().trust_domain(),
                          .peer = rpc::ServicePath(config.service().site(), "relay"),
                          .node = ""}))),
        shelf_(config.trainers_dir()),
        runner_(RunnerOptions(config.trainer_limits())),
        worker_(WorkerDeps(config)),
        guard_(site::GuardDeps(config.service(), site_)),
        service_(guard_, shelf_, [this] { return site_.Policy(); }, *history_) {}
  ~NodeApp() override { Drain(); }

  std::vector<rpc::Served> services() override {
    return {{"oncomesh.training.v1.NodeTrainingService", &service_}};
  }
  absl::Status Start() override {
    // Said at the start and not only when the first task is refused.
    absl::Status runner = runner_.Check();
    if (!runner.ok()) base::LogError("trainers.not_confinable", runner);
    thread_ = std::thread([this] { worker_.RunUntilStopped(); });
    return absl::OkStatus();
  }
  void Drain() override {
    stop_.Stop();
    hub_->StopWaiting();
    cases_->Stop();
    if (thread_.joinable()) thread_.join();
  }

 private:
  TaskWorker::Deps WorkerDeps(const TrainingConfig& config) {
    TaskWorker::Deps deps{
        .node = config.service().site(),
        .session = base::NewId("session-"),
        .state_dir = config.service().state_dir(),
        .version = ONCOMESH_VERSION,
        .hub = *hub_,
        .trust = [this] { return site_.Trust(); },
        .policy = [this] { return site_.Policy(); },
        .record =
            [this](const v1::Task& task, const std::string& outcome, const std::string& reason) {
              rpc::CallEvent event;
              event.type = "training.task";
              event.actor = "person:" + task.owner();
              event.outcome = outcome == "DONE" ? "OK" : outcome;
              event.reason = reason;
              event.permit = task.permit_jws();
              event.note = {task.name(),
                            {{"run", task.run()}, {"round", absl::StrCat(task.round())}}};
              // Not known any more of a task that an earlier start left unfinished.
              if (const std::string& digest = task.plan().trainer().digest(); !digest.empty()) {
                event.note.attributes.emplace("trainer", digest);
              }
              return site_.RecordOwn(std::move(event));
            },
        .trainers = shelf_,
        .cases = *cases_,
        .runner = runner_,
        .history = *history_,
        .clock = base::SystemClock::Get(),
        .stop = stop_};
    if (config.trainer_limits().minutes() > 0) {
      deps.time_limit = absl::Minutes(config.trainer_limits().minutes());
    }
    if (config.trainer_limits().disk_mib() > 0) {
      deps.cache_bytes = uint64_t(config.trainer_limits().disk_mib()) << 20;
    }
    return deps;
  }

  std::unique_ptr<TaskHistory> history_;
  std::unique_ptr<CaseProvider> cases_;
  site::SiteAccess site_;
  std::unique_ptr<HubClient> hub_;
  TrainerShelf shelf_;
  ProcessRunner runner_;
  ChangeSignal stop_;
  TaskWorker worker_;
  rpc::CallGuard guard_;
  NodeTrainingServiceImpl service_;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<rpc::App>> Wire(const TrainingConfig& config, rpc::Role role) {
  const std::string& state = config.service().state_dir();
  if (role == rpc::Role::kHub) {
    ASSIGN_OR_RETURN(auto store,
                     TrainingStore::Open(store::UrlOf(config.service().database(),
                                                      config.service().state_dir(), "training"),
                                         config.service().database_password_file()));
    RETURN_IF_ERROR(EmptyScratch(state + "/scratch"));
    ASSIGN_OR_RETURN(auto spool, UpdateSpool::Open(state + "/updates"));
    ASSIGN_OR_RETURN(auto models, objects::OpenFolder(state + "/models"));
    ASSIGN_OR_RETURN(auto key, crypto::PrivateKey::LoadOrGenerate(state + "/manifest.key",
                                                                  crypto::KeyType::kEd25519));
    return std::unique_ptr<rpc::App>(std::make_unique<HubApp>(
        config, std::move(store), std::move(spool), std::move(models), std::move(key)));
  }
  if (config.trainers_dir().empty()) {
    return base::Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID",
                       "a node's training service needs trainersDir");
  }
  ASSIGN_OR_RETURN(auto history, TaskHistory::Open(state + "/tasks.history"));
  std::unique_ptr<CaseProvider> cases;
  if (!config.cases_dir().empty()) {
    cases = std::make_unique<FolderCaseProvider>(config.cases_dir());
  } else if (!config.catalogue_address().empty() && !config.harmonisation_address().empty() &&
             !config.prepared_dir().empty()) {
    ASSIGN_OR_RETURN(auto prepared, objects::OpenFolder(config.prepared_dir()));
    cases = MakeSiteCaseProvider(ConnectSiteServices(config.service(), config.catalogue_address(),
                                                     config.harmonisation_address()),
                                 std::move(prepared), state + "/cases", base::SystemClock::Get());
  } else {
    return base::Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID",
                       "a node's training service needs catalogueAddress, harmonisationAddress and "
                       "preparedDir, or casesDir");
  }
  return std::unique_ptr<rpc::App>(
      std::make_unique<NodeApp>(config, std::move(history), std::move(cases)));
}

}  // namespace oncomesh::training
