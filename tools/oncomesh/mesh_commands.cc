// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/mesh_commands.h"

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "oncomesh/access/v1/enrolment.grpc.pb.h"
#include "oncomesh/access/v1/people.grpc.pb.h"
#include "oncomesh/admin/v1/admin.grpc.pb.h"
#include "tools/oncomesh/front_door.h"
#include "tools/oncomesh/interrupt.h"
#include "tools/oncomesh/mesh_config.h"
#include "tools/oncomesh/mesh_layout.h"
#include "tools/oncomesh/mesh_processes.h"
#include "tools/oncomesh/proto_json.h"

namespace oncomesh::cli {
namespace {

using nlohmann::json;

constexpr absl::Duration kStartTime = absl::Seconds(90);

bool Exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

absl::Status StartAndWait(const Mesh& mesh, const Process& process, Progress& progress) {
  RETURN_IF_ERROR(StartProcess(mesh, process));
  RETURN_IF_ERROR(WaitServing(mesh, process, kStartTime));
  progress.Advance(1);
  return absl::OkStatus();
}

// Starts what does not run yet of a site, all at once, and waits for each.
absl::Status StartSite(const Mesh& mesh, const std::string& site, Progress& progress) {
  for (const Process& process : mesh.processes) {
    if (process.site == site) RETURN_IF_ERROR(StartProcess(mesh, process));
  }
  for (const Process& process : mesh.processes) {
    if (process.site != site || (site == "hub" && process.service == "access")) continue;
    RETURN_IF_ERROR(StartAndWait(mesh, process, progress));
  }
  return absl::OkStatus();
}

// A node that has no certificate yet gets an invitation from the operator, as any node would.
absl::Status Invite(const Mesh& mesh, const std::string& node) {
  if (Exists(mesh.SiteDir(node) + "/identity/access/current")) return absl::OkStatus();
  Context context;
  context.endpoint = mesh.Find("hub", "relay")->Address("frontDoor");
  context.trust_domain = mesh.trust_domain;
  context.site = "hub";
  context.ca_file = AuthorityFile(mesh);
  context.credential_file = absl::StrCat(mesh.dir, "/contexts/operator.secret");
  ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(context));
  auto stub = access::v1::EnrolmentService::NewStub(channel);
  access::v1::CreateInvitationRequest request;
  request.set_node(node);
  ASSIGN_OR_RETURN(auto response,
                   Call(*stub, &access::v1::EnrolmentService::Stub::CreateInvitation, request));
  return base::WriteFileAtomically(mesh.SiteDir(node) + "/invitation", response.token() + "\n",
                                   0600);
}

// Until a node has heard from the hub whom to trust, it knows nobody.
absl::Status WaitKnowsPeople(const Mesh& mesh, const std::string& node) {
  Session holder;
  holder.context_path_ = ContextFile(mesh, "holder-" + node);
  ASSIGN_OR_RETURN(Context context, holder.LoadContext());
  const absl::Time deadline = absl::Now() + kStartTime;
  while (true) {
    absl::StatusOr<std::shared_ptr<grpc::Channel>> channel = OpenFrontDoor(context);
    absl::Status known = channel.status();
    if (known.ok()) {
      auto stub = access::v1::PeopleService::NewStub(*channel);
      known = Call(*stub, &access::v1::PeopleService::Stub::WhoAmI, access::v1::WhoAmIRequest(),
                   absl::Seconds(5))
                  .status();
    }
    // A node that the operator has suspended or removed runs all the same.
    if (known.code() != absl::StatusCode::kUnavailable || absl::Now() >= deadline) {
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(InterruptGuard::Check());
    absl::SleepFor(absl::Milliseconds(50));
  }
}

absl::Status Up(const Mesh& mesh, const Session& session) {
  RETURN_IF_ERROR(WriteContexts(mesh));
  RETURN_IF_ERROR(WriteConfigs(mesh));
  Progress progress(session, "starting", "services", mesh.processes.size());
  // The hub's access service makes the trust domain and everybody's certificates; the others of the
  // hub wait for theirs. They start together, since each waits for what it needs.
  RETURN_IF_ERROR(StartAndWait(mesh, *mesh.Find("hub", "access"), progress));
  ASSIGN_OR_RETURN(
      std::string authority,
      base::ReadFile(mesh.SiteDir("hub") + "/identity/access/current/ca.crt", 1 << 20));
  RETURN_IF_ERROR(base::WriteFileAtomically(AuthorityFile(mesh), authority));
  RETURN_IF_ERROR(StartSite(mesh, "hub", progress));
  for (const std::string& node : mesh.nodes) {
    // A relay that has just started may not have reached the services behind it yet.
    absl::Status invited;
    const absl::Time deadline = absl::Now() + kStartTime;
    do {
      invited = Invite(mesh, node);
      if (invited.code() == absl::StatusCode::kUnavailable) absl::SleepFor(absl::Milliseconds(200));
      RETURN_IF_ERROR(InterruptGuard::Check());
    } while (invited.code() == absl::StatusCode::kUnavailable && absl::Now() < deadline);
    RETURN_IF_ERROR(invited);
    for (const Process& process : mesh.processes) {
      if (process.site == node) RETURN_IF_ERROR(StartProcess(mesh, process));
    }
  }
  for (const std::string& node : mesh.nodes) RETURN_IF_ERROR(StartSite(mesh, node, progress));
  for (const std::string& node : mesh.nodes) RETURN_IF_ERROR(WaitKnowsPeople(mesh, node));
  return absl::OkStatus();
}

std::vector<const Process*> Running(const Mesh& mesh) {
  std::vector<const Process*> out;
  for (const Process& process : mesh.processes) {
    if (IsRunning(mesh, process)) out.push_back(&process);
  }
  return out;
}

// All processes except `but`. Nodes first: what they have under way can still reach the hub.
void Down(const Mesh& mesh, const std::vector<const Process*>& but = {}) {
  std::vector<const Process*> nodes, hub;
  for (const Process& process : mesh.processes) {
    if (std::find(but.begin(), but.end(), &process) != but.end()) continue;
    (process.site == "hub" ? hub : nodes).push_back(&process);
  }
  StopProcesses(mesh, nodes, absl::Seconds(30));
  StopProcesses(mesh, hub, absl::Seconds(30));
}

json ProcessJson(const Mesh& mesh, const Process& process) {
  json out = {{"site", process.site},
              {"service", process.service},
              {"state", IsRunning(mesh, process) ? Health(process, absl::Seconds(2)) : "STOPPED"},
              {"admin", process.Address("admin")}};
  auto stub = admin::v1::AdminService::NewStub(
      grpc::CreateChannel(process.Address("admin"), grpc::InsecureChannelCredentials()));
  auto info = Call(*stub, &admin::v1::AdminService::Stub::GetInfo, admin::v1::GetInfoRequest(),
                   absl::Seconds(2));
  if (info.ok()) {
    out["version"] = info->version();
    out["address"] = info->address();
    out["certificateEnd"] = TimeJson(info->certificate_expire_time().seconds());
    out["since"] = TimeJson(info->start_time().seconds());
  }
  // One that does not answer was last seen when it last wrote to its log.
  const absl::Time seen = info.ok() ? absl::Now() : LastLogTime(mesh, process);
  out["lastSeen"] = seen == absl::InfinitePast() ? json() : TimeJson(absl::ToUnixSeconds(seen));
  return out;
}

std::string Field(const json& object, const char* key) {
  return object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : "-";
}

// A time of TimeJson for people.
std::string TimeField(const json& object, const char* key) {
  std::string out = Field(object, key);
  if (out.size() < 17) return out;
  return absl::StrCat(out.substr(0, 10), " ", out.substr(11, 5), " UTC");
}

// The mesh of --dir, or the one in whose contexts/ the context file stands; nullopt when the
// context is of a mesh that is not on this machine. Errors: FAILED_PRECONDITION (NO_CONTEXT)
// without both.
absl::StatusOr<std::optional<Mesh>> MeshOf(const Session& session, const std::string& given) {
  if (!given.empty()) {
    ASSIGN_OR_RETURN(Mesh mesh, LoadMesh(given));
    return std::optional<Mesh>(std::move(mesh));
  }
  const std::string context = session.context_path();
  if (context.empty()) {
    return base::Error(absl::StatusCode::kFailedPrecondition, "NO_CONTEXT",
                       "say which mesh with --dir DIR, or who you are with --context FILE or "
                       "ONCOMESH_CONTEXT");
  }
  size_t slash = context.rfind('/');
  absl::StatusOr<Mesh> mesh =
      LoadMesh((slash == std::string::npos ? "." : context.substr(0, slash)) + "/..");
  if (mesh.ok()) return std::optional<Mesh>(*std::move(mesh));
  if (base::ReasonOf(mesh.status()) != "NO_MESH") return mesh.status();
  return std::optional<Mesh>();
}

// What the hub knows of the nodes. Adds to `nodes` and `rows`; false in `all` when one is missing.
absl::Status AskAboutNodes(const Context& context, json& nodes,
                           std::vector<std::vector<std::string>>& rows, bool& all) {
  ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(context));
  auto stub = access::v1::EnrolmentService::NewStub(channel);
  ASSIGN_OR_RETURN(auto response, Call(*stub, &access::v1::EnrolmentService::Stub::ListNodes,
                                       access::v1::ListNodesRequest(), absl::Seconds(5)));
  for (const auto& node : response.nodes()) {
    json entry = ToJson(node);
    entry["state"] = access::v1::Node::State_Name(node.state()).substr(6);
    entry["connected"] = node.connected();
    all = all && (node.connected() || node.state() != access::v1::Node::STATE_MEMBER);
    rows.push_back({node.name(), entry["state"].get<std::string>(), node.connected() ? "yes" : "no",
                    node.version().empty() ? "-" : node.version(),
                    TimeText(node.last_seen_time().seconds()),
                    TimeText(node.certificate_expire_time().seconds())});
    nodes.push_back(std::move(entry));
  }
  return absl::OkStatus();
}

absl::StatusOr<int> Status(const Session& session, const std::string& dir) {
  ASSIGN_OR_RETURN(std::optional<Mesh> mesh, MeshOf(session, dir));
  json services = json::array(), nodes = json::array();
  std::vector<std::vector<std::string>> rows = {
      {"SITE", "SERVICE", "STATE", "VERSION", "ADDRESS", "CERTIFICATE END", "LAST SEEN"}};
  std::vector<std::vector<std::string>> node_rows = {
      {"NODE", "STATE", "CONNECTED", "VERSION", "LAST SEEN", "CERTIFICATE END"}};
  bool all = true;
  Context context;
  if (mesh) {
    for (const Process& process : mesh->processes) {
      json entry = ProcessJson(*mesh, process);
      all = all && entry["state"] == "SERVING";
      rows.push_back({process.site, process.service, Field(entry, "state"), Field(entry, "version"),
                      Field(entry, "address"), TimeField(entry, "certificateEnd"),
                      TimeField(entry, "lastSeen")});
      services.push_back(std::move(entry));
    }
    context.endpoint = mesh->Find("hub", "relay")->Address("frontDoor");
    context.trust_domain = mesh->trust_domain;
    context.site = "hub";
    context.ca_file = AuthorityFile(*mesh);
    context.credential_file = absl::StrCat(mesh->dir, "/contexts/operator.secret");
  } else {
    ASSIGN_OR_RETURN(context, session.LoadContext());
  }
  absl::Status seen = AskAboutNodes(context, nodes, node_rows, all);
  // Without a mesh on this machine the hub is the only one to ask.
  if (!seen.ok() && !mesh) return seen;
  if (!seen.ok()) {
    all = false;
    session.Say(absl::StrCat("the hub cannot be asked about its nodes: ", seen.message()));
  }
  session.Print(
      {{"dir", mesh ? json(mesh->dir) : json()}, {"services", services}, {"nodes", nodes}},
      absl::StrCat(mesh ? Table(rows) + "\n" : "", Table(node_rows)));
  return all ? kDone : kPartly;
}

}  // namespace

void AddMeshCommands(CLI::App& app, Session& session) {
  {
    struct Args {
      std::string dir, nodes = "north,south,west", trainer_environment;
      bool detach = false;
    };
    auto args = std::make_shared<Args>();
    CLI::App* command = app.add_subcommand("up", "start a hub and nodes on this machine");
    command->add_option("--dir", args->dir, "folder that holds everything; made if missing")
        ->required();
    CLI::Option* nodes =
        command->add_option("--nodes", args->nodes, "names, by comma (a new mesh only)")
            ->capture_default_str();
    CLI::Option* environment = command->add_option(
        "--trainer-environment", args->trainer_environment,
        "Python environment for trainers (a new mesh only; without it, the system's)");
    command->add_flag("--detach", args->detach, "return when every service answers SERVING");
    command->footer("Example: oncomesh up --dir /tmp/mesh --nodes lisbon,porto --detach");
    OnRun(command, session, [args, nodes, environment, &session]() -> absl::StatusOr<int> {
      absl::StatusOr<Mesh> mesh = LoadMesh(args->dir);
      if (mesh.ok() && environment->count() > 0 &&
          std::filesystem::absolute(args->trainer_environment).lexically_normal().string() !=
              mesh->trainer_environment) {
        return base::Error(absl::StatusCode::kFailedPrecondition, "MESH_EXISTS",
                           absl::StrCat("there is a mesh in ", args->dir,
                                        " with another environment for trainers; leave "
                                        "--trainer-environment out to go on with it, or give "
                                        "another --dir"));
      }
      const std::vector<std::string> names = absl::StrSplit(args->nodes, ',', absl::SkipEmpty());
      if (mesh.ok() && nodes->count() > 0 && names != mesh->nodes) {
        return base::Error(
            absl::StatusCode::kFailedPrecondition, "MESH_EXISTS",
            absl::StrCat("there is a mesh in ", args->dir, " with the nodes ",
                         absl::StrJoin(mesh->nodes, ", "),
                         "; leave --nodes out to go on with it, or give another --dir"));
      }
      if (base::ReasonOf(mesh.status()) == "NO_MESH") {
        std::error_code error;
        if (std::filesystem::exists(args->dir, error) &&
            !std::filesystem::is_directory(args->dir, error)) {
          return base::Error(absl::StatusCode::kFailedPrecondition, "OUTPUT_NOT_A_FOLDER",
                             "--dir names something that is not a folder; give another name");
        }
        mesh = CreateMesh(args->dir, names, args->trainer_environment);
      }
      RETURN_IF_ERROR(mesh.status());
      // Ctrl-C stops the services in order, also those that are still starting.
      InterruptGuard guard;
      const std::vector<const Process*> before = Running(*mesh);
      absl::Status up = Up(*mesh, session);
      if (!up.ok()) {
        session.Say("stopping what was started");
        Down(*mesh, before);
        return up;
      }
      json contexts = json::object();
      std::string text =
          absl::StrCat("hub and ", mesh->nodes.size(),
                       " nodes are serving: ", absl::StrJoin(mesh->nodes, ", "), "\n");
      for (const LocalPerson& person : LocalPeople(*mesh)) {
        contexts[person.name] = ContextFile(*mesh, person.name);
      }
      absl::StrAppend(
          &text, "be somebody:  export ONCOMESH_CONTEXT=", ContextFile(*mesh, "researcher"),
          "\nsee it:       oncomesh status\nstop it:      oncomesh down --dir ", args->dir);
      session.Print({{"dir", mesh->dir}, {"nodes", mesh->nodes}, {"contexts", contexts}}, text);
      if (args->detach) return kDone;
      while (!InterruptGuard::Interrupted()) absl::SleepFor(absl::Milliseconds(100));
      session.Say("stopping");
      Down(*mesh);
      return kDone;
    });
  }
  {
    auto dir = std::make_shared<std::string>();
    CLI::App* command = app.add_subcommand("down", "stop what up started; keeps its state");
    command->add_option("--dir", *dir, "folder of the mesh")->required();
    command->footer("Example: oncomesh down --dir /tmp/mesh");
    OnRun(command, session, [dir, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(Mesh mesh, LoadMesh(*dir));
      const size_t running = Running(mesh).size();
      Down(mesh);
      session.Print({{"dir", mesh.dir}, {"stopped", running}},
                    running == 0 ? "nothing was running" : "stopped; the state is kept");
      return kDone;
    });
  }
  {
    auto dir = std::make_shared<std::string>();
    CLI::App* command = app.add_subcommand("status", "every service and node");
    command->add_option("--dir", *dir, "folder of the mesh; without it, the one of the context");
    command->footer("Example: oncomesh status --dir /tmp/mesh -o json");
    OnRun(command, session, [dir, &session] { return Status(session, *dir); });
  }
}

}  // namespace oncomesh::cli
