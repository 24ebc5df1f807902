// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/names.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "libs/base/status_macros.h"
#include "libs/terminology/registry.h"
#include "oncomesh/access/v1/access.grpc.pb.h"
#include "oncomesh/access/v1/enrolment.grpc.pb.h"
#include "oncomesh/catalogue/v1/catalogue.grpc.pb.h"
#include "oncomesh/catalogue/v1/node_catalogue.grpc.pb.h"
#include "oncomesh/deidentification/v1/deidentification.grpc.pb.h"
#include "oncomesh/training/v1/training.grpc.pb.h"
#include "services/deidentification/profile.h"
#include "tools/oncomesh/front_door.h"

namespace oncomesh::cli {
namespace {

using Names = std::vector<std::string>;
using Channel = std::shared_ptr<grpc::Channel>;

constexpr absl::string_view kKinds[] = {"DATASET", "NODE", "PERMIT", "PROFILE", "QUARANTINED",
                                        "REQUEST", "RUN",  "SITE",   "VARIABLE"};

// Somebody waits at the prompt. One page is what a person can choose from.
constexpr absl::Duration kPatience = absl::Seconds(2);

absl::StatusOr<Names> Datasets(const Channel& channel) {
  using catalogue::v1::CatalogueService;
  using catalogue::v1::NodeCatalogueService;
  Names out;
  auto hub = CatalogueService::NewStub(channel);
  auto published = Call(*hub, &CatalogueService::Stub::SearchDatasets,
                        catalogue::v1::SearchDatasetsRequest(), kPatience);
  if (published.ok()) {
    for (const auto& record : published->datasets()) out.push_back(record.name());
    return out;
  }
  if (!absl::IsUnimplemented(published.status())) return published.status();
  auto node = NodeCatalogueService::NewStub(channel);
  ASSIGN_OR_RETURN(auto own, Call(*node, &NodeCatalogueService::Stub::ListNodeDatasets,
                                  catalogue::v1::ListNodeDatasetsRequest(), kPatience));
  for (const auto& record : own.datasets()) out.push_back(record.name());
  return out;
}

absl::StatusOr<Names> Nodes(const Channel& channel) {
  using access::v1::EnrolmentService;
  auto stub = EnrolmentService::NewStub(channel);
  ASSIGN_OR_RETURN(auto response, Call(*stub, &EnrolmentService::Stub::ListNodes,
                                       access::v1::ListNodesRequest(), kPatience));
  Names out;
  for (const auto& node : response.nodes()) out.push_back(node.name());
  return out;
}

// Requests, or the permits that came of them.
absl::StatusOr<Names> Requests(const Channel& channel, bool permits) {
  using access::v1::AccessService;
  auto stub = AccessService::NewStub(channel);
  ASSIGN_OR_RETURN(auto response, Call(*stub, &AccessService::Stub::ListRequests,
                                       access::v1::ListRequestsRequest(), kPatience));
  Names out;
  for (const auto& request : response.requests()) {
    const std::string& name = permits ? request.permit_id() : request.id();
    if (!name.empty()) out.push_back(name);
  }
  return out;
}

absl::StatusOr<Names> Runs(const Channel& channel) {
  using training::v1::TrainingService;
  auto stub = TrainingService::NewStub(channel);
  ASSIGN_OR_RETURN(auto response, Call(*stub, &TrainingService::Stub::ListRuns,
                                       training::v1::ListRunsRequest(), kPatience));
  Names out;
  for (const auto& run : response.runs()) out.push_back(run.name());
  return out;
}

absl::StatusOr<Names> Quarantined(const Channel& channel) {
  using deidentification::v1::DeidentificationService;
  auto stub = DeidentificationService::NewStub(channel);
  ASSIGN_OR_RETURN(auto response, Call(*stub, &DeidentificationService::Stub::ListQuarantined,
                                       deidentification::v1::ListQuarantinedRequest(), kPatience));
  Names out;
  for (const auto& object : response.objects()) out.push_back(object.id());
  return out;
}

absl::StatusOr<Names> Find(absl::string_view kind, const Session& session) {
  Names out;
  if (kind == "VARIABLE") {
    for (const auto& variable : terminology::Registry::Builtin().variables()) {
      out.push_back(variable->name);
    }
    return out;
  }
  if (kind == "PROFILE") {
    for (const auto& profile : deidentification::BuiltInProfiles()) out.push_back(profile.name);
    return out;
  }
  ASSIGN_OR_RETURN(Channel channel, OpenFrontDoor(session));
  if (kind == "DATASET") return Datasets(channel);
  if (kind == "NODE") return Nodes(channel);
  if (kind == "SITE") {
    ASSIGN_OR_RETURN(out, Nodes(channel));
    out.insert(out.begin(), "hub");
    return out;
  }
  if (kind == "RUN") return Runs(channel);
  if (kind == "QUARANTINED") return Quarantined(channel);
  return Requests(channel, kind == "PERMIT");
}

}  // namespace

absl::string_view NameKind(absl::string_view type_name) {
  absl::ConsumeSuffix(&type_name, ",…");
  for (absl::string_view kind : kKinds) {
    if (kind == type_name) return kind;
  }
  return "";
}

void AddNamesCommand(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("__names", "names that a service knows, for completion");
  command->group("");
  auto kind = std::make_shared<std::string>();
  command->add_option("KIND", *kind, "what to name")
      ->required()
      ->check(CLI::IsMember(std::vector<std::string>(std::begin(kKinds), std::end(kKinds))));
  OnRun(command, session, [kind, &session]() -> absl::StatusOr<int> {
    ASSIGN_OR_RETURN(Names names, Find(*kind, session));
    session.Print({{"names", names}}, absl::StrJoin(names, "\n"));
    return kDone;
  });
}

}  // namespace oncomesh::cli
