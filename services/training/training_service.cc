// SPDX-License-Identifier: Apache-2.0
#include "services/training/training_service.h"

#include <algorithm>
#include <utility>

#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "services/training/file_stream.h"

namespace oncomesh::training {
namespace {

#define TRAINING_METHOD(name) "/oncomesh.training.v1.TrainingService/" name
#define TASK_METHOD(name) "/oncomesh.training.v1.TaskService/" name

constexpr absl::Duration kMaxWait = absl::Seconds(30);

// Waits in slices, so that a caller who has gone does not keep a thread.
void WaitForChange(grpc::ServerContext& context, ChangeSignal& changes, uint64_t seen,
                   absl::Time until) {
  while (changes.version() == seen && !changes.stopped() && !context.IsCancelled()) {
    const absl::Duration left = until - absl::Now();
    if (left <= absl::ZeroDuration()) return;
    changes.Wait(seen, std::min(left, absl::Milliseconds(500)));
  }
}

}  // namespace

grpc::Status TrainingServiceImpl::SubmitRun(grpc::ServerContext* context,
                                            const v1::SubmitRunRequest* request,
                                            v1::SubmitRunResponse* response) {
  return guard_.Run(context, TRAINING_METHOD("SubmitRun"), *request,
                    [&](const rpc::Caller& caller) -> absl::Status {
                      ASSIGN_OR_RETURN(*response->mutable_run(), runs_.Submit(caller, *request));
                      return absl::OkStatus();
                    });
}

grpc::Status TrainingServiceImpl::GetRun(grpc::ServerContext* context,
                                         const v1::GetRunRequest* request,
                                         v1::GetRunResponse* response) {
  return guard_.Run(
      context, TRAINING_METHOD("GetRun"), *request, [&](const rpc::Caller& caller) -> absl::Status {
        int next = 0;
        ASSIGN_OR_RETURN(*response->mutable_run(),
                         runs_.Get(caller, request->name(), request->from_round(), next));
        response->set_next_round(next);
        return absl::OkStatus();
      });
}

grpc::Status TrainingServiceImpl::ListRuns(grpc::ServerContext* context,
                                           const v1::ListRunsRequest* request,
                                           v1::ListRunsResponse* response) {
  return guard_.Run(context, TRAINING_METHOD("ListRuns"), *request, [&](const rpc::Caller& caller) {
    return runs_.List(caller, *request, *response);
  });
}

grpc::Status TrainingServiceImpl::WatchRun(grpc::ServerContext* context,
                                           const v1::WatchRunRequest* request,
                                           grpc::ServerWriter<v1::WatchRunResponse>* writer) {
  return guard_.Run(context, TRAINING_METHOD("WatchRun"), *request,
                    [&](const rpc::Caller& caller) -> absl::Status {
                      ASSIGN_OR_RETURN(auto place, watches_.Enter(caller.subject));
                      std::string last;
                      int from = request->from_round();
                      while (!context->IsCancelled() && !changes_.stopped()) {
                        const uint64_t seen = changes_.version();
                        v1::WatchRunResponse response;
                        int next = 0;
                        ASSIGN_OR_RETURN(*response.mutable_run(),
                                         runs_.Get(caller, request->name(), from, next));
                        std::string now = response.SerializeAsString();
                        if (now != last && !writer->Write(response))
                          return absl::CancelledError("gone");
                        last = std::move(now);
                        // Only the newest round can still change.
                        const auto& rounds = response.run().rounds();
                        if (!rounds.empty()) from = rounds.rbegin()->number();
                        if (next != 0) {
                          from = next;
                          continue;
                        }
                        if (response.run().state() != v1::Run::STATE_RUNNING)
                          return absl::OkStatus();
                        WaitForChange(*context, changes_, seen, absl::Now() + absl::Seconds(5));
                      }
                      return base::Error(absl::StatusCode::kUnavailable, "SERVICE_STOPPING",
                                         "the service is stopping; watch again");
                    });
}

grpc::Status TrainingServiceImpl::CancelRun(grpc::ServerContext* context,
                                            const v1::CancelRunRequest* request,
                                            v1::CancelRunResponse* response) {
  return guard_.Run(context, TRAINING_METHOD("CancelRun"), *request,
                    [&](const rpc::Caller& caller) -> absl::Status {
                      ASSIGN_OR_RETURN(*response->mutable_run(),
                                       runs_.Cancel(caller, request->name()));
                      return absl::OkStatus();
                    });
}

grpc::Status TrainingServiceImpl::GetRoundManifest(grpc::ServerContext* context,
                                                   const v1::GetRoundManifestRequest* request,
                                                   v1::GetRoundManifestResponse* response) {
  return guard_.Run(context, TRAINING_METHOD("GetRoundManifest"), *request,
                    [&](const rpc::Caller& caller) {
                      return runs_.Manifest(caller, request->run(), request->round(), *response);
                    });
}

grpc::Status TrainingServiceImpl::GetManifestKeys(grpc::ServerContext* context,
                                                  const v1::GetManifestKeysRequest* request,
                                                  v1::GetManifestKeysResponse* response) {
  return guard_.Run(context, TRAINING_METHOD("GetManifestKeys"), *request, [&](const rpc::Caller&) {
    response->set_jwks(runs_.ManifestKeys());
    return absl::OkStatus();
  });
}

grpc::Status TrainingServiceImpl::ListModels(grpc::ServerContext* context,
                                             const v1::ListModelsRequest* request,
                                             v1::ListModelsResponse* response) {
  return guard_.Run(
      context, TRAINING_METHOD("ListModels"), *request,
      [&](const rpc::Caller& caller) { return runs_.ListModels(caller, *request, *response); });
}

grpc::Status TrainingServiceImpl::GetModel(grpc::ServerContext* context,
                                           const v1::GetModelRequest* request,
                                           v1::GetModelResponse* response) {
  return guard_.Run(context, TRAINING_METHOD("GetModel"), *request,
                    [&](const rpc::Caller& caller) -> absl::Status {
                      ASSIGN_OR_RETURN(*response->mutable_model(),
                                       runs_.GetModel(caller, request->sha256()));
                      return absl::OkStatus();
                    });
}

grpc::Status TrainingServiceImpl::DownloadModel(
    grpc::ServerContext* context, const v1::DownloadModelRequest* request,
    grpc::ServerWriter<v1::DownloadModelResponse>* writer) {
  return guard_.Run(context, TRAINING_METHOD("DownloadModel"), *request,
                    [&](const rpc::Caller& caller) -> absl::Status {
                      ASSIGN_OR_RETURN(std::string path,
                                       runs_.ModelPath(caller, request->sha256()));
                      return SendFile(path, request->sha256(), request->offset(), writer);
                    });
}

grpc::Status TaskServiceImpl::AcquireTask(grpc::ServerContext* context,
                                          const v1::AcquireTaskRequest* request,
                                          v1::AcquireTaskResponse* response) {
  return guard_.Run(
      context, TASK_METHOD("AcquireTask"), *request,
      [&](const rpc::Caller& caller) -> absl::Status {
        const absl::Time until =
            absl::Now() + std::min(absl::Seconds(request->wait().seconds()), kMaxWait);
        while (true) {
          const uint64_t seen = changes_.version();
          ASSIGN_OR_RETURN(*response, tasks_.Acquire(caller.node, *request));
          if (response->has_task() || absl::Now() >= until || context->IsCancelled() ||
              changes_.stopped()) {
            return absl::OkStatus();
          }
          WaitForChange(*context, changes_, seen, std::min(until, absl::Now() + absl::Seconds(5)));
        }
      });
}

grpc::Status TaskServiceImpl::RenewLease(grpc::ServerContext* context,
                                         const v1::RenewLeaseRequest* request,
                                         v1::RenewLeaseResponse* response) {
  return guard_.Run(context, TASK_METHOD("RenewLease"), *request,
                    [&](const rpc::Caller& caller) -> absl::Status {
                      ASSIGN_OR_RETURN(absl::Duration lease, tasks_.Renew(caller.node, *request));
                      response->mutable_lease()->set_seconds(absl::ToInt64Seconds(lease));
                      return absl::OkStatus();
                    });
}

grpc::Status TaskServiceImpl::DownloadInput(grpc::ServerContext* context,
                                            const v1::DownloadInputRequest* request,
                                            grpc::ServerWriter<v1::DownloadInputResponse>* writer) {
  return guard_.Run(context, TASK_METHOD("DownloadInput"), *request,
                    [&](const rpc::Caller& caller) -> absl::Status {
                      ASSIGN_OR_RETURN(
                          std::string path,
                          tasks_.InputPath(caller.node, request->task(), request->sha256()));
                      return SendFile(path, request->sha256(), request->offset(), writer);
                    });
}

grpc::Status TaskServiceImpl::GetUploadState(grpc::ServerContext* context,
                                             const v1::GetUploadStateRequest* request,
                                             v1::GetUploadStateResponse* response) {
  return guard_.Run(context, TASK_METHOD("GetUploadState"), *request,
                    [&](const rpc::Caller& caller) -> absl::Status {
                      ASSIGN_OR_RETURN(*response, tasks_.UploadState(caller.node, *request));
                      return absl::OkStatus();
                    });
}

grpc::Status TaskServiceImpl::UploadUpdate(grpc::ServerContext* context,
                                           grpc::ServerReader<v1::UploadUpdateRequest>* reader,
                                           v1::UploadUpdateResponse* response) {
  // Nothing is waited for from somebody who may not call.
  return guard_.Run(context, TASK_METHOD("UploadUpdate"), v1::UploadUpdateRequest(),
                    [&](const rpc::Caller& caller) -> absl::Status {
                      const auto invalid = [](absl::string_view what) {
                        return base::Error(absl::StatusCode::kInvalidArgument, "UPLOAD_INVALID",
                                           what);
                      };
                      v1::UploadUpdateRequest part;
                      if (!reader->Read(&part) || !part.has_header()) {
                        return invalid("an upload begins with its header");
                      }
                      ASSIGN_OR_RETURN(auto submission, tasks_.Begin(caller.node, part.header()));
                      while (reader->Read(&part)) {
                        if (part.has_chunk()) {
                          RETURN_IF_ERROR(submission->Append(part.chunk()));
                        } else if (part.has_finish()) {
                          ASSIGN_OR_RETURN(bool already, submission->Finish());
                          response->set_already_accepted(already);
                          return absl::OkStatus();
                        } else {
                          return invalid("after the header come chunks and one finish");
                        }
                      }
                      // The end of the stream alone commits nothing: it also comes when the sender
                      // dies.
                      return invalid("the upload ended without its finish; go on from its offset");
                    });
}

grpc::Status TaskServiceImpl::SubmitMetrics(grpc::ServerContext* context,
                                            const v1::SubmitMetricsRequest* request,
                                            v1::SubmitMetricsResponse* response) {
  return guard_.Run(context, TASK_METHOD("SubmitMetrics"), *request,
                    [&](const rpc::Caller& caller) -> absl::Status {
                      ASSIGN_OR_RETURN(bool already, tasks_.SubmitMetrics(caller.node, *request));
                      response->set_already_accepted(already);
                      return absl::OkStatus();
                    });
}

grpc::Status TaskServiceImpl::ReportTaskFailed(grpc::ServerContext* context,
                                               const v1::ReportTaskFailedRequest* request,
                                               v1::ReportTaskFailedResponse*) {
  return guard_.Run(
      context, TASK_METHOD("ReportTaskFailed"), *request,
      [&](const rpc::Caller& caller) { return tasks_.ReportFailed(caller.node, *request); });
}

}  // namespace oncomesh::training
