// SPDX-License-Identifier: Apache-2.0
// What `oncomesh up` writes for the services and the people of a mesh on one machine.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tools/oncomesh/mesh_layout.h"

namespace oncomesh::cli {

// A person of the local mesh: a context file, a credential, roles at one site.
struct LocalPerson {
  std::string name;  // of the context file: "researcher", "holder-north"
  std::string site;  // whose front door and roles: "hub" or a node
  std::vector<std::string> roles;
};

// operator, researcher, committee, auditor at the hub; holder-<node> at each node.
std::vector<LocalPerson> LocalPeople(const Mesh& mesh);

// Writes the contexts with fresh credentials where they are missing.
absl::Status WriteContexts(const Mesh& mesh);

// Writes every service's configuration; existing ones are written anew from the layout, so that a
// newer program finds what it knows.
absl::Status WriteConfigs(const Mesh& mesh);

// Where a person's context is, and the copy of the hub's authority it names.
std::string ContextFile(const Mesh& mesh, const std::string& person);
std::string AuthorityFile(const Mesh& mesh);

}  // namespace oncomesh::cli
