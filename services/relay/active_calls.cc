// SPDX-License-Identifier: Apache-2.0
#include "services/relay/active_calls.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <array>
#include <utility>
#include <vector>

#include "libs/base/mutex.h"
#include "libs/rpc/metrics.h"

namespace oncomesh::relay {
namespace {

constexpr std::array<const char*, 5> kNames = {"to_node", "from_hub", "to_hub", "from_node",
                                               "front_door"};
constexpr size_t kCodes = 17;

// A handful of series, looked up once each.
class RelayMetrics {
 public:
  static RelayMetrics& Get() {
    static auto* metrics = new RelayMetrics;
    return *metrics;
  }
  void Started() { active_.Increment(); }
  void Ended() { active_.Decrement(); }
  void Count(Direction direction, absl::StatusCode code) {
    auto d = static_cast<size_t>(direction);
    auto c = static_cast<size_t>(code);
    if (c >= kCodes) c = static_cast<size_t>(absl::StatusCode::kUnknown);
    base::MutexLock lock(mutex_);
    if (counters_[d][c] == nullptr) {
      counters_[d][c] =
          &calls_.Add({{"direction", kNames[d]},
                       {"code", absl::StatusCodeToString(static_cast<absl::StatusCode>(c))}});
    }
    counters_[d][c]->Increment();
  }

 private:
  prometheus::Family<prometheus::Counter>& calls_ =
      prometheus::BuildCounter()
          .Name("oncomesh_relay_calls_total")
          .Help("Calls carried by this relay, by way and status code.")
          .Register(rpc::Metrics());
  prometheus::Gauge& active_ = prometheus::BuildGauge()
                                   .Name("oncomesh_relay_calls_active")
                                   .Help("Calls that run through this relay now.")
                                   .Register(rpc::Metrics())
                                   .Add({});
  base::Mutex mutex_;
  std::array<std::array<prometheus::Counter*, kCodes>, kNames.size()> counters_
      ABSL_GUARDED_BY(mutex_){};
};

}  // namespace

std::shared_ptr<Pump> ActiveCalls::Start(Direction direction,
                                         std::shared_ptr<IncomingCall> incoming, CallHeader header,
                                         std::shared_ptr<OutgoingCall> outgoing, Ended ended) {
  RelayMetrics::Get().Started();
  auto pump =
      Pump::Make(std::move(incoming), std::move(header), std::move(outgoing),
                 [this, direction, ended = std::move(ended)](Pump& it, absl::StatusCode code) {
                   RelayMetrics::Get().Ended();
                   RelayMetrics::Get().Count(direction, code);
                   calls_.erase(&it);
                   if (ended) ended(it);
                   TellIdle();
                 });
  calls_.insert(pump.get());
  pump->Run();
  return pump;
}

void ActiveCalls::Refuse(Direction direction, const std::shared_ptr<IncomingCall>& call,
                         const absl::Status& status) {
  RelayMetrics::Get().Count(direction, status.code());
  relay::Refuse(call, status);
}

void ActiveCalls::WhenIdle(std::function<void()> idle) {
  idle_ = std::move(idle);
  TellIdle();
}

void ActiveCalls::TellIdle() {
  if (!calls_.empty() || !idle_) return;
  std::function<void()> idle = std::move(idle_);
  idle_ = nullptr;
  idle();
}

void ActiveCalls::AbortAll(const absl::Status& status) {
  std::vector<std::shared_ptr<Pump>> pumps;
  for (Pump* pump : calls_) pumps.push_back(pump->shared_from_this());
  for (auto& pump : pumps) pump->Abort(status);
}

}  // namespace oncomesh::relay
