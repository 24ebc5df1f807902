// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/mesh_layout.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/names.h"
#include "libs/base/random.h"
#include "libs/base/status_macros.h"
#include "tools/oncomesh/session.h"

namespace oncomesh::cli {
namespace {

// Ports that the system gives to nobody by itself: a port of the ephemeral range (32768 and above)
// could be somebody's outgoing connection when the mesh is started again. They stand in a row that
// is free as a whole, so that two meshes made at the same time, or one that is made while a service
// of another is down for a moment, hardly ever meet.
class FreePorts {
 public:
  ~FreePorts() { Release(); }
  // Errors: UNAVAILABLE (NO_FREE_PORT).
  absl::Status Claim(int count) {
    constexpr int kFirst = 20'000, kCount = 12'000, kTries = 1'000;
    const int rows = kCount / std::max(count, 1);
    for (int i = 0; i < kTries && rows > 0; ++i) {
      const std::string lot = base::SystemRandom::Get().Bytes(2);
      const int row =
          (static_cast<unsigned char>(lot[0]) * 256 + static_cast<unsigned char>(lot[1])) % rows;
      next_ = kFirst + row * count;
      Release();
      while (static_cast<int>(sockets_.size()) < count &&
             Bind(next_ + static_cast<int>(sockets_.size()))) {
      }
      if (static_cast<int>(sockets_.size()) == count) return absl::OkStatus();
    }
    return base::Error(absl::StatusCode::kUnavailable, "NO_FREE_PORT",
                       absl::StrCat("no ", count,
                                    " ports in a row are free from 20000 to 31999 on "
                                    "the loopback interface"));
  }
  int Next() { return next_++; }

 private:
  bool Bind(int port) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    if (fd >= 0 && bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) {
      sockets_.push_back(fd);
      return true;
    }
    if (fd >= 0) close(fd);
    return false;
  }
  void Release() {
    for (int fd : sockets_) close(fd);
    sockets_.clear();
  }

  std::vector<int> sockets_;  // kept until all are written down
  int next_ = 0;
};

bool MayBeNode(const std::string& name) {
  // A node has a folder of its name beside that of the contexts.
  return base::IsNodeName(name) && name != "contexts";
}

std::vector<std::string> PortNames(const std::string& site, const std::string& service) {
  if (service != "relay") return {"listen", "admin", "metrics"};
  if (site == "hub") return {"node", "downlink", "frontDoor", "admin", "metrics"};
  return {"uplink", "frontDoor", "admin", "metrics"};
}

}  // namespace

std::string Process::Address(const std::string& port) const {
  return absl::StrCat("127.0.0.1:", ports.at(port));
}

const std::vector<std::string>& HubServices() {
  static const auto* services =
      new std::vector<std::string>{"access", "relay", "catalogue", "training"};
  return *services;
}

const std::vector<std::string>& NodeServices() {
  static const auto* services = new std::vector<std::string>{
      "access", "relay", "deidentification", "harmonisation", "catalogue", "training"};
  return *services;
}

const Process* Mesh::Find(const std::string& site, const std::string& service) const {
  for (const Process& process : processes) {
    if (process.site == site && process.service == service) return &process;
  }
  return nullptr;
}

std::string Mesh::ConfigFile(const Process& p) const {
  return absl::StrCat(SiteDir(p.site), "/config/", p.service, ".json");
}
std::string Mesh::LogFile(const Process& p) const {
  return absl::StrCat(SiteDir(p.site), "/log/", p.service, ".log");
}
std::string Mesh::PidFile(const Process& p) const {
  return absl::StrCat(SiteDir(p.site), "/run/", p.service, ".pid");
}
std::string Mesh::IdentityDir(const Process& p) const {
  return absl::StrCat(SiteDir(p.site), "/identity/", p.service);
}
std::string Mesh::StateDir(const Process& p) const {
  return absl::StrCat(SiteDir(p.site), "/", p.service);
}

absl::StatusOr<Mesh> LoadMesh(const std::string& dir) {
  std::string absolute = std::filesystem::absolute(dir).lexically_normal().string();
  if (absolute.size() > 1 && absolute.back() == '/') absolute.pop_back();
  absl::StatusOr<std::string> text = base::ReadFile(absolute + "/mesh.json", 1 << 20);
  if (text.status().code() == absl::StatusCode::kNotFound) {
    return base::Error(
        absl::StatusCode::kNotFound, "NO_MESH",
        absl::StrCat("there is no mesh in ", dir, "; `oncomesh up --dir ", dir, "` makes one"));
  }
  RETURN_IF_ERROR(text.status());
  nlohmann::json json = nlohmann::json::parse(*text, nullptr, false);
  auto damaged = [&] {
    return base::Error(absl::StatusCode::kDataLoss, "MESH_FILE_DAMAGED",
                       absl::StrCat(absolute, "/mesh.json is damaged; restore it or start anew"));
  };
  if (!json.is_object() || !json.contains("nodes") || !json.contains("processes")) return damaged();
  Mesh mesh;
  mesh.dir = absolute;
  try {
    mesh.trust_domain = json.at("trustDomain").get<std::string>();
    mesh.nodes = json.at("nodes").get<std::vector<std::string>>();
    mesh.trainer_environment = json.value("trainerEnvironment", "");
    for (const auto& entry : json.at("processes")) {
      Process process;
      process.site = entry.at("site").get<std::string>();
      process.service = entry.at("service").get<std::string>();
      process.ports = entry.at("ports").get<std::map<std::string, int>>();
      mesh.processes.push_back(std::move(process));
    }
  } catch (const nlohmann::json::exception&) {
    return damaged();
  }
  return mesh;
}

absl::StatusOr<Mesh> CreateMesh(const std::string& dir, const std::vector<std::string>& nodes,
                                const std::string& trainer_environment) {
  Mesh mesh;
  if (!trainer_environment.empty()) {
    mesh.trainer_environment =
        std::filesystem::absolute(trainer_environment).lexically_normal().string();
  }
  mesh.dir = std::filesystem::absolute(dir).lexically_normal().string();
  if (mesh.dir.size() > 1 && mesh.dir.back() == '/') mesh.dir.pop_back();
  std::set<std::string> seen;
  for (const std::string& node : nodes) {
    if (!MayBeNode(node) || !seen.insert(node).second) {
      return WrongUsage("NODE_NAME_INVALID",
                        absl::StrCat("'", node,
                                     "' cannot be a node: names have 2 to 32 characters "
                                     "of a-z, 0-9 and '-', start with a letter, and stand once"));
    }
  }
  mesh.nodes = nodes;
  auto add = [&](const std::string& site, const std::string& service) {
    mesh.processes.push_back({site, service, {}});
  };
  for (const std::string& service : HubServices()) add("hub", service);
  for (const std::string& node : nodes) {
    for (const std::string& service : NodeServices()) add(node, service);
  }
  size_t count = 0;
  for (const Process& process : mesh.processes) {
    count += PortNames(process.site, process.service).size();
  }
  FreePorts free;
  RETURN_IF_ERROR(free.Claim(static_cast<int>(count)));
  for (Process& process : mesh.processes) {
    for (const std::string& name : PortNames(process.site, process.service)) {
      process.ports[name] = free.Next();
    }
  }
  nlohmann::json json = {{"format", "oncomesh-mesh/1"},
                         {"trustDomain", mesh.trust_domain},
                         {"nodes", mesh.nodes},
                         {"trainerEnvironment", mesh.trainer_environment},
                         {"processes", nlohmann::json::array()}};
  for (const Process& process : mesh.processes) {
    json["processes"].push_back(
        {{"site", process.site}, {"service", process.service}, {"ports", process.ports}});
  }
  RETURN_IF_ERROR(base::MakeDirectories(mesh.dir, 0755));
  RETURN_IF_ERROR(base::WriteFileAtomically(mesh.dir + "/mesh.json", json.dump(2) + "\n"));
  return mesh;
}

}  // namespace oncomesh::cli
