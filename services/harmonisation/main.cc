// SPDX-License-Identifier: Apache-2.0
#include "libs/rpc/service_runner.h"
#include "services/harmonisation/config.pb.h"
#include "services/harmonisation/wire.h"

int main(int argc, char** argv) {
  return oncomesh::rpc::RunService<oncomesh::harmonisation::config::v1::HarmonisationConfig>(
      argc, argv, "harmonisation", oncomesh::harmonisation::Wire);
}
