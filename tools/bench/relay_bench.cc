// link: oncomesh::bench oncomesh::relay_testing
// SPDX-License-Identifier: Apache-2.0
// Calls through both relays against the same calls straight to the service, both with mutual TLS,
// in paired rounds: each round measures both, in turns, and what is printed are medians of the
// rounds' ratios. Client, hub relay, node relay and service are processes of their own.
//
//   relay_bench [--rounds=N] [--seconds=S] [--delay-ms=ROUND TRIP] [--only=PART OF A NAME]
#include <fcntl.h>
#include <google/protobuf/util/json_util.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/server_builder.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "libs/base/files.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/identity.h"
#include "oncomesh/relay/v1/relay.grpc.pb.h"
#include "services/relay/config.pb.h"
#include "services/relay/testing/test_mesh.h"
#include "tools/bench/bench.h"

namespace oncomesh {
namespace {

using relay::testing::kTrustDomain;
using std::chrono::steady_clock;
using Stub = echo::v1::EchoService::Stub;

[[noreturn]] void Fail(const std::string& why) {
  std::fprintf(stderr, "error: %s\n", why.c_str());
  std::exit(1);
}

double Seconds(steady_clock::duration d) { return std::chrono::duration<double>(d).count(); }

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

using bench::FreePort;

std::string Address(int port) { return absl::StrCat("127.0.0.1:", port); }

class Process {
 public:
  Process(const std::string& program, std::vector<std::string> arguments) {
    std::vector<char*> argv;
    std::string name = program;
    argv.push_back(name.data());
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    if (posix_spawn(&pid_, program.c_str(), nullptr, nullptr, argv.data(), environ) != 0) {
      Fail("cannot start " + program);
    }
  }
  ~Process() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Seconds of CPU used so far.
  double Cpu() const { return CpuOf(absl::StrCat(pid_)); }
  static double CpuOf(const std::string& pid) {
    std::ifstream file("/proc/" + pid + "/stat");
    std::string text((std::istreambuf_iterator<char>(file)), {});
    std::string rest = text.substr(text.rfind(')') + 2);
    std::vector<double> fields;
    for (size_t at = 0; at != std::string::npos && fields.size() < 14;) {
      size_t space = rest.find(' ', at);
      fields.push_back(std::atof(rest.substr(at, space - at).c_str()));
      at = space == std::string::npos ? space : space + 1;
    }
    return (fields.at(11) + fields.at(12)) / static_cast<double>(sysconf(_SC_CLK_TCK));
  }

 private:
  pid_t pid_ = 0;
};

// Passes TCP connections on to `target`, each byte `delay` later than it came.
class DelayLine {
 public:
  DelayLine(int target, std::chrono::microseconds delay) : target_(target), delay_(delay) {
    port_ = FreePort();
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    sockaddr_in address = Loopback(port_);
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
        listen(listener_, 64) != 0) {
      Fail("the delay line cannot listen");
    }
    acceptor_ = std::thread([this] { Accept(); });
  }
  ~DelayLine() {
    shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    for (int fd : sockets_) shutdown(fd, SHUT_RDWR);
    for (auto& thread : threads_) thread.join();
    for (int fd : sockets_) close(fd);
    close(listener_);
  }
  int port() const { return port_; }

 private:
  static sockaddr_in Loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    return address;
  }
  void Accept() {
    while (true) {
      int from = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (from < 0) return;
      int to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_in address = Loopback(target_);
      if (connect(to, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
        close(from);
        close(to);
        continue;
      }
      int one = 1;
      for (int fd : {from, to}) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
      sockets_.push_back(from);
      sockets_.push_back(to);
      threads_.emplace_back([this, from, to] { Carry(from, to); });
      threads_.emplace_back([this, from, to] { Carry(to, from); });
    }
  }
  void Carry(int from, int to) {
    struct Packet {
      steady_clock::time_point due;
      std::string bytes;
    };
    constexpr size_t kMost = 64 << 20;  // a long fat line, and still a bounded one
    std::deque<Packet> line;
    size_t held = 0;
    std::string buffer(256 << 10, '\0');
    bool open = true;
    while (open || !line.empty()) {
      timespec wait{1, 0};
      if (!line.empty()) {
        auto left = std::max(line.front().due - steady_clock::now(), steady_clock::duration(0));
        wait.tv_sec = 0;
        wait.tv_nsec = std::chrono::duration_cast<std::chrono::nanoseconds>(left).count();
      }
      pollfd in{from, static_cast<short>(open && held < kMost ? POLLIN : 0), 0};
      ppoll(&in, 1, &wait, nullptr);
      if ((in.revents & (POLLIN | POLLHUP | POLLERR)) != 0 && open && held < kMost) {
        ssize_t n = read(from, buffer.data(), buffer.size());
        if (n <= 0) {
          open = false;
        } else {
          line.push_back({steady_clock::now() + delay_, buffer.substr(0, static_cast<size_t>(n))});
          held += static_cast<size_t>(n);
        }
      }
      while (!line.empty() && line.front().due <= steady_clock::now()) {
        const std::string& bytes = line.front().bytes;
        for (size_t sent = 0; sent < bytes.size();) {
          ssize_t n = send(to, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
          if (n <= 0) return;
          sent += static_cast<size_t>(n);
        }
        held -= bytes.size();
        line.pop_front();
      }
    }
    shutdown(to, SHUT_WR);
  }

  const int target_;
  const std::chrono::microseconds delay_;
  int port_ = 0;
  int listener_ = -1;
  std::thread acceptor_;
  std::vector<int> sockets_;
  std::vector<std::thread> threads_;
};

// The processes, and the two ways to the service.
class Bench {
 public:
  // `self` is this program. `delay`: of the line between the sites, one way.
  Bench(const std::string& self, std::chrono::microseconds delay)
      : authority_(folder_.path(), "ca") {
    int service_port = FreePort();
    std::string service_identity = authority_.Identity("node/lisbon/catalogue");
    service_ = std::make_unique<Process>(
        self, std::vector<std::string>{"--serve", service_identity, Address(service_port)});
    relay::config::v1::RelayConfig hub, node;
    auto common = [&](relay::config::v1::RelayConfig& config, const std::string& site) {
      auto* service = config.mutable_service();
      service->set_site(site);
      service->set_trust_domain(kTrustDomain);
      service->set_listen(Address(FreePort()));
      service->set_identity_dir(authority_.Identity(rpc::ServicePath(site, "relay")));
      service->set_state_dir(folder_.path() + "/" + site);
    };
    common(hub, "hub");
    common(node, "lisbon");
    int node_port = FreePort();
    hub.set_node_listen(Address(node_port));
    int direct_port = service_port;
    if (delay.count() > 0) {
      lines_.push_back(std::make_unique<DelayLine>(node_port, delay));
      node_port = lines_.back()->port();
      lines_.push_back(std::make_unique<DelayLine>(service_port, delay));
      direct_port = lines_.back()->port();
    }
    node.set_hub_address(Address(node_port));
    auto* route = node.add_routes();
    route->set_prefix("/oncomesh.echo.v1.");
    route->set_address(Address(service_port));
    route->set_service("catalogue");
    std::string program = self.substr(0, self.rfind('/')) + "/../oncomesh-relay";
    hub_ = Start(program, "hub", hub);
    node_ = Start(program, "node", node);

    std::string identity = authority_.Identity("hub/training");
    direct_ = rpc::Connect({.target = Address(direct_port),
                            .identity_dir = identity,
                            .trust_domain = kTrustDomain,
                            .peer = "node/lisbon/catalogue",
                            .node = ""});
    relayed_ = rpc::Connect({.target = hub.service().listen(),
                             .identity_dir = identity,
                             .trust_domain = kTrustDomain,
                             .peer = "hub/relay",
                             .node = "lisbon"});
    for (const auto& channel : {direct_, relayed_}) WaitFor(channel);
  }

  const std::shared_ptr<grpc::Channel>& channel(bool relayed) const {
    return relayed ? relayed_ : direct_;
  }
  struct Cpu {
    double client, hub, node, service;
    double sum() const { return client + hub + node + service; }
  };
  Cpu Used() const { return {Process::CpuOf("self"), hub_->Cpu(), node_->Cpu(), service_->Cpu()}; }

 private:
  std::unique_ptr<Process> Start(const std::string& program, const std::string& role,
                                 const relay::config::v1::RelayConfig& config) {
    std::string json;
    std::string file = folder_.path() + "/" + role + ".json";
    if (!google::protobuf::util::MessageToJsonString(config, &json).ok() ||
        !base::WriteFileAtomically(file, json).ok()) {
      Fail("cannot write the configuration");
    }
    return std::make_unique<Process>(
        program, std::vector<std::string>{"--role=" + role, "--config=" + file});
  }
  static void WaitFor(const std::shared_ptr<grpc::Channel>& channel) {
    auto stub = echo::v1::EchoService::NewStub(channel);
    for (int i = 0; i < 300; ++i) {
      grpc::ClientContext context;
      rpc::SetDeadline(context, absl::Seconds(5));
      echo::v1::SayResponse response;
      if (stub->Say(&context, {}, &response).ok()) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    Fail("the service cannot be reached");
  }

  relay::testing::ScratchFolder folder_;
  relay::testing::TestAuthority authority_;
  std::vector<std::unique_ptr<DelayLine>> lines_;
  std::unique_ptr<Process> service_, hub_, node_;
  std::shared_ptr<grpc::Channel> direct_, relayed_;
};

struct Figures {
  double p50_us = 0;
  double rate = 0;        // calls or MB per second
  Bench::Cpu per_unit{};  // microseconds per call, or seconds per GB
};

// One caller, one call after the other.
Figures OneCaller(Bench& bench, bool relayed, double seconds) {
  auto stub = echo::v1::EchoService::NewStub(bench.channel(relayed));
  echo::v1::SayRequest request;
  request.set_payload(std::string(100, 'p'));
  std::vector<double> took;
  auto start = steady_clock::now();
  while (Seconds(steady_clock::now() - start) < seconds) {
    auto begin = steady_clock::now();
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Seconds(30));
    echo::v1::SayResponse response;
    if (!stub->Say(&context, request, &response).ok()) Fail("a call failed");
    took.push_back(Seconds(steady_clock::now() - begin) * 1e6);
  }
  Figures figures;
  figures.p50_us = Median(std::move(took));
  return figures;
}

// `callers` calls at once, from one completion queue.
Figures ManyCallers(Bench& bench, bool relayed, int callers, double seconds) {
  auto stub = echo::v1::EchoService::NewStub(bench.channel(relayed));
  echo::v1::SayRequest request;
  request.set_payload(std::string(100, 'p'));
  struct Call {
    grpc::ClientContext context;
    echo::v1::SayResponse response;
    grpc::Status status;
    std::unique_ptr<grpc::ClientAsyncResponseReader<echo::v1::SayResponse>> reader;
  };
  grpc::CompletionQueue queue;
  auto begin = [&] {
    auto* call = new Call;
    rpc::SetDeadline(call->context, absl::Seconds(30));
    call->reader = stub->AsyncSay(&call->context, request, &queue);
    call->reader->Finish(&call->response, &call->status, call);
  };
  Bench::Cpu before = bench.Used();
  auto start = steady_clock::now();
  for (int i = 0; i < callers; ++i) begin();
  int running = callers;
  int64_t done = 0;
  double took = 0;
  Bench::Cpu after{};
  void* tag = nullptr;
  bool ok = false;
  while (running > 0 && queue.Next(&tag, &ok)) {
    std::unique_ptr<Call> call(static_cast<Call*>(tag));
    if (!call->status.ok()) Fail("a call failed: " + call->status.error_message());
    ++done;
    if (Seconds(steady_clock::now() - start) < seconds) {
      begin();
    } else if (--running == 0) {
      took = Seconds(steady_clock::now() - start);
      after = bench.Used();
    }
  }
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  double calls = static_cast<double>(done);
  Figures figures;
  figures.rate = calls / took;
  figures.per_unit = {
      (after.client - before.client) / calls * 1e6, (after.hub - before.hub) / calls * 1e6,
      (after.node - before.node) / calls * 1e6, (after.service - before.service) / calls * 1e6};
  return figures;
}

Figures Bulk(Bench& bench, bool relayed, bool up, int message_bytes, double seconds) {
  auto stub = echo::v1::EchoService::NewStub(bench.channel(relayed));
  grpc::ClientContext context;
  rpc::SetDeadline(context, absl::Seconds(300));
  Bench::Cpu before = bench.Used();
  auto start = steady_clock::now();
  double bytes = 0;
  if (up) {
    echo::v1::UploadResponse response;
    auto writer = stub->Upload(&context, &response);
    echo::v1::UploadRequest request;
    request.set_payload(std::string(static_cast<size_t>(message_bytes), 'u'));
    while (Seconds(steady_clock::now() - start) < seconds) {
      if (!writer->Write(request)) Fail("the upload broke");
    }
    writer->WritesDone();
    if (!writer->Finish().ok()) Fail("the upload failed");
    bytes = static_cast<double>(response.bytes());
  } else {
    echo::v1::DownloadRequest request;
    request.set_messages(1 << 30);
    request.set_bytes(message_bytes);
    auto reader = stub->Download(&context, request);
    echo::v1::DownloadResponse response;
    while (Seconds(steady_clock::now() - start) < seconds) {
      if (!reader->Read(&response)) Fail("the download broke");
      bytes += message_bytes;
    }
  }
  double took = Seconds(steady_clock::now() - start);
  Bench::Cpu after = bench.Used();
  context.TryCancel();
  double gigabytes = bytes / 1e9;
  Figures figures;
  figures.rate = bytes / took / 1e6;
  figures.per_unit = {(after.client - before.client) / gigabytes,
                      (after.hub - before.hub) / gigabytes, (after.node - before.node) / gigabytes,
                      (after.service - before.service) / gigabytes};
  return figures;
}

// Both ways in turns; the medians, and the median of the ratios relayed / direct.
std::string only;  // what of the names to measure

void Compare(const char* name, int rounds, const char* unit, bool latency,
             const std::function<Figures(bool relayed)>& measure) {
  if (absl::string_view(name).find(only) == absl::string_view::npos) return;
  std::vector<double> direct, relayed, ratio, cpu_ratio, hub, node, sum, direct_sum;
  for (int round = 0; round < rounds; ++round) {
    Figures d, r;
    if (round % 2 == 0) {
      d = measure(false);
      r = measure(true);
    } else {
      r = measure(true);
      d = measure(false);
    }
    double dv = latency ? d.p50_us : d.rate;
    double rv = latency ? r.p50_us : r.rate;
    direct.push_back(dv);
    relayed.push_back(rv);
    ratio.push_back(rv / dv);
    if (latency) continue;
    cpu_ratio.push_back(r.per_unit.sum() / d.per_unit.sum());
    hub.push_back(r.per_unit.hub);
    node.push_back(r.per_unit.node);
    sum.push_back(r.per_unit.sum());
    direct_sum.push_back(d.per_unit.sum());
  }
  std::printf("%-34s direct %9.1f  relayed %9.1f %-7s ratio %.2f", name, Median(direct),
              Median(relayed), unit, Median(ratio));
  if (!latency) {
    std::printf("   CPU: direct %.3g  relayed %.3g (hub %.3g, node %.3g)  ratio %.2f",
                Median(direct_sum), Median(sum), Median(hub), Median(node), Median(cpu_ratio));
  }
  std::printf("\n");
  std::fflush(stdout);
}

int Serve(const std::string& identity, const std::string& address) {
  grpc::ServerBuilder builder;
  int port = 0;
  relay::testing::EchoService service;
  builder.AddListeningPort(address, rpc::IdentityServerCredentials(identity, rpc::Clients::kMesh),
                           &port);
  builder.SetMaxReceiveMessageSize(rpc::kMaxMessageBytes);
  builder.RegisterService(&service);
  auto server = builder.BuildAndStart();
  if (server == nullptr || port == 0) return 1;
  server->Wait();
  return 0;
}

int Main(int argc, char** argv) {
  rpc::AllowOnlyTls13();
  bench::IgnoreLockCycles();
  setenv("GRPC_VERBOSITY", "NONE", 0);
  if (argc == 4 && std::strcmp(argv[1], "--serve") == 0) return Serve(argv[2], argv[3]);
  int rounds = 8;
  double seconds = 1;
  int delay_ms = 20;
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    bool good = (absl::ConsumePrefix(&argument, "--rounds=") &&
                 absl::SimpleAtoi(argument, &rounds) && rounds > 0) ||
                (absl::ConsumePrefix(&argument, "--seconds=") &&
                 absl::SimpleAtod(argument, &seconds) && seconds > 0) ||
                (absl::ConsumePrefix(&argument, "--delay-ms=") &&
                 absl::SimpleAtoi(argument, &delay_ms) && delay_ms >= 0);
    if (!good && absl::ConsumePrefix(&argument, "--only=")) {
      only = std::string(argument);
      good = true;
    }
    if (!good) {
      std::fprintf(stderr,
                   "usage: relay_bench [--rounds=N] [--seconds=S] [--delay-ms=MS] [--only=TEXT]\n");
      return 2;
    }
  }
  std::string self(4096, '\0');
  ssize_t length = readlink("/proc/self/exe", self.data(), self.size());
  if (length <= 0) Fail("cannot find this program");
  self.resize(static_cast<size_t>(length));

  std::printf("%d paired rounds of %.1f s each way; medians. %u cores.\n", rounds, seconds,
              std::thread::hardware_concurrency());
  {
    Bench bench(self, std::chrono::microseconds(0));
    std::printf("\nunary, 100 bytes, loopback (CPU in microseconds per call, all processes)\n");
    Compare("1 caller, p50", rounds, "us", true,
            [&](bool relayed) { return OneCaller(bench, relayed, seconds); });
    for (int callers : {8, 64}) {
      Compare(absl::StrCat(callers, " callers").c_str(), rounds, "calls/s", false,
              [&](bool relayed) { return ManyCallers(bench, relayed, callers, seconds); });
    }
    std::printf("\nbulk, loopback (CPU in seconds per GB, all processes)\n");
    for (bool up : {false, true}) {
      for (int bytes : {64 << 10, (1 << 20) - 64}) {
        Compare(absl::StrCat(up ? "up, " : "down, ", (bytes + 64) >> 10, " KiB messages").c_str(),
                rounds, "MB/s", false,
                [&](bool relayed) { return Bulk(bench, relayed, up, bytes, seconds); });
      }
    }
  }
  if (delay_ms == 0) return 0;
  Bench bench(self, std::chrono::microseconds(delay_ms * 500));
  std::printf("\nover a line of %d ms round trip between the sites\n", delay_ms);
  Compare("1 caller, p50", rounds, "us", true,
          [&](bool relayed) { return OneCaller(bench, relayed, seconds); });
  for (bool up : {false, true}) {
    Compare(up ? "up, 1024 KiB messages" : "down, 1024 KiB messages", rounds, "MB/s", false,
            [&](bool relayed) { return Bulk(bench, relayed, up, (1 << 20) - 64, seconds * 2); });
  }
  return 0;
}

}  // namespace
}  // namespace oncomesh

int main(int argc, char** argv) { return oncomesh::Main(argc, argv); }
