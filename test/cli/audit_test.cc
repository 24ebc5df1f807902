// SPDX-License-Identifier: Apache-2.0
// `oncomesh audit` at a front door whose log may be any other than the one that was asked for.
#include <grpcpp/grpcpp.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "libs/base/files.h"
#include "libs/base/mutex.h"
#include "libs/crypto/keys.h"
#include "libs/ledger/checkpoint.h"
#include "libs/ledger/event.h"
#include "libs/ledger/tree.h"
#include "libs/rpc/identity.h"
#include "libs/rpc/testing_authority.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "oncomesh/audit/v1/audit.grpc.pb.h"
#include "test/cli/program.h"

namespace oncomesh {
namespace {

using audit::v1::Event;
using grpc::Status;
using nlohmann::json;
using testing::Outcome;
using testing::Program;
using testing::Shell;

constexpr char kOrigin[] = "mesh/audit/hub";

Event EventOf(const std::string& id) {
  Event event;
  event.set_event_id(id);
  event.mutable_time()->set_seconds(1'800'000'000);
  event.set_site("hub");
  event.set_actor("person:auditor");
  event.set_type("permit.issued");
  event.set_outcome("OK");
  return event;
}

// A log in memory. Its proofs are right for what it holds.
struct Log {
  std::string origin = kOrigin;
  crypto::PrivateKey key = crypto::PrivateKey::Generate(crypto::KeyType::kEd25519);
  std::vector<Event> events;

  // Of the first `size` events: the hashes of the tree, as TreeReader reads them.
  std::vector<ledger::Hash> Nodes(size_t size) const {
    std::vector<ledger::Hash> nodes;
    ledger::Frontier frontier;
    for (size_t i = 0; i < size; ++i) {
      frontier.Append(LeafOf(i), [&](const ledger::Hash& hash) { nodes.push_back(hash); });
    }
    return nodes;
  }
  ledger::Hash LeafOf(size_t index) const {
    return ledger::LeafHash(ledger::CanonicalEvent(events[index]).value());
  }
  std::string Checkpoint() const {
    ledger::Frontier frontier;
    for (size_t i = 0; i < events.size(); ++i) frontier.Append(LeafOf(i));
    return ledger::SignCheckpoint({origin, events.size(), frontier.Root()}, key).value();
  }
  std::string VerifierKey() const {
    return ledger::NoteKey::Make(origin, ledger::NoteKeyType::kEd25519, key.Public())
        .value()
        .Print();
  }
};

// What a site shows: a log, but for the lies that are set.
struct Shown {
  Log log;
  int answer_with = -1;       // the event that every proof is of
  bool damage_proof = false;  // one bit of its last hash
  bool retouch = false;       // the event that is shown beside the proved leaf
  size_t withheld = 0;        // events of the end of the log that are not shown
};

class Site final : public audit::v1::AuditService::Service {
 public:
  void Show(const Shown& shown) {
    base::MutexLock lock(mutex_);
    shown_ = shown;
  }

  Status GetCheckpoint(grpc::ServerContext*, const audit::v1::GetCheckpointRequest*,
                       audit::v1::GetCheckpointResponse* response) override {
    const Shown shown = Now();
    const Log& log = shown.log;
    response->set_checkpoint(log.Checkpoint());
    response->set_verifier_key(log.VerifierKey());
    return Status::OK;
  }
  Status Prove(grpc::ServerContext*, const audit::v1::ProveRequest* request,
               audit::v1::ProveResponse* response) override {
    const Shown shown = Now();
    const Log& log = shown.log;
    size_t index = static_cast<size_t>(request->index());
    for (size_t i = 0; !request->event_id().empty() && i < log.events.size(); ++i) {
      if (log.events[i].event_id() == request->event_id()) index = i;
    }
    if (shown.answer_with >= 0) index = static_cast<size_t>(shown.answer_with);
    const auto nodes = log.Nodes(log.events.size());
    auto read = [&](uint64_t position) -> absl::StatusOr<ledger::Hash> { return nodes[position]; };
    ledger::Proof proof = ledger::TreeReader(read).Inclusion(index, log.events.size()).value();
    if (shown.damage_proof) proof.back()[0] ^= 1;
    for (const ledger::Hash& hash : proof) {
      response->add_proof(std::string(hash.begin(), hash.end()));
    }
    response->set_leaf(ledger::CanonicalEvent(log.events[index]).value());
    *response->mutable_event()->mutable_event() = log.events[index];
    if (shown.retouch) response->mutable_event()->mutable_event()->set_outcome("REFUSED");
    response->mutable_event()->set_index(static_cast<int64_t>(index));
    response->set_checkpoint(log.Checkpoint());
    return Status::OK;
  }
  Status Consistency(grpc::ServerContext*, const audit::v1::ConsistencyRequest* request,
                     audit::v1::ConsistencyResponse* response) override {
    const Shown shown = Now();
    const Log& log = shown.log;
    const auto nodes = log.Nodes(log.events.size());
    auto read = [&](uint64_t position) -> absl::StatusOr<ledger::Hash> { return nodes[position]; };
    const ledger::Proof proof = ledger::TreeReader(read)
                                    .Consistency(static_cast<uint64_t>(request->size1()),
                                                 static_cast<uint64_t>(request->size2()))
                                    .value();
    for (const ledger::Hash& hash : proof) {
      response->add_proof(std::string(hash.begin(), hash.end()));
    }
    return Status::OK;
  }
  Status ListLeafHashes(grpc::ServerContext*, const audit::v1::ListLeafHashesRequest* request,
                        audit::v1::ListLeafHashesResponse* response) override {
    const Shown shown = Now();
    const Log& log = shown.log;
    std::string hashes;
    for (size_t i = static_cast<size_t>(request->first()); i + shown.withheld < log.events.size();
         ++i) {
      const ledger::Hash hash = log.LeafOf(i);
      hashes.append(hash.begin(), hash.end());
    }
    response->set_hashes(hashes);
    return Status::OK;
  }
  Status List(grpc::ServerContext*, const audit::v1::ListRequest*,
              audit::v1::ListResponse* response) override {
    const Shown shown = Now();
    const Log& log = shown.log;
    for (size_t i = log.events.size(); i-- > 0;) {
      auto& event = *response->add_events();
      *event.mutable_event() = log.events[i];
      if (shown.retouch && i == 0) event.mutable_event()->set_outcome("REFUSED");
      event.set_index(static_cast<int64_t>(i));
    }
    return Status::OK;
  }

 private:
  Shown Now() const {
    base::MutexLock lock(mutex_);
    return shown_;
  }

  mutable base::Mutex mutex_;
  Shown shown_ ABSL_GUARDED_BY(mutex_);
};

class FrontDoor {
 public:
  FrontDoor() {
    for (const char* id : {"one", "two", "three"}) shown.log.events.push_back(EventOf(id));
    setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);  // that the certificate names no address
    const std::string identity = authority_.Identity("spiffe://mesh/hub/relay");
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort(
        "127.0.0.1:0", rpc::IdentityServerCredentials(identity, rpc::Clients::kAnyone), &port);
    builder.RegisterService(&site_);
    server_ = builder.BuildAndStart();
    REQUIRE(server_ != nullptr);
    REQUIRE_OK(base::WriteFileAtomically(folder_ / "token", "a.b.c"));
    REQUIRE_OK(
        base::WriteFileAtomically(context(), json{{"endpoint", absl::StrCat("127.0.0.1:", port)},
                                                  {"trustDomain", "mesh"},
                                                  {"site", "hub"},
                                                  {"caFile", identity + "/current/ca.crt"},
                                                  {"tokenFile", "token"}}
                                                 .dump()));
  }
  ~FrontDoor() { server_->Shutdown(); }

  std::string context() const { return folder_ / "auditor.json"; }
  std::string seen() const { return folder_ / "auditor.json.seen.mesh_audit_hub"; }

  Outcome Audit(const std::string& words) {
    site_.Show(shown);
    return Shell(absl::StrCat("timeout 60 ", Program(), " -o json --context ", context(), " audit ",
                              words, " 2>&1"));
  }
  void Holds(const std::string& words) {
    Outcome outcome = Audit(words);
    INFO(words << "\n" << outcome.out);
    CHECK(outcome.status == 0);
    CHECK(absl::StrContains(outcome.out, "\"verified\": true"));
  }
  void Refused(const std::string& words, const std::string& reason, int status = 1) {
    Outcome outcome = Audit(words);
    INFO(words << "\n" << outcome.out);
    CHECK(outcome.status == status);
    CHECK(absl::StartsWith(outcome.out, absl::StrCat("error: ", reason, ": ")));
    CHECK_FALSE(absl::StrContains(outcome.out, "verified"));
  }

  Shown shown;

 private:
  Site site_;
  testing::TemporaryFolder folder_;
  rpc::TestingAuthority authority_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace

TEST_CASE("audit: an honest log is proved and verified, and again when it has grown") {
  FrontDoor door;
  door.Holds("prove two");
  door.Holds("prove 0");
  door.Holds("verify");
  door.shown.log.events.push_back(EventOf("four"));
  door.shown.log.events.push_back(EventOf("five"));
  door.Holds("prove four");
  door.Holds("verify");
  door.shown.log.events.push_back(EventOf("six"));
  door.Holds("verify");
}

TEST_CASE("audit: an event that was asked for is not proved by another one") {
  FrontDoor door;
  door.shown.answer_with = 2;
  door.Holds("prove three");
  door.Refused("prove two", "PROOF_OTHER_EVENT");
  door.Refused("prove 1", "PROOF_OTHER_EVENT");
  door.Refused("prove ''", "EVENT_NEEDED", 2);
  door.Refused("prove 99999999999999999999", "EVENT_INVALID", 2);
}

TEST_CASE("audit: what is shown must be what was signed") {
  FrontDoor door;
  door.shown.damage_proof = true;
  door.Refused("prove two", "PROOF_INVALID");
  door.shown.damage_proof = false;
  door.shown.retouch = true;
  door.Refused("prove one", "PROOF_INVALID");
  door.Refused("verify", "LOG_CHANGED");
  door.shown.retouch = false;
  door.shown.withheld = 1;
  door.Refused("verify", "LOG_TRUNCATED");
  // Nothing of it was believed: no key was pinned.
  CHECK_FALSE(base::ReadFile(door.seen()).ok());
}

TEST_CASE("audit: the log of another site or mesh is not the one that was asked for") {
  FrontDoor door;
  for (const char* origin : {"mesh/audit/north", "other/audit/hub", "mesh/audit/hub2"}) {
    door.shown.log.origin = origin;
    door.Refused("prove two", "LOG_OTHER");
    door.Refused("verify", "LOG_OTHER");
  }
  door.shown.log.origin = kOrigin;
  door.Holds("verify");
}

TEST_CASE("audit: the first key that is seen is pinned, by either command") {
  for (const char* first : {"prove two", "verify"}) {
    FrontDoor door;
    door.Holds(first);
    door.shown.log.key = crypto::PrivateKey::Generate(crypto::KeyType::kEd25519);
    door.Refused("prove two", "LOG_KEY_CHANGED");
    door.Refused("verify", "LOG_KEY_CHANGED");
    REQUIRE_OK(base::WriteFileAtomically(door.seen(), "{"));
    door.Refused("prove two", "SEEN_LOG_DAMAGED");
    door.Refused("verify", "SEEN_LOG_DAMAGED");
  }
}

TEST_CASE("audit: a log that does not continue what was seen is refused, by either command") {
  for (const char* first : {"prove two", "verify"}) {
    FrontDoor door;
    door.Holds(first);
    const std::vector<Event> seen = door.shown.log.events;
    door.shown.log.events[0] = EventOf("another");  // as long as it was
    door.Refused("prove two", "LOG_CHANGED");
    door.Refused("verify", "LOG_CHANGED");
    door.shown.log.events.push_back(EventOf("four"));  // longer
    door.Refused("prove four", "LOG_CHANGED");
    door.Refused("verify", "LOG_CHANGED");
    door.shown.log.events = seen;
    door.shown.log.events.pop_back();
    door.Refused("prove two", "LOG_TRUNCATED");
    door.Refused("verify", "LOG_TRUNCATED");
    door.shown.log.events = seen;
    door.Holds("prove two");
  }
}

}  // namespace oncomesh
