// SPDX-License-Identifier: Apache-2.0
#include "libs/rpc/service_runner.h"
#include "services/relay/wire.h"

int main(int argc, char** argv) {
  return oncomesh::rpc::RunService<oncomesh::relay::config::v1::RelayConfig>(argc, argv, "relay",
                                                                             oncomesh::relay::Wire);
}
