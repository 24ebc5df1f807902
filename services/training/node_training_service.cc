// SPDX-License-Identifier: Apache-2.0
#include "services/training/node_training_service.h"

#include <algorithm>
#include <utility>

#include "libs/base/error.h"
#include "libs/base/status_macros.h"

namespace oncomesh::training {

absl::Status ListTrainers(const TrainerShelf& shelf, const PolicySource& policy,
                          v1::ListTrainersResponse& out) {
  ASSIGN_OR_RETURN(access::v1::NodePolicy rules, policy());
  for (const std::string& name : shelf.Names()) {
    v1::Trainer& trainer = *out.add_trainers();
    trainer.set_name(name);
    absl::StatusOr<TrainerPackage> package = shelf.Load(name);
    if (!package.ok()) {
      trainer.set_reason(base::ReasonOf(package.status()));
      continue;
    }
    trainer.set_digest(package->digest);
    const auto& allowed = rules.trainer_digests();
    trainer.set_allowed(std::find(allowed.begin(), allowed.end(), package->digest) !=
                        allowed.end());
  }
  return absl::OkStatus();
}

grpc::Status NodeTrainingServiceImpl::ListTrainers(grpc::ServerContext* context,
                                                   const v1::ListTrainersRequest* request,
                                                   v1::ListTrainersResponse* response) {
  return guard_.Run(
      context, "/oncomesh.training.v1.NodeTrainingService/ListTrainers", *request,
      [&](const rpc::Caller&) { return training::ListTrainers(shelf_, policy_, *response); });
}

grpc::Status NodeTrainingServiceImpl::ListTasks(grpc::ServerContext* context,
                                                const v1::ListTasksRequest* request,
                                                v1::ListTasksResponse* response) {
  return guard_.Run(context, "/oncomesh.training.v1.NodeTrainingService/ListTasks", *request,
                    [&](const rpc::Caller&) {
                      for (v1::NodeTask& task : history_.List()) {
                        *response->add_tasks() = std::move(task);
                      }
                      return absl::OkStatus();
                    });
}

}  // namespace oncomesh::training
