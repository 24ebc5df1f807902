// SPDX-License-Identifier: Apache-2.0
#include "services/training/node_training_service.h"

#include <algorithm>
#include <utility>

#include "libs/base/error.h"
#include "libs/base/status_macros.h"

namespace oncomesh::training {

namespace {

int PageSize(int wanted) { return wanted <= 0 ? 50 : std::min(wanted, 200); }

}  // namespace

absl::Status ListTrainers(const TrainerShelf& shelf, const PolicySource& policy,
                          const v1::ListTrainersRequest& request, v1::ListTrainersResponse& out) {
  ASSIGN_OR_RETURN(access::v1::NodePolicy rules, policy());
  for (const std::string& name : shelf.Names()) {
    if (name <= request.page_token()) continue;
    if (out.trainers_size() == PageSize(request.page_size())) {
      out.set_next_page_token(out.trainers().rbegin()->name());
      break;
    }
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

absl::Status ListTasks(TaskHistory& history, const v1::ListTasksRequest& request,
                       v1::ListTasksResponse& out) {
  bool begun = request.page_token().empty();
  for (v1::NodeTask& task : history.List()) {
    if (!begun) {
      begun = task.name() == request.page_token();
      continue;
    }
    if (out.tasks_size() == PageSize(request.page_size())) {
      out.set_next_page_token(out.tasks().rbegin()->name());
      break;
    }
    *out.add_tasks() = std::move(task);
  }
  return begun ? absl::OkStatus()
               : base::Error(absl::StatusCode::kInvalidArgument, "PAGE_TOKEN_INVALID",
                             "the page token is none of the last tasks; start from the first page");
}

grpc::Status NodeTrainingServiceImpl::ListTrainers(grpc::ServerContext* context,
                                                   const v1::ListTrainersRequest* request,
                                                   v1::ListTrainersResponse* response) {
  return guard_.Run(context, "/oncomesh.training.v1.NodeTrainingService/ListTrainers", *request,
                    [&](const rpc::Caller&) {
                      return training::ListTrainers(shelf_, policy_, *request, *response);
                    });
}

grpc::Status NodeTrainingServiceImpl::ListTasks(grpc::ServerContext* context,
                                                const v1::ListTasksRequest* request,
                                                v1::ListTasksResponse* response) {
  return guard_.Run(
      context, "/oncomesh.training.v1.NodeTrainingService/ListTasks", *request,
      [&](const rpc::Caller&) { return training::ListTasks(history_, *request, *response); });
}

}  // namespace oncomesh::training
