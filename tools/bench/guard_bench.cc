// link: oncomesh::bench_protos oncomesh::relay_testing oncomesh::site oncomesh::ledger
// SPDX-License-Identifier: Apache-2.0
// A permit-checked call against a bare echo, both sync servers over mutual TLS, in paired rounds:
// processor time of the server per call, and calls per second. The checked one is a whole service
// as rpc::RunService makes it, with the call guard and a SiteAccess that asks an access service;
// servers, access and caller are processes of their own.
#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/crypto/jws.h"
#include "libs/ledger/event_log.h"
#include "libs/permit/permit.h"
#include "libs/rpc/call_guard.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/identity.h"
#include "libs/rpc/service_runner.h"
#include "libs/rpc/status.h"
#include "libs/site/site_access.h"
#include "oncomesh/access/v1/people.grpc.pb.h"
#include "oncomesh/access/v1/policy.grpc.pb.h"
#include "oncomesh/access/v1/trust.grpc.pb.h"
#include "oncomesh/audit/v1/audit.grpc.pb.h"
#include "services/relay/testing/test_mesh.h"
#include "tools/bench/bench.h"
#include "tools/bench/guarded_echo.grpc.pb.h"

namespace oncomesh {
namespace {

using namespace bench;      // NOLINT(google-build-using-namespace): a program of its own
using namespace bench::v1;  // NOLINT(google-build-using-namespace)
using relay::testing::kTrustDomain;

constexpr char kUsage[] =
    "usage: guard_bench [--rounds=N] [--seconds=S] [--callers=LIST]\n"
    "\n"
    "  --rounds   paired rounds (4)\n"
    "  --seconds  of each measurement (0.4)\n"
    "  --callers  calls at once, by comma (1,8,64)\n"
    "\n"
    "example: guard_bench --rounds=8 --seconds=1\n";

constexpr char kSite[] = "lisbon";

// The echo with nothing around it.
class Bare final : public GuardedEchoService::Service {
 public:
  grpc::Status Say(grpc::ServerContext*, const SayRequest* request,
                   SayResponse* response) override {
    response->set_payload(request->payload());
    return grpc::Status::OK;
  }
};

int ServeBare(const std::string& identity, const std::string& address) {
  grpc::ServerBuilder builder;
  int port = 0;
  Bare service;
  builder.AddListeningPort(address, rpc::IdentityServerCredentials(identity, rpc::Clients::kMesh),
                           &port);
  builder.RegisterService(&service);
  auto server = builder.BuildAndStart();
  if (server == nullptr || port == 0) return 1;
  server->Wait();
  return 0;
}

class Guarded final : public GuardedEchoService::Service {
 public:
  explicit Guarded(rpc::CallGuard& guard) : guard_(guard) {}
  grpc::Status Say(grpc::ServerContext* context, const SayRequest* request,
                   SayResponse* response) override {
    return guard_.Run(context, "/oncomesh.bench.v1.GuardedEchoService/Say", *request,
                      [&](const rpc::Caller&) {
                        response->set_payload(request->payload());
                        return absl::OkStatus();
                      });
  }
  grpc::Status SayOnRecord(grpc::ServerContext* context, const SayOnRecordRequest* request,
                           SayOnRecordResponse* response) override {
    return guard_.Run(context, "/oncomesh.bench.v1.GuardedEchoService/SayOnRecord", *request,
                      [&](const rpc::Caller&) {
                        response->set_payload(request->payload());
                        return absl::OkStatus();
                      });
  }

 private:
  rpc::CallGuard& guard_;
};

// Wired as every service is.
class GuardedApp final : public rpc::App {
 public:
  explicit GuardedApp(const config::v1::ServiceConfig& config)
      : site_(config, "catalogue", base::SystemClock::Get()),
        guard_({.site = config.site(),
                .trust_domain = config.trust_domain(),
                .authenticator = &site_,
                .permits = &site_,
                .auditor = &site_}),
        service_(guard_) {}
  std::vector<rpc::Served> services() override {
    return {{"oncomesh.bench.v1.GuardedEchoService", &service_}};
  }

 private:
  site::SiteAccess site_;
  rpc::CallGuard guard_;
  Guarded service_;
};

int ServeGuarded(const std::string& config_path) {
  config::v1::ServiceConfig config;
  std::vector<std::string> arguments{"guarded", "--role=node", "--config=" + config_path};
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  base::SetLogLevel(base::Level::kError);
  return rpc::RunServiceWith(
      static_cast<int>(argv.size()), argv.data(), "catalogue", {}, config,
      [&]() -> const config::v1::ServiceConfig& { return config; },
      [&](const google::protobuf::Message&,
          rpc::Role) -> absl::StatusOr<std::unique_ptr<rpc::App>> {
        return std::unique_ptr<rpc::App>(std::make_unique<GuardedApp>(config));
      });
}

// What a site's access service answers, with a permit key and a real log of its own. A line on
// stdin revokes the permit that it names.
struct Access {
  explicit Access(const std::string& folder)
      : log(Must(ledger::EventLog::Open(
            {.folder = folder + "/log",
             .site = kSite,
             .trust_domain = kTrustDomain,
             .key = crypto::PrivateKey::Generate(crypto::KeyType::kEd25519)}))) {
    trust.access = people.access = policy.access = audit.access = this;
    bundle.set_issuer(kTrustDomain);
    bundle.set_epoch(1);
    bundle.set_permit_keys_jwks(Must(base::ReadFile(folder + "/keys.jwks")));
  }
  struct Trust final : access::v1::TrustService::Service {
    grpc::Status GetTrustBundle(grpc::ServerContext*, const access::v1::GetTrustBundleRequest*,
                                access::v1::GetTrustBundleResponse* response) override {
      base::MutexLock lock(access->mutex);
      *response->mutable_bundle() = access->bundle;
      response->mutable_fetch_time()->set_seconds(absl::ToUnixSeconds(absl::Now()));
      return grpc::Status::OK;
    }
    Access* access;
  };
  struct People final : access::v1::PeopleService::Service {
    grpc::Status Authenticate(grpc::ServerContext*, const access::v1::AuthenticateRequest*,
                              access::v1::AuthenticateResponse* response) override {
      response->set_subject("bench");
      response->add_roles("researcher");
      response->mutable_expire_time()->set_seconds(absl::ToUnixSeconds(absl::Now()) + 3600);
      return grpc::Status::OK;
    }
    Access* access;
  };
  struct Policy final : access::v1::PolicyService::Service {
    grpc::Status GetPolicy(grpc::ServerContext*, const access::v1::GetPolicyRequest*,
                           access::v1::GetPolicyResponse* response) override {
      response->mutable_policy()->set_max_trust_age_seconds(3600);
      return grpc::Status::OK;
    }
    Access* access;
  };
  struct Audit final : audit::v1::AuditService::Service {
    grpc::Status Append(grpc::ServerContext*, const audit::v1::AppendRequest* request,
                        audit::v1::AppendResponse* response) override {
      *response = Must(access->log->Append(*request));
      return grpc::Status::OK;
    }
    Access* access;
  };
  std::unique_ptr<ledger::EventLog> log;
  base::Mutex mutex;
  access::v1::TrustBundle bundle ABSL_GUARDED_BY(mutex);
  Trust trust;
  People people;
  Policy policy;
  Audit audit;
};

int ServeAccess(const std::string& identity, const std::string& address,
                const std::string& folder) {
  Access access(folder);
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(address, rpc::IdentityServerCredentials(identity, rpc::Clients::kMesh),
                           &port);
  for (grpc::Service* service : std::initializer_list<grpc::Service*>{
           &access.trust, &access.people, &access.policy, &access.audit}) {
    builder.RegisterService(service);
  }
  auto server = builder.BuildAndStart();
  if (server == nullptr || port == 0) return 1;
  char line[256];
  while (std::fgets(line, sizeof(line), stdin) != nullptr) {
    line[std::strcspn(line, "\n")] = 0;
    base::MutexLock lock(access.mutex);
    access.bundle.set_epoch(access.bundle.epoch() + 1);
    access.bundle.add_revoked_permits(line);
  }
  server->Wait();
  return 0;
}

class Bench {
 public:
  Bench() : authority_(folder_.path(), "ca") {
    auto key = crypto::PrivateKey::Generate(crypto::KeyType::kEd25519);
    Must(base::WriteFileAtomically(folder_.path() + "/keys.jwks",
                                   crypto::PrintJwks({{"k", key.Public()}})));
    permit::Permit permit;
    permit.id = "permit-bench";
    permit.issuer = kTrustDomain;
    permit.people = {"bench"};
    permit.datasets = {"nodes/lisbon/datasets/sarcoma/versions/1"};
    permit.purpose = "DUO:0000006";
    permit.operations = {"count"};
    permit.not_before = absl::Now() - absl::Minutes(1);
    permit.expires = absl::Now() + absl::Hours(1);
    permit.epoch = 1;
    permit.request = "request-bench";
    permit_ = *permit::Sign(permit, key, "k");

    const std::string access_address = absl::StrCat("127.0.0.1:", FreePort());
    const std::string bare_address = absl::StrCat("127.0.0.1:", FreePort());
    config::v1::ServiceConfig config;
    config.set_site(kSite);
    config.set_trust_domain(kTrustDomain);
    config.set_listen(absl::StrCat("127.0.0.1:", FreePort()));
    config.set_identity_dir(authority_.Identity("node/lisbon/catalogue"));
    config.set_state_dir(folder_.path() + "/state");
    config.set_access_address(access_address);
    std::string json;
    if (!google::protobuf::util::MessageToJsonString(config, &json).ok()) Fail("no configuration");
    const std::string config_path = folder_.path() + "/config.json";
    Must(base::WriteFileAtomically(config_path, json));
    access_ = std::make_unique<Process>(
        std::vector<std::string>{Self(), "--access", authority_.Identity("node/lisbon/access"),
                                 access_address, folder_.path()},
        folder_.path() + "/log.txt");
    bare_ = std::make_unique<Process>(
        std::vector<std::string>{Self(), "--bare", authority_.Identity("node/lisbon/catalogue"),
                                 bare_address},
        folder_.path() + "/log.txt");
    guarded_ = std::make_unique<Process>(std::vector<std::string>{Self(), "--guarded", config_path},
                                         folder_.path() + "/log.txt");
    // Calls of people come through the relay of the site.
    const std::string identity = authority_.Identity("node/lisbon/relay");
    for (const auto& [stub, address] :
         {std::pair{&bare_stub_, bare_address}, std::pair{&guarded_stub_, config.listen()}}) {
      *stub = GuardedEchoService::NewStub(rpc::Connect({.target = address,
                                                        .identity_dir = identity,
                                                        .trust_domain = kTrustDomain,
                                                        .peer = "node/lisbon/catalogue",
                                                        .node = ""}));
    }
    WaitFor(*bare_stub_);
    WaitFor(*guarded_stub_);
  }

  GuardedEchoService::Stub& bare() { return *bare_stub_; }
  GuardedEchoService::Stub& guarded() { return *guarded_stub_; }
  pid_t bare_pid() const { return bare_->pid(); }
  pid_t guarded_pid() const { return guarded_->pid(); }

  // What a person's call carries.
  void Identify(grpc::ClientContext& context, bool with_permit = true) const {
    context.AddMetadata("authorization", token_);
    if (with_permit) context.AddMetadata(rpc::kPermitKey, permit_);
  }

  // The guard must be at work, or what is measured means nothing.
  void Check() {
    if (Reason(false) != "PERMIT_NEEDED") Fail("a call without a permit was not refused");
    if (!Reason(true).empty()) Fail("a call with a permit was refused: " + Reason(true));
  }
  // Milliseconds until the revoked permit is refused.
  double Revoke() {
    const double start = Now();
    access_->Tell("permit-bench");
    while (Reason(true) != "PERMIT_REVOKED") {
      if (Now() - start > 5) Fail("a revoked permit is still good after 5 s");
      usleep(1000);
    }
    return (Now() - start) * 1e3;
  }

 private:
  std::string Reason(bool with_permit) {
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Seconds(10));
    Identify(context, with_permit);
    SayResponse response;
    const absl::Status status =
        rpc::FromGrpc(guarded_stub_->Say(&context, SayRequest(), &response));
    return status.ok() ? "" : base::ReasonOf(status);
  }
  void WaitFor(GuardedEchoService::Stub& stub) {
    grpc::ClientContext context;
    // Calls that fail at once would leave nobody to poll the handshake.
    context.set_wait_for_ready(true);
    rpc::SetDeadline(context, absl::Seconds(30));
    Identify(context);
    SayResponse response;
    const grpc::Status status = stub.Say(&context, {}, &response);
    if (status.ok()) return;
    Fail("a server cannot be reached: " + status.error_message() + "\n" +
         base::ReadFile(folder_.path() + "/log.txt").value_or(""));
  }

  relay::testing::ScratchFolder folder_;
  relay::testing::TestAuthority authority_;
  const std::string token_ = "Bearer " + std::string(700, 't');  // a token of usual length
  std::string permit_;
  std::unique_ptr<Process> access_, bare_, guarded_;
  std::unique_ptr<GuardedEchoService::Stub> bare_stub_, guarded_stub_;
};

struct Figures {
  double rate = 0, cpu = 0;  // calls per second; microseconds of the server per call
};

// `callers` calls at once, from one completion queue.
template <typename Request, typename Response, typename Begin>
Figures Measure(pid_t server, int callers, double seconds, Begin begin_call) {
  struct Call {
    grpc::ClientContext context;
    Response response;
    grpc::Status status;
    std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> reader;
  };
  Request request;
  request.set_payload(std::string(100, 'p'));
  grpc::CompletionQueue queue;
  auto begin = [&] {
    auto* call = new Call;
    rpc::SetDeadline(call->context, absl::Seconds(30));
    call->reader = begin_call(call->context, request, queue);
    call->reader->Finish(&call->response, &call->status, call);
  };
  const double cpu = CpuOf(server), start = Now();
  for (int i = 0; i < callers; ++i) begin();
  int running = callers;
  int64_t done = 0;
  void* tag = nullptr;
  bool ok = false;
  while (running > 0 && queue.Next(&tag, &ok)) {
    std::unique_ptr<Call> call(static_cast<Call*>(tag));
    if (!call->status.ok()) Fail("a call failed: " + call->status.error_message());
    ++done;
    if (Now() - start < seconds) {
      begin();
    } else {
      --running;
    }
  }
  const double wall = Now() - start, used = CpuOf(server) - cpu;
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  return {static_cast<double>(done) / wall, used / static_cast<double>(done) * 1e6};
}

int Main(int argc, char** argv) {
  setenv("GRPC_VERBOSITY", "NONE", 0);
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "--guarded" && argc == 3) return ServeGuarded(argv[2]);
  rpc::AllowOnlyTls13();
  bench::IgnoreLockCycles();
  if (mode == "--bare" && argc == 4) return ServeBare(argv[2], argv[3]);
  if (mode == "--access" && argc == 5) return ServeAccess(argv[2], argv[3], argv[4]);
  Options options(argc, argv, kUsage);
  const int rounds = options.Int("rounds", 4);
  const double seconds = options.Number("seconds", 0.4);
  const std::string callers_text = options.Text("callers", "1,8,64");
  options.Done();

  Bench bench;
  bench.Check();
  enum { kBare, kBareCarrying, kGuarded, kRecorded, kWays };
  auto measure = [&](int way, int callers) {
    if (way == kRecorded) {
      return Measure<SayOnRecordRequest, SayOnRecordResponse>(
          bench.guarded_pid(), callers, seconds,
          [&](grpc::ClientContext& context, const SayOnRecordRequest& request,
              grpc::CompletionQueue& queue) {
            bench.Identify(context);
            return bench.guarded().AsyncSayOnRecord(&context, request, &queue);
          });
    }
    const bool guarded = way == kGuarded;
    return Measure<SayRequest, SayResponse>(
        guarded ? bench.guarded_pid() : bench.bare_pid(), callers, seconds,
        [&](grpc::ClientContext& context, const SayRequest& request, grpc::CompletionQueue& queue) {
          if (way != kBare) bench.Identify(context);
          return (guarded ? bench.guarded() : bench.bare()).AsyncSay(&context, request, &queue);
        });
  };
  for (int way = 0; way < kWays; ++way) measure(way, 8);  // warm
  for (absl::string_view text : absl::StrSplit(callers_text, ',')) {
    int callers = 0;
    if (!absl::SimpleAtoi(text, &callers) || callers < 1) Fail("what number of callers is that?");
    std::vector<double> bare_cpu, bare_rate, cpu[kWays], rate[kWays];
    for (int round = 0; round < rounds; ++round) {
      Figures figures[kWays];
      for (int i = 0; i < kWays; ++i) {  // forwards and backwards in turns
        const int way = round % 2 == 0 ? i : kWays - 1 - i;
        figures[way] = measure(way, callers);
      }
      bare_cpu.push_back(figures[kBare].cpu);
      bare_rate.push_back(figures[kBare].rate);
      for (int way = 0; way < kWays; ++way) {
        cpu[way].push_back(figures[way].cpu / figures[kBare].cpu);
        rate[way].push_back(figures[way].rate / figures[kBare].rate * 100);
      }
    }
    std::printf("%d callers, bare echo: %.1f µs of the server per call, %.0f calls/s; %d rounds\n",
                callers, SpreadOf(bare_cpu).median, SpreadOf(bare_rate).median, rounds);
    const char* names[] = {"", "a bare echo that carries token and permit", "a permit-checked call",
                           "the same with an event in the log"};
    for (int way = kBareCarrying; way < kWays; ++way) {
      const Spread c = SpreadOf(cpu[way]), r = SpreadOf(rate[way]);
      Row("guard_bench", absl::StrCat(names[way], ", ", callers, " callers, against a bare echo"),
          absl::StrCat("server CPU ", Text(c), "×, rate ", Text(r, 0), " %"),
          way == kGuarded ? "≤ 1.2×, ≥ 85 %" : "–", c.median <= 1.2 && r.median >= 85);
    }
  }
  std::printf("revoked to refused at this service: %.0f ms\n", bench.Revoke());
  return 0;
}

}  // namespace
}  // namespace oncomesh

int main(int argc, char** argv) { return oncomesh::Main(argc, argv); }
