// SPDX-License-Identifier: Apache-2.0
// Access requests from the wish to the permit. One table of transitions:
//
//   SUBMITTED --every holder has decided--> COMMITTEE --committee approves--> APPROVED or
//   PARTLY_APPROVED (some holders refused) | --committee refuses, or every holder did--> REFUSED
//   SUBMITTED or COMMITTEE --applicant withdraws--> WITHDRAWN
//
// Anything else is refused. Nobody decides on a request of their own.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libs/base/clock.h"
#include "libs/base/names.h"
#include "libs/base/random.h"
#include "libs/rpc/caller.h"
#include "oncomesh/access/v1/access.pb.h"
#include "services/access/access_store.h"

namespace oncomesh::access {

// What the request book needs to know of a published dataset.
struct DatasetFacts {
  std::string name;  // with its version
  std::vector<std::string> duo_codes;
};

// Looks a dataset up in the hub's catalogue. Errors: NOT_FOUND (DATASET_NOT_FOUND), UNAVAILABLE.
using DatasetLookup = std::function<absl::StatusOr<DatasetFacts>(const std::string& name)>;
// Signs a permit for an approved request. Sets id, epoch and times.
using PermitSigner = std::function<absl::StatusOr<PermitRow>(
    const v1::Request& request, const std::vector<std::string>& datasets)>;

class RequestBook {
 public:
  struct Deps {
    AccessStore& store;
    base::Clock& clock;
    base::Random& random;
    DatasetLookup datasets;
    PermitSigner sign;
  };
  explicit RequestBook(Deps deps) : deps_(std::move(deps)) {}

  // Errors: those of AccessService.CreateRequest.
  absl::StatusOr<v1::Request> Create(const rpc::Caller& caller,
                                     const v1::CreateRequestRequest& wish);
  absl::StatusOr<v1::Request> Get(const rpc::Caller& caller, const std::string& id);
  absl::Status List(const rpc::Caller& caller, const v1::ListRequestsRequest& query,
                    v1::ListRequestsResponse& out);
  absl::StatusOr<v1::Request> Withdraw(const rpc::Caller& caller, const std::string& id);
  // A node's access service decides as the holder of its datasets, in the name of `decided_by`; a
  // person with the role committee decides for the committee.
  absl::StatusOr<v1::Request> Decide(const rpc::Caller& caller, const v1::DecideRequest& decision);

 private:
  Deps deps_;
};

using base::NodeOfDataset;

}  // namespace oncomesh::access
