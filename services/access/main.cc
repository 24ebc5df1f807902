// SPDX-License-Identifier: Apache-2.0
#include "libs/rpc/service_runner.h"
#include "services/access/config.pb.h"
#include "services/access/wire.h"

int main(int argc, char** argv) {
  return oncomesh::rpc::RunService<oncomesh::access::config::v1::AccessConfig>(
      argc, argv, "access", oncomesh::access::Wire, {.waits_for_identity = false});
}
