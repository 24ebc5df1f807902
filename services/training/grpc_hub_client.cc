// SPDX-License-Identifier: Apache-2.0
#include "services/training/grpc_hub_client.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/mutex.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/status.h"
#include "oncomesh/training/v1/task.grpc.pb.h"
#include "services/training/file_hash.h"

namespace oncomesh::training {
namespace {

constexpr size_t kChunk = 1 << 20;

// A transfer gets a minute and a second for each 250 kB: slower than the slowest line seen between
// hospitals (0.9 MB/s), so that only a line that stands still ends it.
absl::Duration TransferTime(int64_t bytes) {
  return absl::Minutes(1) + absl::Seconds(bytes / 250'000);
}

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

class GrpcHubClient final : public HubClient {
 public:
  explicit GrpcHubClient(std::shared_ptr<grpc::Channel> channel)
      : stub_(v1::TaskService::NewStub(std::move(channel))) {}

  absl::StatusOr<v1::AcquireTaskResponse> Acquire(const v1::AcquireTaskRequest& request) override {
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Seconds(15) + absl::Seconds(request.wait().seconds()));
    Stoppable stoppable(*this, context);
    RETURN_IF_ERROR(stoppable.status());
    v1::AcquireTaskResponse response;
    RETURN_IF_ERROR(rpc::FromGrpc(stub_->AcquireTask(&context, request, &response)));
    return response;
  }
  void StopWaiting() override {
    base::MutexLock lock(mutex_);
    stopped_ = true;
    for (grpc::ClientContext* context : waiting_) context->TryCancel();
  }
  absl::Status Renew(const v1::RenewLeaseRequest& request) override {
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Seconds(10));
    Stoppable stoppable(*this, context);
    RETURN_IF_ERROR(stoppable.status());
    v1::RenewLeaseResponse response;
    return rpc::FromGrpc(stub_->RenewLease(&context, request, &response));
  }
  absl::Status SubmitMetrics(const v1::SubmitMetricsRequest& request) override {
    return Call(&Stub::SubmitMetrics, request, absl::Seconds(30)).status();
  }
  absl::Status ReportFailed(const v1::ReportTaskFailedRequest& request) override {
    return Call(&Stub::ReportTaskFailed, request, absl::Seconds(30)).status();
  }
  absl::Status Download(const std::string& task, const v1::TaskInput& input,
                        const std::string& path) override;
  absl::Status Upload(const v1::UploadHeader& header, const std::string& path) override;

 private:
  using Stub = v1::TaskService::Stub;

  // A call that StopWaiting() ends.
  class Stoppable {
   public:
    Stoppable(GrpcHubClient& client, grpc::ClientContext& context)
        : client_(client), context_(&context) {
      base::MutexLock lock(client_.mutex_);
      if (client_.stopped_) {
        status_ = absl::CancelledError("the service is stopping");
      } else {
        client_.waiting_.insert(context_);
      }
    }
    ~Stoppable() {
      base::MutexLock lock(client_.mutex_);
      client_.waiting_.erase(context_);
    }
    Stoppable(const Stoppable&) = delete;
    Stoppable& operator=(const Stoppable&) = delete;
    const absl::Status& status() const { return status_; }

   private:
    GrpcHubClient& client_;
    grpc::ClientContext* const context_;
    absl::Status status_;
  };

  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                                const Request& request, absl::Duration timeout) {
    grpc::ClientContext context;
    rpc::SetDeadline(context, timeout);
    Response response;
    absl::Status status = rpc::FromGrpc((stub_.get()->*method)(&context, request, &response));
    if (!status.ok()) return status;
    return response;
  }

  std::unique_ptr<Stub> stub_;
  base::Mutex mutex_;
  std::set<grpc::ClientContext*> waiting_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

absl::Status GrpcHubClient::Download(const std::string& task, const v1::TaskInput& input,
                                     const std::string& path) {
  const std::string& sha256 = input.sha256();
  const std::string part = path + ".part";
  File file(open(part.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (file.fd() < 0) return base::ErrnoStatus(errno, "create an input");
  int64_t offset = lseek(file.fd(), 0, SEEK_END);
  crypto::Sha256 hash;
  RETURN_IF_ERROR(HashPrefix(file.fd(), offset, hash));
  grpc::ClientContext context;
  rpc::SetDeadline(context, absl::Hours(12));
  Stoppable stoppable(*this, context);
  RETURN_IF_ERROR(stoppable.status());
  v1::DownloadInputRequest request;
  request.set_task(task);
  request.set_sha256(sha256);
  request.set_offset(offset);
  auto reader = stub_->DownloadInput(&context, request);
  v1::DownloadInputResponse response;
  bool finished = false;
  absl::Status written;
  while (written.ok() && reader->Read(&response)) {
    if (response.has_finish()) finished = true;
    if (!response.has_chunk()) continue;
    absl::string_view chunk = response.chunk();
    // The announced size was checked against the plan; no more than that comes onto the disk.
    if (static_cast<int64_t>(chunk.size()) > input.bytes() - offset) {
      written = base::Error(absl::StatusCode::kUnavailable, "INPUT_HASH_MISMATCH",
                            "the input is longer than announced; it is fetched again");
      unlink(part.c_str());
      break;
    }
    hash.Update(chunk);
    while (!chunk.empty() && written.ok()) {
      ssize_t put = pwrite(file.fd(), chunk.data(), chunk.size(), offset);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) {
        written = base::ErrnoStatus(errno, "write an input");
        break;
      }
      chunk.remove_prefix(static_cast<size_t>(put));
      offset += put;
    }
  }
  if (!written.ok()) context.TryCancel();
  absl::Status status = rpc::FromGrpc(reader->Finish());
  RETURN_IF_ERROR(written);
  if (base::ReasonOf(status) == "OFFSET_INVALID") unlink(part.c_str());
  RETURN_IF_ERROR(status);
  if (!finished || hash.FinishHex() != sha256) {
    unlink(part.c_str());
    return base::Error(absl::StatusCode::kUnavailable, "INPUT_HASH_MISMATCH",
                       "what arrived is not what was asked for; it is fetched again");
  }
  if (fsync(file.fd()) != 0 || rename(part.c_str(), path.c_str()) != 0) {
    return base::ErrnoStatus(errno, "keep an input");
  }
  return absl::OkStatus();
}

absl::Status GrpcHubClient::Upload(const v1::UploadHeader& header, const std::string& path) {
  File file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (file.fd() < 0) return base::ErrnoStatus(errno, "open an update");
  v1::GetUploadStateRequest ask;
  ask.set_task(header.task());
  ask.set_sha256(header.sha256());
  ASSIGN_OR_RETURN(v1::GetUploadStateResponse state,
                   Call(&Stub::GetUploadState, ask, absl::Minutes(2)));
  int64_t offset = std::min(state.offset(), header.bytes());
  crypto::Sha256 prefix;
  RETURN_IF_ERROR(HashPrefix(file.fd(), offset, prefix));
  if (prefix.FinishHex() != state.prefix_sha256()) offset = 0;
  // The hub only looks once more whether it is the same result.
  if (state.accepted()) offset = header.bytes();

  grpc::ClientContext context;
  rpc::SetDeadline(context, TransferTime(header.bytes()));
  Stoppable stoppable(*this, context);
  RETURN_IF_ERROR(stoppable.status());
  v1::UploadUpdateResponse response;
  auto writer = stub_->UploadUpdate(&context, &response);
  v1::UploadUpdateRequest part;
  *part.mutable_header() = header;
  part.mutable_header()->set_offset(offset);
  bool open_stream = writer->Write(part);
  absl::Status read;
  while (open_stream && offset < header.bytes()) {
    std::string* chunk = part.mutable_chunk();
    chunk->resize(std::min<size_t>(kChunk, static_cast<size_t>(header.bytes() - offset)));
    ssize_t got = pread(file.fd(), chunk->data(), chunk->size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      read = base::ErrnoStatus(got < 0 ? errno : EIO, "read an update");
      context.TryCancel();
      break;
    }
    chunk->resize(static_cast<size_t>(got));
    offset += got;
    open_stream = writer->Write(part);
  }
  if (read.ok() && open_stream) {
    part.mutable_finish();
    writer->Write(part);
    writer->WritesDone();
  }
  absl::Status status = rpc::FromGrpc(writer->Finish());
  RETURN_IF_ERROR(read);
  return status;
}

}  // namespace

std::unique_ptr<HubClient> MakeGrpcHubClient(std::shared_ptr<grpc::Channel> channel) {
  return std::make_unique<GrpcHubClient>(std::move(channel));
}

}  // namespace oncomesh::training
