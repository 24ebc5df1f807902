// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/audit_commands.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "libs/ledger/checkpoint.h"
#include "libs/ledger/event.h"
#include "libs/ledger/hash.h"
#include "libs/ledger/proof.h"
#include "libs/ledger/tree.h"
#include "oncomesh/audit/v1/audit.grpc.pb.h"
#include "tools/oncomesh/front_door.h"
#include "tools/oncomesh/names.h"
#include "tools/oncomesh/proto_json.h"

namespace oncomesh::cli {
namespace {

using audit::v1::AuditService;
using nlohmann::json;
using Stub = AuditService::Stub;

// What this program has seen of a log before: its key and its newest checkpoint. Kept beside the
// context, so that a log that was rewritten since, or has another key, is noticed.
struct SeenLog {
  std::string path;
  std::string verifier_key;
  std::string checkpoint;
};

SeenLog LoadSeen(const std::string& context_path, const std::string& origin) {
  SeenLog out;
  out.path = absl::StrCat(context_path, ".seen.", absl::StrReplaceAll(origin, {{"/", "_"}}));
  absl::StatusOr<std::string> text = base::ReadFile(out.path, 1 << 20);
  if (!text.ok()) return out;
  json stored = json::parse(*text, nullptr, false);
  if (!stored.is_object()) return out;
  out.verifier_key = stored.value("verifierKey", "");
  out.checkpoint = stored.value("checkpoint", "");
  return out;
}

absl::Status Untrusted(absl::string_view reason, absl::string_view message) {
  return base::Error(absl::StatusCode::kDataLoss, reason, message);
}

// The context at another site: the same person at that site's front door, whose address stands in
// the context of the site's holder.
absl::StatusOr<Context> ContextAt(const Session& session, const std::string& site) {
  ASSIGN_OR_RETURN(Context context, session.LoadContext());
  if (site.empty()) return context;
  const std::string path = session.context_path();
  const std::string folder =
      path.find('/') == std::string::npos ? "." : path.substr(0, path.rfind('/'));
  Session other = session;
  other.context_path_ =
      absl::StrCat(folder, "/", site == "hub" ? "operator" : "holder-" + site, ".json");
  absl::StatusOr<Context> there = other.LoadContext();
  if (!there.ok()) {
    return base::Error(absl::StatusCode::kNotFound, "SITE_UNKNOWN",
                       absl::StrCat("no context names the front door of ", site,
                                    "; use a context file for that site with --context"));
  }
  context.endpoint = there->endpoint;
  context.site = there->site;
  return context;
}

json EventJson(const audit::v1::LoggedEvent& logged) {
  json out = ToJson(logged.event());
  out["index"] = logged.index();
  return out;
}

std::vector<std::string> EventRow(const audit::v1::LoggedEvent& logged) {
  const audit::v1::Event& event = logged.event();
  return {absl::StrCat(logged.index()),
          TimeText(event.time().seconds()),
          event.actor(),
          event.type(),
          event.object(),
          event.reason().empty() ? event.outcome() : event.reason()};
}

// Every event of the log, newest first, as the service lists them.
absl::Status ListAll(Stub& stub, audit::v1::ListRequest request,
                     const std::function<void(const audit::v1::LoggedEvent&)>& each) {
  request.set_page_size(500);
  do {
    ASSIGN_OR_RETURN(auto response, Call(stub, &Stub::List, request));
    for (const auto& event : response.events()) each(event);
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return absl::OkStatus();
}

absl::StatusOr<ledger::Proof> ToProof(
    const google::protobuf::RepeatedPtrField<std::string>& hashes) {
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

struct Verified {
  ledger::Checkpoint checkpoint;
  uint64_t earlier = 0;  // size of the checkpoint seen before; 0: none
  bool read = false;     // the events themselves were shown too
};

// The hashes of the first `size` leaves.
absl::StatusOr<std::vector<ledger::Hash>> LeafHashes(Stub& stub, uint64_t size) {
  std::vector<ledger::Hash> out;
  audit::v1::ListLeafHashesRequest request;
  while (out.size() < size) {
    request.set_first(static_cast<int64_t>(out.size()));
    ASSIGN_OR_RETURN(auto response, Call(stub, &Stub::ListLeafHashes, request));
    absl::string_view hashes = response.hashes();
    ledger::Hash hash;
    if (hashes.empty()) {
      return Untrusted("LOG_TRUNCATED", absl::StrCat("the site shows ", out.size(), " of the ",
                                                     size, " entries that it has signed"));
    }
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
absl::StatusOr<bool> CheckEvents(Stub& stub, const std::vector<ledger::Hash>& leaves) {
  std::vector<bool> have(leaves.size(), false);
  absl::Status bad;
  absl::Status listed = ListAll(stub, {}, [&](const audit::v1::LoggedEvent& logged) {
    const uint64_t index = static_cast<uint64_t>(logged.index());
    if (index >= leaves.size() || !bad.ok()) return;  // written since the checkpoint
    absl::StatusOr<std::string> leaf = ledger::CanonicalEvent(logged.event());
    if (!leaf.ok()) {
      bad = leaf.status();
    } else if (ledger::LeafHash(*leaf) != leaves[index]) {
      bad = Untrusted("LOG_CHANGED",
                      absl::StrCat("event ", index, " is not the one that was signed"));
    } else {
      have[index] = true;
    }
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

// Computes the root again from the hashes of all leaves, and for who may read them from the events'
// own bytes; then proves that the checkpoint seen last time is a beginning of this log.
absl::StatusOr<Verified> VerifyLog(Stub& stub, const Session& session) {
  ASSIGN_OR_RETURN(auto head, Call(stub, &Stub::GetCheckpoint, audit::v1::GetCheckpointRequest()));
  ASSIGN_OR_RETURN(ledger::NoteKey key, ledger::NoteKey::Parse(head.verifier_key()));
  ASSIGN_OR_RETURN(ledger::Checkpoint checkpoint, ledger::VerifyCheckpoint(head.checkpoint(), key));
  SeenLog seen = LoadSeen(session.context_path(), checkpoint.origin);
  if (!seen.verifier_key.empty() && seen.verifier_key != head.verifier_key()) {
    return Untrusted("LOG_KEY_CHANGED",
                     "the log is signed by another key than last time; ask the site "
                     "why, and compare its key by another way");
  }
  ASSIGN_OR_RETURN(std::vector<ledger::Hash> leaves, LeafHashes(stub, checkpoint.size));
  if (RootOf(leaves, checkpoint.size) != checkpoint.root) {
    return Untrusted("LOG_CHANGED", "the events do not have the root that the site has signed");
  }
  Verified out{checkpoint, 0, false};
  ASSIGN_OR_RETURN(out.read, CheckEvents(stub, leaves));
  if (!seen.checkpoint.empty()) {
    ASSIGN_OR_RETURN(ledger::Checkpoint earlier, ledger::VerifyCheckpoint(seen.checkpoint, key));
    out.earlier = earlier.size;
    if (earlier.size > checkpoint.size) {
      return Untrusted("LOG_TRUNCATED", absl::StrCat("the log had ", earlier.size,
                                                     " events and has ", checkpoint.size, " now"));
    }
    // All leaves are here, so the earlier root can be computed instead of proved.
    if (RootOf(leaves, earlier.size) != earlier.root) {
      return Untrusted("LOG_CHANGED",
                       "events that this program has seen before were changed since");
    }
  }
  json stored = {{"verifierKey", head.verifier_key()}, {"checkpoint", head.checkpoint()}};
  RETURN_IF_ERROR(base::WriteFileAtomically(seen.path, stored.dump(2) + "\n", 0600));
  return out;
}

}  // namespace

void AddAuditCommands(CLI::App& app, Session& session) {
  CLI::App* audit =
      app.add_subcommand("audit", "what was done, and the proof that it was not changed");
  audit->require_subcommand(1);
  audit->footer("Example: oncomesh audit verify --site hub");
  auto connect = [&session](const std::string& site) -> absl::StatusOr<std::unique_ptr<Stub>> {
    ASSIGN_OR_RETURN(Context context, ContextAt(session, site));
    ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(context));
    return AuditService::NewStub(channel);
  };
  {
    struct Args {
      std::string subject, site, type;
      int last = 100;
    };
    auto args = std::make_shared<Args>();
    CLI::App* command = audit->add_subcommand("show", "events, newest first");
    command->add_option("--subject", args->subject, "only what this person did");
    command->add_option("--type", args->type, "only events whose type begins so");
    command->add_option("--last", args->last, "how many")->check(CLI::Range(1, 1'000'000));
    command->add_option("--site", args->site, "hub or a node; without it, the context's own")
        ->type_name(kNameOfSite);
    command->footer("Example: oncomesh audit show --subject researcher --last 20");
    OnRun(command, session, [args, connect, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto stub, connect(args->site));
      audit::v1::ListRequest request;
      if (!args->subject.empty()) request.set_actor("person:" + args->subject);
      request.set_type_prefix(args->type);
      json events = json::array();
      std::vector<std::vector<std::string>> rows = {
          {"INDEX", "TIME", "ACTOR", "TYPE", "OBJECT", "OUTCOME"}};
      request.set_page_size(std::min(args->last, 500));
      do {
        ASSIGN_OR_RETURN(auto response, Call(*stub, &Stub::List, request));
        for (const auto& event : response.events()) {
          if (static_cast<int>(events.size()) == args->last) break;
          events.push_back(EventJson(event));
          rows.push_back(EventRow(event));
        }
        request.set_page_token(response.next_page_token());
      } while (!request.page_token().empty() && static_cast<int>(events.size()) < args->last);
      session.Print({{"events", events}}, Table(rows));
      return kDone;
    });
  }
  {
    struct Args {
      std::string event, site;
    };
    auto args = std::make_shared<Args>();
    CLI::App* command = audit->add_subcommand("prove", "that an event is in the log");
    command->add_option("EVENT", args->event, "its id, or its number in the log")->required();
    command->add_option("--site", args->site, "hub or a node; without it, the context's own")
        ->type_name(kNameOfSite);
    command->footer("Example: oncomesh audit prove 17");
    OnRun(command, session, [args, connect, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto stub, connect(args->site));
      audit::v1::ProveRequest request;
      if (args->event.find_first_not_of("0123456789") == std::string::npos) {
        request.set_index(std::strtoll(args->event.c_str(), nullptr, 10));
      } else {
        request.set_event_id(args->event);
      }
      ASSIGN_OR_RETURN(auto response, Call(*stub, &Stub::Prove, request));
      ASSIGN_OR_RETURN(auto head,
                       Call(*stub, &Stub::GetCheckpoint, audit::v1::GetCheckpointRequest()));
      ASSIGN_OR_RETURN(ledger::NoteKey key, ledger::NoteKey::Parse(head.verifier_key()));
      ASSIGN_OR_RETURN(ledger::Checkpoint checkpoint,
                       ledger::VerifyCheckpoint(response.checkpoint(), key));
      ASSIGN_OR_RETURN(std::string leaf, ledger::CanonicalEvent(response.event().event()));
      ASSIGN_OR_RETURN(ledger::Proof proof, ToProof(response.proof()));
      if (leaf != response.leaf())
        return Untrusted("PROOF_INVALID", "the event is not the proved leaf");
      RETURN_IF_ERROR(ledger::VerifyInclusion(static_cast<uint64_t>(response.event().index()),
                                              checkpoint.size, ledger::LeafHash(leaf), proof,
                                              checkpoint.root));
      json hashes = json::array();
      for (const std::string& hash : response.proof())
        hashes.push_back(absl::BytesToHexString(hash));
      session.Print(
          {{"event", EventJson(response.event())},
           {"leaf", response.leaf()},
           {"proof", hashes},
           {"checkpoint", response.checkpoint()},
           {"verified", true}},
          absl::StrCat("event ", response.event().index(), " is in the log of ", checkpoint.size,
                       " events that ", checkpoint.origin, " has signed\n", response.leaf(), "\n"));
      return kDone;
    });
  }
  {
    auto site = std::make_shared<std::string>();
    CLI::App* command = audit->add_subcommand(
        "verify", "the whole log, and that it continues what was seen before");
    command->add_option("--site", *site, "hub or a node; without it, the context's own")
        ->type_name(kNameOfSite);
    command->footer("Example: oncomesh audit verify --site hub");
    OnRun(command, session, [site, connect, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto stub, connect(*site));
      ASSIGN_OR_RETURN(Verified verified, VerifyLog(*stub, session));
      const std::string root = ledger::Hex(verified.checkpoint.root);
      session.Print(
          {{"origin", verified.checkpoint.origin},
           {"size", verified.checkpoint.size},
           {"root", root},
           {"seenBefore", verified.earlier},
           {"eventsRead", verified.read},
           {"verified", true}},
          absl::StrCat(
              verified.checkpoint.origin, ": ", verified.checkpoint.size, " events, root ", root,
              ", signature genuine",
              verified.earlier > 0
                  ? absl::StrCat(", continues the ", verified.earlier, " events seen before")
                  : "",
              verified.read ? "" : "; by their hashes, for the events are not yours to read",
              "\n"));
      return kDone;
    });
  }
}

}  // namespace oncomesh::cli
