// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/index_sync.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "libs/base/status_macros.h"
#include "tools/oncomesh/front_door.h"

namespace oncomesh::cli {
namespace {

// Much may have been released since the node looked last.
constexpr absl::Duration kSyncTimeout = absl::Minutes(15);

}  // namespace

absl::StatusOr<catalogue::v1::IndexStatus> SyncIndex(
    catalogue::v1::NodeCatalogueService::Stub& stub) {
  ASSIGN_OR_RETURN(auto response, Call(stub, &catalogue::v1::NodeCatalogueService::Stub::SyncIndex,
                                       catalogue::v1::SyncIndexRequest(), kSyncTimeout));
  return response.status();
}

nlohmann::json IndexJson(const catalogue::v1::IndexStatus& status) {
  return {{"patients", status.patients()},
          {"studies", status.studies()},
          {"series", status.series()},
          {"objects", status.objects()},
          {"unreadable", status.unreadable()}};
}

std::string IndexText(const catalogue::v1::IndexStatus& status) {
  std::string out =
      absl::StrCat("the node's index holds ", status.objects(), " objects: ", status.patients(),
                   " patients, ", status.studies(), " studies, ", status.series(), " series");
  if (status.unreadable() > 0) {
    absl::StrAppend(&out, "; ", status.unreadable(),
                    " released objects or rows could not be indexed");
  }
  return absl::StrCat(out, "\n");
}

}  // namespace oncomesh::cli
