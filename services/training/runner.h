// SPDX-License-Identifier: Apache-2.0
// Where a trainer runs. A local process here; a Kubernetes or Slurm job can stand behind the same
// interface.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace oncomesh::training {

struct TrainerJob {
  std::string trainer_folder;  // read-only, at /trainer; the command starts there
  std::vector<std::string> command;
  std::string task_file;  // read-only, at /work/task.json
  // Read-only, at their second name.
  std::vector<std::pair<std::string, std::string>> inputs;
  std::string out_folder;    // writable, at /out
  std::string cache_folder;  // writable, at /cache
  absl::Duration time_limit = absl::InfiniteDuration();
};

struct TrainerEnd {
  bool succeeded = false;
  std::string reason;  // when not: TRAINER_FAILED, TRAINER_OUT_OF_MEMORY, TRAINER_PROCESSES,
                       // TRAINER_DISK, TRAINER_TIMEOUT, STOPPED, or the word that the trainer gave
                       // on its last line, "error: REASON: …", if doc/formats/trainer.md has it
  std::string log;     // the end of what it printed; stays at the node
  uint64_t peak_memory_bytes = 0;
  absl::Duration cpu_time;
};

class Runner {
 public:
  virtual ~Runner() = default;
  // OK when trainers can run confined here. Errors: FAILED_PRECONDITION (RUNNER_UNAVAILABLE) with
  // what is missing.
  virtual absl::Status Check() = 0;
  // Runs the job to its end; `go_on` is asked a few times a second, does not wait, and stops it
  // with false.
  // Errors: those of Check.
  virtual absl::StatusOr<TrainerEnd> Run(const TrainerJob& job,
                                         absl::FunctionRef<bool()> go_on) = 0;
};

}  // namespace oncomesh::training
