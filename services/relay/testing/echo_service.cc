// SPDX-License-Identifier: Apache-2.0
#include "services/relay/testing/echo_service.h"

#include <chrono>
#include <thread>

namespace oncomesh::relay::testing {

using namespace echo::v1;  // NOLINT(google-build-using-namespace)

class EchoService::Running {
 public:
  Running(EchoService& service, grpc::ServerContext& context) : service_(service) {
    ++service_.running_;
    auto left = context.deadline() - std::chrono::system_clock::now();
    service_.deadline_ms_ = std::chrono::duration_cast<std::chrono::milliseconds>(left).count();
    base::MutexLock lock(service_.mutex_);
    service_.metadata_.clear();
    for (const auto& [key, value] : context.client_metadata()) {
      std::string k(key.data(), key.size());
      std::string v(value.data(), value.size());
      if (k == "x-text" || k == "x-bytes-bin") {
        context.AddInitialMetadata(k, v);
        context.AddTrailingMetadata(k, v + "!");
      }
      service_.metadata_.emplace(std::move(k), std::move(v));
    }
  }
  ~Running() { --service_.running_; }

 private:
  EchoService& service_;
};

std::multimap<std::string, std::string> EchoService::metadata() {
  base::MutexLock lock(mutex_);
  return metadata_;
}

grpc::Status EchoService::Say(grpc::ServerContext* context, const SayRequest* request,
                              SayResponse* response) {
  Running running(*this, *context);
  auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(request->delay_ms());
  while (std::chrono::steady_clock::now() < end) {
    if (context->IsCancelled()) {
      ++cancelled_;
      return grpc::Status::CANCELLED;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  if (request->fail_code() != 0) {
    return grpc::Status(static_cast<grpc::StatusCode>(request->fail_code()), "as asked: äöü",
                        std::string("details\0with zero", 17));
  }
  response->set_payload(request->payload());
  return grpc::Status::OK;
}

grpc::Status EchoService::Upload(grpc::ServerContext* context,
                                 grpc::ServerReader<UploadRequest>* in, UploadResponse* response) {
  Running running(*this, *context);
  UploadRequest request;
  while (in->Read(&request)) {
    response->set_messages(response->messages() + 1);
    response->set_bytes(response->bytes() + static_cast<int64_t>(request.payload().size()));
    if (request.stop_here()) return grpc::Status::OK;
  }
  ++(context->IsCancelled() ? cancelled_ : finished_);
  return grpc::Status::OK;
}

grpc::Status EchoService::Download(grpc::ServerContext* context, const DownloadRequest* request,
                                   grpc::ServerWriter<DownloadResponse>* out) {
  Running running(*this, *context);
  out->SendInitialMetadata();
  std::this_thread::sleep_for(std::chrono::milliseconds(request->delay_ms()));
  DownloadResponse response;
  response.set_payload(std::string(static_cast<size_t>(request->bytes()), 'd'));
  for (int i = 0; i < request->messages(); ++i) {
    if (!out->Write(response)) {
      ++cancelled_;
      return grpc::Status::CANCELLED;
    }
    sent_ += request->bytes();
  }
  ++finished_;
  return grpc::Status::OK;
}

grpc::Status EchoService::Chat(grpc::ServerContext* context,
                               grpc::ServerReaderWriter<ChatResponse, ChatRequest>* stream) {
  Running running(*this, *context);
  ChatRequest request;
  ChatResponse response;
  while (stream->Read(&request)) {
    response.set_payload(request.payload());
    if (!stream->Write(response)) break;
  }
  ++(context->IsCancelled() ? cancelled_ : finished_);
  return grpc::Status::OK;
}

}  // namespace oncomesh::relay::testing
