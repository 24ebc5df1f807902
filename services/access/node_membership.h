// SPDX-License-Identifier: Apache-2.0
// A node's own side of membership: enrol once with the invitation, then renew at half life.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "libs/base/clock.h"
#include "libs/base/mutex.h"
#include "oncomesh/access/v1/enrolment.pb.h"
#include "services/access/authority.h"
#include "services/access/enrolment.h"

namespace oncomesh::access {

class NodeMembership {
 public:
  // Sends an enrolment to the front door named in the invitation, trusting only the authority in
  // it.
  using SendEnrol = std::function<absl::StatusOr<v1::EnrolResponse>(const InvitationToken&,
                                                                    const v1::EnrolRequest&)>;
  using SendRenew = std::function<absl::StatusOr<v1::RenewCertificatesResponse>(
      const v1::RenewCertificatesRequest&)>;

  NodeMembership(IdentityFolders folders, base::Clock& clock)
      : folders_(std::move(folders)), clock_(clock) {}
  ~NodeMembership() { Stop(); }

  // Nothing when the site has its identities. Else reads the invitation and enrols.
  // Errors: FAILED_PRECONDITION (INVITATION_MISSING), INVALID_ARGUMENT (INVITATION_MALFORMED, or
  // for another node: INVITATION_WRONG_NODE), those of EnrolmentService.Enrol.
  absl::Status EnrolOnce(const std::string& node, const std::string& trust_domain,
                         const std::string& invitation_file, const SendEnrol& send);

  // Looks whether a renewal is due, again and again, until Stop.
  void StartRenewal(SendRenew send);
  void Stop();

 private:
  absl::Status RenewOnce(const SendRenew& send);

  IdentityFolders folders_;
  base::Clock& clock_;
  base::Mutex mutex_;
  base::CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread renewer_;
};

}  // namespace oncomesh::access
