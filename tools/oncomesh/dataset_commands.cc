// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/dataset_commands.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "libs/base/random.h"
#include "libs/base/status_macros.h"
#include "oncomesh/catalogue/v1/node_catalogue.grpc.pb.h"
#include "tools/oncomesh/dataset_text.h"
#include "tools/oncomesh/expression_argument.h"
#include "tools/oncomesh/front_door.h"
#include "tools/oncomesh/index_sync.h"
#include "tools/oncomesh/names.h"
#include "tools/oncomesh/waiting.h"

namespace oncomesh::cli {
namespace {

using catalogue::v1::NodeCatalogueService;
using Stub = NodeCatalogueService::Stub;

// Freezing reads the rows of every object, so it may take a while.
constexpr absl::Duration kFreezeTimeout = absl::Minutes(5);

}  // namespace

void AddDatasetCommands(CLI::App& app, Session& session) {
  CLI::App* dataset = app.add_subcommand("dataset", "datasets of your node (holder)");
  dataset->require_subcommand(1);
  dataset->footer(
      "Example: oncomesh dataset create lung-ct --title 'Lung CT' --where 'modality = "
      "\"CT\"' --duo DUO:0000042");
  {
    struct Args {
      std::string name, title, description, where;
      std::vector<std::string> duo;
    };
    auto args = std::make_shared<Args>();
    CLI::App* command =
        dataset->add_subcommand("create", "freeze what matches into the next version");
    command->add_option("NAME", args->name, "2 to 63 of a-z, 0-9, '-'")->required();
    command->add_option("--title", args->title, "one line for people")->required();
    command->add_option("--description", args->description, "more for people");
    command->add_option("--where", args->where, "which series; @FILE for the JSON form")
        ->required();
    command->add_option("--duo", args->duo, "permitted uses, Data Use Ontology codes")
        ->delimiter(',')
        ->required();
    command->footer(
        "Example: oncomesh dataset create lung-ct --title 'Lung CT' --where 'modality in (\"CT\", "
        "\"RTSTRUCT\")' --duo DUO:0000042");
    OnRun(command, session, [args, &session]() -> absl::StatusOr<int> {
      catalogue::v1::CreateDatasetRequest request;
      request.set_dataset(args->name);
      request.set_title(args->title);
      request.set_description(args->description);
      for (const std::string& code : args->duo) request.add_duo_codes(code);
      ASSIGN_OR_RETURN(*request.mutable_expression(), ExpressionArgument(args->where));
      request.set_request_id(base::NewId("create-"));
      ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(session));
      auto stub = NodeCatalogueService::NewStub(channel);
      auto waiting = std::make_unique<Waiting>(session, "freezing the version");
      // What was sent just before is to be in it.
      RETURN_IF_ERROR(SyncIndex(*stub).status());
      ASSIGN_OR_RETURN(auto response, Call(*stub, &Stub::CreateDataset, request, kFreezeTimeout));
      waiting.reset();
      session.Print(DatasetJson(response.dataset()), DatasetText(response.dataset()));
      return kDone;
    });
  }
  {
    auto name = std::make_shared<std::string>();
    CLI::App* command = dataset->add_subcommand("publish", "make a version known to the mesh");
    command->add_option("NAME", *name, "short name, for its newest version, or full name")
        ->required()
        ->type_name(kNameOfDataset);
    command->footer("Example: oncomesh dataset publish lung-ct");
    OnRun(command, session, [name, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(session));
      auto stub = NodeCatalogueService::NewStub(channel);
      catalogue::v1::PublishDatasetRequest request;
      request.set_name(*name);
      ASSIGN_OR_RETURN(auto response, Call(*stub, &Stub::PublishDataset, request));
      session.Print(DatasetJson(response.dataset()), DatasetText(response.dataset()));
      return kDone;
    });
  }
  {
    auto name = std::make_shared<std::string>();
    CLI::App* command = dataset->add_subcommand("withdraw", "take a version back");
    command->add_option("NAME", *name, "short name, for its newest version, or full name")
        ->required()
        ->type_name(kNameOfDataset);
    command->footer("Example: oncomesh dataset withdraw nodes/lisbon/datasets/lung-ct/versions/1");
    OnRun(command, session, [name, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(session));
      auto stub = NodeCatalogueService::NewStub(channel);
      catalogue::v1::WithdrawDatasetRequest request;
      request.set_name(*name);
      ASSIGN_OR_RETURN(auto response, Call(*stub, &Stub::WithdrawDataset, request));
      session.Print(DatasetJson(response.dataset()), DatasetText(response.dataset()));
      return kDone;
    });
  }
}

}  // namespace oncomesh::cli
