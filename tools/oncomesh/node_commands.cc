// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/node_commands.h"

#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "libs/base/status_macros.h"
#include "oncomesh/access/v1/enrolment.grpc.pb.h"
#include "tools/oncomesh/front_door.h"
#include "tools/oncomesh/names.h"
#include "tools/oncomesh/proto_json.h"

namespace oncomesh::cli {
namespace {

using access::v1::EnrolmentService;
using Stub = EnrolmentService::Stub;

nlohmann::json NodeJson(const access::v1::Node& node) {
  nlohmann::json json = ToJson(node);
  json["state"] = access::v1::Node::State_Name(node.state()).substr(6);
  json["connected"] = node.connected();
  return json;
}

std::string NodeText(const access::v1::Node& node) {
  return absl::StrCat("node ", node.name(), " is ",
                      access::v1::Node::State_Name(node.state()).substr(6), "\n");
}

}  // namespace

void AddNodeCommands(CLI::App& app, Session& session) {
  CLI::App* node = app.add_subcommand("node", "the nodes of the mesh (operator)");
  node->require_subcommand(1);
  node->footer("Example: oncomesh node invite lisbon");
  {
    struct Args {
      std::string name;
      int hours = 24;
    };
    auto args = std::make_shared<Args>();
    CLI::App* command = node->add_subcommand("invite", "a one-time token with which a node enrols");
    command->add_option("NAME", args->name, "2 to 32 of a-z, 0-9, '-'")->required();
    command->add_option("--hours", args->hours, "how long the token is good")
        ->check(CLI::Range(1, 168))
        ->capture_default_str();
    command->footer("Example: oncomesh node invite lisbon > invitation");
    OnRun(command, session, [args, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(session));
      auto stub = EnrolmentService::NewStub(channel);
      access::v1::CreateInvitationRequest request;
      request.set_node(args->name);
      request.set_lifetime_hours(args->hours);
      ASSIGN_OR_RETURN(auto response, Call(*stub, &Stub::CreateInvitation, request));
      session.Say(absl::StrCat("give this token to ", args->name,
                               "'s operator; it works once, until ",
                               TimeText(response.expire_time().seconds())));
      session.Print({{"node", args->name},
                     {"token", response.token()},
                     {"expireTime", TimeJson(response.expire_time().seconds())}},
                    response.token());
      return kDone;
    });
  }
  {
    CLI::App* command = node->add_subcommand("list", "every node and whether it is connected");
    command->footer("Example: oncomesh node list");
    OnRun(command, session, [&session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(session));
      auto stub = EnrolmentService::NewStub(channel);
      ASSIGN_OR_RETURN(auto response,
                       Call(*stub, &Stub::ListNodes, access::v1::ListNodesRequest()));
      nlohmann::json all = nlohmann::json::array();
      std::vector<std::vector<std::string>> rows = {
          {"NODE", "STATE", "CONNECTED", "VERSION", "LAST SEEN", "CERTIFICATE END"}};
      for (const auto& entry : response.nodes()) {
        all.push_back(NodeJson(entry));
        rows.push_back({entry.name(), access::v1::Node::State_Name(entry.state()).substr(6),
                        entry.connected() ? "yes" : "no", entry.version(),
                        TimeText(entry.last_seen_time().seconds()),
                        TimeText(entry.certificate_expire_time().seconds())});
      }
      session.Print({{"nodes", all}}, Table(rows));
      return kDone;
    });
  }
  {
    struct Args {
      std::string name, reason = "no reason given";
    };
    auto args = std::make_shared<Args>();
    CLI::App* command = node->add_subcommand("suspend", "cut a node off at once");
    command->add_option("NAME", args->name)->required()->type_name(kNameOfNode);
    command->add_option("--reason", args->reason, "why; stands in the audit log")
        ->capture_default_str();
    command->footer("Example: oncomesh node suspend lisbon --reason 'key may be stolen'");
    OnRun(command, session, [args, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(session));
      auto stub = EnrolmentService::NewStub(channel);
      access::v1::SuspendNodeRequest request;
      request.set_node(args->name);
      request.set_reason(args->reason);
      ASSIGN_OR_RETURN(auto response, Call(*stub, &Stub::SuspendNode, request));
      session.Print(NodeJson(response.node()), NodeText(response.node()));
      return kDone;
    });
  }
  {
    auto name = std::make_shared<std::string>();
    CLI::App* command = node->add_subcommand("resume", "let a suspended node in again");
    command->add_option("NAME", *name)->required()->type_name(kNameOfNode);
    command->footer("Example: oncomesh node resume lisbon");
    OnRun(command, session, [name, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(session));
      auto stub = EnrolmentService::NewStub(channel);
      access::v1::ResumeNodeRequest request;
      request.set_node(*name);
      ASSIGN_OR_RETURN(auto response, Call(*stub, &Stub::ResumeNode, request));
      session.Print(NodeJson(response.node()), NodeText(response.node()));
      return kDone;
    });
  }
  {
    auto name = std::make_shared<std::string>();
    CLI::App* command = node->add_subcommand("remove", "end a node's membership");
    command->add_option("NAME", *name)->required()->type_name(kNameOfNode);
    command->footer("Example: oncomesh node remove lisbon");
    OnRun(command, session, [name, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(session));
      auto stub = EnrolmentService::NewStub(channel);
      access::v1::RemoveNodeRequest request;
      request.set_node(*name);
      ASSIGN_OR_RETURN(auto response, Call(*stub, &Stub::RemoveNode, request));
      session.Print(NodeJson(response.node()), NodeText(response.node()));
      return kDone;
    });
  }
}

}  // namespace oncomesh::cli
