// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/count_commands.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "libs/base/status_macros.h"
#include "oncomesh/catalogue/v1/catalogue.grpc.pb.h"
#include "tools/oncomesh/expression_argument.h"
#include "tools/oncomesh/front_door.h"
#include "tools/oncomesh/names.h"
#include "tools/oncomesh/permit_argument.h"
#include "tools/oncomesh/proto_json.h"
#include "tools/oncomesh/waiting.h"

namespace oncomesh::cli {
namespace {

using catalogue::v1::CatalogueService;
using catalogue::v1::CountResponse;
using nlohmann::json;
using NodeState = catalogue::v1::NodeCount;

json Number(bool has, int64_t value) { return has ? json(value) : json(nullptr); }

std::string StateName(const catalogue::v1::NodeCount& node) {
  return NodeState::State_Name(node.state()).substr(6);
}

json ToDocument(const CountResponse& response) {
  json nodes = json::array();
  for (const auto& node : response.nodes()) {
    json groups = json::array();
    for (const auto& group : node.groups()) {
      json key = json::object();
      for (const auto& part : group.key()) {
        key[part.variable()] = part.has_value() ? json(part.value()) : json(nullptr);
      }
      groups.push_back({{"key", key}, {"value", Number(group.has_value(), group.value())}});
    }
    json reasons = json::array();
    for (const auto& reason : node.reasons()) {
      reasons.push_back(
          {{"reason", reason.reason()}, {"part", reason.part()}, {"message", reason.message()}});
    }
    nodes.push_back({{"node", node.node()},
                     {"state", StateName(node)},
                     {"value", Number(node.has_value(), node.value())},
                     {"groups", groups},
                     {"reasons", reasons},
                     {"minCell", node.min_cell()},
                     {"rounding", node.rounding()}});
  }
  json by = json::array();
  for (const std::string& name : response.by()) by.push_back(name);
  return {
      {"total",
       {{"value", Number(response.has_total(), response.total())}, {"masked", response.masked()}}},
      {"nodes", nodes},
      {"query",
       {{"text", response.text()}, {"expression", ToJson(response.expression())}, {"by", by}}}};
}

std::string ToText(const CountResponse& response) {
  std::vector<std::vector<std::string>> rows = {{"NODE", "STATE", "PATIENTS", "REMARK"}};
  for (const auto& node : response.nodes()) {
    std::vector<std::string> remarks;
    for (const auto& reason : node.reasons()) {
      remarks.push_back(absl::StrCat(reason.part().empty() ? "" : absl::StrCat(reason.part(), ": "),
                                     reason.message()));
    }
    rows.push_back({node.node(), StateName(node),
                    node.has_value() ? absl::StrCat(node.value()) : "-",
                    absl::StrJoin(remarks, "; ")});
  }
  std::string total =
      !response.has_total()
          ? "no number"
          : absl::StrCat(response.masked() ? "at least " : "about ", response.total(), " patients");
  std::string out = absl::StrCat(Table(rows), "total: ", total, "\n");
  if (response.by().empty()) return out;
  std::vector<std::string> heading = {"NODE"};
  for (const std::string& name : response.by()) heading.push_back(name);
  heading.push_back("PATIENTS");
  std::vector<std::vector<std::string>> groups = {heading};
  for (const auto& node : response.nodes()) {
    for (const auto& group : node.groups()) {
      std::vector<std::string> row = {node.node()};
      for (const auto& part : group.key())
        row.push_back(part.has_value() ? part.value() : "unknown");
      row.push_back(group.has_value() ? absl::StrCat(group.value()) : "-");
      groups.push_back(std::move(row));
    }
  }
  return absl::StrCat(out, "\n", Table(groups));
}

}  // namespace

void AddCountCommands(CLI::App& app, Session& session) {
  struct Args {
    std::string expression, permit;
    std::vector<std::string> by, nodes;
    int timeout = 15;
  };
  auto args = std::make_shared<Args>();
  CLI::App* command =
      app.add_subcommand("count", "how many patients match, at every node (researcher)");
  command->add_option("EXPR", args->expression, "what to count; @FILE for the JSON form")
      ->required();
  command->add_option("--by", args->by, "variables to split by, at most three")
      ->delimiter(',')
      ->type_name(kNamesOfVariables);
  command->add_option("--nodes", args->nodes, "these nodes only")
      ->delimiter(',')
      ->type_name(kNamesOfNodes);
  command
      ->add_option("--permit", args->permit,
                   "for nodes that count only under a permit: its id, or a file with it")
      ->type_name(kNameOfPermit);
  command->add_option("--timeout", args->timeout, "seconds to wait for the nodes")
      ->check(CLI::Range(1, 300))
      ->capture_default_str();
  command->footer(
      "Example: oncomesh count 'modality = \"MR\" and (sex = \"F\" or not age < 50)' --by "
      "manufacturer\n"
      "Numbers are rounded and small ones hidden by each node's policy; \"at least\" means that a "
      "number is missing.");
  OnRun(command, session, [args, &session]() -> absl::StatusOr<int> {
    catalogue::v1::CountRequest request;
    ASSIGN_OR_RETURN(*request.mutable_expression(), ExpressionArgument(args->expression));
    for (const std::string& name : args->by) request.add_by(name);
    for (const std::string& name : args->nodes) request.add_nodes(name);
    ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(session));
    std::string permit;
    if (!args->permit.empty()) {
      ASSIGN_OR_RETURN(permit, PermitArgument(channel, args->permit));
    }
    auto stub = CatalogueService::NewStub(channel);
    auto waiting = std::make_unique<Waiting>(session, "waiting for the nodes");
    ASSIGN_OR_RETURN(CountResponse response, Call(*stub, &CatalogueService::Stub::Count, request,
                                                  absl::Seconds(args->timeout), permit));
    waiting.reset();
    session.Print(ToDocument(response), ToText(response));
    bool whole = !response.nodes().empty();
    for (const auto& node : response.nodes()) {
      whole = whole && node.state() == NodeState::STATE_ANSWERED;
    }
    return whole ? kDone : kPartly;
  });
}

}  // namespace oncomesh::cli
