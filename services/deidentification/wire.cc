// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/wire.h"

#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/clock.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/base/mutex.h"
#include "libs/base/random.h"
#include "libs/base/status_macros.h"
#include "libs/objects/object_store.h"
#include "libs/site/site_access.h"
#include "libs/store/database.h"
#include "services/deidentification/deidentification_service.h"
#include "services/deidentification/folder_watch.h"

namespace oncomesh::deidentification {
namespace {

using config::v1::DeidentificationConfig;

absl::Status Invalid(absl::string_view message) {
  return base::Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID", message);
}

class NodeApp final : public rpc::App {
 public:
  NodeApp(const DeidentificationConfig& config, std::unique_ptr<Deidentifier> deidentifier,
          std::unique_ptr<ReleaseStore> store, std::unique_ptr<objects::ObjectStore> objects)
      : intake_dir_(config.intake_dir()),
        quiet_(
            absl::Seconds(config.intake_quiet_seconds() > 0 ? config.intake_quiet_seconds() : 10)),
        deidentifier_(std::move(deidentifier)),
        store_(std::move(store)),
        objects_(std::move(objects)),
        site_(config.service(), "deidentification", base::SystemClock::Get()),
        guard_(site::GuardDeps(config.service(), site_)) {}
  ~NodeApp() override { Drain(); }

  absl::Status Open(const DeidentificationConfig& config) {
    ASSIGN_OR_RETURN(
        intake_,
        Intake::Create({.deidentifier = *deidentifier_,
                        .store = *store_,
                        .objects = *objects_,
                        .clock = base::SystemClock::Get(),
                        .work_dir = absl::StrCat(config.service().state_dir(), "/work"),
                        .quarantine_dir = absl::StrCat(config.service().state_dir(), "/quarantine"),
                        .manifest_dir = absl::StrCat(config.service().state_dir(), "/manifests"),
                        .site = config.service().site()}));
    service_ =
        std::make_unique<DeidentificationServiceImpl>(guard_, *intake_, *store_, *deidentifier_);
    if (!intake_dir_.empty()) return base::MakeDirectories(intake_dir_, 0700);
    return absl::OkStatus();
  }

  std::vector<rpc::Served> services() override {
    return {{"oncomesh.deidentification.v1.DeidentificationService", service_.get()}};
  }

  absl::Status Start() override {
    if (!intake_dir_.empty()) watcher_ = std::thread([this] { Watch(); });
    return absl::OkStatus();
  }

  void Drain() override {
    {
      base::MutexLock lock(mutex_);
      stopping_ = true;
      wake_.SignalAll();
    }
    if (watcher_.joinable()) watcher_.join();
  }

 private:
  void Watch() {
    FolderWatch watch(intake_dir_, quiet_, *intake_, base::SystemClock::Get());
    while (true) {
      absl::StatusOr<FolderWatch::Pass> pass = watch.Look();
      if (!pass.ok()) {
        base::LogError("intake.folder_failed", pass.status());
      } else if (pass->released + pass->quarantined + pass->failed > 0) {
        base::Log(base::Level::kInfo, "intake.folder",
                  {{"released", pass->released},
                   {"quarantined", pass->quarantined},
                   {"failed", pass->failed}});
      }
      base::MutexLock lock(mutex_);
      if (!stopping_) wake_.WaitFor(mutex_, std::chrono::seconds(2));
      if (stopping_) return;
    }
  }

  const std::string intake_dir_;
  const absl::Duration quiet_;
  std::unique_ptr<Deidentifier> deidentifier_;
  std::unique_ptr<ReleaseStore> store_;
  std::unique_ptr<objects::ObjectStore> objects_;
  site::SiteAccess site_;
  rpc::CallGuard guard_;
  std::unique_ptr<Intake> intake_;
  std::unique_ptr<DeidentificationServiceImpl> service_;
  base::Mutex mutex_;
  base::CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread watcher_;
};

}  // namespace

absl::StatusOr<std::string> ProjectKey(const std::string& path, ReleaseStore& store) {
  absl::StatusOr<std::string> key = ReadKeyFile(path);
  if (base::ReasonOf(key.status()) == "KEY_NOT_FOUND") {
    // A secret that was not mounted looks like a first start.
    ASSIGN_OR_RETURN(bool first_start, store.IsEmpty());
    if (!first_start) {
      return base::Error(
          absl::StatusCode::kFailedPrecondition, "KEY_MISSING",
          "the project key file cannot be read, and this node has released or quarantined objects "
          "with it: with a new key the same patient would get another code and other dates; put "
          "the "
          "key file back at projectKeyFile (mount it, or restore it from its backup), or start "
          "with "
          "an empty state folder");
    }
    absl::Status made = base::WriteFileAtomically(path, NewKeyFile(base::SystemRandom::Get()), 0600,
                                                  /*overwrite=*/false);
    if (!made.ok() && base::ReasonOf(made) != "FILE_EXISTS") return made;
    key = ReadKeyFile(path);
  }
  RETURN_IF_ERROR(key.status());
  RETURN_IF_ERROR(store.BindKey(Keys(*key).KeyId()));
  return key;
}

absl::StatusOr<std::unique_ptr<rpc::App>> Wire(const DeidentificationConfig& config,
                                               rpc::Role role) {
  if (role != rpc::Role::kNode) {
    return Invalid("de-identification runs at nodes only: identified objects do not leave them");
  }
  if (config.objects_dir().empty() || config.project_key_file().empty()) {
    return Invalid("de-identification needs objectsDir and projectKeyFile");
  }
  RETURN_IF_ERROR(base::MakeDirectories(config.service().state_dir(), 0700));
  ASSIGN_OR_RETURN(Profile profile,
                   LoadProfile(config.profile().empty() ? "research" : config.profile()));
  if (profile.throw_away_key) {
    return Invalid(
        "a node's profile must not throw its key away: it could not find a patient "
        "again");
  }
  const auto& service = config.service();
  ASSIGN_OR_RETURN(
      std::unique_ptr<ReleaseStore> store,
      ReleaseStore::Open(store::UrlOf(service.database(), service.state_dir(), "deidentification"),
                         service.database_password_file()));
  ASSIGN_OR_RETURN(std::string key, ProjectKey(config.project_key_file(), *store));
  ASSIGN_OR_RETURN(std::unique_ptr<objects::ObjectStore> objects,
                   objects::OpenFolder(config.objects_dir()));
  auto app = std::make_unique<NodeApp>(config, std::make_unique<Deidentifier>(profile, key),
                                       std::move(store), std::move(objects));
  RETURN_IF_ERROR(app->Open(config));
  return app;
}

}  // namespace oncomesh::deidentification
