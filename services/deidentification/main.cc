// SPDX-License-Identifier: Apache-2.0
#include "libs/rpc/service_runner.h"
#include "services/deidentification/config.pb.h"
#include "services/deidentification/wire.h"

int main(int argc, char** argv) {
  return oncomesh::rpc::RunService<oncomesh::deidentification::config::v1::DeidentificationConfig>(
      argc, argv, "deidentification", oncomesh::deidentification::Wire);
}
