// SPDX-License-Identifier: Apache-2.0
#include "libs/rpc/service_runner.h"

#include <google/protobuf/util/json_util.h>
#include <grpc/support/log.h>
#include <grpcpp/ext/health_check_service_server_builder_option.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/base/status_macros.h"
#include "libs/rpc/access_rules.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/identity.h"
#include "libs/rpc/metrics.h"
#include "oncomesh/admin/v1/admin.grpc.pb.h"

#ifndef ONCOMESH_VERSION
#error "the build defines ONCOMESH_VERSION"
#endif

namespace oncomesh::rpc {
namespace {

constexpr absl::Duration kIdentityTimeout = absl::Minutes(10);
constexpr absl::Duration kIdentityLook = absl::Milliseconds(50);
constexpr std::chrono::seconds kDrainTime{10};
// A thread serves one call at a time, and a node that waits for a task holds one for 30 s: beyond
// this many calls at once a service answers RESOURCE_EXHAUSTED.
constexpr int kMaxThreads = 1024;
constexpr int kWindowBytes = 1 << 20;  // of each stream, before its handler has read

// When the certificate in use ends, as Unix seconds; 0 when there is none.
int64_t CertificateEnd(const std::string& identity_dir) {
  absl::StatusOr<std::string> pem = base::ReadFile(identity_dir + "/current/tls.crt", 1 << 20);
  if (!pem.ok()) return 0;
  BIO* bio = BIO_new_mem_buf(pem->data(), static_cast<int>(pem->size()));
  X509* certificate = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  if (certificate == nullptr) return 0;
  struct tm end{};
  int64_t seconds = ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) == 1 ? timegm(&end) : 0;
  X509_free(certificate);
  return seconds;
}

class AdminServiceImpl final : public admin::v1::AdminService::Service {
 public:
  AdminServiceImpl(std::string name, const config::v1::ServiceConfig& config)
      : name_(std::move(name)), config_(config), started_(absl::ToUnixSeconds(absl::Now())) {}

  grpc::Status GetInfo(grpc::ServerContext*, const admin::v1::GetInfoRequest*,
                       admin::v1::GetInfoResponse* response) override {
    response->set_service(name_);
    response->set_site(config_.site());
    response->set_version(ONCOMESH_VERSION);
    response->set_address(config_.listen());
    response->mutable_start_time()->set_seconds(started_);
    if (int64_t end = CertificateEnd(config_.identity_dir()); end != 0) {
      response->mutable_certificate_expire_time()->set_seconds(end);
    }
    return grpc::Status::OK;
  }

 private:
  std::string name_;
  const config::v1::ServiceConfig& config_;
  int64_t started_;
};

absl::StatusOr<std::unique_ptr<grpc::Server>> StartServer(grpc::ServerBuilder& builder,
                                                          const std::string& address, int* port) {
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || *port == 0) {
    return base::Error(
        absl::StatusCode::kUnavailable, "PORT_TAKEN",
        absl::StrCat("cannot listen at ", address, "; is another process using the port?"),
        {{"address", address}});
  }
  return server;
}

struct Servers {
  std::unique_ptr<grpc::Server> admin;
  std::unique_ptr<grpc::Server> data;
  std::unique_ptr<MetricsServer> metrics;
  void SetServing(bool serving) {
    if (admin != nullptr) admin->GetHealthCheckService()->SetServingStatus(serving);
  }
};

// Health and reflection belong to the admin port. On the mutual-TLS port they would be open to
// every client, and their threads would take part in polling its connections, which costs every
// call of the service half as much again.
class NoPlugins final : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments*) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    plugins->clear();
  }
};

// WaitForIdentity that a signal ends: false when one came. Errors: those of WaitForIdentity.
absl::StatusOr<bool> WaitForIdentityOr(const sigset_t& signals, const std::string& identity_dir) {
  const absl::Time deadline = absl::Now() + kIdentityTimeout;
  while (true) {
    absl::Status found = WaitForIdentity(identity_dir, absl::ZeroDuration());
    if (found.ok()) return true;
    if (absl::Now() >= deadline) return found;
    const struct timespec pause = absl::ToTimespec(kIdentityLook);
    const int signal = sigtimedwait(&signals, nullptr, &pause);
    if (signal <= 0) continue;  // the time is over, or a debugger came by
    base::Log(base::Level::kInfo, "service.stopped", {{"signal", signal}});
    return false;
  }
}

absl::Status RunUntilStopped(absl::string_view name, Role role, ServiceTraits traits,
                             const google::protobuf::Message& config,
                             const config::v1::ServiceConfig& common, const WireAny& wire,
                             const sigset_t& signals) {
  if (common.state_dir().empty() || common.site().empty() || common.trust_domain().empty()) {
    return base::Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID",
                       "service.site, service.trustDomain and service.stateDir must be set");
  }
  if ((role == Role::kHub) != (common.site() == "hub")) {
    return base::Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID",
                       "the site is 'hub' with --role=hub, and only then");
  }
  RETURN_IF_ERROR(base::MakeDirectories(common.state_dir(), 0700));

  Servers servers;
  AdminServiceImpl admin(std::string(name), common);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  if (!common.admin_listen().empty()) {
    grpc::ServerBuilder builder;
    int port = 0;
    LimitServer(builder);
    builder.AddListeningPort(common.admin_listen(), grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&admin);
    ASSIGN_OR_RETURN(servers.admin, StartServer(builder, common.admin_listen(), &port));
    servers.SetServing(false);
  }
  if (!common.metrics_listen().empty()) {
    ASSIGN_OR_RETURN(servers.metrics, MetricsServer::Start(common.metrics_listen()));
  }
  if (traits.waits_for_identity) {
    ASSIGN_OR_RETURN(bool there, WaitForIdentityOr(signals, common.identity_dir()));
    if (!there) return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(std::unique_ptr<App> app, wire(config, role));
  std::vector<Served> services = app->services();
  for (const Served& served : services) RETURN_IF_ERROR(CheckServiceRules(served.name));
  if (!services.empty()) {
    if (!traits.waits_for_identity) {
      ASSIGN_OR_RETURN(bool there, WaitForIdentityOr(signals, common.identity_dir()));
      if (!there) return absl::OkStatus();
    }
    grpc::ServerBuilder builder;
    int port = 0;
    LimitServer(builder);
    // The floor under the guard (doc/adr/0012): whose handlers these are, a client of another trust
    // domain or of another site never reaches them, even one that forgot the guard. Services of
    // other sites come through the site's relay, which knows who is suspended. Methods without a
    // rule are not served at all.
    const std::string node = role == Role::kHub ? "" : common.site();
    auto credentials = IdentityServerCredentials(
        common.identity_dir(), common.trust_domain(),
        [node](absl::string_view client) { return NodeOfPath(client) == node; });
    builder.AddListeningPort(common.listen(), credentials, &port);
    for (const Served& served : services) builder.RegisterService(served.service);
    builder.SetOption(std::make_unique<NoPlugins>());
    builder.SetOption(std::make_unique<grpc::HealthCheckServiceServerBuilderOption>(nullptr));
    grpc::ResourceQuota quota(std::string(name) + "-quota");
    quota.Resize(size_t{512} << 20).SetMaxThreads(kMaxThreads);
    builder.SetResourceQuota(quota);
    ASSIGN_OR_RETURN(servers.data, StartServer(builder, common.listen(), &port));
  }
  RETURN_IF_ERROR(app->Start());
  servers.SetServing(true);
  base::Log(base::Level::kInfo, "service.serving",
            {{"version", ONCOMESH_VERSION}, {"address", common.listen()}});

  int signal = 0;
  sigwait(&signals, &signal);
  base::Log(base::Level::kInfo, "service.stopping", {{"signal", signal}});
  servers.SetServing(false);
  app->Drain();
  if (servers.data != nullptr) {
    servers.data->Shutdown(std::chrono::system_clock::now() + kDrainTime);
    servers.data->Wait();
  }
  app.reset();
  if (servers.admin != nullptr) {
    servers.admin->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  }
  base::Log(base::Level::kInfo, "service.stopped");
  return absl::OkStatus();
}

// gRPC writes lines of its own form; here they become events like all others. Their text names
// addresses and certificates, never the content of a call.
void LogOfGrpc(gpr_log_func_args* line) {
  base::Log(line->severity == GPR_LOG_SEVERITY_ERROR ? base::Level::kWarning : base::Level::kDebug,
            "grpc.message", {{"text", line->message}});
}

constexpr char kUsage[] =
    "usage: oncomesh-%s --role=hub|node --config=FILE\n"
    "\n"
    "  --role     hub: the federation's centre; node: a hospital\n"
    "  --config   JSON of services/%s/config.proto; unknown keys are refused\n"
    "  --check    read the configuration, say whether it is good, and end\n"
    "  --version  the version\n"
    "\n"
    "example: oncomesh-%s --role=node --config=/etc/oncomesh/%s.json\n";

}  // namespace

void LimitServer(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 48 << 10);  // two tokens of 16 KiB
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 10'000);
  // A service is called from its own site, where a small window costs nothing; gRPC's probe of the
  // line would let each stream run megabytes ahead of a handler that waits for the disk.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kWindowBytes);
}

absl::Status ReadConfig(const std::string& path, google::protobuf::Message& config) {
  absl::StatusOr<std::string> json = base::ReadFile(path, 1 << 20);
  if (!json.ok()) {
    return base::Annotate(json.status(), absl::StrCat("the configuration ", path, ": "));
  }
  auto status = google::protobuf::util::JsonStringToMessage(*json, &config);
  if (status.ok()) return absl::OkStatus();
  return base::Error(
      absl::StatusCode::kInvalidArgument, "CONFIG_INVALID",
      absl::StrCat("the configuration ", path, " is not a ", config.GetDescriptor()->full_name(),
                   ": ", std::string(status.message())));
}

absl::Status UseLogLevel(const std::string& name) {
  for (auto [level, text] : {std::pair{base::Level::kInfo, ""},
                             {base::Level::kDebug, "debug"},
                             {base::Level::kInfo, "info"},
                             {base::Level::kWarning, "warning"},
                             {base::Level::kError, "error"}}) {
    if (name != text) continue;
    base::SetLogLevel(level);
    return absl::OkStatus();
  }
  return base::Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID",
                     "service.logLevel is debug, info, warning or error");
}

int RunServiceWith(int argc, char** argv, absl::string_view name, ServiceTraits traits,
                   google::protobuf::Message& config,
                   const std::function<const config::v1::ServiceConfig&()>& common,
                   const WireAny& wire) {
  std::string label(name);
  std::string role_name, config_path;
  bool check = false;
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    if (absl::ConsumePrefix(&argument, "--role=")) {
      role_name = std::string(argument);
    } else if (absl::ConsumePrefix(&argument, "--config=")) {
      config_path = std::string(argument);
    } else if (argument == "--check") {
      check = true;
    } else if (argument == "--version") {
      std::printf("oncomesh-%s %s\n", label.c_str(), ONCOMESH_VERSION);
      return 0;
    } else {
      bool help = argument == "--help" || argument == "-h";
      std::fprintf(help ? stdout : stderr, kUsage, label.c_str(), label.c_str(), label.c_str(),
                   label.c_str());
      return help ? 0 : 2;
    }
  }
  if ((role_name != "hub" && role_name != "node") || config_path.empty()) {
    std::fprintf(stderr, kUsage, label.c_str(), label.c_str(), label.c_str(), label.c_str());
    return 2;
  }
  AllowOnlyTls13();
  // Debian builds Abseil with the search for lock cycles that is meant for debugging; gRPC takes
  // some dozen locks in every call.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  signal(SIGPIPE, SIG_IGN);
  umask(0077);  // what a service writes is its own
  // Blocked before any thread exists, so that sigwait alone gets them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  base::SetLogService(name, "");
  gpr_set_log_function(LogOfGrpc);
  absl::Status status = ReadConfig(config_path, config);
  if (status.ok()) base::SetLogService(name, common().site());
  if (status.ok()) status = UseLogLevel(common().log_level());
  if (status.ok() && check) {
    std::printf("the configuration is good\n");
    return 0;
  }
  if (status.ok()) {
    status = RunUntilStopped(name, role_name == "hub" ? Role::kHub : Role::kNode, traits, config,
                             common(), wire, signals);
  }
  if (!status.ok()) {
    base::LogError("service.failed", status);
    std::fprintf(stderr, "error: %s: %s\n", base::ReasonOf(status).c_str(),
                 std::string(status.message()).c_str());
    return 1;
  }
  return 0;
}

}  // namespace oncomesh::rpc
