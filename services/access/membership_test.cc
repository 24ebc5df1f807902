// SPDX-License-Identifier: Apache-2.0
// Enrolment, renewal, trust bundles and people's tokens, without a network.
#include <sys/stat.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/base/mutex.h"
#include "libs/crypto/jws.h"
#include "libs/crypto/x509.h"
#include "libs/store/test_database.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "services/access/enrolment.h"
#include "services/access/node_membership.h"
#include "services/access/people.h"
#include "services/access/trust_keeper.h"
#include "services/access/trust_push.h"
#include "services/access/wire.h"

namespace oncomesh::access {
namespace {

using absl::StatusCode;

// The lines that are logged meanwhile. Any thread.
class LoggedLines {
 public:
  LoggedLines() {
    base::SetLogSink([this](const std::string& line) {
      base::MutexLock lock(mutex_);
      lines_.push_back(line);
    });
  }
  ~LoggedLines() { base::SetLogSink(nullptr); }
  LoggedLines(const LoggedLines&) = delete;
  LoggedLines& operator=(const LoggedLines&) = delete;
  // How many of them have all of `parts`.
  size_t With(const std::vector<std::string>& parts) {
    base::MutexLock lock(mutex_);
    return static_cast<size_t>(
        std::count_if(lines_.begin(), lines_.end(), [&](const std::string& line) {
          return std::all_of(parts.begin(), parts.end(), [&](const std::string& part) {
            return absl::StrContains(line, part);
          });
        }));
  }

 private:
  base::Mutex mutex_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mutex_);
};

// A relay that remembers what it was told.
class RememberingRelay final : public RelayControl {
 public:
  absl::StatusOr<std::vector<Presence>> Nodes() override {
    if (away) return base::Error(StatusCode::kUnavailable, "RELAY_AWAY", "it does not answer");
    return presences;
  }
  absl::Status SetSuspended(const std::vector<std::string>& nodes, int64_t epoch,
                            const std::map<std::string, absl::Time>& certificates_from) override {
    if (away) return base::Error(StatusCode::kUnavailable, "RELAY_AWAY", "it does not answer");
    suspended = nodes;
    from = certificates_from;
    last_epoch = epoch;
    return absl::OkStatus();
  }
  std::vector<std::string> suspended;
  int64_t last_epoch = 0;
  std::map<std::string, absl::Time> from;
  std::vector<Presence> presences;
  bool away = false;
};

struct Hub {
  Hub() {
    auto opened = AccessStore::Open(store::TestDatabaseUrl(folder / "access.db"), "");
    REQUIRE_OK(opened);
    store = *std::move(opened);
    auto made = Authority::Open(folder / "authority", "mesh", absl::Hours(24 * 30), clock);
    REQUIRE_OK(made);
    authority = std::make_unique<Authority>(*std::move(made));
    enrolment = std::make_unique<Enrolment>(
        Enrolment::Deps{*store, *authority, relay, clock, base::SystemRandom::Get(), "mesh",
                        "127.0.0.1:1", [this] { ++pushes_wanted; }});
  }
  std::string Invite(const std::string& node) {
    v1::CreateInvitationRequest request;
    request.set_node(node);
    v1::CreateInvitationResponse response;
    REQUIRE_OK(enrolment->Invite(request, response));
    return response.token();
  }
  testing::TemporaryFolder folder;
  base::FakeClock clock;
  RememberingRelay relay;
  int pushes_wanted = 0;
  std::unique_ptr<AccessStore> store;
  std::unique_ptr<Authority> authority;
  std::unique_ptr<Enrolment> enrolment;
};

struct Site {
  explicit Site(Hub& the_hub)
      : hub(the_hub),
        membership(IdentityFolders(folder / "identity", {"access", "relay"}), hub.clock) {}
  absl::Status Enrol(const std::string& token, const std::string& node = "lisbon") {
    REQUIRE_OK(base::WriteFileAtomically(folder / "invitation", token + "\n"));
    return membership.EnrolOnce(
        node, "mesh", folder / "invitation",
        [&](const InvitationToken&,
            const v1::EnrolRequest& request) -> absl::StatusOr<v1::EnrolResponse> {
          sent = request;
          v1::EnrolResponse response;
          absl::Status status = hub.enrolment->Enrol(request, response);
          if (!status.ok()) return status;
          return response;
        });
  }
  Hub& hub;
  testing::TemporaryFolder folder;
  NodeMembership membership;
  v1::EnrolRequest sent;
};

TEST_CASE("enrolment: an invitation gives a node certificates of its own name, once") {
  Hub hub;
  const std::string token = hub.Invite("lisbon");
  Site site(hub);
  REQUIRE_OK(site.Enrol(token));
  REQUIRE_VALUE(std::string pem, base::ReadFile(site.folder / "identity/relay/current/tls.crt"));
  REQUIRE_VALUE(crypto::CertificateInfo info, crypto::ParseCertificate(pem));
  CHECK(info.uris == std::vector<std::string>{"spiffe://mesh/node/lisbon/relay"});
  REQUIRE_OK(crypto::VerifyChain(pem, hub.authority->certificate_pem(), hub.clock.Now()));
  REQUIRE_VALUE(std::string key_pem,
                base::ReadFile(site.folder / "identity/relay/current/tls.key"));
  REQUIRE_VALUE(crypto::PrivateKey key, crypto::PrivateKey::FromPem(key_pem));
  CHECK(crypto::Matches(pem, key));
  // The secret does not lie about any more, and does not work a second time.
  REQUIRE_REASON(base::ReadFile(site.folder / "invitation"), StatusCode::kNotFound,
                 "FILE_NOT_FOUND");
  Site thief(hub);
  REQUIRE_REASON(thief.Enrol(token), StatusCode::kUnauthenticated, "INVITATION_USED");
}

TEST_CASE(
    "enrolment: an answer that got lost is given again for the same keys, while it is fresh") {
  Hub hub;
  const std::string token = hub.Invite("lisbon");
  testing::TemporaryFolder folder;
  REQUIRE_OK(base::WriteFileAtomically(folder / "invitation", token));
  bool lost = true;
  v1::EnrolRequest first, last;
  auto start = [&] {
    // A new process each time.
    NodeMembership membership(IdentityFolders(folder / "identity", {"access", "relay"}), hub.clock);
    return membership.EnrolOnce(
        "lisbon", "mesh", folder / "invitation",
        [&](const InvitationToken&,
            const v1::EnrolRequest& request) -> absl::StatusOr<v1::EnrolResponse> {
          last = request;
          if (lost) first = request;
          v1::EnrolResponse response;
          absl::Status status = hub.enrolment->Enrol(request, response);
          if (!status.ok()) return status;
          if (lost) return base::Error(StatusCode::kUnavailable, "LOST", "the connection broke");
          return response;
        });
  };
  REQUIRE_REASON(start(), StatusCode::kUnavailable, "LOST");
  struct stat facts{};
  REQUIRE(stat((folder / "identity/.prepared/relay.key").c_str(), &facts) == 0);
  CHECK((facts.st_mode & 0777) == 0600);
  lost = false;
  REQUIRE_OK(start());
  CHECK(first.SerializeAsString() == last.SerializeAsString());
  REQUIRE_REASON(base::ReadFile(folder / "identity/.prepared/relay.key"), StatusCode::kNotFound,
                 "FILE_NOT_FOUND");
  // Not for other keys, not when the invitation is over, not for a node that was removed.
  v1::EnrolRequest other = first;
  other.mutable_signing_requests(0)->set_csr_pem(other.signing_requests(1).csr_pem());
  v1::EnrolResponse response;
  REQUIRE_REASON(hub.enrolment->Enrol(other, response), StatusCode::kUnauthenticated,
                 "INVITATION_USED");
  REQUIRE_OK(hub.enrolment->Enrol(first, response));
  hub.clock.Advance(absl::Hours(25));
  REQUIRE_REASON(hub.enrolment->Enrol(first, response), StatusCode::kUnauthenticated,
                 "INVITATION_USED");
}

TEST_CASE("enrolment: a removed node's invitations are worth nothing") {
  Hub hub;
  const std::string early = hub.Invite("lisbon");
  REQUIRE_OK(hub.enrolment->Remove("lisbon"));
  Site site(hub);
  REQUIRE_REASON(site.Enrol(early), StatusCode::kUnauthenticated, "INVITATION_INVALID");
  REQUIRE_VALUE(NodeRow removed, hub.store->Node("lisbon"));
  CHECK(removed.state == v1::Node::STATE_REMOVED);
  // Nor does the repeat of one that was used come back with a later membership.
  REQUIRE_OK(site.Enrol(hub.Invite("lisbon")));
  const v1::EnrolRequest used = site.sent;
  REQUIRE_OK(hub.enrolment->Remove("lisbon"));
  Site next(hub);
  REQUIRE_OK(next.Enrol(hub.Invite("lisbon")));
  v1::EnrolResponse response;
  REQUIRE_REASON(hub.enrolment->Enrol(used, response), StatusCode::kUnauthenticated,
                 "INVITATION_INVALID");
}

TEST_CASE("enrolment: a stranger's requests are not even read") {
  Hub hub;
  hub.Invite("lisbon");
  v1::EnrolRequest request;
  request.set_node("lisbon");
  request.set_secret("guessed");
  request.add_signing_requests()->set_csr_pem("no request at all");
  v1::EnrolResponse response;
  REQUIRE_REASON(hub.enrolment->Enrol(request, response), StatusCode::kUnauthenticated,
                 "INVITATION_INVALID");
}

TEST_CASE("permits: a revoked one is named a day longer than it would have been in force") {
  Hub hub;
  PermitRow row;
  row.permit.set_id("permit-x");
  row.permit.mutable_expire_time()->set_seconds(
      absl::ToUnixSeconds(hub.clock.Now() + absl::Hours(1)));
  v1::Request request;
  request.set_id("req-x");
  REQUIRE_OK(hub.store->AddRequest(request, "once"));
  REQUIRE_OK(hub.store->ChangeRequest("req-x", [&](v1::Request&, std::optional<PermitRow>& permit) {
    permit = row;
    return absl::OkStatus();
  }));
  REQUIRE_OK(hub.store->RevokePermit("permit-x", "withdrawn"));
  const absl::Time expires = hub.clock.Now() + absl::Hours(1);
  REQUIRE_VALUE(auto revoked, hub.store->RevokedPermits(expires + absl::Hours(23)));
  CHECK(revoked == std::vector<std::string>{"permit-x"});
  REQUIRE_VALUE(revoked, hub.store->RevokedPermits(expires + absl::Hours(25)));
  CHECK(revoked.empty());
}

TEST_CASE("enrolment: late, foreign and bent invitations are refused, and say why") {
  Hub hub;
  const std::string token = hub.Invite("lisbon");
  Site site(hub);
  REQUIRE_REASON(site.Enrol(token, "porto"), StatusCode::kInvalidArgument, "INVITATION_WRONG_NODE");
  REQUIRE_REASON(site.Enrol("oncomesh1.e30"), StatusCode::kInvalidArgument, "INVITATION_MALFORMED");
  REQUIRE_REASON(site.Enrol("hello"), StatusCode::kInvalidArgument, "INVITATION_MALFORMED");
  hub.clock.Advance(absl::Hours(25));
  REQUIRE_REASON(site.Enrol(token), StatusCode::kUnauthenticated, "INVITATION_EXPIRED");
  // A newer invitation makes the older one worthless.
  const std::string first = hub.Invite("lisbon");
  const std::string second = hub.Invite("lisbon");
  REQUIRE_REASON(site.Enrol(first), StatusCode::kUnauthenticated, "INVITATION_INVALID");
  REQUIRE_OK(site.Enrol(second));
  v1::CreateInvitationRequest again;
  again.set_node("lisbon");
  v1::CreateInvitationResponse response;
  REQUIRE_REASON(hub.enrolment->Invite(again, response), StatusCode::kAlreadyExists, "NODE_EXISTS");
  again.set_node("Hub!");
  REQUIRE_REASON(hub.enrolment->Invite(again, response), StatusCode::kInvalidArgument,
                 "NODE_NAME_INVALID");
}

TEST_CASE("membership: a suspended node gets no certificates and is named to the relay") {
  Hub hub;
  Site site(hub);
  REQUIRE_OK(site.Enrol(hub.Invite("lisbon")));
  rpc::Caller node;
  node.kind = rpc::Caller::Kind::kService;
  node.node = "lisbon";
  v1::RenewCertificatesRequest renew;
  *renew.mutable_signing_requests() = site.sent.signing_requests();
  v1::RenewCertificatesResponse renewed;
  REQUIRE_OK(hub.enrolment->Renew(node, renew, renewed));
  REQUIRE_REASON(hub.enrolment->Suspend("lisbon", ""), StatusCode::kInvalidArgument,
                 "REASON_NEEDED");
  const int64_t epoch = hub.relay.last_epoch;
  REQUIRE_OK(hub.enrolment->Suspend("lisbon", "stolen key"));
  CHECK(hub.relay.suspended == std::vector<std::string>{"lisbon"});
  CHECK(hub.relay.last_epoch > epoch);
  REQUIRE_REASON(hub.enrolment->Renew(node, renew, renewed), StatusCode::kPermissionDenied,
                 "NODE_SUSPENDED");
  REQUIRE_OK(hub.enrolment->Resume("lisbon"));
  CHECK(hub.relay.suspended.empty());
  // A change whose relay could not be told is made again.
  hub.relay.away = true;
  CHECK_FALSE(hub.enrolment->Suspend("lisbon", "stolen key").ok());
  hub.relay.away = false;
  REQUIRE_OK(hub.enrolment->Suspend("lisbon", "stolen key"));
  hub.relay.away = true;
  CHECK_FALSE(hub.enrolment->Resume("lisbon").ok());
  hub.relay.away = false;
  REQUIRE_OK(hub.enrolment->Resume("lisbon"));
  CHECK(hub.relay.suspended.empty());
  REQUIRE_REASON(hub.enrolment->Suspend("porto", "x"), StatusCode::kNotFound, "NODE_NOT_FOUND");
}

TEST_CASE("membership: a change that the relay was not told of is asked to be pushed again") {
  Hub hub;
  LoggedLines lines;
  Site lisbon(hub), porto(hub);
  REQUIRE_OK(lisbon.Enrol(hub.Invite("lisbon")));
  const std::string token = hub.Invite("porto");
  CHECK(hub.pushes_wanted == 0);
  hub.relay.away = true;
  CHECK_FALSE(hub.enrolment->Suspend("lisbon", "stolen key").ok());
  CHECK(hub.pushes_wanted == 1);
  CHECK_FALSE(hub.enrolment->Resume("lisbon").ok());
  CHECK(hub.pushes_wanted == 2);
  CHECK_FALSE(hub.enrolment->Remove("lisbon").ok());
  CHECK(hub.pushes_wanted == 3);
  REQUIRE_OK(porto.Enrol(token, "porto"));
  CHECK(hub.pushes_wanted == 4);
  hub.Invite("turin");
  CHECK(hub.pushes_wanted == 5);
  // Whoever pushes again is not asked by their own failure.
  CHECK_FALSE(hub.enrolment->PushSuspended().ok());
  CHECK(hub.pushes_wanted == 5);
}

TEST_CASE("membership: nodes are listed without a relay, and the log says why none is connected") {
  Hub hub;
  Site site(hub);
  REQUIRE_OK(site.Enrol(hub.Invite("lisbon")));
  Presence here;
  here.node = "lisbon";
  here.connected = true;
  hub.relay.presences = {here};
  LoggedLines lines;
  v1::ListNodesResponse nodes;
  REQUIRE_OK(hub.enrolment->List(nodes));
  CHECK(nodes.nodes(0).connected());
  CHECK(lines.With({"relay.not_asked"}) == 0);
  hub.relay.away = true;
  nodes.Clear();
  REQUIRE_OK(hub.enrolment->List(nodes));
  REQUIRE(nodes.nodes_size() == 1);
  CHECK_FALSE(nodes.nodes(0).connected());
  CHECK(lines.With({"relay.not_asked", "RELAY_AWAY"}) == 1);
}

TEST_CASE("membership: who holds the keys of a removed node stays out while its name is invited") {
  Hub hub;
  CHECK(hub.relay.suspended.empty());
  const std::string token = hub.Invite("lisbon");
  CHECK(hub.relay.suspended == std::vector<std::string>{"lisbon"});
  Site site(hub);
  REQUIRE_OK(site.Enrol(token));
  CHECK(hub.relay.suspended.empty());
  REQUIRE_OK(hub.enrolment->Remove("lisbon"));
  CHECK(hub.relay.suspended == std::vector<std::string>{"lisbon"});
  hub.Invite("lisbon");
  CHECK(hub.relay.suspended == std::vector<std::string>{"lisbon"});
}

TEST_CASE("membership: certificates from before the last enrolment are named to the relay") {
  Hub hub;
  auto not_before = [](const Site& site) {
    REQUIRE_VALUE(std::string pem, base::ReadFile(site.folder / "identity/relay/current/tls.crt"));
    REQUIRE_VALUE(crypto::CertificateInfo info, crypto::ParseCertificate(pem));
    return info.not_before;
  };
  Site first(hub);
  REQUIRE_OK(first.Enrol(hub.Invite("lisbon")));
  CHECK(hub.relay.from.at("lisbon") == not_before(first));
  // A renewal makes none of the membership's certificates worthless.
  hub.clock.Advance(absl::Hours(24));
  rpc::Caller node;
  node.kind = rpc::Caller::Kind::kService;
  node.node = "lisbon";
  v1::RenewCertificatesRequest renew;
  *renew.mutable_signing_requests() = first.sent.signing_requests();
  v1::RenewCertificatesResponse renewed;
  REQUIRE_OK(hub.enrolment->Renew(node, renew, renewed));
  REQUIRE_VALUE(crypto::CertificateInfo last,
                crypto::ParseCertificate(renewed.certificates(0).certificate_pem()));
  REQUIRE_OK(hub.enrolment->PushSuspended());
  CHECK(hub.relay.from.at("lisbon") == not_before(first));
  REQUIRE_OK(hub.enrolment->Remove("lisbon"));
  hub.clock.Advance(absl::Seconds(1));
  Site second(hub);
  REQUIRE_OK(second.Enrol(hub.Invite("lisbon")));
  CHECK(hub.relay.from.at("lisbon") > last.not_before);
  CHECK(hub.relay.from.at("lisbon") <= not_before(second));
}

TEST_CASE("trust push: every member that has not confirmed is named, whatever the relay knows") {
  Hub hub;
  for (const char* node : {"ghent", "lisbon", "porto", "turin"}) {
    Site site(hub);
    REQUIRE_OK(site.Enrol(hub.Invite(node), node));
  }
  hub.Invite("vienna");  // no member yet
  REQUIRE_OK(hub.enrolment->Suspend("turin", "looking into it"));
  auto presence = [](const std::string& node, bool connected) {
    Presence out;
    out.node = node;
    out.connected = connected;
    return out;
  };
  // The relay was started again: of ghent, which is away, it knows nothing.
  hub.relay.presences = {presence("lisbon", true), presence("porto", true),
                         presence("turin", false)};
  PushTrust push = MakePushTrust(
      *hub.store, hub.relay,
      [](const std::string& node, const v1::TrustBundle&) { return node == "lisbon"; });
  std::vector<std::string> told, missing;
  REQUIRE_OK(push({}, told, missing));
  CHECK(told == std::vector<std::string>{"lisbon"});
  CHECK(missing == std::vector<std::string>{"ghent", "porto"});
  told.clear();
  missing.clear();
  hub.relay.away = true;
  REQUIRE_OK(push({}, told, missing));
  CHECK(told.empty());
  CHECK(missing == std::vector<std::string>{"ghent", "lisbon", "porto"});
}

TEST_CASE("identity folders: renewal is due at half life, and is all or nothing") {
  Hub hub;
  testing::TemporaryFolder folder;
  IdentityFolders folders(folder / "id", {"access", "relay"});
  CHECK(folders.NeedRenewal(hub.clock.Now()));
  auto issue = [&](const std::vector<v1::SigningRequest>& requests) {
    google::protobuf::RepeatedPtrField<v1::SigningRequest> list(requests.begin(), requests.end());
    auto certificates = hub.authority->IssueForNode("lisbon", list);
    REQUIRE_OK(certificates);
    return *certificates;
  };
  auto prepare = [&] {
    auto requests = folders.Prepare();
    REQUIRE_OK(requests);
    return *requests;
  };
  auto certificates = issue(prepare());
  auto half = certificates;
  half.pop_back();
  REQUIRE_REASON(folders.Install(half, hub.authority->certificate_pem()),
                 StatusCode::kInvalidArgument, "CERTIFICATE_INVALID");
  CHECK_FALSE(folders.Complete());
  REQUIRE_OK(folders.Install(certificates, hub.authority->certificate_pem()));
  CHECK(folders.Complete());
  CHECK_FALSE(folders.NeedRenewal(hub.clock.Now() + absl::Hours(24 * 14)));
  CHECK(folders.NeedRenewal(hub.clock.Now() + absl::Hours(24 * 16)));
  // Certificates for keys of another time are refused, and the old ones stay.
  prepare();
  REQUIRE_REASON(folders.Install(certificates, hub.authority->certificate_pem()),
                 StatusCode::kInvalidArgument, "CERTIFICATE_INVALID");
  CHECK(folders.Complete());
}

TEST_CASE("trust: a bundle is kept over a restart and never goes back") {
  testing::TemporaryFolder folder;
  base::FakeClock clock;
  v1::TrustBundle bundle;
  bundle.set_epoch(7);
  bundle.add_revoked_permits("permit-x");
  {
    REQUIRE_VALUE(auto keeper, TrustKeeper::Open(folder.path(), clock));
    REQUIRE_REASON(keeper->Get(), StatusCode::kUnavailable, "TRUST_NOT_YET");
    REQUIRE_OK(keeper->Accept(bundle));
  }
  clock.Advance(absl::Hours(1));
  REQUIRE_VALUE(auto keeper, TrustKeeper::Open(folder.path(), clock));
  REQUIRE_VALUE(KeptBundle kept, keeper->Get());
  CHECK(kept.bundle.revoked_permits(0) == "permit-x");
  CHECK(kept.fetched == clock.Now() - absl::Hours(1));  // its age shows
  bundle.set_epoch(6);
  REQUIRE_REASON(keeper->Accept(bundle), StatusCode::kFailedPrecondition, "EPOCH_ROLLBACK");
  bundle.set_epoch(7);
  REQUIRE_OK(keeper->Accept(bundle));
  REQUIRE_VALUE(kept, keeper->Get());
  CHECK(kept.fetched == clock.Now());
}

TEST_CASE("trust: a restart does not forget when the hub was last heard") {
  testing::TemporaryFolder folder;
  base::FakeClock clock;
  auto open = [&] {
    auto keeper = TrustKeeper::Open(folder.path(), clock, [] { return absl::Minutes(10); });
    REQUIRE_OK(keeper);
    return *std::move(keeper);
  };
  const absl::Time first = clock.Now();
  v1::TrustBundle bundle;
  bundle.set_epoch(7);
  {
    auto keeper = open();
    REQUIRE_OK(keeper->Accept(bundle));
    clock.Advance(absl::Seconds(59));
    REQUIRE_OK(keeper->Accept(bundle));
  }
  {
    // Less than a tenth behind is not worth a write.
    REQUIRE_VALUE(KeptBundle kept, open()->Get());
    CHECK(kept.fetched == first);
  }
  {
    auto keeper = open();
    clock.Advance(absl::Hours(5));
    REQUIRE_OK(keeper->Accept(bundle));
  }
  REQUIRE_VALUE(KeptBundle kept, open()->Get());
  CHECK(kept.fetched == clock.Now());
}

TEST_CASE("trust: every new reason why nothing is pulled is logged, and each once") {
  testing::TemporaryFolder folder;
  base::FakeClock clock;
  v1::TrustBundle bundle;
  bundle.set_epoch(7);
  REQUIRE_VALUE(auto keeper, TrustKeeper::Open(folder.path(), clock));
  REQUIRE_OK(keeper->Accept(bundle));
  LoggedLines lines;
  // The hub is away, comes back restored from a backup, and has its epoch raised.
  v1::TrustBundle restored = bundle;
  restored.set_epoch(5);
  base::Mutex mutex;
  base::CondVar done;
  int pulls = 0;
  keeper->Start(
      absl::Milliseconds(1),
      [&]() -> absl::StatusOr<v1::TrustBundle> {
        base::MutexLock lock(mutex);
        ++pulls;
        if (pulls > 9) done.Signal();
        if (pulls <= 3) return base::Error(StatusCode::kUnavailable, "HUB_AWAY", "away");
        return pulls <= 6 ? restored : bundle;
      },
      nullptr);
  {
    base::MutexLock lock(mutex);
    while (pulls <= 9) done.Wait(mutex);
  }
  keeper->Stop();
  CHECK(lines.With({"trust.pull_failed", "HUB_AWAY"}) == 1);
  CHECK(lines.With({"trust.pull_failed", "EPOCH_ROLLBACK", "epoch 5", "seen 7"}) == 1);
  CHECK(lines.With({"trust.pull_recovered"}) == 1);
}

TEST_CASE("trust: a revocation is in force also while it cannot be written down") {
  testing::TemporaryFolder folder;
  base::FakeClock clock;
  const std::string state = folder / "state", away = folder / "away";
  std::filesystem::create_directory(state);
  v1::TrustBundle bundle;
  bundle.set_epoch(7);
  int changes = 0;
  REQUIRE_VALUE(auto keeper, TrustKeeper::Open(state, clock));
  keeper->Start(
      absl::Hours(1), [&]() -> absl::StatusOr<v1::TrustBundle> { return bundle; },
      [&] { ++changes; });
  while (!keeper->Get().ok()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  keeper->Stop();
  REQUIRE(changes == 1);

  std::filesystem::rename(state, away);  // nothing can be written
  v1::TrustBundle revoked = bundle;
  revoked.set_epoch(8);
  revoked.add_revoked_permits("permit-x");
  clock.Advance(absl::Minutes(1));
  CHECK_FALSE(keeper->Accept(revoked).ok());
  CHECK(changes == 2);
  REQUIRE_VALUE(KeptBundle kept, keeper->Get());
  CHECK(kept.bundle.epoch() == 8);
  CHECK(kept.fetched == clock.Now());
  REQUIRE_REASON(keeper->Accept(bundle), StatusCode::kFailedPrecondition, "EPOCH_ROLLBACK");
  // Nor does the bundle grow old while the hub is heard.
  clock.Advance(absl::Hours(2));
  CHECK_FALSE(keeper->Accept(revoked).ok());
  REQUIRE_VALUE(kept, keeper->Get());
  CHECK(kept.fetched == clock.Now());

  // With the space it is written, although it says nothing new.
  std::filesystem::rename(away, state);
  REQUIRE_OK(keeper->Accept(revoked));
  CHECK(changes == 2);
  REQUIRE_VALUE(auto next, TrustKeeper::Open(state, clock));
  REQUIRE_VALUE(kept, next->Get());
  CHECK(kept.bundle.epoch() == 8);
  CHECK(kept.fetched == clock.Now());
}

}  // namespace
}  // namespace oncomesh::access
