// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/mesh_config.h"

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/random.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "tools/oncomesh/mesh_processes.h"

namespace oncomesh::cli {
namespace {

using nlohmann::json;

constexpr char kIssuer[] = "https://oncomesh.local/issuer";
constexpr char kAudience[] = "oncomesh";

std::string SecretFile(const Mesh& mesh, const std::string& person) {
  return absl::StrCat(mesh.dir, "/contexts/", person, ".secret");
}

// The block that every service has.
json Common(const Mesh& mesh, const Process& process) {
  const Process& access = *mesh.Find(process.site, "access");
  const Process& relay = *mesh.Find(process.site, "relay");
  json common = {{"site", process.site},
                 {"trustDomain", mesh.trust_domain},
                 {"adminListen", process.Address("admin")},
                 {"metricsListen", process.Address("metrics")},
                 {"identityDir", mesh.IdentityDir(process)},
                 {"stateDir", mesh.StateDir(process)}};
  if (process.service == "relay") {
    common["listen"] = process.Address(process.site == "hub" ? "downlink" : "uplink");
  } else {
    common["listen"] = process.Address("listen");
    common["relayAddress"] = relay.Address(process.site == "hub" ? "downlink" : "uplink");
  }
  if (process.service != "access") common["accessAddress"] = access.Address("listen");
  return common;
}

absl::StatusOr<json> AccessConfig(const Mesh& mesh, const Process& process) {
  json config;
  config["identityRoot"] = mesh.SiteDir(process.site) + "/identity";
  config["services"] = process.site == "hub" ? HubServices() : NodeServices();
  json people = json::array();
  json credentials = json::array();
  for (const LocalPerson& person : LocalPeople(mesh)) {
    // The auditor looks at every site; each gives the role itself.
    if (person.site == process.site || person.name == "auditor") {
      people.push_back({{"subject", person.name}, {"roles", person.roles}});
    }
    if (process.site != "hub") continue;
    ASSIGN_OR_RETURN(std::string secret, base::ReadFile(SecretFile(mesh, person.name), 4096));
    credentials.push_back(
        {{"subject", person.name},
         {"secretSha256", crypto::Sha256Hex(absl::StripAsciiWhitespace(secret))}});
  }
  config["people"] = people;
  if (process.site == "hub") {
    if (const Process* catalogue = mesh.Find("hub", "catalogue")) {
      config["catalogueAddress"] = catalogue->Address("listen");
    }
    config["frontDoorAddress"] = mesh.Find("hub", "relay")->Address("frontDoor");
    config["localIssuer"] = {{"enabled", true},
                             {"issuer", kIssuer},
                             {"audience", kAudience},
                             {"credentials", credentials}};
  } else {
    config["invitationFile"] = mesh.SiteDir(process.site) + "/invitation";
    config["policyFile"] = mesh.SiteDir(process.site) + "/policy.json";
  }
  return config;
}

json RelayConfig(const Mesh& mesh, const Process& process) {
  json config;
  json routes = json::array();
  auto route = [&](const char* area, const std::string& service) {
    const Process* target = mesh.Find(process.site, service);
    if (target == nullptr) return;
    routes.push_back({{"prefix", absl::StrCat("/oncomesh.", area, ".v1.")},
                      {"address", target->Address("listen")},
                      {"service", service}});
  };
  route("access", "access");
  route("audit", "access");
  route("catalogue", "catalogue");
  route("training", "training");
  if (process.site == "hub") {
    config["nodeListen"] = process.Address("node");
  } else {
    config["hubAddress"] = mesh.Find("hub", "relay")->Address("node");
    route("deidentification", "deidentification");
    route("harmonisation", "harmonisation");
  }
  config["frontDoorListen"] = process.Address("frontDoor");
  config["routes"] = routes;
  return config;
}

json DeidentificationConfig(const Mesh& mesh, const Process& process) {
  return {{"objectsDir", mesh.SiteDir(process.site) + "/objects"},
          {"projectKeyFile", mesh.SiteDir(process.site) + "/project.key"}};
}

json HarmonisationConfig(const Mesh& mesh, const Process& process) {
  return {{"objectsDir", mesh.SiteDir(process.site) + "/objects"},
          {"preparedDir", mesh.SiteDir(process.site) + "/prepared"}};
}

json TrainingConfig(const Mesh& mesh, const Process& process) {
  if (process.site == "hub") return json::object();
  json config = {
      {"trainersDir", mesh.SiteDir(process.site) + "/trainers"},
      {"catalogueAddress", mesh.Find(process.site, "catalogue")->Address("listen")},
      {"harmonisationAddress", mesh.Find(process.site, "harmonisation")->Address("listen")},
      {"preparedDir", mesh.SiteDir(process.site) + "/prepared"}};
  if (!mesh.trainer_environment.empty()) {
    config["trainerLimits"] = {{"readable", {mesh.trainer_environment}},
                               {"path", {mesh.trainer_environment + "/bin"}}};
  }
  return config;
}

json CatalogueConfig(const Mesh& mesh, const Process& process) {
  if (process.site == "hub") return json::object();
  return {
      {"objectsDir", mesh.SiteDir(process.site) + "/objects"},
      {"deidentificationAddress", mesh.Find(process.site, "deidentification")->Address("listen")}};
}

}  // namespace

std::vector<LocalPerson> LocalPeople(const Mesh& mesh) {
  std::vector<LocalPerson> people = {{"operator", "hub", {"operator"}},
                                     {"researcher", "hub", {"researcher"}},
                                     {"committee", "hub", {"committee"}},
                                     {"auditor", "hub", {"auditor"}}};
  for (const std::string& node : mesh.nodes) people.push_back({"holder-" + node, node, {"holder"}});
  return people;
}

std::string ContextFile(const Mesh& mesh, const std::string& person) {
  return absl::StrCat(mesh.dir, "/contexts/", person, ".json");
}

std::string AuthorityFile(const Mesh& mesh) { return mesh.dir + "/contexts/ca.crt"; }

absl::Status WriteContexts(const Mesh& mesh) {
  RETURN_IF_ERROR(base::MakeDirectories(mesh.dir + "/contexts", 0700));
  for (const LocalPerson& person : LocalPeople(mesh)) {
    if (access(SecretFile(mesh, person.name).c_str(), F_OK) != 0) {
      std::string secret = absl::BytesToHexString(base::SystemRandom::Get().Bytes(32));
      RETURN_IF_ERROR(
          base::WriteFileAtomically(SecretFile(mesh, person.name), secret + "\n", 0600));
    }
    json context = {{"endpoint", mesh.Find(person.site, "relay")->Address("frontDoor")},
                    {"trustDomain", mesh.trust_domain},
                    {"site", person.site},
                    {"caFile", "ca.crt"},
                    {"credentialFile", person.name + ".secret"},
                    {"subject", person.name}};
    RETURN_IF_ERROR(
        base::WriteFileAtomically(ContextFile(mesh, person.name), context.dump(2) + "\n", 0600));
  }
  return absl::OkStatus();
}

absl::Status WriteConfigs(const Mesh& mesh) {
  for (const Process& process : mesh.processes) {
    json config = json::object();
    if (process.service == "access") {
      ASSIGN_OR_RETURN(config, AccessConfig(mesh, process));
    } else if (process.service == "relay") {
      config = RelayConfig(mesh, process);
    } else if (process.service == "catalogue") {
      config = CatalogueConfig(mesh, process);
    } else if (process.service == "deidentification") {
      config = DeidentificationConfig(mesh, process);
    } else if (process.service == "training") {
      config = TrainingConfig(mesh, process);
    } else if (process.service == "harmonisation") {
      config = HarmonisationConfig(mesh, process);
    }
    config["service"] = Common(mesh, process);
    RETURN_IF_ERROR(base::MakeDirectories(mesh.SiteDir(process.site) + "/config", 0700));
    RETURN_IF_ERROR(
        base::WriteFileAtomically(mesh.ConfigFile(process), config.dump(2) + "\n", 0600));
  }
  return absl::OkStatus();
}

}  // namespace oncomesh::cli
