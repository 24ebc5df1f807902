// SPDX-License-Identifier: Apache-2.0
#include "libs/rpc/channel.h"

#include <grpc/grpc.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>
#include <grpcpp/support/client_interceptor.h>

#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "libs/base/status_macros.h"
#include "libs/rpc/identity.h"
#include "libs/rpc/retry.h"

namespace oncomesh::rpc {
namespace {

using grpc::experimental::ClientInterceptorFactoryInterface;
using grpc::experimental::ClientRpcInfo;
using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::Interceptor;
using grpc::experimental::InterceptorBatchMethods;

// Adds metadata to every call: fixed pairs, and the hint that a call is unary, which lets a relay
// send one frame each way.
class MetadataInterceptor final : public Interceptor {
 public:
  MetadataInterceptor(const std::vector<std::pair<std::string, std::string>>& pairs, bool unary)
      : pairs_(pairs), unary_(unary) {}

  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      auto* metadata = methods->GetSendInitialMetadata();
      for (const auto& [key, value] : pairs_) metadata->insert({key, value});
      if (unary_) metadata->insert({kShapeKey, "unary"});
    }
    methods->Proceed();
  }

 private:
  const std::vector<std::pair<std::string, std::string>>& pairs_;
  bool unary_;
};

class MetadataInterceptorFactory final : public ClientInterceptorFactoryInterface {
 public:
  explicit MetadataInterceptorFactory(std::vector<std::pair<std::string, std::string>> pairs)
      : pairs_(std::move(pairs)) {}
  Interceptor* CreateClientInterceptor(ClientRpcInfo* info) override {
    return new MetadataInterceptor(pairs_, info->type() == ClientRpcInfo::Type::UNARY);
  }

 private:
  std::vector<std::pair<std::string, std::string>> pairs_;
};

std::shared_ptr<grpc::Channel> Make(const std::string& target,
                                    const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                                    std::vector<std::pair<std::string, std::string>> pairs) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetServiceConfigJSON(RetryServiceConfig());
  // Only ours: what a name server said about the target's calls would come over an unsafe line.
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 500);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5000);
  std::vector<std::unique_ptr<ClientInterceptorFactoryInterface>> factories;
  factories.push_back(std::make_unique<MetadataInterceptorFactory>(std::move(pairs)));
  return grpc::experimental::CreateCustomChannelWithInterceptors(target, credentials, arguments,
                                                                 std::move(factories));
}

}  // namespace

std::shared_ptr<grpc::Channel> Connect(const ChannelOptions& options) {
  std::vector<std::pair<std::string, std::string>> pairs;
  if (!options.node.empty()) pairs.emplace_back(kNodeKey, options.node);
  return Make(options.target,
              IdentityChannelCredentials(options.identity_dir, options.trust_domain, options.peer),
              std::move(pairs));
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> ConnectFrontDoor(const std::string& endpoint,
                                                                const std::string& ca_file,
                                                                const std::string& uri,
                                                                const std::string& token) {
  ASSIGN_OR_RETURN(auto credentials, FrontDoorCredentials(ca_file, uri));
  std::vector<std::pair<std::string, std::string>> pairs;
  if (!token.empty()) pairs.emplace_back("authorization", absl::StrCat("Bearer ", token));
  return Make(endpoint, credentials, std::move(pairs));
}

void SetDeadline(grpc::ClientContext& context, absl::Duration timeout) {
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(timeout));
}

}  // namespace oncomesh::rpc
