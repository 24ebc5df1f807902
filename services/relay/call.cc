// SPDX-License-Identifier: Apache-2.0
#include "services/relay/call.h"

#include "absl/strings/cord.h"
#include "google/rpc/status.pb.h"

namespace oncomesh::relay {
namespace {

class Deaf final : public IncomingCall::Observer {
 public:
  void OnRequest(RequestPart) override {}
  void OnSent() override {}
  void OnClosed(bool) override {}
};

}  // namespace

Trailer TrailerOf(const absl::Status& status) {
  Trailer trailer;
  trailer.code = static_cast<int>(status.code());
  trailer.message = std::string(status.message());
  if (status.ok()) return trailer;
  google::rpc::Status details;
  details.set_code(trailer.code);
  details.set_message(trailer.message);
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    auto* any = details.add_details();
    any->set_type_url(std::string(url));
    any->set_value(std::string(payload));
  });
  if (details.details_size() > 0) trailer.details = details.SerializeAsString();
  return trailer;
}

void Refuse(const std::shared_ptr<IncomingCall>& call, const absl::Status& status) {
  call->Observe(std::make_shared<Deaf>());
  ResponsePart part;
  part.trailer = TrailerOf(status);
  call->Send(std::move(part));
}

}  // namespace oncomesh::relay
