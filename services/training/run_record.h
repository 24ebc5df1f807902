// SPDX-License-Identifier: Apache-2.0
// A run as the hub keeps it, and every way in which it changes. Plain state without time, files or
// database of its own: each function looks at a record, changes it or refuses, and the store makes
// the change durable as a whole. So a crash leaves the state before or the state after, never one
// between.
//
//   round: OPEN --all tasks ended, or the deadline--> AGGREGATING --Close--> CLOSED, next round
//   OPEN
//                                     \--too few contributors--> FAILED, run FAILED
//   task:  PENDING --Acquire--> WORKING --Accept--> DONE
//             ^------lease ends / retry----/  \--Refuse, deadline--> DROPPED
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "libs/federated/streaming_sum.h"
#include "oncomesh/training/v1/task.pb.h"
#include "oncomesh/training/v1/training.pb.h"

namespace oncomesh::training {

// A node's part in the current round, with what only the hub knows of it.
struct TaskRecord {
  std::string name;  // "task-…"
  v1::Contribution contribution;
  std::string session;      // that holds the lease
  std::string lease_token;  // empty: never leased
  absl::Time lease_end = absl::InfinitePast();
  absl::Time not_before = absl::InfinitePast();  // after a retry
  int attempts = 0;
  federated::Maxima maxima;  // of the accepted update

  bool ended() const {
    return contribution.state() == v1::Contribution::STATE_DONE ||
           contribution.state() == v1::Contribution::STATE_DROPPED;
  }
};

struct RunRecord {
  v1::Run run;  // without its rounds
  std::string permit_jws;
  std::map<std::string, std::string> left;  // nodes that left the run, and why
  v1::Round round;                          // the current one, without contributions
  std::vector<TaskRecord> tasks;            // of the current round, by node

  bool running() const { return run.state() == v1::Run::STATE_RUNNING; }
};

struct LeaseRules {
  absl::Duration lease = absl::Seconds(60);
  absl::Duration retry_after = absl::Seconds(5);  // times the number of attempts
  int max_attempts = 5;
};

// Makes names: "task-…" for NewId("task-").
using IdMaker = std::function<std::string(const char* prefix)>;

// Starts the first round of a run whose plan has passed CheckPlan.
void OpenFirstRound(RunRecord& record, absl::Time now, const IdMaker& ids);

// Hands a task of the current round to `node`: a pending one, or one whose lease has ended or is
// another session's, both under `token`; or the one that this very session holds, whose answer got
// lost, under the token it has. Null when there is none.
TaskRecord* Acquire(RunRecord& record, const std::string& node, const std::string& session,
                    const std::string& token, absl::Time now, const LeaseRules& rules);

// The task by name, of this node, in the open round. Errors: NOT_FOUND (TASK_NOT_FOUND),
// FAILED_PRECONDITION (ROUND_CLOSED) when the round or the run no longer takes contributions.
absl::StatusOr<TaskRecord*> FindTask(RunRecord& record, const std::string& task,
                                     const std::string& node);
// FindTask, and the lease is the caller's. Errors: FAILED_PRECONDITION (LEASE_LOST).
absl::StatusOr<TaskRecord*> FindLeased(RunRecord& record, const std::string& task,
                                       const std::string& node, const std::string& token);

// A result as a node hands it in.
struct Result {
  std::string update_sha256;  // empty for an evaluation
  int64_t update_bytes = 0;
  int64_t examples = 0;
  int32_t cases = 0;
  std::map<std::string, double> metrics;
  federated::Maxima maxima;
};

// Whether the task already has this very result (true), none (false), or another one:
// ALREADY_EXISTS (UPDATE_CONFLICT).
absl::StatusOr<bool> IsAccepted(const TaskRecord& task, const Result& result);
// OK when the numbers may be taken: examples in range, metrics of the plan and finite. Errors:
// INVALID_ARGUMENT (UPDATE_EXAMPLES, METRIC_NOT_ALLOWED).
absl::Status CheckResult(const RunRecord& record, const Result& result);
// Marks the task as done. The caller has checked lease, result and update.
void Accept(TaskRecord& task, const Result& result);

// The node does not deliver: hand the task out again, drop it from the round, or from the run.
void Refuse(RunRecord& record, TaskRecord& task, const std::string& reason,
            v1::ReportTaskFailedRequest::Outcome outcome, absl::Time now, const LeaseRules& rules);

// True when the round can be closed: every task has ended, or its deadline has passed.
bool IsDue(const RunRecord& record, absl::Time now);
// Fixes the set of contributions of a round that is due: drops what is missing with DEADLINE, and
// either starts the aggregation or, below the quorum, ends the run with QUORUM_NOT_REACHED.
void Freeze(RunRecord& record, absl::Time now);

// What an aggregation produced.
struct Closing {
  std::string model_sha256;  // the sums for statistics; empty for evaluation
  std::string manifest_sha256;
  std::map<std::string, double> metrics;
  int64_t examples = 0;
  std::map<std::string, federated::GridUse> grids;
};
// Closes the round that is aggregating. Afterwards record.round is still the closed one; call
// OpenNextRound to go on.
void Close(RunRecord& record, const Closing& closing, absl::Time now);
// Replaces the closed round by the next one, or ends the run: false when there is no next round.
bool OpenNextRound(RunRecord& record, absl::Time now, const IdMaker& ids);

// Ends the run; the current round fails with it. A run that has ended stays as it is.
void End(RunRecord& record, v1::Run::State state, const std::string& reason,
         const std::string& message, absl::Time now);

// Times of the API, in whole nanoseconds.
google::protobuf::Timestamp ToProto(absl::Time time);
absl::Time FromProto(const google::protobuf::Timestamp& time);

}  // namespace oncomesh::training
