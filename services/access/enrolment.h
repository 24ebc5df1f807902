// SPDX-License-Identifier: Apache-2.0
// Membership of nodes, at the hub: invitation, enrolment, renewal, suspension.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libs/base/clock.h"
#include "libs/base/mutex.h"
#include "libs/base/random.h"
#include "libs/rpc/caller.h"
#include "oncomesh/access/v1/enrolment.pb.h"
#include "services/access/access_store.h"
#include "services/access/authority.h"

namespace oncomesh::access {

// What the hub's relay says of a node.
struct Presence {
  std::string node;
  bool connected = false;
  std::string version;
  absl::Time last_seen;
};

// The hub's relay, as enrolment needs it. Any thread.
class RelayControl {
 public:
  virtual ~RelayControl() = default;
  virtual absl::StatusOr<std::vector<Presence>> Nodes() = 0;
  // Refuses these nodes and cuts them off; done when it returns. Of the nodes in
  // `certificates_from` it refuses certificates whose notBefore is earlier.
  virtual absl::Status SetSuspended(const std::vector<std::string>& nodes, int64_t epoch,
                                    const std::map<std::string, absl::Time>& certificates_from) = 0;
};

// What an invitation's token holds; base64url of JSON. doc/formats/invitation.md.
struct InvitationToken {
  std::string node;
  std::string secret;
  std::string front_door;  // host:port of the hub's front door
  std::string trust_domain;
  std::string ca_pem;  // the authority that the front door's certificate must chain to
};
std::string EncodeInvitation(const InvitationToken& token);
// Errors: INVALID_ARGUMENT (INVITATION_MALFORMED).
absl::StatusOr<InvitationToken> DecodeInvitation(absl::string_view text);

// Any thread.
class Enrolment {
 public:
  struct Deps {
    AccessStore& store;
    Authority& authority;
    RelayControl& relay;
    base::Clock& clock;
    base::Random& random;
    std::string trust_domain;
    std::string front_door;
    // Called when the relay could not be told of a change: somebody should push again soon.
    std::function<void()> push_again = nullptr;
  };
  explicit Enrolment(Deps deps) : deps_(std::move(deps)) {}

  absl::Status Invite(const v1::CreateInvitationRequest& request,
                      v1::CreateInvitationResponse& response);
  absl::Status Enrol(const v1::EnrolRequest& request, v1::EnrolResponse& response);
  absl::Status Renew(const rpc::Caller& caller, const v1::RenewCertificatesRequest& request,
                     v1::RenewCertificatesResponse& response);
  absl::Status List(v1::ListNodesResponse& response);
  absl::StatusOr<v1::Node> Suspend(const std::string& node, const std::string& reason);
  absl::StatusOr<v1::Node> Resume(const std::string& node);
  absl::StatusOr<v1::Node> Remove(const std::string& node);

  // Tells the relay who is kept out: everyone who is not a member, and with a member's name whoever
  // shows a certificate from before it enrolled last. At start, after each change, and
  // now and then, for a relay that was away.
  // Errors: those of the store and of RelayControl::SetSuspended.
  absl::Status PushSuspended();

 private:
  absl::StatusOr<v1::Node> Show(const std::string& node);
  // None, and a line in the log, when the relay does not answer: who is a member is known without.
  std::vector<Presence> Presences();
  absl::StatusOr<v1::Node> Change(const std::string& node, const std::vector<v1::Node::State>& from,
                                  v1::Node::State to, const std::string& reason);
  // After a change: PushSuspended, and `push_again` when that fails.
  absl::Status PushChange();
  Deps deps_;
  base::Mutex push_mutex_;
};

}  // namespace oncomesh::access
