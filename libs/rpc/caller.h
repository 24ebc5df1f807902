// SPDX-License-Identifier: Apache-2.0
// Who called, as the call guard found it out. Cores take it; no gRPC here.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace oncomesh::rpc {

// What the core of a call adds to its audit event: names and counts, never a value from a patient.
struct CallNote {
  std::string object;                             // resource name of what it was done to
  std::map<std::string, std::string> attributes;  // at most 16
};

struct Caller {
  enum class Kind { kAnonymous, kPerson, kService };
  Kind kind = Kind::kAnonymous;

  // A person: the subject of the token, unique at its issuer, and the roles held at this site.
  std::string subject;
  std::vector<std::string> roles;

  // A service: the path of its certificate, "hub/training" or "node/lisbon/training".
  std::string service;
  // The node whose service it is; empty for a hub service and for people.
  std::string node;

  // The permit sent with the call (compact JWS), or empty. The guard has verified it when the
  // RPC's rule asks for one.
  std::string permit;

  // Where the core notes what the call is about; the guard owns it. Null where nothing is written.
  CallNote* note = nullptr;
  void About(absl::string_view object) const {
    if (note != nullptr) note->object = std::string(object);
  }
  void Note(const char* attribute, absl::string_view value) const {
    if (note != nullptr) note->attributes[attribute] = std::string(value);
  }

  bool HasRole(absl::string_view role) const {
    return std::any_of(roles.begin(), roles.end(), [&](const std::string& r) { return r == role; });
  }
  // What an audit event calls the caller: "person:<subject>", "service:<path>" or "anonymous".
  std::string Actor() const {
    switch (kind) {
      case Kind::kPerson:
        return "person:" + subject;
      case Kind::kService:
        return "service:" + service;
      case Kind::kAnonymous:
        break;
    }
    return "anonymous";
  }
};

}  // namespace oncomesh::rpc
