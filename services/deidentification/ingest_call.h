// SPDX-License-Identifier: Apache-2.0
// One Ingest stream: objects come in one after the other, and while one is read and cleaned, those
// before it are stored together.
#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "libs/base/mutex.h"
#include "oncomesh/deidentification/v1/deidentification.grpc.pb.h"
#include "services/deidentification/intake.h"
#include "services/deidentification/intake_record.h"

namespace oncomesh::deidentification {

inline constexpr size_t kMaxChunkBytes = 1 << 20;
// Its record is kept in memory until the end.
inline constexpr int64_t kMostObjectsInCall = 100'000;

// INVALID_ARGUMENT (STREAM_MALFORMED): the form, then `what` was wrong with it.
absl::Status StreamMalformed(absl::string_view what);
// CANCELLED (STREAM_ENDED): the caller went away in the middle.
absl::Status StreamBroken();
// Errors: INVALID_ARGUMENT (STREAM_MALFORMED).
absl::Status CheckObjectHeader(const v1::ObjectHeader& header);
v1::Outcome OutcomeOf(const IntakeResult& result, int64_t index);

// Used by the one thread that reads the stream. A thread of its own stores what has come in whole,
// as many objects at a time as have gathered meanwhile, and writes the outcomes in the order sent;
// an outcome is written only when its object is durable.
class IngestCall {
 public:
  using Stream = grpc::ServerReaderWriter<v1::IngestResponse, v1::IngestRequest>;

  IngestCall(Intake& intake, Stream& stream);
  // Waits for what has come in whole to be stored.
  ~IngestCall();
  IngestCall(const IngestCall&) = delete;
  IngestCall& operator=(const IngestCall&) = delete;

  // Handles one message; sets `finished` at Finish. Waits while too much is on its way.
  // Errors: STREAM_MALFORMED, STREAM_ENDED, RESOURCE_EXHAUSTED (DISK_FULL).
  absl::Status Take(v1::IngestRequest& request, bool& finished);

  // After Finish: waits for every outcome, then writes the signed manifest and the summary.
  // Errors as Take.
  absl::Status Summarise();

 private:
  // An object between its header and its end.
  struct Arriving {
    v1::ObjectHeader header;
    std::unique_ptr<Intake::Object> object;  // null when the disk failed it
    absl::Status failure;
    int64_t received = 0;
  };
  // An object that has come in whole.
  struct Complete {
    int64_t index = 0;
    int64_t bytes = 0;
    absl::StatusOr<PreparedObject> prepared;
  };

  absl::Status Begin(const v1::ObjectHeader& header);
  absl::Status Chunk(const std::string& chunk);
  absl::Status End(const v1::ObjectEnd& end);
  void StoreUntilDone();
  // Stores them and answers each. Errors: STREAM_ENDED, RESOURCE_EXHAUSTED (DISK_FULL).
  absl::Status StoreAndAnswer(std::deque<Complete> batch);
  absl::Status Answer(const Complete& object, const absl::StatusOr<IntakeResult>& result);
  absl::Status Stop();

  Intake& intake_;
  Stream& stream_;
  const std::unique_ptr<IntakeRecord> record_;  // of the storing thread, as summary_
  std::optional<Arriving> arriving_;
  int64_t begun_ = 0;
  v1::Summary summary_;  // of the storing thread, until it has ended

  base::Mutex mutex_;
  base::CondVar changed_;
  std::deque<Complete> waiting_ ABSL_GUARDED_BY(mutex_);
  int64_t bytes_on_way_ ABSL_GUARDED_BY(mutex_) = 0;  // waiting or being stored
  size_t objects_on_way_ ABSL_GUARDED_BY(mutex_) = 0;
  bool no_more_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status failed_ ABSL_GUARDED_BY(mutex_);
  std::thread storing_;  // last: it uses all the others
};

}  // namespace oncomesh::deidentification
