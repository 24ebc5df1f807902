// SPDX-License-Identifier: Apache-2.0
#include "libs/rpc/retry.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"
#include "google/protobuf/descriptor_database.h"

namespace oncomesh::rpc {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::MethodDescriptor;
using google::protobuf::MethodOptions;

bool MayBeRepeated(const MethodDescriptor& method) {
  return !method.client_streaming() && !method.server_streaming() &&
         method.options().idempotency_level() != MethodOptions::IDEMPOTENCY_UNKNOWN;
}

std::string Build() {
  std::vector<std::string> files;
  DescriptorPool::internal_generated_database()->FindAllFileNames(&files);
  std::vector<std::string> names;
  for (const std::string& file : files) {
    const auto* descriptor = DescriptorPool::generated_pool()->FindFileByName(file);
    if (descriptor == nullptr) continue;
    for (int s = 0; s < descriptor->service_count(); ++s) {
      const auto* service = descriptor->service(s);
      for (int m = 0; m < service->method_count(); ++m) {
        if (!MayBeRepeated(*service->method(m))) continue;
        names.push_back(absl::StrCat(R"({"service":")", service->full_name(), R"(","method":")",
                                     service->method(m)->name(), R"("})"));
      }
    }
  }
  // Without names a config would be refused, and with it the channel.
  if (names.empty()) return "{}";
  return absl::StrCat(R"({"methodConfig":[{"name":[)", absl::StrJoin(names, ","),
                      R"(],"retryPolicy":{"maxAttempts":4,"initialBackoff":"0.1s",)",
                      R"("maxBackoff":"1s","backoffMultiplier":2,)",
                      R"("retryableStatusCodes":["UNAVAILABLE"]}}],)",
                      R"("retryThrottling":{"maxTokens":20,"tokenRatio":0.5}})");
}

}  // namespace

const std::string& RetryServiceConfig() {
  static const auto* config = new std::string(Build());
  return *config;
}

}  // namespace oncomesh::rpc
