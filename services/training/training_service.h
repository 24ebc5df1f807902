// SPDX-License-Identifier: Apache-2.0
// The hub's RPCs: TrainingService for people, TaskService for nodes. One line each through the
// guard.
#pragma once

#include "libs/rpc/call_guard.h"
#include "oncomesh/training/v1/task.grpc.pb.h"
#include "oncomesh/training/v1/training.grpc.pb.h"
#include "services/training/change_signal.h"
#include "services/training/run_desk.h"
#include "services/training/task_desk.h"
#include "services/training/watch_limit.h"

namespace oncomesh::training {

// A notebook or two with a dozen runs each; the service has threads for 1,024 calls.
inline constexpr int kWatchesPerPerson = 32;

class TrainingServiceImpl final : public v1::TrainingService::Service {
 public:
  TrainingServiceImpl(rpc::CallGuard& guard, RunDesk& runs, ChangeSignal& changes)
      : guard_(guard), runs_(runs), changes_(changes) {}

  grpc::Status SubmitRun(grpc::ServerContext* context, const v1::SubmitRunRequest* request,
                         v1::SubmitRunResponse* response) override;
  grpc::Status GetRun(grpc::ServerContext* context, const v1::GetRunRequest* request,
                      v1::GetRunResponse* response) override;
  grpc::Status ListRuns(grpc::ServerContext* context, const v1::ListRunsRequest* request,
                        v1::ListRunsResponse* response) override;
  grpc::Status WatchRun(grpc::ServerContext* context, const v1::WatchRunRequest* request,
                        grpc::ServerWriter<v1::WatchRunResponse>* writer) override;
  grpc::Status CancelRun(grpc::ServerContext* context, const v1::CancelRunRequest* request,
                         v1::CancelRunResponse* response) override;
  grpc::Status GetRoundManifest(grpc::ServerContext* context,
                                const v1::GetRoundManifestRequest* request,
                                v1::GetRoundManifestResponse* response) override;
  grpc::Status GetManifestKeys(grpc::ServerContext* context,
                               const v1::GetManifestKeysRequest* request,
                               v1::GetManifestKeysResponse* response) override;
  grpc::Status ListModels(grpc::ServerContext* context, const v1::ListModelsRequest* request,
                          v1::ListModelsResponse* response) override;
  grpc::Status GetModel(grpc::ServerContext* context, const v1::GetModelRequest* request,
                        v1::GetModelResponse* response) override;
  grpc::Status DownloadModel(grpc::ServerContext* context, const v1::DownloadModelRequest* request,
                             grpc::ServerWriter<v1::DownloadModelResponse>* writer) override;

 private:
  rpc::CallGuard& guard_;
  RunDesk& runs_;
  ChangeSignal& changes_;
  WatchLimit watches_{kWatchesPerPerson};
};

class TaskServiceImpl final : public v1::TaskService::Service {
 public:
  TaskServiceImpl(rpc::CallGuard& guard, TaskDesk& tasks, ChangeSignal& changes)
      : guard_(guard), tasks_(tasks), changes_(changes) {}

  grpc::Status AcquireTask(grpc::ServerContext* context, const v1::AcquireTaskRequest* request,
                           v1::AcquireTaskResponse* response) override;
  grpc::Status RenewLease(grpc::ServerContext* context, const v1::RenewLeaseRequest* request,
                          v1::RenewLeaseResponse* response) override;
  grpc::Status DownloadInput(grpc::ServerContext* context, const v1::DownloadInputRequest* request,
                             grpc::ServerWriter<v1::DownloadInputResponse>* writer) override;
  grpc::Status GetUploadState(grpc::ServerContext* context,
                              const v1::GetUploadStateRequest* request,
                              v1::GetUploadStateResponse* response) override;
  grpc::Status UploadUpdate(grpc::ServerContext* context,
                            grpc::ServerReader<v1::UploadUpdateRequest>* reader,
                            v1::UploadUpdateResponse* response) override;
  grpc::Status SubmitMetrics(grpc::ServerContext* context, const v1::SubmitMetricsRequest* request,
                             v1::SubmitMetricsResponse* response) override;
  grpc::Status ReportTaskFailed(grpc::ServerContext* context,
                                const v1::ReportTaskFailedRequest* request,
                                v1::ReportTaskFailedResponse* response) override;

 private:
  rpc::CallGuard& guard_;
  TaskDesk& tasks_;
  ChangeSignal& changes_;
};

}  // namespace oncomesh::training
