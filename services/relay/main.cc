// SPDX-License-Identifier: Apache-2.0
#include <malloc.h>

#include "libs/rpc/service_runner.h"
#include "services/relay/wire.h"

int main(int argc, char** argv) {
  // Messages of 1 MiB come and go all the time: giving their pages back to the kernel each time
  // costs a sixth of the CPU of a bulk transfer.
  mallopt(M_MMAP_THRESHOLD, 64 << 20);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
  return oncomesh::rpc::RunService<oncomesh::relay::config::v1::RelayConfig>(argc, argv, "relay",
                                                                             oncomesh::relay::Wire);
}
