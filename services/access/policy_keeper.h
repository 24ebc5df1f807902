// SPDX-License-Identifier: Apache-2.0
// The node's policy: a JSON file that the hospital owns, read at start and replaced as a whole.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libs/base/mutex.h"
#include "oncomesh/access/v1/policy.pb.h"

namespace oncomesh::access {

class PolicyKeeper {
 public:
  // Reads the file, or writes it with the defaults when it is missing.
  // Errors: INVALID_ARGUMENT (POLICY_INVALID) naming the field.
  static absl::StatusOr<std::unique_ptr<PolicyKeeper>> Open(const std::string& path);

  // Any thread.
  v1::NodePolicy Get();
  // Durable and in force when it returns OK. Unset fields get their defaults.
  absl::Status Set(v1::NodePolicy policy);

 private:
  PolicyKeeper(std::string path, v1::NodePolicy policy)
      : path_(std::move(path)), policy_(std::move(policy)) {}
  const std::string path_;
  base::Mutex mutex_;
  v1::NodePolicy policy_ ABSL_GUARDED_BY(mutex_);
};

// Fills unset fields with their defaults and checks the ranges given in policy.proto.
absl::Status CompletePolicy(v1::NodePolicy& policy);

}  // namespace oncomesh::access
