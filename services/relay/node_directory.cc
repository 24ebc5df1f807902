// SPDX-License-Identifier: Apache-2.0
#include "services/relay/node_directory.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/x509.h"

namespace oncomesh::relay {
namespace {

absl::Status IsSuspended(const std::string& node) {
  return base::Error(absl::StatusCode::kPermissionDenied, "NODE_SUSPENDED",
                     "the hub has suspended this node; its operator can ask the hub's why",
                     {{"node", node}});
}

absl::Status Stopped() {
  return base::Error(absl::StatusCode::kUnavailable, "RELAY_DRAINING", "the relay is stopping");
}

// The only value of `key`; empty when it is not there or stands twice.
std::string Single(const CallHeader& header, absl::string_view key) {
  const std::string* found = nullptr;
  for (const auto& [name, value] : header.metadata) {
    if (name != key) continue;
    if (found != nullptr) return "";
    found = &value;
  }
  return found == nullptr ? "" : *found;
}

absl::Status IsReplaced(const std::string& node) {
  return base::Error(absl::StatusCode::kPermissionDenied, "CERTIFICATE_REPLACED",
                     "the certificate is of an earlier membership: the node of this name was "
                     "removed and enrolled anew",
                     {{"node", node}});
}

}  // namespace

bool IsNodeId(absl::string_view node) {
  return node.size() >= 2 && node.size() <= 32 && node != "hub" &&
         absl::ascii_islower(static_cast<unsigned char>(node[0])) &&
         std::all_of(node.begin(), node.end(), [](unsigned char c) {
           return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-';
         });
}

absl::Status NodeDirectory::Load() {
  absl::StatusOr<std::string> json = base::ReadFile(deps_.suspended_file, 1 << 20);
  if (absl::IsNotFound(json.status())) return absl::OkStatus();
  RETURN_IF_ERROR(json.status());
  v1::SuspendedNodes kept;
  if (!google::protobuf::util::JsonStringToMessage(*json, &kept).ok() || kept.version() != 1) {
    return base::Error(absl::StatusCode::kDataLoss, "SUSPENDED_UNREADABLE",
                       "the list of suspended nodes in the relay's state folder cannot be read; "
                       "restore it, or remove it when no node is suspended");
  }
  suspended_.insert(kept.nodes().begin(), kept.nodes().end());
  certificates_from_.insert(kept.certificates_from().begin(), kept.certificates_from().end());
  epoch_ = kept.epoch();
  return absl::OkStatus();
}

absl::Status NodeDirectory::Suspended(const std::string& node) const {
  return suspended_.count(node) != 0 ? IsSuspended(node) : absl::OkStatus();
}

absl::Status NodeDirectory::Admit(const std::string& node, const std::string& certificate_pem) {
  RETURN_IF_ERROR(Suspended(node));
  Shown& shown = shown_[node];
  if (shown.pem.empty() || shown.pem != certificate_pem) {
    absl::StatusOr<crypto::CertificateInfo> info = crypto::ParseCertificate(certificate_pem);
    // What cannot be read has no time, which is before any.
    shown = {certificate_pem, info.ok() ? absl::ToUnixSeconds(info->not_before) : 0};
  }
  auto from = certificates_from_.find(node);
  if (from == certificates_from_.end()) return absl::OkStatus();
  return shown.not_before >= from->second ? absl::OkStatus() : IsReplaced(node);
}

void NodeDirectory::AddControl(const std::string& node, std::shared_ptr<IncomingCall> control) {
  std::string id = base::NewId("s", deps_.random);
  auto session =
      std::make_shared<NodeSession>(node, id, std::move(control), deps_.limits, deps_.loop,
                                    NodeSession::Events{[this](NodeSession& s) { Connected(s); },
                                                        [this](NodeSession& s) { Ended(s); }});
  by_id_.emplace(id, session);
  session->Open();
}

void NodeDirectory::AddLane(const std::string& node, std::shared_ptr<IncomingCall> stream) {
  auto it = by_id_.find(Single(stream->header(), kSessionKey));
  int64_t number = 0;
  // The name of the session is not a secret that lets anybody in; the certificate is.
  if (it == by_id_.end() || it->second->node() != node || !it->second->connected() ||
      !absl::SimpleAtoi(Single(stream->header(), kLaneKey), &number)) {
    return Refuse(stream, base::Error(absl::StatusCode::kFailedPrecondition, "SESSION_UNKNOWN",
                                      "the lane belongs to no connection that is alive"));
  }
  it->second->AddLane(std::move(stream), number);
}

void NodeDirectory::Connected(NodeSession& session) {
  const std::string node = session.node();
  if (auto it = connected_.find(node); it != connected_.end()) {
    std::shared_ptr<NodeSession> older = it->second->shared_from_this();
    older->Cut(base::Error(absl::StatusCode::kAborted, "NODE_REPLACED",
                           "the node has connected anew", {{"node", node}}));
  }
  connected_[node] = &session;
  since_[node] = deps_.clock.Now();
  past_.erase(node);
  base::Log(base::Level::kInfo, "node.connected",
            {{"node", node}, {"version", session.software_version()}});
}

void NodeDirectory::Ended(NodeSession& session) {
  const std::string node = session.node();
  if (auto it = connected_.find(node); it != connected_.end() && it->second == &session) {
    connected_.erase(it);
    since_.erase(node);
    past_[node] = {deps_.clock.Now(), session.software_version()};
    base::Log(base::Level::kInfo, "node.left", {{"node", node}});
  }
  by_id_.erase(session.id());
}

absl::StatusOr<std::shared_ptr<OutgoingCall>> NodeDirectory::Call(const std::string& node) {
  RETURN_IF_ERROR(Suspended(node));
  auto it = connected_.find(node);
  if (it == connected_.end()) {
    return base::Error(
        absl::StatusCode::kUnavailable, "NODE_NOT_CONNECTED",
        absl::StrCat("the node ", IsNodeId(node) ? node : "named", " is not connected to the hub"),
        {{"node", node}});
  }
  if (it->second->node_drains()) {
    return base::Error(absl::StatusCode::kUnavailable, "NODE_DRAINING",
                       "the node's relay is stopping; it comes back when it has restarted",
                       {{"node", node}});
  }
  std::shared_ptr<NodeSession> session = it->second->shared_from_this();
  return std::make_shared<LaneCall>(std::weak_ptr<LaneSource>(session));
}

void NodeDirectory::Track(const std::string& node, const std::shared_ptr<Pump>& pump) {
  uplink_[node].emplace(pump.get(), pump);
}

void NodeDirectory::Untrack(const std::string& node, const Pump& pump) {
  auto it = uplink_.find(node);
  if (it == uplink_.end()) return;
  it->second.erase(&pump);
  if (it->second.empty()) uplink_.erase(it);
}

void NodeDirectory::CutNode(const std::string& node, const absl::Status& status) {
  std::vector<std::shared_ptr<NodeSession>> sessions;
  for (auto& [id, session] : by_id_) {
    if (session->node() == node) sessions.push_back(session);
  }
  for (auto& session : sessions) session->Cut(status);
  if (auto it = uplink_.find(node); it != uplink_.end()) {
    std::vector<std::shared_ptr<Pump>> pumps;
    for (auto& [key, weak] : it->second) {
      if (auto pump = weak.lock()) pumps.push_back(std::move(pump));
    }
    for (auto& pump : pumps) pump->Abort(status);
  }
}

void NodeDirectory::AnnounceDrain() {
  for (auto& [id, session] : by_id_) session->AnnounceDrain();
}

void NodeDirectory::CutAll(const absl::Status& status) {
  std::map<std::string, std::shared_ptr<NodeSession>> sessions = by_id_;
  for (auto& [id, session] : sessions) session->Cut(status);
}

int NodeDirectory::connected() const { return static_cast<int>(connected_.size()); }

absl::StatusOr<std::vector<v1::NodePresence>> NodeDirectory::List() {
  std::map<std::string, v1::NodePresence> nodes;
  auto put_time = [](absl::Time time, v1::NodePresence& presence) {
    presence.mutable_since_time()->set_seconds(absl::ToUnixSeconds(time));
    presence.mutable_since_time()->set_nanos(static_cast<int32_t>(
        absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(absl::ToUnixSeconds(time)))));
  };
  bool ran = RunOn(deps_.loop, [&] {
    for (const auto& [node, past] : past_) {
      put_time(past.left, nodes[node]);
      nodes[node].set_software_version(past.software_version);
    }
    for (const auto& [node, session] : connected_) {
      v1::NodePresence& presence = nodes[node];
      presence.set_connected(true);
      put_time(since_[node], presence);
      presence.set_software_version(session->software_version());
      presence.set_idle_lanes(session->idle_lanes());
      presence.set_busy_lanes(session->busy_lanes());
      presence.set_waiting_calls(session->waiting_calls());
      presence.set_draining(session->node_drains());
    }
    for (const std::string& node : suspended_) nodes[node].set_suspended(true);
  });
  if (!ran) return Stopped();
  std::vector<v1::NodePresence> out;
  for (auto& [node, presence] : nodes) {
    presence.set_node(node);
    out.push_back(std::move(presence));
  }
  return out;
}

absl::Status NodeDirectory::Disconnect(const std::string& node, const std::string& reason) {
  bool found = false;
  bool ran = RunOn(deps_.loop, [&] {
    found = connected_.count(node) != 0;
    if (!found) return;
    base::Log(base::Level::kInfo, "node.disconnected", {{"node", node}, {"reason", reason}});
    CutNode(node, base::Error(absl::StatusCode::kUnavailable, "NODE_DISCONNECTED",
                              "the hub has ended this node's connection", {{"node", node}}));
  });
  if (!ran) return Stopped();
  if (found) return absl::OkStatus();
  return base::Error(absl::StatusCode::kNotFound, "NODE_NOT_CONNECTED",
                     "no node of this name is connected", {{"node", node}});
}

absl::Status NodeDirectory::SetSuspended(const std::vector<std::string>& nodes, int64_t epoch,
                                         const std::map<std::string, int64_t>& certificates_from) {
  for (const std::string& node : nodes) {
    if (!IsNodeId(node)) {
      return base::Error(absl::StatusCode::kInvalidArgument, "NODE_ID_INVALID",
                         "a node's name has 2 to 32 characters of a-z, 0-9 and '-', and starts "
                         "with a letter");
    }
  }
  base::MutexLock lock(setting_);
  int64_t in_force = 0;
  if (!RunOn(deps_.loop, [&] { in_force = epoch_; })) return Stopped();
  if (epoch < in_force) {
    return base::Error(absl::StatusCode::kAborted, "EPOCH_ROLLBACK",
                       absl::StrCat("the list is of epoch ", epoch, ", the one in force of ",
                                    in_force, "; read it again"),
                       {{"epoch", absl::StrCat(in_force)}});
  }
  std::set<std::string> wanted(nodes.begin(), nodes.end());
  v1::SuspendedNodes kept;
  kept.set_version(1);
  kept.set_epoch(epoch);
  for (const std::string& node : wanted) kept.add_nodes(node);
  for (const auto& [node, from] : certificates_from)
    (*kept.mutable_certificates_from())[node] = from;
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(kept, &json).ok()) {
    return absl::InternalError("the list of suspended nodes cannot be written as JSON");
  }
  // First to disk: a node once cut off must not slip in by a restart.
  RETURN_IF_ERROR(base::WriteFileAtomically(deps_.suspended_file, json, 0600));
  bool ran = RunOn(deps_.loop, [&] {
    suspended_ = wanted;
    epoch_ = epoch;
    const std::map<std::string, int64_t> before = std::move(certificates_from_);
    certificates_from_ = certificates_from;
    for (const std::string& node : wanted) CutNode(node, IsSuspended(node));
    for (const auto& [node, from] : certificates_from_) {
      auto older = before.find(node);
      if (older != before.end() && older->second >= from) continue;
      auto shown = shown_.find(node);
      if (shown != shown_.end() && shown->second.not_before >= from) continue;
      CutNode(node, IsReplaced(node));
    }
  });
  return ran ? absl::OkStatus() : Stopped();
}

}  // namespace oncomesh::relay
