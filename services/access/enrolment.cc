// SPDX-License-Identifier: Apache-2.0
#include "services/access/enrolment.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "libs/base/error.h"
#include "libs/base/log.h"
#include "libs/base/names.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "libs/crypto/encoding.h"
#include "libs/crypto/jws.h"

namespace oncomesh::access {
namespace {

std::string DigestOf(const google::protobuf::RepeatedPtrField<v1::SigningRequest>& requests) {
  std::string all;
  for (const v1::SigningRequest& request : requests) {
    absl::StrAppend(&all, request.service().size(), ":", request.service(),
                    request.csr_pem().size(), ":", request.csr_pem());
  }
  return crypto::Sha256Hex(all);
}

v1::Node ToNode(const NodeRow& row, const std::vector<Presence>& presences) {
  v1::Node out;
  out.set_name(row.name);
  out.set_state(row.state);
  if (row.certificate_expires != absl::InfinitePast()) {
    out.mutable_certificate_expire_time()->set_seconds(
        absl::ToUnixSeconds(row.certificate_expires));
  }
  for (const Presence& presence : presences) {
    if (presence.node != row.name) continue;
    out.set_connected(presence.connected);
    out.set_version(presence.version);
    if (presence.last_seen > absl::UnixEpoch()) {  // it has been here since the relay started
      out.mutable_last_seen_time()->set_seconds(absl::ToUnixSeconds(presence.last_seen));
    }
  }
  return out;
}

}  // namespace

std::string EncodeInvitation(const InvitationToken& token) {
  nlohmann::json json = {{"v", 1},
                         {"node", token.node},
                         {"secret", token.secret},
                         {"frontDoor", token.front_door},
                         {"trustDomain", token.trust_domain},
                         {"ca", token.ca_pem}};
  return absl::StrCat("oncomesh1.", crypto::Base64Url(json.dump()));
}

absl::StatusOr<InvitationToken> DecodeInvitation(absl::string_view text) {
  auto malformed = [] {
    return base::Error(
        absl::StatusCode::kInvalidArgument, "INVITATION_MALFORMED",
        "this is no invitation; copy the whole line that `oncomesh node invite` printed");
  };
  text = absl::StripAsciiWhitespace(text);
  if (text.size() > 16 << 10 || !absl::ConsumePrefix(&text, "oncomesh1.")) return malformed();
  absl::StatusOr<std::string> decoded = crypto::Base64UrlDecode(text);
  if (!decoded.ok()) return malformed();
  absl::StatusOr<nlohmann::json> json = crypto::ParseStrictJson(*decoded);
  if (!json.ok() || !json->is_object()) return malformed();
  InvitationToken out;
  for (auto [name, field] : {std::pair{"node", &out.node},
                             {"secret", &out.secret},
                             {"frontDoor", &out.front_door},
                             {"trustDomain", &out.trust_domain},
                             {"ca", &out.ca_pem}}) {
    if (!json->contains(name) || !(*json)[name].is_string()) return malformed();
    *field = (*json)[name].get<std::string>();
  }
  return out;
}

absl::Status Enrolment::Invite(const v1::CreateInvitationRequest& request,
                               v1::CreateInvitationResponse& response) {
  if (!base::IsNodeName(request.node())) {
    return base::Error(
        absl::StatusCode::kInvalidArgument, "NODE_NAME_INVALID",
        "a node's name has 2 to 32 characters of a-z, 0-9 and '-', starts with a letter "
        "and is not 'hub'");
  }
  const int hours =
      request.lifetime_hours() == 0 ? 24 : std::clamp(request.lifetime_hours(), 1, 168);
  const std::string secret = crypto::Base64Url(deps_.random.Bytes(32));
  Invitation invitation{request.node(), crypto::Sha256Hex(secret),
                        deps_.clock.Now() + absl::Hours(hours)};
  RETURN_IF_ERROR(deps_.store.AddInvitation(invitation));
  response.set_token(EncodeInvitation({request.node(), secret, deps_.front_door, deps_.trust_domain,
                                       deps_.authority.certificate_pem()}));
  response.mutable_expire_time()->set_seconds(absl::ToUnixSeconds(invitation.expires));
  // The token exists in this answer alone, so it is given out; who is not a member yet has no keys
  // that a relay would have to refuse, and who was one is refused since the removal.
  if (absl::Status told = PushChange(); !told.ok()) base::LogError("relay.not_told", told);
  return absl::OkStatus();
}

absl::Status Enrolment::Enrol(const v1::EnrolRequest& request, v1::EnrolResponse& response) {
  // Before the first certificate is made: certificates from before it are not accepted any more.
  // What counts is kept as it was then, for the life of certificates can be configured anew.
  const absl::Time now = deps_.clock.Now();
  const InvitationUse use{request.node(), crypto::Sha256Hex(request.secret()),
                          DigestOf(request.signing_requests()), now - deps_.authority.Backdated()};
  // A stranger gets no further than a look-up.
  RETURN_IF_ERROR(deps_.store.CheckInvitation(use, now));
  // Certificates first: a request that cannot be signed must not use the invitation up.
  ASSIGN_OR_RETURN(std::vector<v1::ServiceCertificate> certificates,
                   deps_.authority.IssueForNode(request.node(), request.signing_requests()));
  RETURN_IF_ERROR(deps_.store.UseInvitation(use, now));
  RETURN_IF_ERROR(deps_.store.SetCertificateExpiry(request.node(), deps_.authority.NextExpiry()));
  for (auto& certificate : certificates) *response.add_certificates() = std::move(certificate);
  response.set_ca_pem(deps_.authority.certificate_pem());
  response.set_trust_domain(deps_.trust_domain);
  // The invitation is used up, so this call succeeds; a relay that cannot be told now is told soon.
  if (absl::Status told = PushChange(); !told.ok()) base::LogError("relay.not_told", told);
  return absl::OkStatus();
}

absl::Status Enrolment::Renew(const rpc::Caller& caller,
                              const v1::RenewCertificatesRequest& request,
                              v1::RenewCertificatesResponse& response) {
  ASSIGN_OR_RETURN(NodeRow node, deps_.store.Node(caller.node));
  if (node.state != v1::Node::STATE_MEMBER) {
    return base::Error(absl::StatusCode::kPermissionDenied, "NODE_SUSPENDED",
                       "the node is not a member now, so it gets no certificates");
  }
  ASSIGN_OR_RETURN(std::vector<v1::ServiceCertificate> certificates,
                   deps_.authority.IssueForNode(caller.node, request.signing_requests()));
  RETURN_IF_ERROR(deps_.store.SetCertificateExpiry(caller.node, deps_.authority.NextExpiry()));
  for (auto& certificate : certificates) *response.add_certificates() = std::move(certificate);
  response.set_ca_pem(deps_.authority.certificate_pem());
  return absl::OkStatus();
}

absl::Status Enrolment::List(v1::ListNodesResponse& response) {
  ASSIGN_OR_RETURN(std::vector<NodeRow> rows, deps_.store.Nodes());
  const std::vector<Presence> presences = Presences();
  for (const NodeRow& row : rows) *response.add_nodes() = ToNode(row, presences);
  return absl::OkStatus();
}

absl::StatusOr<v1::Node> Enrolment::Show(const std::string& node) {
  ASSIGN_OR_RETURN(NodeRow row, deps_.store.Node(node));
  return ToNode(row, Presences());
}

std::vector<Presence> Enrolment::Presences() {
  absl::StatusOr<std::vector<Presence>> presences = deps_.relay.Nodes();
  if (presences.ok()) return *std::move(presences);
  base::LogError("relay.not_asked", presences.status());
  return {};
}

absl::Status Enrolment::PushSuspended() {
  // One after the other, so that the last list the relay gets is the newest.
  base::MutexLock lock(push_mutex_);
  ASSIGN_OR_RETURN(int64_t epoch, deps_.store.Epoch());
  ASSIGN_OR_RETURN(std::vector<NodeRow> rows, deps_.store.Nodes());
  std::vector<std::string> suspended;
  std::map<std::string, absl::Time> certificates_from;
  for (const NodeRow& row : rows) {
    if (row.certificates_from != absl::InfinitePast()) {
      certificates_from[row.name] = row.certificates_from;
    }
    // A node that is only invited has no business here yet; whoever calls in its name has the keys
    // of one that was removed.
    if (row.state != v1::Node::STATE_MEMBER) {
      suspended.push_back(row.name);
    }
  }
  return deps_.relay.SetSuspended(suspended, epoch, certificates_from);
}

absl::Status Enrolment::PushChange() {
  absl::Status told = PushSuspended();
  if (!told.ok() && deps_.push_again) deps_.push_again();
  return told;
}

// `from` includes `to`: a change whose relay could not be told is made again.
absl::StatusOr<v1::Node> Enrolment::Change(const std::string& node,
                                           const std::vector<v1::Node::State>& from,
                                           v1::Node::State to, const std::string& reason) {
  RETURN_IF_ERROR(deps_.store.SetNodeState(node, from, to, reason));
  RETURN_IF_ERROR(PushChange());
  return Show(node);
}

absl::StatusOr<v1::Node> Enrolment::Suspend(const std::string& node, const std::string& reason) {
  if (reason.empty() || reason.size() > 2000) {
    return base::Error(absl::StatusCode::kInvalidArgument, "REASON_NEEDED",
                       "say why, in at most 2,000 characters");
  }
  return Change(node, {v1::Node::STATE_MEMBER, v1::Node::STATE_SUSPENDED},
                v1::Node::STATE_SUSPENDED, reason);
}

absl::StatusOr<v1::Node> Enrolment::Resume(const std::string& node) {
  return Change(node, {v1::Node::STATE_SUSPENDED, v1::Node::STATE_MEMBER}, v1::Node::STATE_MEMBER,
                "");
}

absl::StatusOr<v1::Node> Enrolment::Remove(const std::string& node) {
  return Change(node,
                {v1::Node::STATE_MEMBER, v1::Node::STATE_SUSPENDED, v1::Node::STATE_INVITED,
                 v1::Node::STATE_REMOVED},
                v1::Node::STATE_REMOVED, "removed");
}

}  // namespace oncomesh::access
