// SPDX-License-Identifier: Apache-2.0
// Metrics for Prometheus. Names are oncomesh_<subject>_<unit>; labels have few values, never a
// person, a dataset or a patient.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace prometheus {
class Registry;
}

namespace oncomesh::rpc {

// The process's registry; a service adds its own families to it.
prometheus::Registry& Metrics();
std::shared_ptr<prometheus::Registry> SharedMetrics();

// oncomesh_rpc_calls_total{method,code} and oncomesh_rpc_seconds{method}. Any thread.
void RecordCall(absl::string_view full_method, absl::StatusCode code, absl::Duration took);

// oncomesh_strangers_refused_total{method}: a call without a valid identity that did not succeed.
// They are counted here and not written to the audit log. Any thread.
void RecordStranger(absl::string_view full_method);

// Serves /metrics over HTTP until destroyed. Errors: UNAVAILABLE (METRICS_PORT) when the address is
// taken.
class MetricsServer {
 public:
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(const std::string& address);
  ~MetricsServer();

 private:
  MetricsServer();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace oncomesh::rpc
