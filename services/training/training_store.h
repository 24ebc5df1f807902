// SPDX-License-Identifier: Apache-2.0
// The hub's rows of training: runs, rounds, tasks, manifests, models. The only SQL of the service.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libs/store/database.h"
#include "oncomesh/training/v1/training.pb.h"
#include "services/training/run_record.h"

namespace oncomesh::training {

// What a change of a run adds beside the changed record.
struct Additions {
  std::string manifest_jws;              // of the round that was closed
  std::optional<v1::Round> closed;       // it, when record.round is already the next one
  std::vector<TaskRecord> closed_tasks;  // its tasks, likewise
  std::optional<v1::Model> model;        // that came out
  bool mark_final = false;               // the run's newest model is its final one
};

// Every method runs in one transaction and is durable when it returns OK. Errors beside those
// named: UNAVAILABLE (DATABASE_…), RESOURCE_EXHAUSTED (DISK_FULL), DATA_LOSS (ROW_CORRUPT). Any
// thread.
class TrainingStore {
 public:
  static absl::StatusOr<std::unique_ptr<TrainingStore>> Open(const std::string& url,
                                                             const std::string& password_file);

  // Stores a new run, or returns the one that the same owner made with this request_id.
  // Errors: ALREADY_EXISTS (REQUEST_ID_REUSED) when that one has another plan; RESOURCE_EXHAUSTED
  // (TOO_MANY_RUNS) when the owner has `max_running` running.
  absl::StatusOr<v1::Run> AddRun(const RunRecord& record, const std::string& request_id,
                                 int max_running);

  // What AddRun would find, asked before the costly work; AddRun decides. The run of this request,
  // or none. Errors: ALREADY_EXISTS (REQUEST_ID_REUSED).
  absl::StatusOr<std::optional<v1::Run>> RunAlready(const std::string& owner,
                                                    const std::string& request_id,
                                                    const std::string& plan_sha256);
  // Errors: RESOURCE_EXHAUSTED (TOO_MANY_RUNS).
  absl::Status MayRunMore(const std::string& owner, int max_running);

  // Reads the run with its current round, lets `change` alter it, and writes what changed; nothing
  // when `change` refuses. `change` may be called again and has no other effects.
  // Errors: NOT_FOUND (RUN_NOT_FOUND) and those of `change`.
  absl::Status ChangeRun(const std::string& name,
                         const std::function<absl::Status(RunRecord&, Additions&)>& change);
  // The same for reading. Errors: NOT_FOUND (RUN_NOT_FOUND).
  absl::StatusOr<RunRecord> ReadRun(const std::string& name);

  // The run with its rounds from `from_round` on and their contributions, as many as fit into about
  // 1 MiB; `next` gets the number of the first that does not, or 0.
  // Errors: NOT_FOUND (RUN_NOT_FOUND).
  absl::StatusOr<v1::Run> GetRun(const std::string& name, int from_round, int& next);
  // Newest first, without rounds; older than the run `after`; of `owner`, or of all when empty. At
  // most `limit`, and fewer when their plans are so large that together they pass 1 MiB; `more`
  // tells whether there are older ones. Errors: INVALID_ARGUMENT (PAGE_TOKEN_INVALID).
  absl::StatusOr<std::vector<v1::Run>> ListRuns(const std::string& owner, const std::string& after,
                                                int limit, bool& more);
  absl::StatusOr<std::vector<std::string>> RunningRuns();
  // Running runs in whose current round this node has a task that has not ended, oldest first.
  absl::StatusOr<std::vector<std::string>> RunsWaitingFor(const std::string& node);
  // The run of a task. Errors: NOT_FOUND (TASK_NOT_FOUND).
  absl::StatusOr<std::string> RunOfTask(const std::string& task);
  // A task as it is or, of a round that has closed, as it ended. Errors: NOT_FOUND
  // (TASK_NOT_FOUND).
  absl::StatusOr<TaskRecord> ReadTask(const std::string& name);

  // Models of zeros that were made for runs to start from (StartingModels).
  struct StartingModel {
    std::string sha256;
    bool registered = false;  // a model of the registry has the same bytes
  };
  absl::Status NoteStartingModel(const std::string& sha256);
  // Those that no running run starts from any more.
  absl::StatusOr<std::vector<StartingModel>> UnneededStartingModels();
  absl::Status ForgetStartingModel(const std::string& sha256);

  // Errors: NOT_FOUND (ROUND_NOT_FOUND) also for a round that has not closed.
  absl::StatusOr<std::string> Manifest(const std::string& run, int round);

  // The newest model of these bytes among those of `owner` (all when empty).
  // Errors: NOT_FOUND (MODEL_NOT_FOUND).
  absl::StatusOr<v1::Model> GetModel(const std::string& sha256, const std::string& owner);
  // Newest first. `after` is a row number from the answer before, 0 at first; `next` gets the next
  // one or 0.
  absl::StatusOr<std::vector<v1::Model>> ListModels(const std::string& owner,
                                                    const std::string& run, bool final_only,
                                                    int64_t after, int limit, int64_t& next);

 private:
  explicit TrainingStore(std::unique_ptr<store::Database> database)
      : database_(std::move(database)) {}
  std::unique_ptr<store::Database> database_;
};

}  // namespace oncomesh::training
