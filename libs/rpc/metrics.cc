// SPDX-License-Identifier: Apache-2.0
#include "libs/rpc/metrics.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <prometheus/counter.h>
#include <prometheus/exposer.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/mutex.h"

namespace oncomesh::rpc {
namespace {

// Children are looked up once per method and code and then kept: a lookup in prometheus-cpp builds
// and hashes a label map under a lock.
class CallMetrics {
 public:
  void Record(absl::string_view method, absl::StatusCode code, absl::Duration took) {
    Child child;
    {
      base::MutexLock lock(mutex_);
      std::pair<std::string, int> key(std::string(method), static_cast<int>(code));
      auto it = children_.find(key);
      if (it == children_.end()) {
        Child made;
        made.calls = &calls_.Add({{"method", key.first}, {"code", absl::StatusCodeToString(code)}});
        made.seconds = &seconds_.Add({{"method", key.first}}, kBuckets);
        it = children_.emplace(std::move(key), made).first;
      }
      child = it->second;
    }
    child.calls->Increment();
    child.seconds->Observe(absl::ToDoubleSeconds(took));
  }

 private:
  struct Child {
    prometheus::Counter* calls = nullptr;
    prometheus::Histogram* seconds = nullptr;
  };
  const prometheus::Histogram::BucketBoundaries kBuckets{
      0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60};
  prometheus::Family<prometheus::Counter>& calls_ =
      prometheus::BuildCounter()
          .Name("oncomesh_rpc_calls_total")
          .Help("Calls handled, by method and status code.")
          .Register(Metrics());
  prometheus::Family<prometheus::Histogram>& seconds_ =
      prometheus::BuildHistogram()
          .Name("oncomesh_rpc_seconds")
          .Help("Time from the guard to the status, by method.")
          .Register(Metrics());
  base::Mutex mutex_;
  std::map<std::pair<std::string, int>, Child> children_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::shared_ptr<prometheus::Registry> SharedMetrics() {
  static auto* registry =
      new std::shared_ptr<prometheus::Registry>(std::make_shared<prometheus::Registry>());
  return *registry;
}

prometheus::Registry& Metrics() {
  static prometheus::Registry& registry = *SharedMetrics();
  return registry;
}

void RecordCall(absl::string_view full_method, absl::StatusCode code, absl::Duration took) {
  static auto* metrics = new CallMetrics;
  metrics->Record(full_method, code, took);
}

void RecordStranger(absl::string_view full_method) {
  static auto& family =
      prometheus::BuildCounter()
          .Name("oncomesh_strangers_refused_total")
          .Help("Calls without a valid identity that were refused or failed, by method.")
          .Register(Metrics());
  family.Add({{"method", std::string(full_method)}}).Increment();
}

struct MetricsServer::Impl {
  std::unique_ptr<prometheus::Exposer> exposer;
  std::vector<int> ports;
};

namespace {

// Opens a connection to the port and closes it at once.
void Knock(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  struct sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  // On loopback a connection is made or refused at once.
  (void)connect(fd, reinterpret_cast<struct sockaddr*>(&address), sizeof address);
  close(fd);
}

}  // namespace

MetricsServer::MetricsServer() : impl_(std::make_unique<Impl>()) {}
// The server beneath looks whether it should stop only every two seconds, or when somebody
// connects.
MetricsServer::~MetricsServer() {
  if (impl_->exposer == nullptr) return;
  std::atomic<bool> stopped{false};
  std::thread knocker([&] {
    while (!stopped) {
      for (int port : impl_->ports) Knock(port);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });
  impl_->exposer.reset();
  stopped = true;
  knocker.join();
}

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(const std::string& address) {
  std::unique_ptr<MetricsServer> server(new MetricsServer);
  try {
    server->impl_->exposer = std::make_unique<prometheus::Exposer>(address, 1);
  } catch (const std::exception& error) {
    return base::Error(absl::StatusCode::kUnavailable, "METRICS_PORT",
                       absl::StrCat("cannot serve metrics at ", address, ": ", error.what()));
  }
  server->impl_->exposer->RegisterCollectable(SharedMetrics());
  server->impl_->ports = server->impl_->exposer->GetListeningPorts();
  return server;
}

}  // namespace oncomesh::rpc
