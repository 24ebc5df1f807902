// SPDX-License-Identifier: Apache-2.0
// The hub's rows of access: invitations, nodes, requests, permits, epoch. The only SQL of the
// service.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "libs/store/database.h"
#include "oncomesh/access/v1/access.pb.h"
#include "oncomesh/access/v1/enrolment.pb.h"

namespace oncomesh::access {

// A one-time token, of which only the digest is kept.
struct Invitation {
  std::string node;
  std::string secret_sha256;  // hex
  absl::Time expires;
  bool used = false;
};

// Somebody with an invitation's secret who wants certificates.
struct InvitationUse {
  std::string node;
  std::string secret_sha256;     // hex
  std::string requests_sha256;   // hex; of the signing requests
  absl::Time certificates_from;  // notBefore of the certificates that come of it
};

struct NodeRow {
  std::string name;
  v1::Node::State state = v1::Node::STATE_UNSPECIFIED;
  std::string reason;              // of the suspension
  absl::Time certificate_expires;  // InfinitePast before the first certificate
  // notBefore of the first certificates of the present membership: earlier ones are of one that
  // ended. InfinitePast before the first.
  absl::Time certificates_from;
};

struct PermitRow {
  v1::Permit permit;  // state is ACTIVE or REVOKED here; expiry is computed by the reader
  std::string jws;
};

// Every method runs in one transaction and is durable when it returns OK. Errors beside those
// named: UNAVAILABLE (DATABASE_…), RESOURCE_EXHAUSTED (DISK_FULL). Any thread.
class AccessStore {
 public:
  static absl::StatusOr<std::unique_ptr<AccessStore>> Open(const std::string& url,
                                                           const std::string& password_file);

  // Errors: ALREADY_EXISTS (NODE_EXISTS) while the node is a member or suspended.
  absl::Status AddInvitation(const Invitation& invitation);
  // Whether UseInvitation would succeed now. Errors: as UseInvitation.
  absl::Status CheckInvitation(const InvitationUse& use, absl::Time now);
  // Marks the invitation as used and the invited node as a member, in one step, so that a token
  // works once even when it is shown twice at the same time. Until it expires the same signing
  // requests succeed again while the node is a member: the answer may have been lost.
  // Errors: UNAUTHENTICATED (INVITATION_INVALID, INVITATION_USED, INVITATION_EXPIRED).
  absl::Status UseInvitation(const InvitationUse& use, absl::Time now);

  absl::StatusOr<std::vector<NodeRow>> Nodes();
  // Errors: NOT_FOUND (NODE_NOT_FOUND).
  absl::StatusOr<NodeRow> Node(const std::string& name);
  // The invitations of a node that is removed go with it. Errors: NOT_FOUND (NODE_NOT_FOUND),
  // FAILED_PRECONDITION (NODE_STATE) when it is in no state of `from`.
  absl::Status SetNodeState(const std::string& name, const std::vector<v1::Node::State>& from,
                            v1::Node::State to, const std::string& reason);
  absl::Status SetCertificateExpiry(const std::string& name, absl::Time expires);

  // The request that this applicant made with this request_id, if any.
  absl::StatusOr<std::optional<v1::Request>> FindRequest(const std::string& applicant,
                                                         const std::string& request_id);
  // Stores a new request, or returns the one made before with the same applicant and request_id.
  // Errors: RESOURCE_EXHAUSTED (REQUESTS_TOO_MANY) when the applicant has made kMostRequests.
  static constexpr int kMostRequests = 1000;
  absl::StatusOr<v1::Request> AddRequest(const v1::Request& request, const std::string& request_id);
  // Errors: NOT_FOUND (REQUEST_NOT_FOUND).
  absl::StatusOr<v1::Request> GetRequest(const std::string& id);
  // Reads, lets `change` alter the request or refuse, and writes; when `permit` was filled by
  // `change`, it is added in the same transaction.
  absl::StatusOr<v1::Request> ChangeRequest(
      const std::string& id,
      const std::function<absl::Status(v1::Request&, std::optional<PermitRow>& permit)>& change);
  // At most `limit`, newest first, after (older than) the request `after` when given, of
  // `applicant` alone when given. Errors: INVALID_ARGUMENT (PAGE_TOKEN_INVALID).
  absl::StatusOr<std::vector<v1::Request>> ListRequests(const std::string& after, int limit,
                                                        const std::string& applicant);

  // Errors: NOT_FOUND (PERMIT_NOT_FOUND).
  absl::StatusOr<PermitRow> GetPermit(const std::string& id);
  // Revokes and raises the epoch in one step; returns the epoch. Revoking twice changes nothing.
  absl::StatusOr<int64_t> RevokePermit(const std::string& id, const std::string& reason);
  // Ids of revoked permits that would still be in force at `now`, or were until kRevokedKept
  // before: at a site whose clock is late they still would be.
  static constexpr absl::Duration kRevokedKept = absl::Hours(24);
  absl::StatusOr<std::vector<std::string>> RevokedPermits(absl::Time now);

  absl::StatusOr<int64_t> Epoch();
  // Raises the epoch when it is lower.
  absl::Status RaiseEpochTo(int64_t least);

 private:
  explicit AccessStore(std::unique_ptr<store::Database> database)
      : database_(std::move(database)) {}
  std::unique_ptr<store::Database> database_;
};

}  // namespace oncomesh::access
