// SPDX-License-Identifier: Apache-2.0
#include "services/access/node_membership.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/base/status_macros.h"

namespace oncomesh::access {
namespace {

// Between tries of a renewal that is due: the line to the hub may just be making itself.
constexpr absl::Duration kAgain = absl::Seconds(5);

}  // namespace

absl::Status NodeMembership::EnrolOnce(const std::string& node, const std::string& trust_domain,
                                       const std::string& invitation_file, const SendEnrol& send) {
  if (folders_.Complete()) {
    if (::access(invitation_file.c_str(), F_OK) == 0) {
      base::Log(base::Level::kWarning, "invitation.not_used",
                {{"message",
                  "the node has certificates already; to enrol anew, remove identityRoot first"}});
    }
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> text = base::ReadFile(invitation_file, 64 << 10);
  if (!text.ok()) {
    return base::Error(absl::StatusCode::kFailedPrecondition, "INVITATION_MISSING",
                       absl::StrCat("this node has no certificates and no invitation: put the line "
                                    "that the hub's operator got from `oncomesh node invite ",
                                    node, "` into the file named by invitationFile"));
  }
  ASSIGN_OR_RETURN(InvitationToken invitation, DecodeInvitation(*text));
  if (invitation.node != node || invitation.trust_domain != trust_domain) {
    return base::Error(absl::StatusCode::kInvalidArgument, "INVITATION_WRONG_NODE",
                       absl::StrCat("the invitation is for the node ", invitation.node, " of ",
                                    invitation.trust_domain, ", the configuration says ", node,
                                    " of ", trust_domain));
  }
  v1::EnrolRequest request;
  request.set_node(node);
  request.set_secret(invitation.secret);
  // After a crash the same keys are sent again, for which the hub repeats its answer.
  ASSIGN_OR_RETURN(std::vector<v1::SigningRequest> prepared, folders_.Prepare());
  for (v1::SigningRequest& signing : prepared) {
    *request.add_signing_requests() = std::move(signing);
  }
  ASSIGN_OR_RETURN(v1::EnrolResponse response, send(invitation, request));
  // The authority is the one that the invitation pinned, whatever the answer says.
  RETURN_IF_ERROR(folders_.Install({response.certificates().begin(), response.certificates().end()},
                                   invitation.ca_pem));
  // It is used up; a secret that is no longer needed should not lie about.
  unlink(invitation_file.c_str());
  base::Log(base::Level::kInfo, "node.enrolled");
  return absl::OkStatus();
}

absl::Status NodeMembership::RenewOnce(const SendRenew& send) {
  if (!folders_.NeedRenewal(clock_.Now())) return absl::OkStatus();
  v1::RenewCertificatesRequest request;
  ASSIGN_OR_RETURN(std::vector<v1::SigningRequest> prepared, folders_.Prepare());
  for (v1::SigningRequest& signing : prepared) {
    *request.add_signing_requests() = std::move(signing);
  }
  ASSIGN_OR_RETURN(v1::RenewCertificatesResponse response, send(request));
  RETURN_IF_ERROR(folders_.Install({response.certificates().begin(), response.certificates().end()},
                                   response.ca_pem()));
  base::Log(base::Level::kInfo, "certificates.renewed");
  return absl::OkStatus();
}

void NodeMembership::StartRenewal(SendRenew send) {
  renewer_ = std::thread([this, send = std::move(send)] {
    while (true) {
      absl::Status status = RenewOnce(send);
      if (!status.ok()) base::LogError("certificates.renewal_failed", status);
      const absl::Duration pause =
          status.ok() ? folders_.LookAgain() : std::min(folders_.LookAgain(), kAgain);
      base::MutexLock lock(mutex_);
      if (!stopping_) wake_.WaitFor(mutex_, absl::ToChronoNanoseconds(pause));
      if (stopping_) return;
    }
  });
}

void NodeMembership::Stop() {
  {
    base::MutexLock lock(mutex_);
    stopping_ = true;
    wake_.SignalAll();
  }
  if (renewer_.joinable()) renewer_.join();
}

}  // namespace oncomesh::access
