// SPDX-License-Identifier: Apache-2.0
// Cases from and to the node's object stores.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libs/base/mutex.h"
#include "libs/objects/object_store.h"
#include "oncomesh/harmonisation/v1/harmonisation.pb.h"
#include "services/harmonisation/case_preparation.h"

namespace oncomesh::harmonisation {

// Any thread. Not more than `parallel` calls work at the same time; the others wait.
class CaseDesk {
 public:
  struct Deps {
    objects::ObjectStore& released;  // only read
    objects::ObjectStore& prepared;
    int parallel = 1;
  };
  explicit CaseDesk(Deps deps) : deps_(deps), free_(deps.parallel) {}

  // `go_on` is asked now and then and ends the work with ABORTED (STOPPED) when false. The objects
  // are checked against their names before they are used. Errors: of the RPC of the same name.
  absl::StatusOr<v1::PrepareCaseResponse> Prepare(const v1::PrepareCaseRequest& request,
                                                  const std::function<bool()>& go_on);
  absl::StatusOr<v1::CheckSeriesResponse> Check(const v1::CheckSeriesRequest& request,
                                                const std::function<bool()>& go_on);

 private:
  class Turn;
  absl::StatusOr<std::vector<std::string>> LocalPaths(
      const google::protobuf::RepeatedPtrField<std::string>& names);
  absl::StatusOr<v1::PreparedObject> Store(const PreparedImage& image, bool mask);

  Deps deps_;
  base::Mutex mutex_;
  base::CondVar freed_;
  int free_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace oncomesh::harmonisation
