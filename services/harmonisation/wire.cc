// SPDX-License-Identifier: Apache-2.0
#include "services/harmonisation/wire.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/clock.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/objects/object_store.h"
#include "libs/site/site_access.h"
#include "services/harmonisation/case_desk.h"
#include "services/harmonisation/harmonisation_service.h"

namespace oncomesh::harmonisation {
namespace {

using config::v1::HarmonisationConfig;

class HarmonisationApp final : public rpc::App {
 public:
  HarmonisationApp(const HarmonisationConfig& config,
                   std::unique_ptr<objects::ObjectStore> released,
                   std::unique_ptr<objects::ObjectStore> prepared)
      : released_(std::move(released)),
        prepared_(std::move(prepared)),
        site_(config.service(), "harmonisation", base::SystemClock::Get()),
        desk_({.released = *released_,
               .prepared = *prepared_,
               .parallel = std::max(1, config.parallel_cases())}),
        guard_(site::GuardDeps(config.service(), site_)),
        service_(guard_, desk_) {}

  std::vector<rpc::Served> services() override {
    return {{"oncomesh.harmonisation.v1.HarmonisationService", &service_}};
  }

 private:
  std::unique_ptr<objects::ObjectStore> released_;
  std::unique_ptr<objects::ObjectStore> prepared_;
  site::SiteAccess site_;
  CaseDesk desk_;
  rpc::CallGuard guard_;
  HarmonisationServiceImpl service_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<rpc::App>> Wire(const HarmonisationConfig& config, rpc::Role role) {
  if (role != rpc::Role::kNode) {
    return base::Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID",
                       "harmonisation runs at nodes; start it with --role=node");
  }
  if (config.objects_dir().empty()) {
    return base::Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID",
                       "harmonisation needs objectsDir, the folder of the released objects");
  }
  if (config.parallel_cases() < 0 || config.parallel_cases() > 64) {
    return base::Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID",
                       "parallelCases is 1 to 64");
  }
  std::string prepared_dir = config.prepared_dir().empty()
                                 ? absl::StrCat(config.service().state_dir(), "/prepared")
                                 : config.prepared_dir();
  ASSIGN_OR_RETURN(std::unique_ptr<objects::ObjectStore> released,
                   objects::OpenFolder(config.objects_dir()));
  ASSIGN_OR_RETURN(std::unique_ptr<objects::ObjectStore> prepared,
                   objects::OpenFolder(prepared_dir));
  return std::unique_ptr<rpc::App>(
      std::make_unique<HarmonisationApp>(config, std::move(released), std::move(prepared)));
}

}  // namespace oncomesh::harmonisation
