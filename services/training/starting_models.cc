// SPDX-License-Identifier: Apache-2.0
#include "services/training/starting_models.h"

#include <vector>

#include "libs/base/status_macros.h"

namespace oncomesh::training {

StartingModels::Hold::~Hold() {
  if (models_ == nullptr) return;
  base::MutexLock lock(models_->mutex_);
  auto held = models_->held_.find(sha256_);
  if (--held->second == 0) models_->held_.erase(held);
}

absl::Status StartingModels::Take(const std::string& sha256, Hold& hold) {
  Hold taken;
  {
    base::MutexLock lock(mutex_);
    ++held_[sha256];
    taken.models_ = this;
    taken.sha256_ = sha256;
  }
  RETURN_IF_ERROR(store_.NoteStartingModel(sha256));
  hold = std::move(taken);
  return absl::OkStatus();
}

absl::Status StartingModels::Sweep() {
  // While it is locked nobody begins to need one: either it is held, or a run that is read below
  // names it, or it is put anew after it was removed here.
  base::MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(std::vector<TrainingStore::StartingModel> models,
                   store_.UnneededStartingModels());
  for (const TrainingStore::StartingModel& model : models) {
    if (held_.count(model.sha256) > 0) continue;
    if (!model.registered) RETURN_IF_ERROR(objects_.Remove(model.sha256));
    RETURN_IF_ERROR(store_.ForgetStartingModel(model.sha256));
  }
  return absl::OkStatus();
}

}  // namespace oncomesh::training
