// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/wire.h"

#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/clock.h"
#include "libs/base/error.h"
#include "libs/base/log.h"
#include "libs/base/status_macros.h"
#include "libs/objects/object_store.h"
#include "libs/site/site_access.h"
#include "libs/store/database.h"
#include "services/catalogue/catalogue_service.h"
#include "services/catalogue/hub_clients.h"
#include "services/catalogue/node_catalogue_service.h"
#include "services/catalogue/node_clients.h"

namespace oncomesh::catalogue {
namespace {

using config::v1::CatalogueConfig;

absl::StatusOr<terminology::Registry> RegistryOf(const CatalogueConfig& config) {
  return terminology::Registry::WithFiles(
      {config.variable_files().begin(), config.variable_files().end()});
}

class HubApp final : public rpc::App {
 public:
  HubApp(const CatalogueConfig& config, terminology::Registry registry,
         std::unique_ptr<RecordStore> store)
      : registry_(std::move(registry)),
        store_(std::move(store)),
        site_(config.service(), "catalogue", base::SystemClock::Get()),
        nodes_(MakeNodeDirectory(config.service())),
        counter_(MakeNodeCounter(config.service())),
        records_(*store_, registry_),
        count_({.registry = registry_,
                .nodes = *nodes_,
                .counter = *counter_,
                .clock = base::SystemClock::Get()}),
        guard_(site::GuardDeps(config.service(), site_)),
        service_(guard_, records_, count_, registry_, site_) {}

  std::vector<rpc::Served> services() override {
    return {{"oncomesh.catalogue.v1.CatalogueService", &service_}};
  }

 private:
  terminology::Registry registry_;
  std::unique_ptr<RecordStore> store_;
  site::SiteAccess site_;
  std::unique_ptr<NodeDirectory> nodes_;
  std::unique_ptr<NodeCounter> counter_;
  Records records_;
  FederatedCount count_;
  rpc::CallGuard guard_;
  CatalogueServiceImpl service_;
};

class NodeApp final : public rpc::App {
 public:
  NodeApp(const CatalogueConfig& config, terminology::Registry registry,
          std::unique_ptr<NodeStore> store, std::unique_ptr<objects::ObjectStore> objects)
      : sync_every_(absl::Seconds(config.sync_seconds() > 0 ? config.sync_seconds() : 2)),
        registry_(std::move(registry)),
        store_(std::move(store)),
        objects_(std::move(objects)),
        site_(config.service(), "catalogue", base::SystemClock::Get()),
        policy_(MakePolicySource(site_)),
        permits_(MakeCountPermits(site_, base::SystemClock::Get())),
        feed_(MakeReleasedFeed(config)),
        hub_(MakeRecordPublisher(config.service())),
        indexer_({.feed = *feed_,
                  .objects = *objects_,
                  .store = *store_,
                  .index = index_,
                  .registry = registry_,
                  .clock = base::SystemClock::Get()}),
        dataset_index_(config.service().site(), registry_, *store_, index_),
        count_({.node = config.service().site(),
                .registry = registry_,
                .index = index_,
                .policy = *policy_,
                .memory = memory_,
                .permits = *permits_,
                .datasets = dataset_index_}),
        datasets_({.node = config.service().site(),
                   .registry = registry_,
                   .index = index_,
                   .store = *store_,
                   .policy = *policy_,
                   .memory = memory_,
                   .hub = *hub_,
                   .clock = base::SystemClock::Get()}),
        guard_(site::GuardDeps(config.service(), site_)),
        service_(guard_, count_, datasets_, indexer_) {}
  ~NodeApp() override { Drain(); }

  absl::Status Load() { return indexer_.Load(); }

  std::vector<rpc::Served> services() override {
    return {{"oncomesh.catalogue.v1.NodeCatalogueService", &service_}};
  }

  absl::Status Start() override {
    follower_ = std::thread([this] { Follow(); });
    return absl::OkStatus();
  }

  void Drain() override {
    {
      base::MutexLock lock(mutex_);
      stopping_ = true;
      indexer_.Stop();
      wake_.SignalAll();
    }
    if (follower_.joinable()) follower_.join();
  }

 private:
  // Follows the feed. De-identification may start later or be away: only a change of what is wrong
  // is logged.
  void Follow() {
    std::string last;
    while (true) {
      absl::Status status = indexer_.Sync().status();
      base::MutexLock lock(mutex_);
      if (stopping_) return;
      std::string now = status.ok() ? "" : base::ReasonOf(status);
      if (now != last && !status.ok()) base::LogError("index.sync_failed", status);
      last = now;
      wake_.WaitFor(mutex_, absl::ToChronoNanoseconds(sync_every_));
      if (stopping_) return;
    }
  }

  const absl::Duration sync_every_;
  terminology::Registry registry_;
  std::unique_ptr<NodeStore> store_;
  std::unique_ptr<objects::ObjectStore> objects_;
  site::SiteAccess site_;
  std::unique_ptr<PolicySource> policy_;
  std::unique_ptr<CountPermits> permits_;
  std::unique_ptr<ReleasedFeed> feed_;
  std::unique_ptr<RecordPublisher> hub_;
  CurrentIndex index_;
  AnswerMemory memory_;
  Indexer indexer_;
  DatasetIndex dataset_index_;
  NodeCount count_;
  Datasets datasets_;
  rpc::CallGuard guard_;
  NodeCatalogueServiceImpl service_;
  base::Mutex mutex_;
  base::CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread follower_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<rpc::App>> Wire(const CatalogueConfig& config, rpc::Role role) {
  ASSIGN_OR_RETURN(terminology::Registry registry, RegistryOf(config));
  const std::string& password_file = config.service().database_password_file();
  if (role == rpc::Role::kHub) {
    ASSIGN_OR_RETURN(std::unique_ptr<RecordStore> store,
                     RecordStore::Open(store::UrlOf(config.service().database(),
                                                    config.service().state_dir(), "catalogue"),
                                       password_file));
    return std::unique_ptr<rpc::App>(
        std::make_unique<HubApp>(config, std::move(registry), std::move(store)));
  }
  if (config.objects_dir().empty() || config.deidentification_address().empty()) {
    return base::Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID",
                       "a node's catalogue needs objectsDir and deidentificationAddress");
  }
  ASSIGN_OR_RETURN(std::unique_ptr<NodeStore> store,
                   NodeStore::Open(store::UrlOf(config.service().database(),
                                                config.service().state_dir(), "catalogue"),
                                   password_file));
  ASSIGN_OR_RETURN(std::unique_ptr<objects::ObjectStore> objects,
                   objects::OpenFolder(config.objects_dir()));
  auto app =
      std::make_unique<NodeApp>(config, std::move(registry), std::move(store), std::move(objects));
  RETURN_IF_ERROR(app->Load());
  return std::unique_ptr<rpc::App>(std::move(app));
}

}  // namespace oncomesh::catalogue
