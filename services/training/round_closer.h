// SPDX-License-Identifier: Apache-2.0
// Closes rounds that are due: fixes their contributions, aggregates, signs the record, opens the
// next round. It begins from what the store says, so that it may be killed at any moment. One
// thread serves all runs, and an aggregation is not interrupted: while a round of many large
// updates is added up (about a second per GB), other rounds and Stop() wait for it.
#pragma once

#include <string>
#include <thread>

#include "absl/status/status.h"
#include "libs/base/clock.h"
#include "libs/base/random.h"
#include "libs/crypto/keys.h"
#include "libs/objects/object_store.h"
#include "services/training/change_signal.h"
#include "services/training/starting_models.h"
#include "services/training/training_store.h"
#include "services/training/update_spool.h"

namespace oncomesh::training {

class RoundCloser {
 public:
  struct Deps {
    TrainingStore& store;
    UpdateSpool& spool;
    objects::ObjectStore& objects;
    base::Clock& clock;
    base::Random& random;
    ChangeSignal& changes;
    StartingModels& starting;
    const crypto::PrivateKey& key;  // Ed25519, signs manifests
    std::string software;           // "oncomesh/<version>"
    std::string scratch;            // a folder on the file system of the objects
  };
  explicit RoundCloser(Deps deps) : deps_(std::move(deps)) {}
  ~RoundCloser() { Stop(); }

  // Brings every running run as far as it can go now. One thread at a time. The error is that of
  // the first run that could not be brought on; the others were.
  absl::Status Advance();
  // Removes updates that no open round needs, and starting models that no run needs.
  absl::Status Sweep();

  // A thread that sweeps, then advances at every change and at least once a second.
  void Start();
  void Stop();

 private:
  absl::Status AdvanceRun(const std::string& name);
  Deps deps_;
  std::thread thread_;
};

}  // namespace oncomesh::training
