// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/ingest_commands.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "oncomesh/deidentification/v1/deidentification.grpc.pb.h"
#include "tools/oncomesh/front_door.h"
#include "tools/oncomesh/index_sync.h"
#include "tools/oncomesh/names.h"
#include "tools/oncomesh/proto_json.h"
#include "tools/oncomesh/quarantine_advice.h"
#include "tools/oncomesh/waiting.h"

namespace oncomesh::cli {
namespace {

using deidentification::v1::DeidentificationService;
using deidentification::v1::IngestRequest;
using deidentification::v1::IngestResponse;
using deidentification::v1::Outcome;
using deidentification::v1::QuarantinedObject;
using nlohmann::json;
using Stub = DeidentificationService::Stub;
using Stream = grpc::ClientReaderWriter<IngestRequest, IngestResponse>;

constexpr size_t kChunkBytes = 512 << 10;
// Time for one batch of files; a large one is many calls, so that a cut costs little.
constexpr absl::Duration kBatchTime = absl::Hours(1);
constexpr size_t kBatchFiles = 500;

// What was sent and what became of it.
struct Tally {
  // Of objects and of clinical tables, as `deid run` counts them.
  struct Kind {
    int64_t read = 0, released = 0, quarantined = 0, failed = 0;
  };
  Kind objects, tables;
  int64_t bytes_read = 0, bytes_written = 0;
  json quarantine = json::array();
  std::string manifest;            // of the batch under way
  json manifests = json::array();  // files written
  json failures = json::array();   // what the node could not take; send it again
};

std::vector<std::string> FilesOf(const std::vector<std::string>& paths, absl::Status& status) {
  std::vector<std::string> out;
  for (const std::string& path : paths) {
    absl::StatusOr<std::vector<std::string>> files = base::ListFiles(path);
    if (!files.ok()) {
      status = base::Annotate(
          files.status(),
          paths.size() == 1 ? "PATH: " : absl::StrCat("PATH ", &path - paths.data() + 1, ": "));
      return out;
    }
    out.insert(out.end(), files->begin(), files->end());
  }
  return out;
}

bool IsTable(const std::string& path) { return absl::EndsWithIgnoreCase(path, ".csv"); }

// Sends one file. A file that changes or vanishes while it is read is an error of this side.
absl::Status SendFile(Stream& stream, const std::string& path, int64_t index, Tally& tally) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat info{};
  if (fd < 0 || fstat(fd, &info) != 0) {
    int error = errno;
    if (fd >= 0) close(fd);
    return base::ErrnoStatus(error, absl::StrCat("read file ", index));
  }
  IngestRequest message;
  auto& header = *message.mutable_header();
  header.set_index(index);
  header.set_kind(IsTable(path) ? deidentification::v1::OBJECT_KIND_CLINICAL_TABLE
                                : deidentification::v1::OBJECT_KIND_DICOM);
  header.set_size(info.st_size);
  bool open_stream = stream.Write(message);
  crypto::Sha256 digest;
  std::string buffer(kChunkBytes, '\0');
  ssize_t got = 0;
  while (open_stream && (got = read(fd, buffer.data(), buffer.size())) > 0) {
    absl::string_view chunk(buffer.data(), static_cast<size_t>(got));
    digest.Update(chunk);
    message.set_chunk(chunk.data(), chunk.size());
    open_stream = stream.Write(message);
    tally.bytes_read += got;
  }
  int error = errno;
  close(fd);
  if (got < 0) return base::ErrnoStatus(error, absl::StrCat("read file ", index));
  message.mutable_end()->set_sha256(digest.FinishHex());
  if (open_stream) stream.Write(message);
  return absl::OkStatus();
}

void Count(const Outcome& outcome, bool table, Tally& tally, Progress& progress) {
  Tally::Kind& kind = table ? tally.tables : tally.objects;
  ++kind.read;
  const json entry = {{"index", outcome.index()}, {"reason", outcome.reason()}};
  switch (outcome.state()) {
    case Outcome::STATE_RELEASED:
      ++kind.released;
      tally.bytes_written += outcome.bytes();
      break;
    case Outcome::STATE_QUARANTINED:
      ++kind.quarantined;
      tally.quarantine.push_back(entry);
      break;
    default:
      ++kind.failed;
      tally.failures.push_back(entry);
      break;
  }
  progress.Advance(1, static_cast<uint64_t>(outcome.bytes()));
}

// One call: files in, outcomes back, complete only with the summary.
absl::Status SendBatch(Stub& stub, const std::vector<std::string>& files, size_t begin, size_t end,
                       Tally& tally, Progress& progress) {
  grpc::ClientContext context;
  rpc::SetDeadline(context, kBatchTime);
  std::unique_ptr<Stream> stream = stub.Ingest(&context);
  bool complete = false;
  tally.manifest.clear();
  std::thread reader([&] {
    IngestResponse response;
    while (stream->Read(&response)) {
      if (response.has_outcome()) {
        const Outcome& outcome = response.outcome();
        const bool known = outcome.index() >= 0 && static_cast<size_t>(outcome.index()) < end;
        Count(outcome, known && IsTable(files[static_cast<size_t>(outcome.index())]), tally,
              progress);
      }
      tally.manifest += response.manifest();
      if (response.has_summary()) complete = true;
    }
  });
  absl::Status sent;
  for (size_t i = begin; i < end && sent.ok(); ++i) {
    sent = SendFile(*stream, files[i], static_cast<int64_t>(i), tally);
  }
  if (sent.ok()) {
    IngestRequest finish;
    finish.mutable_finish();
    stream->Write(finish);
    stream->WritesDone();
  } else {
    context.TryCancel();
  }
  reader.join();
  absl::Status status = rpc::FromGrpc(stream->Finish());
  RETURN_IF_ERROR(sent);
  RETURN_IF_ERROR(status);
  if (!complete) {
    return base::Error(
        absl::StatusCode::kDataLoss, "INGEST_INCOMPLETE",
        "the node did not confirm the batch; send the same files again, what arrived is "
        "stored once");
  }
  return absl::OkStatus();
}

json KindJson(const Tally::Kind& kind) {
  return {{"read", kind.read},
          {"released", kind.released},
          {"quarantined", kind.quarantined},
          {"failed", kind.failed}};
}

// Keys as `deid run` has them.
json CountsJson(const Tally& tally, double seconds) {
  json out = {{"objects", KindJson(tally.objects)},
              {"bytes", {{"read", tally.bytes_read}, {"written", tally.bytes_written}}},
              {"seconds", seconds},
              {"quarantine", tally.quarantine}};
  if (!tally.failures.empty()) out["failures"] = tally.failures;
  if (!tally.manifests.empty()) out["manifests"] = tally.manifests;
  if (tally.tables.read > 0) out["tables"] = KindJson(tally.tables);
  return out;
}

// The object in the list of quarantined ones; the service has no call for a single one.
absl::StatusOr<QuarantinedObject> FindQuarantined(Stub& stub, const std::string& id) {
  deidentification::v1::ListQuarantinedRequest request;
  request.set_page_size(1000);
  do {
    ASSIGN_OR_RETURN(auto response, Call(stub, &Stub::ListQuarantined, request));
    for (const QuarantinedObject& object : response.objects()) {
      if (object.id() == id) return object;
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return base::Error(absl::StatusCode::kNotFound, "QUARANTINE_NOT_FOUND",
                     "no quarantined object has this id; `oncomesh quarantine list` shows them");
}

void AddQuarantine(CLI::App& app, Session& session) {
  CLI::App* quarantine =
      app.add_subcommand("quarantine", "what was not released, and why (data holder)");
  quarantine->require_subcommand(1);
  quarantine->footer("Example: oncomesh quarantine list");
  {
    CLI::App* command =
        quarantine->add_subcommand("list", "every object in quarantine with its reason");
    command->footer("Example: oncomesh quarantine list -o json");
    OnRun(command, session, [&session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(session));
      auto stub = DeidentificationService::NewStub(channel);
      json all = json::array();
      std::vector<std::vector<std::string>> rows = {{"ID", "REASON", "BYTES", "SINCE"}};
      deidentification::v1::ListQuarantinedRequest request;
      do {
        ASSIGN_OR_RETURN(auto response, Call(*stub, &Stub::ListQuarantined, request));
        for (const auto& object : response.objects()) {
          all.push_back(ToJson(object));
          rows.push_back({object.id(), object.reason(), absl::StrCat(object.bytes()),
                          TimeText(object.quarantine_time().seconds())});
        }
        request.set_page_token(response.next_page_token());
      } while (!request.page_token().empty());
      session.Print({{"objects", all}}, Table(rows));
      return kDone;
    });
  }
  {
    auto id = std::make_shared<std::string>();
    CLI::App* command =
        quarantine->add_subcommand("show", "one object: why it was held, and what can be done");
    command->add_option("ID", *id)->required()->type_name(kNameOfQuarantined);
    command->footer("Example: oncomesh quarantine show q-…");
    OnRun(command, session, [id, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(session));
      auto stub = DeidentificationService::NewStub(channel);
      ASSIGN_OR_RETURN(QuarantinedObject object, FindQuarantined(*stub, *id));
      const QuarantineAdvice advice = AdviceFor(object.reason());
      json document = ToJson(object);
      document["meaning"] = advice.meaning;
      document["advice"] = advice.way_out;
      session.Print(document,
                    absl::StrCat("object   ", object.id(), "\nreason   ", object.reason(), ": ",
                                 advice.meaning, "\nbytes    ", object.bytes(), "\nsince    ",
                                 TimeText(object.quarantine_time().seconds()), "\nadvice   ",
                                 advice.way_out, "\n"));
      return kDone;
    });
  }
  {
    struct Args {
      std::string id;
      bool pixels_checked = false;
    };
    auto args = std::make_shared<Args>();
    CLI::App* command =
        quarantine->add_subcommand("release", "try it again with the profile in force");
    command->add_option("ID", args->id)->required()->type_name(kNameOfQuarantined);
    command->add_flag("--pixels-checked", args->pixels_checked,
                      "you have looked at the pixels and vouch that they show no text about a "
                      "patient");
    command->footer("Example: oncomesh quarantine release q-… --pixels-checked");
    OnRun(command, session, [args, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(session));
      auto stub = DeidentificationService::NewStub(channel);
      deidentification::v1::ReleaseQuarantinedRequest request;
      request.set_id(args->id);
      request.set_pixels_checked(args->pixels_checked);
      ASSIGN_OR_RETURN(auto response, Call(*stub, &Stub::ReleaseQuarantined, request));
      const std::string& reason = response.outcome().reason();
      const bool released = response.outcome().state() == Outcome::STATE_RELEASED;
      session.Print({{"id", args->id}, {"released", released}, {"reason", reason}},
                    released ? "released" : absl::StrCat("it stays: ", reason));
      if (released) return kDone;
      return base::Error(absl::StatusCode::kFailedPrecondition, reason,
                         absl::StrCat("it stays in quarantine: ", AdviceFor(reason).way_out));
    });
  }
  {
    auto id = std::make_shared<std::string>();
    CLI::App* command = quarantine->add_subcommand("delete", "remove it for good");
    command->add_option("ID", *id)->required()->type_name(kNameOfQuarantined);
    command->footer("Example: oncomesh quarantine delete q-…");
    OnRun(command, session, [id, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(session));
      auto stub = DeidentificationService::NewStub(channel);
      deidentification::v1::DeleteQuarantinedRequest request;
      request.set_id(*id);
      RETURN_IF_ERROR(Call(*stub, &Stub::DeleteQuarantined, request).status());
      session.Print({{"id", *id}, {"deleted", true}}, "deleted");
      return kDone;
    });
  }
}

}  // namespace

void AddIngestCommands(CLI::App& app, Session& session) {
  auto paths = std::make_shared<std::vector<std::string>>();
  auto manifests = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(
      "ingest", "send DICOM files and clinical tables to the node (data holder)");
  command->add_option("PATH", *paths, "files and folders; *.csv are clinical tables")->required();
  command->add_option("--manifests", *manifests,
                      "folder for the node's signed manifests of what came of the files");
  command->footer(
      "Example: oncomesh ingest /data/outbox/sarcoma\nQuarantined objects do not make it fail; it "
      "ends with 3 when the node could not take some files, or could not "
      "index yet what it took.");
  OnRun(command, session, [paths, manifests, &session]() -> absl::StatusOr<int> {
    if (!manifests->empty()) RETURN_IF_ERROR(base::MakeDirectories(*manifests, 0700));
    absl::Status listed;
    std::vector<std::string> files = FilesOf(*paths, listed);
    RETURN_IF_ERROR(listed);
    if (files.empty()) {
      return base::Error(absl::StatusCode::kNotFound, "NOTHING_TO_SEND",
                         "there is no file in these paths");
    }
    ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(session));
    auto stub = DeidentificationService::NewStub(channel);
    auto started = std::chrono::steady_clock::now();
    Tally tally;
    {
      Progress progress(session, "sent", "files", files.size());
      for (size_t begin = 0; begin < files.size(); begin += kBatchFiles) {
        RETURN_IF_ERROR(SendBatch(*stub, files, begin, std::min(files.size(), begin + kBatchFiles),
                                  tally, progress));
        if (manifests->empty() || tally.manifest.empty()) continue;
        // By its digest, as the node keeps it.
        const std::string path =
            absl::StrCat(*manifests, "/", crypto::Sha256Hex(tally.manifest), ".jsonl");
        RETURN_IF_ERROR(base::WriteFileAtomically(path, tally.manifest, 0600));
        tally.manifests.push_back(path);
      }
    }
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    const int64_t released = tally.objects.released + tally.tables.released;
    const int64_t quarantined = tally.objects.quarantined + tally.tables.quarantined;
    const int64_t failed = tally.objects.failed + tally.tables.failed;
    json document = CountsJson(tally, seconds);
    std::string text =
        absl::StrFormat("%d sent: %d released, %d in quarantine, %d failed, in %.1f s\n",
                        files.size(), released, quarantined, failed, seconds);
    // What was sent can be counted when this ends. That it cannot be yet makes nothing of it
    // undone.
    auto catalogue = catalogue::v1::NodeCatalogueService::NewStub(channel);
    auto waiting = std::make_unique<Waiting>(session, "indexing");
    absl::StatusOr<catalogue::v1::IndexStatus> index = SyncIndex(*catalogue);
    waiting.reset();
    if (index.ok()) {
      document["index"] = IndexJson(*index);
      text += IndexText(*index);
    }
    session.Print(document, text);
    if (!index.ok()) {
      session.Say(absl::StrCat(
          "the node has what was sent, but cannot count it yet; it goes on "
          "trying by itself (",
          base::ReasonOf(index.status()), ": ", Printable(index.status().message()), ")"));
    }
    if (failed == static_cast<int64_t>(files.size())) return kFailed;
    return failed == 0 && index.ok() ? kDone : kPartly;
  });
  AddQuarantine(app, session);
}

}  // namespace oncomesh::cli
