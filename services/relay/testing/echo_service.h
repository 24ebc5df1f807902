// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/server_context.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <string>

#include "libs/base/mutex.h"
#include "services/relay/testing/echo.grpc.pb.h"

namespace oncomesh::relay::testing {

// Echoes metadata "x-text" and "x-bytes-bin" in its initial and its trailing metadata, and
// remembers what it saw.
class EchoService final : public echo::v1::EchoService::Service {
 public:
  grpc::Status Say(grpc::ServerContext* context, const echo::v1::SayRequest* request,
                   echo::v1::SayResponse* response) override;
  grpc::Status Upload(grpc::ServerContext* context, grpc::ServerReader<echo::v1::UploadRequest>* in,
                      echo::v1::UploadResponse* response) override;
  grpc::Status Download(grpc::ServerContext* context, const echo::v1::DownloadRequest* request,
                        grpc::ServerWriter<echo::v1::DownloadResponse>* out) override;
  grpc::Status Chat(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<echo::v1::ChatResponse, echo::v1::ChatRequest>* stream) override;

  // Metadata of the last call.
  std::multimap<std::string, std::string> metadata();
  // Milliseconds the last call had left when it arrived.
  int64_t deadline_ms() const { return deadline_ms_; }
  // Streams whose caller had finished, as the handler saw it; and those it saw cancelled.
  int finished() const { return finished_; }
  int cancelled() const { return cancelled_; }
  int running() const { return running_; }
  // Bytes Download has handed to gRPC.
  int64_t sent() const { return sent_; }

 private:
  class Running;
  base::Mutex mutex_;
  std::multimap<std::string, std::string> metadata_ ABSL_GUARDED_BY(mutex_);
  std::atomic<int64_t> deadline_ms_{0};
  std::atomic<int> finished_{0};
  std::atomic<int> cancelled_{0};
  std::atomic<int> running_{0};
  std::atomic<int64_t> sent_{0};
};

}  // namespace oncomesh::relay::testing
