// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/ingest_call.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/log.h"
#include "libs/base/status_macros.h"

namespace oncomesh::deidentification {
namespace {

constexpr int64_t kMaxObjectBytes = int64_t{1} << 40;

// How much may have come in whole and not be stored yet: enough for a sync to be shared by many,
// little enough that a caller that goes away has not much without an outcome. Their bytes lie in
// files and not in memory.
constexpr size_t kMostObjects = 128;
constexpr int64_t kMostBytes = int64_t{256} << 20;

ObjectKind KindOf(v1::ObjectKind kind) {
  return kind == v1::OBJECT_KIND_DICOM ? ObjectKind::kDicom : ObjectKind::kClinicalTable;
}

}  // namespace

absl::Status StreamMalformed(absl::string_view what) {
  return base::Error(
      absl::StatusCode::kInvalidArgument, "STREAM_MALFORMED",
      absl::StrCat("the stream must be header, chunks of at most 1 MiB, end; ", what));
}

absl::Status StreamBroken() {
  return base::Error(absl::StatusCode::kCancelled, "STREAM_ENDED",
                     "the caller ended the stream before its last message");
}

absl::Status CheckObjectHeader(const v1::ObjectHeader& header) {
  if (header.kind() != v1::OBJECT_KIND_DICOM && header.kind() != v1::OBJECT_KIND_CLINICAL_TABLE) {
    return StreamMalformed("the header names no kind of object");
  }
  if (header.size() < 1 || header.size() > kMaxObjectBytes) {
    return StreamMalformed("the header's size must be 1 to 2^40");
  }
  return absl::OkStatus();
}

v1::Outcome OutcomeOf(const IntakeResult& result, int64_t index) {
  v1::Outcome out;
  out.set_index(index);
  out.set_state(result.state == IntakeResult::State::kReleased ? v1::Outcome::STATE_RELEASED
                                                               : v1::Outcome::STATE_QUARANTINED);
  out.set_reason(result.reason);
  out.set_bytes(static_cast<int64_t>(result.bytes));
  out.set_repeated(result.repeated);
  return out;
}

IngestCall::IngestCall(Intake& intake, Stream& stream)
    : intake_(intake),
      stream_(stream),
      record_(intake.NewRecord()),
      storing_([this] { StoreUntilDone(); }) {}

IngestCall::~IngestCall() { (void)Stop(); }

absl::Status IngestCall::Stop() {
  {
    base::MutexLock lock(mutex_);
    no_more_ = true;
    changed_.SignalAll();
  }
  if (storing_.joinable()) storing_.join();
  base::MutexLock lock(mutex_);
  return failed_;
}

absl::Status IngestCall::Take(v1::IngestRequest& request, bool& finished) {
  switch (request.part_case()) {
    case v1::IngestRequest::kHeader:
      return Begin(request.header());
    case v1::IngestRequest::kChunk:
      return Chunk(request.chunk());
    case v1::IngestRequest::kEnd:
      return End(request.end());
    case v1::IngestRequest::kFinish:
      if (arriving_) return StreamMalformed("an object was not ended before Finish");
      finished = true;
      return absl::OkStatus();
    case v1::IngestRequest::PART_NOT_SET:
      break;
  }
  return StreamMalformed("a message was empty");
}

absl::Status IngestCall::Summarise() {
  RETURN_IF_ERROR(Stop());
  ASSIGN_OR_RETURN(const std::string manifest, record_->Finish());
  v1::IngestResponse response;
  for (size_t at = 0; at < manifest.size(); at += kMaxChunkBytes) {
    response.set_manifest(manifest.substr(at, kMaxChunkBytes));
    if (!stream_.Write(response)) return StreamBroken();
  }
  *response.mutable_summary() = summary_;
  base::Log(base::Level::kInfo, "ingest.finished",
            {{"read", summary_.read()},
             {"released", summary_.released()},
             {"quarantined", summary_.quarantined()},
             {"failed", summary_.failed()}});
  return stream_.Write(response) ? absl::OkStatus() : StreamBroken();
}

absl::Status IngestCall::Begin(const v1::ObjectHeader& header) {
  if (arriving_) return StreamMalformed("an object was not ended before the next header");
  if (++begun_ > kMostObjectsInCall) {
    return base::Error(absl::StatusCode::kResourceExhausted, "CALL_TOO_LONG",
                       absl::StrCat("one call takes ", kMostObjectsInCall,
                                    " objects; finish it, and send the others with the next"));
  }
  RETURN_IF_ERROR(CheckObjectHeader(header));
  arriving_.emplace();
  arriving_->header = header;
  absl::StatusOr<std::unique_ptr<Intake::Object>> object = intake_.Start(KindOf(header.kind()));
  if (object.ok()) {
    arriving_->object = *std::move(object);
  } else {
    arriving_->failure = object.status();
  }
  return absl::OkStatus();
}

absl::Status IngestCall::Chunk(const std::string& chunk) {
  if (!arriving_) return StreamMalformed("a chunk came without a header");
  if (chunk.size() > kMaxChunkBytes) return StreamMalformed("a chunk was larger");
  arriving_->received += static_cast<int64_t>(chunk.size());
  if (arriving_->received > arriving_->header.size()) {
    return StreamMalformed("more bytes came than the header says");
  }
  // A failed object is read to its end, so that the next one can follow.
  if (arriving_->object == nullptr) return absl::OkStatus();
  absl::Status status = arriving_->object->Append(chunk);
  if (!status.ok()) {
    arriving_->object.reset();
    arriving_->failure = status;
  }
  return absl::OkStatus();
}

absl::Status IngestCall::End(const v1::ObjectEnd& end) {
  if (!arriving_) return StreamMalformed("an end came without a header");
  if (arriving_->received != arriving_->header.size()) {
    return StreamMalformed("fewer bytes came than the header says");
  }
  if (end.sha256().size() != 64) return StreamMalformed("the end has no SHA-256");
  Complete complete{arriving_->header.index(), arriving_->received,
                    arriving_->object != nullptr
                        ? arriving_->object->Finish(end.sha256())
                        : absl::StatusOr<PreparedObject>(arriving_->failure)};
  arriving_.reset();
  base::MutexLock lock(mutex_);
  while (failed_.ok() && (objects_on_way_ >= kMostObjects || bytes_on_way_ >= kMostBytes)) {
    changed_.Wait(mutex_);
  }
  RETURN_IF_ERROR(failed_);
  ++objects_on_way_;
  bytes_on_way_ += complete.bytes;
  waiting_.push_back(std::move(complete));
  changed_.SignalAll();
  return absl::OkStatus();
}

void IngestCall::StoreUntilDone() {
  while (true) {
    std::deque<Complete> batch;
    {
      base::MutexLock lock(mutex_);
      while (waiting_.empty() && !no_more_) changed_.Wait(mutex_);
      if (waiting_.empty()) return;
      batch.swap(waiting_);
    }
    const size_t objects = batch.size();
    int64_t bytes = 0;
    for (const Complete& object : batch) bytes += object.bytes;
    absl::Status status = StoreAndAnswer(std::move(batch));
    base::MutexLock lock(mutex_);
    objects_on_way_ -= objects;
    bytes_on_way_ -= bytes;
    failed_.Update(status);
    changed_.SignalAll();
    if (!failed_.ok()) return;
  }
}

absl::Status IngestCall::StoreAndAnswer(std::deque<Complete> batch) {
  std::vector<PreparedObject> objects;
  for (Complete& object : batch) {
    if (object.prepared.ok()) objects.push_back(*std::move(object.prepared));
  }
  std::vector<absl::StatusOr<IntakeResult>> results = intake_.Store(std::move(objects));
  // What a caller is told of is on record, whatever becomes of the call.
  size_t next = 0;
  for (const Complete& object : batch) {
    if (!object.prepared.ok()) continue;
    const absl::StatusOr<IntakeResult>& result = results[next++];
    if (result.ok()) record_->Add(static_cast<uint64_t>(object.index), *result);
  }
  RETURN_IF_ERROR(record_->Keep());
  next = 0;
  for (const Complete& object : batch) {
    RETURN_IF_ERROR(object.prepared.ok() ? Answer(object, results[next++])
                                         : Answer(object, object.prepared.status()));
  }
  return absl::OkStatus();
}

absl::Status IngestCall::Answer(const Complete& object,
                                const absl::StatusOr<IntakeResult>& result) {
  v1::IngestResponse response;
  v1::Outcome& outcome = *response.mutable_outcome();
  summary_.set_read(summary_.read() + 1);
  summary_.set_bytes_read(summary_.bytes_read() + object.bytes);
  if (result.ok()) {
    outcome = OutcomeOf(*result, object.index);
    if (outcome.state() == v1::Outcome::STATE_RELEASED) {
      summary_.set_released(summary_.released() + 1);
      summary_.set_bytes_written(summary_.bytes_written() + outcome.bytes());
    } else {
      summary_.set_quarantined(summary_.quarantined() + 1);
    }
  } else {
    outcome.set_index(object.index);
    outcome.set_state(v1::Outcome::STATE_FAILED);
    outcome.set_reason(base::ReasonOf(result.status()));
    summary_.set_failed(summary_.failed() + 1);
    base::LogError("ingest.object_failed", result.status());
  }
  if (!stream_.Write(response)) return StreamBroken();
  // A full disk fails every later object too.
  if (outcome.reason() == "DISK_FULL") return result.status();
  return absl::OkStatus();
}

}  // namespace oncomesh::deidentification
