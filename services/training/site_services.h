// SPDX-License-Identifier: Apache-2.0
// The services beside, as far as preparing cases needs them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "oncomesh/config/v1/service.pb.h"
#include "oncomesh/harmonisation/v1/harmonisation.pb.h"
#include "services/training/case_provider.h"

namespace oncomesh::training {

// One thread, but for Stop.
class SiteServices {
 public:
  virtual ~SiteServices() = default;
  // Adds the dataset's objects and returns the digest of its list. Errors: those of the catalogue's
  // GetDatasetManifest, UNAVAILABLE (DATASET_LIST_CUT).
  virtual absl::StatusOr<std::string> ListObjects(const std::string& dataset,
                                                  std::vector<DatasetObject>& objects) = 0;
  // Errors: those of harmonisation's PrepareCase.
  virtual absl::StatusOr<harmonisation::v1::PrepareCaseResponse> PrepareCase(
      const harmonisation::v1::PrepareCaseRequest& request) = 0;
  // Ends a PrepareCase that is going on, and every later one, with CANCELLED. Any thread.
  virtual void Stop() = 0;
};

// The site's catalogue and harmonisation at these addresses, over mutual TLS.
std::unique_ptr<SiteServices> ConnectSiteServices(
    const ::oncomesh::config::v1::ServiceConfig& service, const std::string& catalogue_address,
    const std::string& harmonisation_address);

}  // namespace oncomesh::training
