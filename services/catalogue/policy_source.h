// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/statusor.h"
#include "services/catalogue/disclosure.h"

namespace oncomesh::catalogue {

// What the node's policy says about counts.
struct CountPolicy {
  DisclosureRules rules;
  bool open_counts = true;  // researchers may count without a permit
};

// The node's policy in force. Any thread.
class PolicySource {
 public:
  virtual ~PolicySource() = default;
  // Errors: UNAVAILABLE when access cannot be asked and no policy was ever seen. Nothing is told
  // then.
  virtual absl::StatusOr<CountPolicy> Get() = 0;
};

class FixedPolicy final : public PolicySource {
 public:
  explicit FixedPolicy(CountPolicy policy) : policy_(policy) {}
  absl::StatusOr<CountPolicy> Get() override { return policy_; }

 private:
  CountPolicy policy_;
};

}  // namespace oncomesh::catalogue
