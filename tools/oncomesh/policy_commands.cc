// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/policy_commands.h"

#include <google/protobuf/util/json_util.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "oncomesh/access/v1/policy.grpc.pb.h"
#include "tools/oncomesh/front_door.h"
#include "tools/oncomesh/proto_json.h"

namespace oncomesh::cli {

void AddPolicyCommands(CLI::App& app, Session& session) {
  using access::v1::PolicyService;
  using Stub = PolicyService::Stub;
  CLI::App* policy = app.add_subcommand("policy", "the node's own last word (data holder)");
  policy->require_subcommand(1);
  policy->footer(
      "Example: oncomesh policy get > policy.json; edit it; oncomesh policy set policy.json");
  {
    CLI::App* command = policy->add_subcommand("get", "the policy in force");
    command->footer("Example: oncomesh policy get > policy.json");
    OnRun(command, session, [&session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(session));
      auto stub = PolicyService::NewStub(channel);
      ASSIGN_OR_RETURN(auto response,
                       Call(*stub, &Stub::GetPolicy, access::v1::GetPolicyRequest()));
      nlohmann::json json = ToJson(response.policy());
      session.Print(json, json.dump(2));
      return kDone;
    });
  }
  {
    auto file = std::make_shared<std::string>();
    CLI::App* command =
        policy->add_subcommand("set", "replace it; takes effect with the next call");
    command->add_option("FILE", *file, "JSON as `policy get` prints it")->required();
    command->footer("Example: oncomesh policy set policy.json");
    OnRun(command, session, [file, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(std::string text, ReadNamedFile(*file, 1 << 20, "the policy"));
      access::v1::SetPolicyRequest request;
      auto parsed = google::protobuf::util::JsonStringToMessage(text, request.mutable_policy());
      if (!parsed.ok()) {
        return base::Error(
            absl::StatusCode::kInvalidArgument, "POLICY_INVALID",
            absl::StrCat("the file is not a policy: ", std::string(parsed.message())));
      }
      ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(session));
      auto stub = PolicyService::NewStub(channel);
      ASSIGN_OR_RETURN(auto response, Call(*stub, &Stub::SetPolicy, request));
      nlohmann::json json = ToJson(response.policy());
      session.Print(json, json.dump(2));
      return kDone;
    });
  }
}

}  // namespace oncomesh::cli
