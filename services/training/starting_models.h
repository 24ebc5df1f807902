// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "libs/base/mutex.h"
#include "libs/objects/object_store.h"
#include "services/training/training_store.h"

namespace oncomesh::training {

// The models of zeros with which runs start: files of up to 8 GiB that nobody needs once a round
// has come out of them, or the run has ended without one. Objects are named by their content, so
// that two runs can start from one, and a model of the registry can have the same bytes. Any
// thread.
class StartingModels {
 public:
  StartingModels(TrainingStore& store, objects::ObjectStore& objects)
      : store_(store), objects_(objects) {}

  // Keeps a model that no run names yet, until this is gone.
  class Hold {
   public:
    Hold() = default;
    Hold(Hold&& other) noexcept { *this = std::move(other); }
    Hold& operator=(Hold&& other) noexcept {
      std::swap(models_, other.models_);
      std::swap(sha256_, other.sha256_);
      return *this;
    }
    ~Hold();

   private:
    friend class StartingModels;
    StartingModels* models_ = nullptr;
    std::string sha256_;
  };
  // To be called before the object is put, so that what a crash leaves is found. Errors: those of
  // TrainingStore.
  absl::Status Take(const std::string& sha256, Hold& hold);

  // Removes those that neither a running run nor the registry names. Errors: those of the two
  // stores.
  absl::Status Sweep();

 private:
  TrainingStore& store_;
  objects::ObjectStore& objects_;
  base::Mutex mutex_;
  std::map<std::string, int> held_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace oncomesh::training
