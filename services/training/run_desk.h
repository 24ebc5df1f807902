// SPDX-License-Identifier: Apache-2.0
// Runs and models for the people who ask for them.
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libs/base/clock.h"
#include "libs/base/random.h"
#include "libs/crypto/keys.h"
#include "libs/objects/object_store.h"
#include "libs/permit/permit.h"
#include "libs/rpc/caller.h"
#include "oncomesh/training/v1/training.pb.h"
#include "services/training/change_signal.h"
#include "services/training/starting_models.h"
#include "services/training/training_store.h"
#include "services/training/trust.h"

namespace oncomesh::training {

// Any thread.
class RunDesk {
 public:
  struct Deps {
    TrainingStore& store;
    objects::ObjectStore& objects;
    base::Clock& clock;
    base::Random& random;
    TrustSource trust;
    ChangeSignal& changes;
    std::string scratch;  // a folder on the file system of the objects
    std::map<std::string, crypto::PublicKey> manifest_keys;  // by kid
    StartingModels& starting;
    int max_running_runs = 20;  // of one person
  };
  explicit RunDesk(Deps deps) : deps_(std::move(deps)) {}

  // The errors are those that training.proto gives for the RPC of the same name.
  absl::StatusOr<v1::Run> Submit(const rpc::Caller& caller, const v1::SubmitRunRequest& request);
  absl::StatusOr<v1::Run> Get(const rpc::Caller& caller, const std::string& name, int from_round,
                              int& next);
  absl::Status List(const rpc::Caller& caller, const v1::ListRunsRequest& request,
                    v1::ListRunsResponse& out);
  absl::StatusOr<v1::Run> Cancel(const rpc::Caller& caller, const std::string& name);
  absl::Status Manifest(const rpc::Caller& caller, const std::string& run, int round,
                        v1::GetRoundManifestResponse& out);
  std::string ManifestKeys() const;
  absl::Status ListModels(const rpc::Caller& caller, const v1::ListModelsRequest& request,
                          v1::ListModelsResponse& out);
  absl::StatusOr<v1::Model> GetModel(const rpc::Caller& caller, const std::string& sha256);
  // The model's file, for its owner. Errors: NOT_FOUND (MODEL_NOT_FOUND).
  absl::StatusOr<std::string> ModelPath(const rpc::Caller& caller, const std::string& sha256);

 private:
  absl::StatusOr<permit::Permit> CheckPermit(const rpc::Caller& caller, const v1::Plan& plan);
  Deps deps_;
};

// Whose runs a caller sees: a researcher their own, everybody else's too as auditor or operator
// (empty).
std::string VisibleOwner(const rpc::Caller& caller);

}  // namespace oncomesh::training
