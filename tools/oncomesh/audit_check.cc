// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/audit_check.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "libs/ledger/event.h"
#include "libs/ledger/hash.h"
#include "libs/ledger/proof.h"
#include "libs/ledger/tree.h"
#include "tools/oncomesh/front_door.h"

namespace oncomesh::cli {
namespace {

using ledger::Checkpoint;
using nlohmann::json;

absl::Status Untrusted(absl::string_view reason, absl::string_view message) {
  return base::Error(absl::StatusCode::kDataLoss, reason, message);
}

// What was seen of the log before; both empty when it was never seen.
struct SeenLog {
  std::string verifier_key;
  std::string checkpoint;
};

absl::StatusOr<SeenLog> LoadSeen(const std::string& path) {
  absl::StatusOr<std::string> text = base::ReadFile(path, 1 << 20);
  if (text.status().code() == absl::StatusCode::kNotFound) return SeenLog{};
  json stored = text.ok() ? json::parse(*text, nullptr, false) : json();
  if (!stored.is_object() || !stored.contains("verifierKey") ||
      !stored["verifierKey"].is_string() || !stored.contains("checkpoint") ||
      !stored["checkpoint"].is_string()) {
    return Untrusted("SEEN_LOG_DAMAGED",
                     absl::StrCat("what was seen of this log before cannot be read any more; if "
                                  "you know why, remove the file and the log is seen as new: ",
                                  path));
  }
  return SeenLog{stored["verifierKey"].get<std::string>(), stored["checkpoint"].get<std::string>()};
}

// The log that was asked for, as its site shows it now.
struct OpenedLog {
  ledger::NoteKey key;
  std::string verifier_key;
  std::string newest;  // the signed note
  SeenLog seen;
};

absl::StatusOr<OpenedLog> OpenLog(AuditStub& stub, const LogName& log) {
  ASSIGN_OR_RETURN(auto head,
                   Call(stub, &AuditStub::GetCheckpoint, audit::v1::GetCheckpointRequest()));
  ASSIGN_OR_RETURN(ledger::NoteKey key, ledger::NoteKey::Parse(head.verifier_key()));
  // A checkpoint is of the origin that is its key's name (VerifyCheckpoint).
  if (key.name() != log.origin) {
    return Untrusted("LOG_OTHER",
                     absl::StrCat("the site shows another log than that of ", log.origin,
                                  "; ask the site why, nothing that it shows proves anything"));
  }
  ASSIGN_OR_RETURN(SeenLog seen, LoadSeen(log.seen_path));
  if (!seen.verifier_key.empty() && seen.verifier_key != head.verifier_key()) {
    return Untrusted("LOG_KEY_CHANGED",
                     "the log is signed by another key than last time; ask the site "
                     "why, and compare its key by another way");
  }
  return OpenedLog{std::move(key), head.verifier_key(), head.checkpoint(), std::move(seen)};
}

absl::Status Remember(const LogName& log, const OpenedLog& opened, const std::string& note) {
  json stored = {{"verifierKey", opened.verifier_key}, {"checkpoint", note}};
  return base::WriteFileAtomically(log.seen_path, stored.dump(2) + "\n", 0600);
}

absl::Status Truncated(uint64_t earlier, uint64_t now) {
  return Untrusted("LOG_TRUNCATED",
                   absl::StrCat("the log had ", earlier, " events and has ", now, " now"));
}

absl::Status Changed() {
  return Untrusted("LOG_CHANGED", "events that this program has seen before were changed since");
}

template <typename Hashes>
absl::StatusOr<ledger::Proof> ToProof(const Hashes& hashes) {
  ledger::Proof out;
  for (const std::string& hash : hashes) {
    ledger::Hash value;
    if (!ledger::ToHash(hash, value)) {
      return Untrusted("PROOF_INVALID", "a hash of the proof has not 32 bytes");
    }
    out.push_back(value);
  }
  return out;
}

// That the log of `now` begins with the one that was seen before, by the site's proof.
absl::Status CheckContinues(AuditStub& stub, const OpenedLog& opened, const Checkpoint& now) {
  if (opened.seen.checkpoint.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(Checkpoint earlier,
                   ledger::VerifyCheckpoint(opened.seen.checkpoint, opened.key));
  if (earlier.size > now.size) return Truncated(earlier.size, now.size);
  if (earlier.size == now.size) return earlier.root == now.root ? absl::OkStatus() : Changed();
  if (earlier.size == 0) return absl::OkStatus();
  audit::v1::ConsistencyRequest request;
  request.set_size1(static_cast<int64_t>(earlier.size));
  request.set_size2(static_cast<int64_t>(now.size));
  ASSIGN_OR_RETURN(auto response, Call(stub, &AuditStub::Consistency, request));
  ASSIGN_OR_RETURN(ledger::Proof proof, ToProof(response.proof()));
  if (!ledger::VerifyConsistency(earlier.size, now.size, proof, earlier.root, now.root).ok()) {
    return Changed();
  }
  return absl::OkStatus();
}

// The hashes of the first `size` leaves.
absl::StatusOr<std::vector<ledger::Hash>> LeafHashes(AuditStub& stub, uint64_t size,
                                                     const Session& session) {
  std::vector<ledger::Hash> out;
  Progress progress(session, "verified", "events", size);
  audit::v1::ListLeafHashesRequest request;
  while (out.size() < size) {
    request.set_first(static_cast<int64_t>(out.size()));
    ASSIGN_OR_RETURN(auto response, Call(stub, &AuditStub::ListLeafHashes, request));
    absl::string_view hashes = response.hashes();
    ledger::Hash hash;
    if (hashes.empty()) {
      return Untrusted("LOG_TRUNCATED", absl::StrCat("the site shows ", out.size(), " of the ",
                                                     size, " entries that it has signed"));
    }
    progress.Advance(std::min<uint64_t>(hashes.size() / hash.size(), size - out.size()));
    for (; !hashes.empty(); hashes.remove_prefix(std::min(hashes.size(), hash.size()))) {
      if (!ledger::ToHash(hashes.substr(0, hash.size()), hash)) {
        return Untrusted("PROOF_INVALID", "a hash of a leaf has not 32 bytes");
      }
      out.push_back(hash);
    }
  }
  out.resize(size);  // the log may have grown since the checkpoint
  return out;
}

ledger::Hash RootOf(const std::vector<ledger::Hash>& leaves, uint64_t size) {
  ledger::Frontier frontier;
  for (uint64_t i = 0; i < size; ++i) frontier.Append(leaves[i]);
  return frontier.Root();
}

// That every event is shown, and is what was signed. False when they are not the caller's to see.
absl::StatusOr<bool> CheckEvents(AuditStub& stub, const std::vector<ledger::Hash>& leaves,
                                 const Session& session) {
  std::vector<bool> have(leaves.size(), false);
  absl::Status bad;
  auto progress = std::make_unique<Progress>(session, "read", "events", leaves.size());
  absl::Status listed = ListEvents(stub, {}, [&](const audit::v1::LoggedEvent& logged) {
    const uint64_t index = static_cast<uint64_t>(logged.index());
    if (index >= leaves.size()) return true;  // written since the checkpoint
    absl::StatusOr<std::string> leaf = ledger::CanonicalEvent(logged.event());
    if (!leaf.ok()) {
      bad = leaf.status();
    } else if (ledger::LeafHash(*leaf) != leaves[index]) {
      bad = Untrusted("LOG_CHANGED",
                      absl::StrCat("event ", index, " is not the one that was signed"));
    } else {
      if (!have[index]) progress->Advance(1);
      have[index] = true;
    }
    return bad.ok();
  });
  if (listed.code() == absl::StatusCode::kPermissionDenied) return false;
  RETURN_IF_ERROR(listed);
  RETURN_IF_ERROR(bad);
  for (uint64_t i = 0; i < leaves.size(); ++i) {
    if (!have[i]) {
      return Untrusted("EVENT_MISSING",
                       absl::StrCat("event ", i, " of ", leaves.size(), " was not shown"));
    }
  }
  return true;
}

}  // namespace

LogName LogOf(const Context& context, const std::string& context_path) {
  LogName out;
  out.origin = absl::StrCat(context.trust_domain, "/audit/", context.site);
  out.seen_path =
      absl::StrCat(context_path, ".seen.", absl::StrReplaceAll(out.origin, {{"/", "_"}}));
  return out;
}

absl::Status ListEvents(AuditStub& stub, audit::v1::ListRequest request,
                        const std::function<bool(const audit::v1::LoggedEvent&)>& each) {
  if (request.page_size() == 0) request.set_page_size(500);
  do {
    ASSIGN_OR_RETURN(auto response, Call(stub, &AuditStub::List, request));
    for (const auto& event : response.events()) {
      if (!each(event)) return absl::OkStatus();
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return absl::OkStatus();
}

absl::StatusOr<ProvedEvent> ProveEvent(AuditStub& stub, const LogName& log,
                                       const EventName& event) {
  audit::v1::ProveRequest request;
  if (event.id.empty()) {
    request.set_index(event.index);
  } else {
    request.set_event_id(event.id);
  }
  ASSIGN_OR_RETURN(OpenedLog opened, OpenLog(stub, log));
  ProvedEvent out;
  ASSIGN_OR_RETURN(out.shown, Call(stub, &AuditStub::Prove, request));
  ASSIGN_OR_RETURN(out.checkpoint, ledger::VerifyCheckpoint(out.shown.checkpoint(), opened.key));
  const audit::v1::LoggedEvent& shown = out.shown.event();
  if (event.id.empty() ? shown.index() != event.index : shown.event().event_id() != event.id) {
    return Untrusted("PROOF_OTHER_EVENT",
                     "the site answered with another event than the one that was asked for; the "
                     "one that was asked for is not proved");
  }
  ASSIGN_OR_RETURN(std::string leaf, ledger::CanonicalEvent(shown.event()));
  if (leaf != out.shown.leaf()) {
    return Untrusted("PROOF_INVALID", "the event is not the proved leaf");
  }
  ASSIGN_OR_RETURN(ledger::Proof proof, ToProof(out.shown.proof()));
  if (!ledger::VerifyInclusion(static_cast<uint64_t>(shown.index()), out.checkpoint.size,
                               ledger::LeafHash(leaf), proof, out.checkpoint.root)
           .ok()) {
    return Untrusted("PROOF_INVALID", "the proof does not lead to the root that was signed");
  }
  RETURN_IF_ERROR(CheckContinues(stub, opened, out.checkpoint));
  RETURN_IF_ERROR(Remember(log, opened, out.shown.checkpoint()));
  return out;
}

absl::StatusOr<VerifiedLog> VerifyLog(AuditStub& stub, const LogName& log, const Session& session) {
  ASSIGN_OR_RETURN(OpenedLog opened, OpenLog(stub, log));
  ASSIGN_OR_RETURN(Checkpoint checkpoint, ledger::VerifyCheckpoint(opened.newest, opened.key));
  ASSIGN_OR_RETURN(std::vector<ledger::Hash> leaves, LeafHashes(stub, checkpoint.size, session));
  if (RootOf(leaves, checkpoint.size) != checkpoint.root) {
    return Untrusted("LOG_CHANGED", "the events do not have the root that the site has signed");
  }
  VerifiedLog out{checkpoint, 0, false};
  ASSIGN_OR_RETURN(out.read, CheckEvents(stub, leaves, session));
  if (!opened.seen.checkpoint.empty()) {
    ASSIGN_OR_RETURN(Checkpoint earlier,
                     ledger::VerifyCheckpoint(opened.seen.checkpoint, opened.key));
    out.earlier = earlier.size;
    if (earlier.size > checkpoint.size) return Truncated(earlier.size, checkpoint.size);
    // All leaves are here, so the earlier root can be computed instead of proved.
    if (RootOf(leaves, earlier.size) != earlier.root) return Changed();
  }
  RETURN_IF_ERROR(Remember(log, opened, opened.newest));
  return out;
}

}  // namespace oncomesh::cli
