// SPDX-License-Identifier: Apache-2.0
// Cases from the services beside: the catalogue says which objects a dataset has, harmonisation
// makes volumes of them. What was prepared once is kept and used again in every round.
#pragma once

#include <memory>
#include <string>

#include "libs/base/clock.h"
#include "oncomesh/config/v1/service.pb.h"
#include "services/training/case_provider.h"

namespace oncomesh::training {

struct SiteCaseOptions {
  ::oncomesh::config::v1::ServiceConfig service;
  std::string catalogue_address;
  std::string harmonisation_address;
  std::string prepared_dir;  // the object store of harmonisation
  std::string cases_dir;     // where the cases' folders are kept
};

// Errors: those of opening the store of prepared images.
absl::StatusOr<std::unique_ptr<CaseProvider>> MakeSiteCaseProvider(const SiteCaseOptions& options);

}  // namespace oncomesh::training
