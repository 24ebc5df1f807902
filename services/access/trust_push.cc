// SPDX-License-Identifier: Apache-2.0
#include "services/access/trust_push.h"

#include <atomic>
#include <set>
#include <utility>

#include "libs/base/log.h"
#include "libs/base/parallel.h"
#include "libs/base/status_macros.h"

namespace oncomesh::access {
namespace {

constexpr size_t kMostAtOnce = 64;  // threads, which wait for the line

}  // namespace

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
    std::vector<std::string> reachable;
    for (const NodeRow& row : rows) {
      if (row.state != v1::Node::STATE_MEMBER) continue;
      (connected.count(row.name) != 0 ? reachable : missing).push_back(row.name);
    }
    std::vector<std::atomic<bool>> confirmed(reachable.size());
    base::ForEachInParallel(reachable.size(), kMostAtOnce,
                            [&](size_t i) { confirmed[i] = send(reachable[i], bundle); });
    for (size_t i = 0; i < reachable.size(); ++i) {
      (confirmed[i] ? told : missing).push_back(reachable[i]);
    }
    return absl::OkStatus();
  };
}

}  // namespace oncomesh::access
