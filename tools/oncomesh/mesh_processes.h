// SPDX-License-Identifier: Apache-2.0
// Starting, watching and stopping the processes of a mesh on one machine.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tools/oncomesh/mesh_layout.h"

namespace oncomesh::cli {

// The folder of this program, where the services' programs are too.
std::string ProgramFolder();

// True when the process of the pid file runs and is the program it should be (a reused pid is not).
bool IsRunning(const Mesh& mesh, const Process& process);

// Starts it in a session of its own, output appended to its log. OK when it runs already.
// Errors: NOT_FOUND (PROGRAM_MISSING), UNAVAILABLE (START_FAILED).
absl::Status StartProcess(const Mesh& mesh, const Process& process);

// Waits until the service answers SERVING. Errors: UNAVAILABLE (SERVICE_ENDED) with the last line
// of its log when it ended, DEADLINE_EXCEEDED (SERVICE_SLOW), CANCELLED (INTERRUPTED) at Ctrl-C
// while an InterruptGuard lives.
absl::Status WaitServing(const Mesh& mesh, const Process& process, absl::Duration timeout);

// When the process last wrote to its log; absl::InfinitePast() when it never did.
absl::Time LastLogTime(const Mesh& mesh, const Process& process);

// What a health check answers within `timeout`: "SERVING", "NOT_SERVING", or "DOWN".
std::string Health(const Process& process, absl::Duration timeout);

// SIGTERM to all of them at once, then SIGKILL for what still runs after `grace`.
void StopProcesses(const Mesh& mesh, const std::vector<const Process*>& processes,
                   absl::Duration grace);

}  // namespace oncomesh::cli
