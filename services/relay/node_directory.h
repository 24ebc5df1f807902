// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "libs/base/clock.h"
#include "libs/base/mutex.h"
#include "libs/base/random.h"
#include "oncomesh/relay/v1/relay.pb.h"
#include "services/relay/loop.h"
#include "services/relay/node_session.h"
#include "services/relay/pump.h"

namespace oncomesh::relay {

// The nodes of the federation as the hub's relay knows them: who is connected, who is kept out.
// On the loop's thread, but for the three calls of RelayService at the end.
class NodeDirectory {
 public:
  struct Deps {
    Loop& loop;
    base::Clock& clock;
    base::Random& random;
    LaneLimits limits;
    std::string suspended_file;  // where the list of SetSuspended is kept
  };

  explicit NodeDirectory(Deps deps) : deps_(std::move(deps)) {}

  // Reads the list kept. Before anything else.
  // Errors: DATA_LOSS (SUSPENDED_UNREADABLE): without the list nobody is let in.
  absl::Status Load();

  // OK when the node may use this relay with this certificate (PEM). Errors: PERMISSION_DENIED
  // (NODE_SUSPENDED), (CERTIFICATE_REPLACED) for one of an earlier membership of the name.
  absl::Status Admit(const std::string& node, const std::string& certificate_pem);

  // A control stream or a lane of an admitted node. A second control stream of a node ends the
  // first: the node knows best which of its connections is alive.
  void AddControl(const std::string& node, std::shared_ptr<IncomingCall> control);
  void AddLane(const std::string& node, std::shared_ptr<IncomingCall> stream);

  // A call to the node. Errors: UNAVAILABLE (NODE_NOT_CONNECTED, NODE_DRAINING), PERMISSION_DENIED
  // (NODE_SUSPENDED).
  absl::StatusOr<std::shared_ptr<OutgoingCall>> Call(const std::string& node);

  // A call the node makes; it ends when the node is cut off. Until Untrack.
  void Track(const std::string& node, const std::shared_ptr<Pump>& pump);
  void Untrack(const std::string& node, const Pump& pump);

  void AnnounceDrain();
  void CutAll(const absl::Status& status);
  int connected() const;

  // Any thread but the loop's. Errors: UNAVAILABLE (RELAY_DRAINING) when the loop has stopped.
  absl::StatusOr<std::vector<v1::NodePresence>> List();
  // Errors besides: NOT_FOUND (NODE_NOT_CONNECTED).
  absl::Status Disconnect(const std::string& node, const std::string& reason);
  // Errors besides: INVALID_ARGUMENT (NODE_ID_INVALID), ABORTED (EPOCH_ROLLBACK), those of writing
  // the file; then the list in force stays. `certificates_from`: by node, what a certificate's
  // notBefore must not be before, Unix seconds; who is connected with an older one is cut off.
  absl::Status SetSuspended(const std::vector<std::string>& nodes, int64_t epoch,
                            const std::map<std::string, int64_t>& certificates_from = {});

 private:
  struct Past {
    absl::Time left;
    std::string software_version;
  };
  void Connected(NodeSession& session);
  void Ended(NodeSession& session);
  void CutNode(const std::string& node, const absl::Status& status);
  absl::Status Suspended(const std::string& node) const;

  Deps deps_;
  base::Mutex setting_;  // one list after the other: a call may come again while it is carried out
  std::map<std::string, std::shared_ptr<NodeSession>> by_id_;  // every session, by its own name
  std::map<std::string, NodeSession*> connected_;              // by node
  std::map<std::string, absl::Time> since_;                    // of connected_
  std::map<std::string, Past> past_;                           // nodes that have left
  std::map<std::string, std::map<const Pump*, std::weak_ptr<Pump>>> uplink_;
  std::set<std::string> suspended_;
  int64_t epoch_ = 0;
  std::map<std::string, int64_t> certificates_from_;
  // The certificate a node showed last and its notBefore: a connection shows the same with every
  // call.
  struct Shown {
    std::string pem;
    int64_t not_before = 0;
  };
  std::map<std::string, Shown> shown_;
};

// 2 to 32 characters of a-z, 0-9 and "-", starting with a letter, and not "hub".
bool IsNodeId(absl::string_view node);

}  // namespace oncomesh::relay
