// SPDX-License-Identifier: Apache-2.0
#include "libs/rpc/service_runner.h"
#include "services/training/config.pb.h"
#include "services/training/wire.h"

int main(int argc, char** argv) {
  return oncomesh::rpc::RunService<oncomesh::training::config::v1::TrainingConfig>(
      argc, argv, "training", oncomesh::training::Wire);
}
