// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/deidentification_service.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/util/time_util.h"
#include "libs/base/error.h"
#include "libs/base/log.h"
#include "libs/base/status_macros.h"

namespace oncomesh::deidentification {
namespace {

using rpc::Caller;

constexpr size_t kMaxChunk = 1 << 20;
constexpr int64_t kMaxObjectBytes = int64_t{1} << 40;

absl::Status StreamMalformed(absl::string_view what) {
  return base::Error(
      absl::StatusCode::kInvalidArgument, "STREAM_MALFORMED",
      absl::StrCat("the stream must be header, chunks of at most 1 MiB, end; ", what));
}

absl::Status Broken() {
  return base::Error(absl::StatusCode::kCancelled, "STREAM_ENDED",
                     "the caller ended the stream before its last message");
}

absl::Status CheckHeader(const v1::ObjectHeader& header) {
  if (header.kind() != v1::OBJECT_KIND_DICOM && header.kind() != v1::OBJECT_KIND_CLINICAL_TABLE) {
    return StreamMalformed("the header names no kind of object");
  }
  if (header.size() < 1 || header.size() > kMaxObjectBytes) {
    return StreamMalformed("the header's size must be 1 to 2^40");
  }
  return absl::OkStatus();
}

ObjectKind KindOf(v1::ObjectKind kind) {
  return kind == v1::OBJECT_KIND_DICOM ? ObjectKind::kDicom : ObjectKind::kClinicalTable;
}

google::protobuf::Timestamp TimeOf(absl::Time time) {
  return google::protobuf::util::TimeUtil::MillisecondsToTimestamp(absl::ToUnixMillis(time));
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

// One object of an Ingest stream, between its header and its end.
struct Arriving {
  v1::ObjectHeader header;
  std::unique_ptr<Intake::Object> object;  // null when the disk failed it
  absl::Status failure;
  int64_t received = 0;
};

class IngestCall {
 public:
  IngestCall(Intake& intake, DeidentificationServiceImpl::IngestStream& stream)
      : intake_(intake), stream_(stream) {}

  // Handles one message; sets `finished` at Finish.
  absl::Status Take(v1::IngestRequest& request, bool& finished) {
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

  absl::Status Summarise() {
    v1::IngestResponse response;
    *response.mutable_summary() = summary_;
    base::Log(base::Level::kInfo, "ingest.finished",
              {{"read", summary_.read()},
               {"released", summary_.released()},
               {"quarantined", summary_.quarantined()},
               {"failed", summary_.failed()}});
    return stream_.Write(response) ? absl::OkStatus() : Broken();
  }

 private:
  absl::Status Begin(const v1::ObjectHeader& header) {
    if (arriving_) return StreamMalformed("an object was not ended before the next header");
    RETURN_IF_ERROR(CheckHeader(header));
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

  absl::Status Chunk(const std::string& chunk) {
    if (!arriving_) return StreamMalformed("a chunk came without a header");
    if (chunk.size() > kMaxChunk) return StreamMalformed("a chunk was larger");
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

  absl::Status End(const v1::ObjectEnd& end) {
    if (!arriving_) return StreamMalformed("an end came without a header");
    if (arriving_->received != arriving_->header.size()) {
      return StreamMalformed("fewer bytes came than the header says");
    }
    if (end.sha256().size() != 64) return StreamMalformed("the end has no SHA-256");
    v1::IngestResponse response;
    v1::Outcome& outcome = *response.mutable_outcome();
    summary_.set_read(summary_.read() + 1);
    summary_.set_bytes_read(summary_.bytes_read() + arriving_->received);
    absl::Status failure = arriving_->failure;
    if (arriving_->object != nullptr) {
      absl::StatusOr<IntakeResult> result = arriving_->object->Finish(end.sha256());
      failure = result.status();
      if (result.ok()) {
        outcome = OutcomeOf(*result, arriving_->header.index());
        if (outcome.state() == v1::Outcome::STATE_RELEASED) {
          summary_.set_released(summary_.released() + 1);
          summary_.set_bytes_written(summary_.bytes_written() + outcome.bytes());
        } else {
          summary_.set_quarantined(summary_.quarantined() + 1);
        }
      }
    }
    if (!failure.ok()) {
      outcome.set_index(arriving_->header.index());
      outcome.set_state(v1::Outcome::STATE_FAILED);
      outcome.set_reason(base::ReasonOf(failure));
      summary_.set_failed(summary_.failed() + 1);
      base::LogError("ingest.object_failed", failure);
    }
    arriving_.reset();
    if (!stream_.Write(response)) return Broken();
    // A full disk fails every later object too.
    return base::ReasonOf(failure) == "DISK_FULL" ? failure : absl::OkStatus();
  }

  Intake& intake_;
  DeidentificationServiceImpl::IngestStream& stream_;
  std::optional<Arriving> arriving_;
  v1::Summary summary_;
};

// Sends the clean object back in chunks, as it is made.
class StreamSink final : public ObjectSink {
 public:
  explicit StreamSink(DeidentificationServiceImpl::DeidentifyStream& stream) : stream_(stream) {}
  absl::Status Begin(const Outcome&) override { return absl::OkStatus(); }
  absl::Status Append(absl::string_view bytes) override {
    while (!bytes.empty()) {
      absl::string_view part = bytes.substr(0, kMaxChunk);
      v1::DeidentifyResponse response;
      response.set_chunk(part.data(), part.size());
      if (!stream_.Write(response)) return Broken();
      bytes.remove_prefix(part.size());
    }
    return absl::OkStatus();
  }

 private:
  DeidentificationServiceImpl::DeidentifyStream& stream_;
};

absl::Status RunDeidentify(const Deidentifier& deidentifier, const v1::ObjectHeader& header,
                           DeidentificationServiceImpl::DeidentifyStream& stream) {
  RETURN_IF_ERROR(CheckHeader(header));
  if (header.kind() != v1::OBJECT_KIND_DICOM) {
    return StreamMalformed("only DICOM objects are sent back; tables go through Ingest");
  }
  StreamSink sink(stream);
  StreamDeidentifier worker(deidentifier);
  worker.Start(&sink);
  crypto::Sha256 digest;
  int64_t received = 0;
  v1::DeidentifyRequest request;
  while (true) {
    if (!stream.Read(&request)) return Broken();
    if (request.has_end()) break;
    if (!request.has_chunk() || request.chunk().size() > kMaxChunk) {
      return StreamMalformed("a message was neither chunk nor end, or too large");
    }
    received += static_cast<int64_t>(request.chunk().size());
    if (received > header.size()) return StreamMalformed("more bytes came than the header says");
    digest.Update(request.chunk());
    RETURN_IF_ERROR(worker.Feed(request.chunk()));
  }
  if (received != header.size()) return StreamMalformed("fewer bytes came than the header says");
  ASSIGN_OR_RETURN(Outcome outcome, worker.Finish());
  v1::DeidentifyResponse response;
  v1::Outcome& report = *response.mutable_report();
  report.set_index(header.index());
  bool genuine = digest.FinishHex() == request.end().sha256();
  report.set_state(genuine && outcome.released ? v1::Outcome::STATE_RELEASED
                                               : v1::Outcome::STATE_QUARANTINED);
  report.set_reason(genuine ? outcome.reason : "DIGEST_WRONG");
  report.set_bytes(static_cast<int64_t>(outcome.bytes_written));
  return stream.Write(response) ? absl::OkStatus() : Broken();
}

int PageSize(int asked, int usual) { return asked <= 0 ? usual : std::min(asked, 1000); }

}  // namespace

grpc::Status DeidentificationServiceImpl::Ingest(grpc::ServerContext* context,
                                                 IngestStream* stream) {
  v1::IngestRequest request;
  bool more = stream->Read(&request);
  return guard_.Run(context, "/oncomesh.deidentification.v1.DeidentificationService/Ingest",
                    more && request.has_header() ? request.header() : v1::ObjectHeader(),
                    [&](const Caller&) -> absl::Status {
                      IngestCall call(intake_, *stream);
                      bool finished = false;
                      while (more && !finished) {
                        RETURN_IF_ERROR(call.Take(request, finished));
                        if (!finished) more = stream->Read(&request);
                      }
                      return finished ? call.Summarise() : Broken();
                    });
}

grpc::Status DeidentificationServiceImpl::Deidentify(grpc::ServerContext* context,
                                                     DeidentifyStream* stream) {
  v1::DeidentifyRequest request;
  bool more = stream->Read(&request);
  v1::ObjectHeader header = request.header();
  return guard_.Run(context, "/oncomesh.deidentification.v1.DeidentificationService/Deidentify",
                    header, [&](const Caller&) -> absl::Status {
                      if (!more) return Broken();
                      return RunDeidentify(deidentifier_, header, *stream);
                    });
}

grpc::Status DeidentificationServiceImpl::ListReleased(grpc::ServerContext* context,
                                                       const v1::ListReleasedRequest* request,
                                                       v1::ListReleasedResponse* response) {
  return guard_.Run(context, "/oncomesh.deidentification.v1.DeidentificationService/ListReleased",
                    *request, [&](const Caller&) -> absl::Status {
                      int size = PageSize(request->page_size(), 500);
                      // One more than asked for tells whether there are more.
                      ASSIGN_OR_RETURN(std::vector<ReleasedRow> rows,
                                       store_.ListReleased(request->after(), size + 1));
                      response->set_more(rows.size() > static_cast<size_t>(size));
                      if (response->more()) rows.pop_back();
                      for (const ReleasedRow& row : rows) {
                        v1::ReleasedObject& object = *response->add_objects();
                        object.set_sequence(row.sequence);
                        object.set_sha256(row.sha256);
                        object.set_kind(static_cast<v1::ObjectKind>(row.kind));
                        *object.mutable_release_time() = TimeOf(row.time);
                      }
                      return absl::OkStatus();
                    });
}

grpc::Status DeidentificationServiceImpl::ListQuarantined(grpc::ServerContext* context,
                                                          const v1::ListQuarantinedRequest* request,
                                                          v1::ListQuarantinedResponse* response) {
  return guard_.Run(
      context, "/oncomesh.deidentification.v1.DeidentificationService/ListQuarantined", *request,
      [&](const Caller&) -> absl::Status {
        int64_t after = 0;
        if (!request->page_token().empty() && !absl::SimpleAtoi(request->page_token(), &after)) {
          return base::Error(absl::StatusCode::kInvalidArgument, "PAGE_TOKEN_INVALID",
                             "the page token is none that an earlier answer gave");
        }
        int size = PageSize(request->page_size(), 100);
        ASSIGN_OR_RETURN(std::vector<QuarantineRow> rows, store_.ListQuarantined(after, size + 1));
        if (rows.size() > static_cast<size_t>(size)) {
          rows.pop_back();
          response->set_next_page_token(absl::StrCat(rows.back().sequence));
        }
        for (const QuarantineRow& row : rows) {
          v1::QuarantinedObject& object = *response->add_objects();
          object.set_id(row.id);
          object.set_reason(row.reason);
          object.set_bytes(row.bytes);
          *object.mutable_quarantine_time() = TimeOf(row.time);
        }
        return absl::OkStatus();
      });
}

grpc::Status DeidentificationServiceImpl::ReleaseQuarantined(
    grpc::ServerContext* context, const v1::ReleaseQuarantinedRequest* request,
    v1::ReleaseQuarantinedResponse* response) {
  return guard_.Run(context,
                    "/oncomesh.deidentification.v1.DeidentificationService/ReleaseQuarantined",
                    *request, [&](const Caller&) -> absl::Status {
                      ASSIGN_OR_RETURN(IntakeResult result,
                                       intake_.Retry(request->id(), request->pixels_checked()));
                      *response->mutable_outcome() = OutcomeOf(result, 0);
                      return absl::OkStatus();
                    });
}

grpc::Status DeidentificationServiceImpl::DeleteQuarantined(
    grpc::ServerContext* context, const v1::DeleteQuarantinedRequest* request,
    v1::DeleteQuarantinedResponse*) {
  return guard_.Run(context,
                    "/oncomesh.deidentification.v1.DeidentificationService/DeleteQuarantined",
                    *request, [&](const Caller&) { return intake_.Delete(request->id()); });
}

}  // namespace oncomesh::deidentification
