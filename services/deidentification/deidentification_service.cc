// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/deidentification_service.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/util/time_util.h"
#include "libs/base/error.h"
#include "libs/base/log.h"
#include "libs/base/status_macros.h"
#include "services/deidentification/ingest_call.h"

namespace oncomesh::deidentification {
namespace {

using rpc::Caller;

google::protobuf::Timestamp TimeOf(absl::Time time) {
  return google::protobuf::util::TimeUtil::MillisecondsToTimestamp(absl::ToUnixMillis(time));
}

// Sends the clean object back in chunks, as it is made.
class StreamSink final : public ObjectSink {
 public:
  explicit StreamSink(DeidentificationServiceImpl::DeidentifyStream& stream) : stream_(stream) {}
  absl::Status Begin(const Outcome&) override { return absl::OkStatus(); }
  absl::Status Append(absl::string_view bytes) override {
    while (!bytes.empty()) {
      absl::string_view part = bytes.substr(0, kMaxChunkBytes);
      v1::DeidentifyResponse response;
      response.set_chunk(part.data(), part.size());
      if (!stream_.Write(response)) return StreamBroken();
      bytes.remove_prefix(part.size());
    }
    return absl::OkStatus();
  }

 private:
  DeidentificationServiceImpl::DeidentifyStream& stream_;
};

absl::Status RunDeidentify(const Deidentifier& deidentifier, const v1::ObjectHeader& header,
                           DeidentificationServiceImpl::DeidentifyStream& stream) {
  RETURN_IF_ERROR(CheckObjectHeader(header));
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
    if (!stream.Read(&request)) return StreamBroken();
    if (request.has_end()) break;
    if (!request.has_chunk() || request.chunk().size() > kMaxChunkBytes) {
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
  return stream.Write(response) ? absl::OkStatus() : StreamBroken();
}

int PageSize(int asked, int usual) { return asked <= 0 ? usual : std::min(asked, 1000); }

}  // namespace

grpc::Status DeidentificationServiceImpl::Ingest(grpc::ServerContext* context,
                                                 IngestStream* stream) {
  // Nothing is waited for from somebody who may not call.
  return guard_.Run(context, "/oncomesh.deidentification.v1.DeidentificationService/Ingest",
                    v1::IngestRequest(), [&](const Caller&) -> absl::Status {
                      IngestCall call(intake_, *stream);
                      v1::IngestRequest request;
                      bool finished = false;
                      while (!finished && stream->Read(&request)) {
                        RETURN_IF_ERROR(call.Take(request, finished));
                      }
                      return finished ? call.Summarise() : StreamBroken();
                    });
}

grpc::Status DeidentificationServiceImpl::Deidentify(grpc::ServerContext* context,
                                                     DeidentifyStream* stream) {
  return guard_.Run(context, "/oncomesh.deidentification.v1.DeidentificationService/Deidentify",
                    v1::DeidentifyRequest(), [&](const Caller&) -> absl::Status {
                      v1::DeidentifyRequest request;
                      if (!stream->Read(&request)) return StreamBroken();
                      return RunDeidentify(deidentifier_, request.header(), *stream);
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
