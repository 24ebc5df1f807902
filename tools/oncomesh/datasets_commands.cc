// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/datasets_commands.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "oncomesh/catalogue/v1/catalogue.grpc.pb.h"
#include "oncomesh/catalogue/v1/node_catalogue.grpc.pb.h"
#include "tools/oncomesh/dataset_text.h"
#include "tools/oncomesh/front_door.h"
#include "tools/oncomesh/names.h"

namespace oncomesh::cli {
namespace {

using catalogue::v1::CatalogueService;
using catalogue::v1::DatasetRecord;
using catalogue::v1::NodeCatalogueService;

// All published records that match, page by page.
absl::StatusOr<std::vector<DatasetRecord>> AtHub(CatalogueService::Stub& stub,
                                                 catalogue::v1::SearchDatasetsRequest request) {
  std::vector<DatasetRecord> out;
  request.set_page_size(200);
  do {
    ASSIGN_OR_RETURN(auto page, Call(stub, &CatalogueService::Stub::SearchDatasets, request));
    out.insert(out.end(), page.datasets().begin(), page.datasets().end());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return out;
}

// Every version of the node whose front door this is.
absl::StatusOr<std::vector<DatasetRecord>> AtNode(NodeCatalogueService::Stub& stub) {
  std::vector<DatasetRecord> out;
  catalogue::v1::ListNodeDatasetsRequest request;
  request.set_page_size(200);
  do {
    ASSIGN_OR_RETURN(auto page, Call(stub, &NodeCatalogueService::Stub::ListNodeDatasets, request));
    out.insert(out.end(), page.datasets().begin(), page.datasets().end());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return out;
}

// The records behind the front door: at the hub what is published, at a node everything of its own.
absl::StatusOr<std::vector<DatasetRecord>> Find(const std::shared_ptr<grpc::Channel>& channel,
                                                const catalogue::v1::SearchDatasetsRequest& what) {
  auto hub = CatalogueService::NewStub(channel);
  absl::StatusOr<std::vector<DatasetRecord>> found = AtHub(*hub, what);
  if (!absl::IsUnimplemented(found.status())) return found;
  if (!what.facets().empty() || !what.text().empty()) {
    return base::Error(absl::StatusCode::kFailedPrecondition, "HUB_NEEDED",
                       "a node lists its own datasets and does not search; use a context of the "
                       "hub");
  }
  auto node = NodeCatalogueService::NewStub(channel);
  return AtNode(*node);
}

}  // namespace

void AddDatasetsCommands(CLI::App& app, Session& session) {
  CLI::App* datasets = app.add_subcommand("datasets", "the datasets of the mesh");
  datasets->require_subcommand(1);
  datasets->footer("Example: oncomesh datasets list --modality MR");
  {
    struct Args {
      std::string text;
      std::vector<std::string> modality, node;
    };
    auto args = std::make_shared<Args>();
    CLI::App* command = datasets->add_subcommand(
        "list", "published datasets; at a node's front door that node's own, frozen ones too");
    command->add_option("--text", args->text, "words that must occur in name or description");
    command->add_option("--modality", args->modality, "one of these")->delimiter(',');
    command->add_option("--nodes", args->node, "of these nodes")
        ->delimiter(',')
        ->type_name(kNamesOfNodes);
    command->footer("Example: oncomesh datasets list --text lung --modality CT,PT");
    OnRun(command, session, [args, &session]() -> absl::StatusOr<int> {
      catalogue::v1::SearchDatasetsRequest request;
      request.set_text(args->text);
      auto facet = [&](const char* field, const std::vector<std::string>& values) {
        if (values.empty()) return;
        catalogue::v1::Facet* added = request.add_facets();
        added->set_field(field);
        for (const std::string& value : values) added->add_values(value);
      };
      facet("modality", args->modality);
      facet("node", args->node);
      ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(session));
      ASSIGN_OR_RETURN(std::vector<DatasetRecord> found, Find(channel, request));
      nlohmann::json all = nlohmann::json::array();
      std::vector<std::vector<std::string>> rows = {{"NAME", "STATE", "PATIENTS", "TITLE"}};
      for (const DatasetRecord& record : found) {
        all.push_back(DatasetJson(record));
        rows.push_back({record.name(), DatasetState(record), PatientsText(record), record.title()});
      }
      session.Print({{"datasets", all}}, Table(rows));
      return kDone;
    });
  }
  {
    auto name = std::make_shared<std::string>();
    CLI::App* command = datasets->add_subcommand("show", "one dataset");
    command->add_option("NAME", *name, "nodes/<node>/datasets/<name>, with or without its version")
        ->required()
        ->type_name(kNameOfDataset);
    command->footer("Example: oncomesh datasets show nodes/lisbon/datasets/lung-ct");
    OnRun(command, session, [name, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(session));
      auto hub = CatalogueService::NewStub(channel);
      catalogue::v1::GetDatasetRequest request;
      request.set_name(*name);
      auto response = Call(*hub, &CatalogueService::Stub::GetDataset, request);
      DatasetRecord record;
      if (absl::IsUnimplemented(response.status())) {
        // A node's front door: its own, by full or short name; the newest version is the last.
        auto node = NodeCatalogueService::NewStub(channel);
        ASSIGN_OR_RETURN(std::vector<DatasetRecord> own, AtNode(*node));
        bool found = false;
        for (const DatasetRecord& candidate : own) {
          bool same =
              candidate.name() == *name ||
              absl::StartsWith(candidate.name(), absl::StrCat(*name, "/versions/")) ||
              absl::StrContains(candidate.name(), absl::StrCat("/datasets/", *name, "/versions/"));
          if (!same) continue;
          record = candidate;
          found = true;
        }
        if (!found) {
          return base::Error(absl::StatusCode::kNotFound, "DATASET_NOT_FOUND",
                             "this node has no such dataset; see: oncomesh datasets list");
        }
      } else if (!response.ok()) {
        return response.status();
      } else {
        record = response->dataset();
      }
      session.Print(DatasetJson(record), DatasetText(record));
      return kDone;
    });
  }
}

}  // namespace oncomesh::cli
