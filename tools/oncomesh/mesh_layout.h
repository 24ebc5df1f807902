// SPDX-License-Identifier: Apache-2.0
// Where `oncomesh up` keeps what belongs to a mesh on one machine, and which port every service
// has.
//
//   DIR/mesh.json                         nodes and ports, written once
//   DIR/contexts/<person>.json, .secret   who one can be; ca.crt of the hub
//   DIR/<site>/config/<service>.json      configuration
//   DIR/<site>/identity/<service>/        certificate
//   DIR/<site>/<service>/                 state
//   DIR/<site>/log/<service>.log          JSON lines
//   DIR/<site>/run/<service>.pid
//   DIR/<node>/objects                    released objects
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace oncomesh::cli {

// One process of the mesh.
struct Process {
  std::string site;                  // "hub" or a node
  std::string service;               // "access"
  std::map<std::string, int> ports;  // "listen", "admin", "metrics", and the relay's own

  std::string Address(const std::string& port) const;
};

struct Mesh {
  std::string dir;  // absolute
  std::string trust_domain = "oncomesh.local";
  std::vector<std::string> nodes;
  // Python environment that trainers run with; empty: the system's.
  std::string trainer_environment;
  std::vector<Process> processes;  // in the order in which they start

  // Never null for a process that the layout has.
  const Process* Find(const std::string& site, const std::string& service) const;
  std::string SiteDir(const std::string& site) const { return dir + "/" + site; }
  std::string ConfigFile(const Process& process) const;
  std::string LogFile(const Process& process) const;
  std::string PidFile(const Process& process) const;
  std::string IdentityDir(const Process& process) const;
  std::string StateDir(const Process& process) const;
};

// Services of the hub and of a node, in the order in which they start.
const std::vector<std::string>& HubServices();
const std::vector<std::string>& NodeServices();

// Reads DIR/mesh.json. Errors: NOT_FOUND (NO_MESH) when there is none.
absl::StatusOr<Mesh> LoadMesh(const std::string& dir);
// Makes a new layout with free ports and writes it.
// Errors: INVALID_ARGUMENT (NODE_NAME_INVALID), UNAVAILABLE (NO_FREE_PORT).
absl::StatusOr<Mesh> CreateMesh(const std::string& dir, const std::vector<std::string>& nodes,
                                const std::string& trainer_environment);

}  // namespace oncomesh::cli
