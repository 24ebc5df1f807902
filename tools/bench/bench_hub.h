// SPDX-License-Identifier: Apache-2.0
// The cores of the hub's training service over a real store and spool, for runs under one permit.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "libs/crypto/keys.h"
#include "libs/objects/object_store.h"
#include "services/training/round_closer.h"
#include "services/training/run_desk.h"
#include "services/training/task_desk.h"

namespace oncomesh::bench {

struct BenchHub {
  // `folder` holds everything. Ends the program when it cannot be set up.
  explicit BenchHub(const std::string& folder);

  // Submits `plan` with a dataset at each of `nodes`, under a permit for them, and a trainer that
  // nobody runs.
  training::v1::Run Submit(training::v1::Plan plan, const std::vector<std::string>& nodes);

  const crypto::PrivateKey manifest_key;
  const crypto::PrivateKey permit_key;
  const std::unique_ptr<training::TrainingStore> store;
  const std::unique_ptr<training::UpdateSpool> spool;
  const std::unique_ptr<objects::ObjectStore> models;
  training::ChangeSignal changes;
  training::StartingModels starting;
  training::RunDesk runs;
  training::TaskDesk tasks;
  training::RoundCloser closer;
};

}  // namespace oncomesh::bench
