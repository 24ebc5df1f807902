// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/mesh_commands.h"

#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "oncomesh/access/v1/enrolment.grpc.pb.h"
#include "oncomesh/admin/v1/admin.grpc.pb.h"
#include "tools/oncomesh/front_door.h"
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
    } while (invited.code() == absl::StatusCode::kUnavailable && absl::Now() < deadline);
    RETURN_IF_ERROR(invited);
    for (const Process& process : mesh.processes) {
      if (process.site == node) RETURN_IF_ERROR(StartProcess(mesh, process));
    }
  }
  for (const std::string& node : mesh.nodes) RETURN_IF_ERROR(StartSite(mesh, node, progress));
  return absl::OkStatus();
}

// Nodes first: what they have under way can still reach the hub.
void Down(const Mesh& mesh) {
  std::vector<const Process*> nodes, hub;
  for (const Process& process : mesh.processes)
    (process.site == "hub" ? hub : nodes).push_back(&process);
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
    out["certificateEnd"] = TimeText(info->certificate_expire_time().seconds());
    out["since"] = TimeText(info->start_time().seconds());
  }
  return out;
}

std::string Field(const json& object, const char* key) {
  return object.contains(key) ? object[key].get<std::string>() : "-";
}

// The folder of the mesh: --dir, or the one whose contexts/ the context file stands in.
std::string MeshDirOf(const Session& session, const std::string& given) {
  if (!given.empty()) return given;
  const std::string context = session.context_path();
  size_t slash = context.rfind('/');
  std::string folder = slash == std::string::npos ? "." : context.substr(0, slash);
  return folder + "/..";
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
    command->add_option("--nodes", args->nodes, "names, by comma (a new mesh only)");
    command->add_option(
        "--trainer-environment", args->trainer_environment,
        "Python environment for trainers (a new mesh only; without it, the system's)");
    command->add_flag("--detach", args->detach, "return when every service answers SERVING");
    command->footer("Example: oncomesh up --dir /tmp/mesh --nodes lisbon,porto --detach");
    OnRun(command, session, [args, &session]() -> absl::StatusOr<int> {
      absl::StatusOr<Mesh> mesh = LoadMesh(args->dir);
      if (mesh.status().code() == absl::StatusCode::kNotFound) {
        std::vector<std::string> nodes = absl::StrSplit(args->nodes, ',', absl::SkipEmpty());
        mesh = CreateMesh(args->dir, nodes, args->trainer_environment);
      }
      RETURN_IF_ERROR(mesh.status());
      // Signals are taken here, so that Ctrl-C stops the services in order.
      sigset_t signals;
      sigemptyset(&signals);
      sigaddset(&signals, SIGINT);
      sigaddset(&signals, SIGTERM);
      if (!args->detach) pthread_sigmask(SIG_BLOCK, &signals, nullptr);
      absl::Status up = Up(*mesh, session);
      if (!up.ok()) {
        session.Say("stopping what was started");
        Down(*mesh);
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
      int signal = 0;
      sigwait(&signals, &signal);
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
      Down(mesh);
      session.Print({{"dir", mesh.dir}, {"stopped", mesh.processes.size()}},
                    "stopped; the state is kept");
      return kDone;
    });
  }
  {
    auto dir = std::make_shared<std::string>();
    CLI::App* command = app.add_subcommand("status", "every service and node");
    command->add_option("--dir", *dir, "folder of the mesh; without it, the one of the context");
    command->footer("Example: oncomesh status --dir /tmp/mesh -o json");
    OnRun(command, session, [dir, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(Mesh mesh, LoadMesh(MeshDirOf(session, *dir)));
      json services = json::array();
      std::vector<std::vector<std::string>> rows = {
          {"SITE", "SERVICE", "STATE", "VERSION", "ADDRESS", "CERTIFICATE END"}};
      bool all = true;
      for (const Process& process : mesh.processes) {
        json entry = ProcessJson(mesh, process);
        all = all && entry["state"] == "SERVING";
        rows.push_back({process.site, process.service, Field(entry, "state"),
                        Field(entry, "version"), Field(entry, "address"),
                        Field(entry, "certificateEnd")});
        services.push_back(std::move(entry));
      }
      // What the hub sees of the nodes; left out when the front door does not answer.
      json nodes = json::array();
      std::vector<std::vector<std::string>> node_rows = {
          {"NODE", "STATE", "CONNECTED", "LAST SEEN", "CERTIFICATE END"}};
      Context context;
      context.endpoint = mesh.Find("hub", "relay")->Address("frontDoor");
      context.ca_file = AuthorityFile(mesh);
      context.credential_file = absl::StrCat(mesh.dir, "/contexts/operator.secret");
      absl::Status seen = [&]() -> absl::Status {
        ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(context));
        auto stub = access::v1::EnrolmentService::NewStub(channel);
        ASSIGN_OR_RETURN(auto response, Call(*stub, &access::v1::EnrolmentService::Stub::ListNodes,
                                             access::v1::ListNodesRequest(), absl::Seconds(5)));
        for (const auto& node : response.nodes()) {
          json entry = ToJson(node);
          entry["state"] = access::v1::Node::State_Name(node.state()).substr(6);
          entry["connected"] = node.connected();
          all = all && (node.connected() || node.state() != access::v1::Node::STATE_MEMBER);
          node_rows.push_back({node.name(), entry["state"].get<std::string>(),
                               node.connected() ? "yes" : "no",
                               TimeText(node.last_seen_time().seconds()),
                               TimeText(node.certificate_expire_time().seconds())});
          nodes.push_back(std::move(entry));
        }
        return absl::OkStatus();
      }();
      if (!seen.ok())
        session.Say(absl::StrCat("the hub cannot be asked about its nodes: ", seen.message()));
      session.Print({{"dir", mesh.dir}, {"services", services}, {"nodes", nodes}},
                    absl::StrCat(Table(rows), "\n", Table(node_rows)));
      return all ? kDone : kPartly;
    });
  }
}

}  // namespace oncomesh::cli
