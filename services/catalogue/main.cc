// SPDX-License-Identifier: Apache-2.0
#include "libs/rpc/service_runner.h"
#include "services/catalogue/config.pb.h"
#include "services/catalogue/wire.h"

int main(int argc, char** argv) {
  return oncomesh::rpc::RunService<oncomesh::catalogue::config::v1::CatalogueConfig>(
      argc, argv, "catalogue", oncomesh::catalogue::Wire);
}
