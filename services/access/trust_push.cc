// SPDX-License-Identifier: Apache-2.0
#include "services/access/trust_push.h"

#include <future>
#include <set>
#include <utility>

#include "libs/base/log.h"
#include "libs/base/status_macros.h"

namespace oncomesh::access {

PushTrust MakePushTrust(AccessStore& store, RelayControl& relay, SendTrust send) {
  return [&store, &relay, send = std::move(send)](
             const v1::TrustBundle& bundle, std::vector<std::string>& told,
             std::vector<std::string>& missing) -> absl::Status {
    // Who has to know is in the store. The relay has forgotten, since it was started, nodes that
    // were away all the time.
    ASSIGN_OR_RETURN(std::vector<NodeRow> rows, store.Nodes());
    absl::StatusOr<std::vector<Presence>> presences = relay.Nodes();
    if (!presences.ok()) base::LogError("trust.push_failed", presences.status());
    std::set<std::string> connected;
    if (presences.ok()) {
      for (const Presence& presence : *presences) {
        if (presence.connected) connected.insert(presence.node);
      }
    }
    std::vector<std::pair<std::string, std::future<bool>>> answers;
    for (const NodeRow& row : rows) {
      if (row.state != v1::Node::STATE_MEMBER) continue;
      std::future<bool> answer;
      if (connected.count(row.name) != 0) {
        answer = std::async(std::launch::async,
                            [&send, &bundle, name = row.name] { return send(name, bundle); });
      }
      answers.emplace_back(row.name, std::move(answer));
    }
    for (auto& [node, answer] : answers) {
      (answer.valid() && answer.get() ? told : missing).push_back(node);
    }
    return absl::OkStatus();
  };
}

}  // namespace oncomesh::access
