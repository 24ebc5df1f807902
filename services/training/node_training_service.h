// SPDX-License-Identifier: Apache-2.0
// NodeTrainingService: what a data holder sees. One line per RPC through the guard.
#pragma once

#include "libs/rpc/call_guard.h"
#include "oncomesh/training/v1/node.grpc.pb.h"
#include "services/training/task_history.h"
#include "services/training/task_worker.h"
#include "services/training/trainer_shelf.h"

namespace oncomesh::training {

// A page of the folders on the shelf, and whether the policy lets each run. Errors: those of the
// policy.
absl::Status ListTrainers(const TrainerShelf& shelf, const PolicySource& policy,
                          const v1::ListTrainersRequest& request, v1::ListTrainersResponse& out);
// A page of the history. Errors: those of the RPC.
absl::Status ListTasks(TaskHistory& history, const v1::ListTasksRequest& request,
                       v1::ListTasksResponse& out);

class NodeTrainingServiceImpl final : public v1::NodeTrainingService::Service {
 public:
  NodeTrainingServiceImpl(rpc::CallGuard& guard, TrainerShelf& shelf, PolicySource policy,
                          TaskHistory& history)
      : guard_(guard), shelf_(shelf), policy_(std::move(policy)), history_(history) {}

  grpc::Status ListTrainers(grpc::ServerContext* context, const v1::ListTrainersRequest* request,
                            v1::ListTrainersResponse* response) override;
  grpc::Status ListTasks(grpc::ServerContext* context, const v1::ListTasksRequest* request,
                         v1::ListTasksResponse* response) override;

 private:
  rpc::CallGuard& guard_;
  TrainerShelf& shelf_;
  PolicySource policy_;
  TaskHistory& history_;
};

}  // namespace oncomesh::training
