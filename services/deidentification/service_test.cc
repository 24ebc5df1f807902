// SPDX-License-Identifier: Apache-2.0
// The RPCs over an in-process channel with the real guard; only the connection's certificate is
// told to it.
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "libs/base/clock.h"
#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/objects/object_store.h"
#include "libs/rpc/access_rules.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/status.h"
#include "libs/store/test_database.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "libs/testing/test_data.h"
#include "services/deidentification/deidentification_service.h"
#include "services/deidentification/folder_watch.h"
#include "services/deidentification/manifest.h"

namespace oncomesh::deidentification {
namespace {

struct Site final : rpc::Authenticator {
  absl::StatusOr<rpc::Person> Authenticate(absl::string_view token) override {
    return rpc::Person{"somebody", {std::string(token)}, absl::InfiniteFuture()};
  }
  std::string peer = "node/north/relay";
};

struct Server {
  Site site;
  testing::TemporaryFolder folder;
  base::FakeClock clock;
  Deidentifier deidentifier{*LoadProfile("research"), std::string(kProjectKeyBytes, 'k')};
  std::unique_ptr<ReleaseStore> store;
  std::unique_ptr<objects::ObjectStore> objects;
  std::unique_ptr<Intake> intake;
  std::unique_ptr<rpc::CallGuard> guard;
  std::unique_ptr<DeidentificationServiceImpl> service;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<v1::DeidentificationService::Stub> stub;

  // Over what is kept here: the first one, or one after a restart.
  std::unique_ptr<Intake> OpenIntake() { return OpenIntake(clock); }
  std::unique_ptr<Intake> OpenIntake(base::Clock& at) {
    REQUIRE_VALUE(std::unique_ptr<Intake> opened,
                  Intake::Create({.deidentifier = deidentifier,
                                  .store = *store,
                                  .objects = *objects,
                                  .clock = at,
                                  .work_dir = folder / "work",
                                  .quarantine_dir = folder / "quarantine",
                                  .manifest_dir = folder / "manifests",
                                  .site = "north"}));
    return opened;
  }

  Server() {
    REQUIRE_VALUE(store, ReleaseStore::Open(store::TestDatabaseUrl(folder / "deid.db")));
    REQUIRE_VALUE(objects, objects::OpenFolder(folder / "objects"));
    intake = OpenIntake();
    rpc::CallGuard::Deps deps;
    deps.site = "north";
    deps.trust_domain = "test";
    deps.authenticator = &site;
    deps.peer = [this](const grpc::ServerContext& context) {
      rpc::Peer out;
      out.uris = {absl::StrCat("spiffe://test/", site.peer)};
      for (const auto& [key, value] : context.client_metadata()) {
        out.metadata.emplace(std::string(key.data(), key.size()),
                             std::string(value.data(), value.size()));
      }
      return out;
    };
    guard = std::make_unique<rpc::CallGuard>(deps);
    service = std::make_unique<DeidentificationServiceImpl>(*guard, *intake, *store, deidentifier);
    grpc::ServerBuilder builder;
    builder.RegisterService(service.get());
    server = builder.BuildAndStart();
    stub = v1::DeidentificationService::NewStub(server->InProcessChannel({}));
  }

  void Prepare(grpc::ClientContext& context, const std::string& role = "holder") {
    rpc::SetDeadline(context, absl::Seconds(60));
    if (!role.empty()) context.AddMetadata("authorization", absl::StrCat("Bearer ", role));
  }

  struct Sent {
    v1::ObjectKind kind;
    std::string bytes;
  };
  struct Answer {
    std::vector<v1::Outcome> outcomes;
    v1::Summary summary;
    std::string manifest;
    absl::Status status;
  };
  Answer Ingest(const std::vector<Sent>& all, const std::string& role = "holder",
                bool wrong_digest = false) {
    grpc::ClientContext context;
    Prepare(context, role);
    auto stream = stub->Ingest(&context);
    int64_t index = 0;
    Answer out;
    v1::IngestResponse response;
    for (const Sent& sent : all) {
      v1::IngestRequest request;
      request.mutable_header()->set_index(index++);
      request.mutable_header()->set_kind(sent.kind);
      request.mutable_header()->set_size(static_cast<int64_t>(sent.bytes.size()));
      if (!stream->Write(request)) break;
      for (size_t at = 0; at < sent.bytes.size(); at += 100'000) {
        request.set_chunk(sent.bytes.substr(at, 100'000));
        if (!stream->Write(request)) break;
      }
      request.mutable_end()->set_sha256(
          crypto::Sha256Hex(wrong_digest ? absl::StrCat(sent.bytes, "x") : sent.bytes));
      // In-process streams buffer nothing: the outcome is read before the next object is sent.
      if (!stream->Write(request) || !stream->Read(&response)) break;
      out.outcomes.push_back(response.outcome());
    }
    v1::IngestRequest last;
    last.mutable_finish();
    stream->Write(last);
    stream->WritesDone();
    while (stream->Read(&response)) {
      CHECK_FALSE(out.summary.read() > 0);  // nothing after the summary
      out.manifest += response.manifest();
      if (response.has_summary()) out.summary = response.summary();
    }
    out.status = rpc::FromGrpc(stream->Finish());
    return out;
  }

  std::vector<v1::ReleasedObject> Released(int64_t after = 0) {
    grpc::ClientContext context;
    Prepare(context, "");
    site.peer = "node/north/catalogue";
    v1::ListReleasedRequest request;
    request.set_after(after);
    v1::ListReleasedResponse response;
    REQUIRE_OK(rpc::FromGrpc(stub->ListReleased(&context, request, &response)));
    site.peer = "node/north/relay";
    return {response.objects().begin(), response.objects().end()};
  }

  std::vector<v1::QuarantinedObject> Quarantined() {
    grpc::ClientContext context;
    Prepare(context);
    v1::ListQuarantinedRequest request;
    v1::ListQuarantinedResponse response;
    REQUIRE_OK(rpc::FromGrpc(stub->ListQuarantined(&context, request, &response)));
    return {response.objects().begin(), response.objects().end()};
  }
};

std::string Zoo(const std::string& name) {
  absl::StatusOr<std::string> content = base::ReadFile(testing::TestData("dicom-zoo") + "/" + name);
  REQUIRE_OK(content);
  return *content;
}

bool HasZoo() {
  if (!testing::TestData("dicom-zoo").empty()) return true;
  WARN("the shared test data is not here: nothing was sent");
  return false;
}

TEST_CASE("service: every RPC has an access rule", "[deidentification]") {
  REQUIRE_OK(rpc::CheckServiceRules("oncomesh.deidentification.v1.DeidentificationService"));
}

TEST_CASE("ingest: released once, quarantined with a reason, told in the order sent",
          "[deidentification]") {
  if (!HasZoo()) return;
  Server server;
  std::vector<std::string> lines;
  base::SetLogSink([&](const std::string& line) { lines.push_back(line); });
  std::vector<Server::Sent> all = {
      {v1::OBJECT_KIND_DICOM, Zoo("693_UNCR.dcm")},
      {v1::OBJECT_KIND_DICOM, "Zqpatient is no DICOM"},
      {v1::OBJECT_KIND_DICOM, Zoo("US1_UNCI.dcm")},
      {v1::OBJECT_KIND_CLINICAL_TABLE, "patient_id,sex\nZqpatient,F\n"},
      {v1::OBJECT_KIND_CLINICAL_TABLE, "sex\nF\n"}};
  Server::Answer answer = server.Ingest(all);
  REQUIRE_OK(answer.status);
  REQUIRE(answer.outcomes.size() == 5);
  CHECK(answer.outcomes[0].state() == v1::Outcome::STATE_RELEASED);
  CHECK(answer.outcomes[1].reason() == "NOT_DICOM");
  CHECK(answer.outcomes[2].reason() == "POSSIBLE_BURNED_IN_TEXT");
  CHECK(answer.outcomes[3].state() == v1::Outcome::STATE_RELEASED);
  CHECK(answer.outcomes[4].reason() == "TABLE_PATIENT_COLUMN_MISSING");
  CHECK(answer.summary.read() == 5);
  CHECK(answer.summary.released() == 2);
  CHECK(answer.summary.quarantined() == 3);
  std::vector<v1::ReleasedObject> released = server.Released();
  REQUIRE(released.size() == 2);
  CHECK(released[0].kind() == v1::OBJECT_KIND_DICOM);
  CHECK(released[1].kind() == v1::OBJECT_KIND_CLINICAL_TABLE);
  REQUIRE_VALUE(std::string table, server.objects->Get(released[1].sha256()));
  CHECK(table == absl::StrCat("patient_id,sex\n",
                              server.deidentifier.pseudonym_keys().PatientCode("Zqpatient"),
                              ",F\n"));
  CHECK(server.Released(released[0].sequence()).size() == 1);

  // What was done is on record, signed, by the objects' names and without a value of the source.
  REQUIRE_VALUE(ReadManifestResult record, ReadManifest(answer.manifest));
  CHECK(record.public_key == ManifestKey(server.deidentifier.project_keys()).Public().Raw());
  CHECK(record.manifest.project == "north");
  REQUIRE(record.manifest.entries.size() == 2);
  for (const ManifestEntry& entry : record.manifest.entries) {
    const bool is_table = entry.sha256 == released[1].sha256();
    CHECK(entry.sha256 == released[is_table ? 1 : 0].sha256());
    CHECK(entry.path == entry.sha256);
    CHECK(entry.table == is_table);
    CHECK(entry.rows == (is_table ? 1u : 0u));
    CHECK(DoneByName(entry.done).empty() == is_table);
  }
  REQUIRE(record.manifest.quarantined.size() == 3);
  CHECK(record.manifest.quarantined[1].index == 2);
  CHECK(record.manifest.quarantined[1].reason == "POSSIBLE_BURNED_IN_TEXT");
  CHECK(answer.manifest.find("Zqpatient") == std::string::npos);
  REQUIRE_VALUE(std::string kept,
                base::ReadFile(absl::StrCat(server.folder.path(), "/manifests/",
                                            crypto::Sha256Hex(answer.manifest), ".jsonl")));
  CHECK(kept == answer.manifest);

  // The same again: the same outcome, stored once.
  Server::Answer again = server.Ingest(all);
  REQUIRE_OK(again.status);
  CHECK(again.outcomes[0].repeated());
  CHECK(again.manifest == answer.manifest);
  CHECK(server.Released().size() == 2);
  base::SetLogSink(nullptr);
  for (const std::string& line : lines) CHECK(line.find("Zqpatient") == std::string::npos);

  // No original in the clear, and nothing left in the work folder.
  REQUIRE_VALUE(std::vector<std::string> files, base::ListFiles(server.folder.path()));
  for (const std::string& path : files) {
    CHECK(path.rfind(server.folder / "work", 0) != 0);
    REQUIRE_VALUE(std::string content, base::ReadFile(path));
    CHECK(content.find("Zqpatient") == std::string::npos);
  }
}

TEST_CASE("ingest: objects sent without waiting are stored together and told in the order sent",
          "[deidentification]") {
  if (!HasZoo()) return;
  Server server;
  const std::string clean = Zoo("693_UNCR.dcm");
  constexpr int kObjects = 40;
  grpc::ClientContext context;
  server.Prepare(context);
  auto stream = server.stub->Ingest(&context);
  std::vector<v1::Outcome> outcomes;
  v1::Summary summary;
  std::thread reader([&] {
    v1::IngestResponse response;
    while (stream->Read(&response)) {
      if (response.has_outcome()) outcomes.push_back(response.outcome());
      if (response.has_summary()) summary = response.summary();
    }
  });
  for (int i = 0; i < kObjects; ++i) {
    // Every fifth is the same clean object, the others are no DICOM.
    const std::string bytes = i % 5 == 0 ? clean : absl::StrCat("no object ", i);
    v1::IngestRequest request;
    request.mutable_header()->set_index(i);
    request.mutable_header()->set_kind(v1::OBJECT_KIND_DICOM);
    request.mutable_header()->set_size(static_cast<int64_t>(bytes.size()));
    REQUIRE(stream->Write(request));
    request.set_chunk(bytes);
    REQUIRE(stream->Write(request));
    request.mutable_end()->set_sha256(crypto::Sha256Hex(bytes));
    REQUIRE(stream->Write(request));
  }
  v1::IngestRequest last;
  last.mutable_finish();
  REQUIRE(stream->Write(last));
  stream->WritesDone();
  reader.join();
  REQUIRE_OK(rpc::FromGrpc(stream->Finish()));
  REQUIRE(outcomes.size() == kObjects);
  for (int i = 0; i < kObjects; ++i) {
    const v1::Outcome& outcome = outcomes[static_cast<size_t>(i)];
    CHECK(outcome.index() == i);
    CHECK(outcome.state() ==
          (i % 5 == 0 ? v1::Outcome::STATE_RELEASED : v1::Outcome::STATE_QUARANTINED));
    CHECK(outcome.repeated() == (i % 5 == 0 && i > 0));
  }
  CHECK(summary.read() == kObjects);
  CHECK(summary.released() == kObjects / 5);
  CHECK(summary.quarantined() == kObjects - kObjects / 5);
  CHECK(server.Released().size() == 1);
  // What was on its way has left nothing behind.
  REQUIRE_VALUE(std::vector<std::string> left, base::ListFiles(server.folder / "work"));
  CHECK(left.empty());
}

TEST_CASE("quarantine: released after a look at the pixels, or deleted for good",
          "[deidentification]") {
  if (!HasZoo()) return;
  Server server;
  REQUIRE_OK(server
                 .Ingest({{v1::OBJECT_KIND_DICOM, Zoo("US1_UNCI.dcm")},
                          {v1::OBJECT_KIND_DICOM, "garbage"}})
                 .status);
  std::vector<v1::QuarantinedObject> held = server.Quarantined();
  REQUIRE(held.size() == 2);
  auto release = [&](const std::string& id, bool checked) {
    grpc::ClientContext context;
    server.Prepare(context);
    v1::ReleaseQuarantinedRequest request;
    request.set_id(id);
    request.set_pixels_checked(checked);
    v1::ReleaseQuarantinedResponse response;
    REQUIRE_OK(rpc::FromGrpc(server.stub->ReleaseQuarantined(&context, request, &response)));
    return response.outcome();
  };
  CHECK(release(held[0].id(), false).state() == v1::Outcome::STATE_QUARANTINED);
  CHECK(release(held[1].id(), true).state() == v1::Outcome::STATE_QUARANTINED);
  CHECK(server.Released().empty());
  CHECK(release(held[0].id(), true).state() == v1::Outcome::STATE_RELEASED);
  CHECK(server.Released().size() == 1);
  grpc::ClientContext context;
  server.Prepare(context);
  v1::DeleteQuarantinedRequest request;
  request.set_id(held[1].id());
  v1::DeleteQuarantinedResponse response;
  REQUIRE_OK(rpc::FromGrpc(server.stub->DeleteQuarantined(&context, request, &response)));
  CHECK(server.Quarantined().empty());
  REQUIRE_VALUE(std::vector<std::string> left, base::ListFiles(server.folder / "quarantine"));
  CHECK(left.empty());
  grpc::ClientContext again;
  server.Prepare(again);
  REQUIRE_REASON(rpc::FromGrpc(server.stub->DeleteQuarantined(&again, request, &response)),
                 absl::StatusCode::kNotFound, "QUARANTINE_NOT_FOUND");
}

TEST_CASE("ingest: a wrong digest quarantines, a broken stream and a wrong caller are refused",
          "[deidentification]") {
  if (!HasZoo()) return;
  Server server;
  Server::Answer wrong =
      server.Ingest({{v1::OBJECT_KIND_DICOM, Zoo("693_UNCR.dcm")}}, "holder", true);
  REQUIRE(wrong.outcomes.size() == 1);
  CHECK(wrong.outcomes[0].reason() == "DIGEST_WRONG");
  CHECK(server.Released().empty());
  REQUIRE_REASON(server.Ingest({{v1::OBJECT_KIND_DICOM, "x"}}, "researcher").status,
                 absl::StatusCode::kPermissionDenied, "ROLE_NEEDED");
  REQUIRE_REASON(server.Ingest({{v1::OBJECT_KIND_UNSPECIFIED, "x"}}).status,
                 absl::StatusCode::kInvalidArgument, "STREAM_MALFORMED");
  // Half-close without Finish is no end.
  grpc::ClientContext context;
  server.Prepare(context);
  auto stream = server.stub->Ingest(&context);
  v1::IngestRequest request;
  request.mutable_header()->set_kind(v1::OBJECT_KIND_DICOM);
  request.mutable_header()->set_size(10);
  stream->Write(request);
  stream->WritesDone();
  v1::IngestResponse response;
  CHECK_FALSE(stream->Read(&response));
  CHECK(stream->Finish().error_code() == grpc::StatusCode::CANCELLED);
  REQUIRE_VALUE(std::vector<std::string> left, base::ListFiles(server.folder / "work"));
  CHECK(left.empty());
}

TEST_CASE("deidentify: the clean object comes back as the folder run writes it",
          "[deidentification]") {
  if (!HasZoo()) return;
  Server server;
  std::string source = Zoo("693_J2KR.dcm");
  grpc::ClientContext context;
  server.Prepare(context);
  auto stream = server.stub->Deidentify(&context);
  v1::DeidentifyRequest request;
  request.mutable_header()->set_kind(v1::OBJECT_KIND_DICOM);
  request.mutable_header()->set_size(static_cast<int64_t>(source.size()));
  stream->Write(request);
  std::thread sender([&] {
    v1::DeidentifyRequest part;
    for (size_t at = 0; at < source.size(); at += 4096) {
      part.set_chunk(source.substr(at, 4096));
      stream->Write(part);
    }
    part.mutable_end()->set_sha256(crypto::Sha256Hex(source));
    stream->Write(part);
    stream->WritesDone();
  });
  std::string clean;
  v1::DeidentifyResponse response;
  v1::Outcome report;
  while (stream->Read(&response)) {
    clean += response.chunk();
    if (response.has_report()) report = response.report();
  }
  sender.join();
  REQUIRE_OK(rpc::FromGrpc(stream->Finish()));
  CHECK(report.state() == v1::Outcome::STATE_RELEASED);
  CHECK(report.bytes() == static_cast<int64_t>(clean.size()));
  REQUIRE_OK(server.Ingest({{v1::OBJECT_KIND_DICOM, source}}).status);
  CHECK(server.Released()[0].sha256() == crypto::Sha256Hex(clean));
}

// A clock that is ahead of the files' times, and does something when it is asked.
struct AheadClock final : base::Clock {
  absl::Time Now() const override {
    if (asked) std::exchange(asked, nullptr)();
    return base::SystemClock::Get().Now() + ahead;
  }
  absl::Duration ahead = absl::Minutes(2);
  mutable std::function<void()> asked;
};

TEST_CASE("folder: files that are left alone are taken in and removed", "[deidentification]") {
  if (!HasZoo()) return;
  Server server;
  REQUIRE_OK(base::MakeDirectories(server.folder / "in"));
  REQUIRE_OK(base::WriteFileAtomically(server.folder / "in/a", Zoo("693_UNCR.dcm")));
  REQUIRE_OK(base::WriteFileAtomically(server.folder / "in/b", "garbage"));
  AheadClock now;
  now.ahead = absl::ZeroDuration();
  FolderWatch watch(server.folder / "in", absl::Seconds(60), *server.intake, now);
  REQUIRE_VALUE(FolderWatch::Pass early, watch.Look());
  CHECK(early.released + early.quarantined == 0);
  now.ahead = absl::Minutes(2);
  REQUIRE_VALUE(FolderWatch::Pass pass, watch.Look());
  CHECK(pass.released == 1);
  CHECK(pass.quarantined == 1);
  REQUIRE_VALUE(std::vector<std::string> left, base::ListFiles(server.folder / "in"));
  CHECK(left.empty());
  REQUIRE_VALUE(std::vector<std::string> records, base::ListFiles(server.folder / "manifests"));
  REQUIRE(records.size() == 1);
  REQUIRE_VALUE(std::string text, base::ReadFile(records[0]));
  REQUIRE_VALUE(ReadManifestResult record, ReadManifest(text));
  CHECK(record.manifest.entries.size() == 1);
  CHECK(record.manifest.quarantined.size() == 1);
}

TEST_CASE("folder: a file that changes or is open for writing is not removed",
          "[deidentification]") {
  Server server;
  const std::string path = server.folder / "in/clinical.csv";
  REQUIRE_OK(base::MakeDirectories(server.folder / "in"));
  REQUIRE_OK(base::WriteFileAtomically(path, "patient_id,sex\nP1,F\n"));
  AheadClock now;
  // What the intake asks the time for is the release: the file has been read by then.
  AheadClock at_release;
  at_release.asked = [&] { REQUIRE_OK(base::WriteFileAtomically(path, "patient_id,sex\nP2,M\n")); };
  std::unique_ptr<Intake> intake = server.OpenIntake(at_release);
  FolderWatch watch(server.folder / "in", absl::Seconds(60), *intake, now);
  REQUIRE_VALUE(FolderWatch::Pass first, watch.Look());
  CHECK(first.released == 1);
  REQUIRE_VALUE(std::string left, base::ReadFile(path));
  CHECK(left == "patient_id,sex\nP2,M\n");
  {
    std::ofstream writer(path, std::ios::app);
    REQUIRE_VALUE(FolderWatch::Pass open, watch.Look());
    CHECK(open.released + open.quarantined + open.failed == 0);
  }
  REQUIRE_VALUE(FolderWatch::Pass second, watch.Look());
  CHECK(second.released == 1);
  CHECK(server.Released().size() == 2);
  REQUIRE_VALUE(std::vector<std::string> files, base::ListFiles(server.folder / "in"));
  CHECK(files.empty());
}

TEST_CASE("folder: a file whose time lies ahead is taken when nobody touches it",
          "[deidentification]") {
  Server server;
  REQUIRE_OK(base::MakeDirectories(server.folder / "in"));
  REQUIRE_OK(
      base::WriteFileAtomically(server.folder / "in/clinical.csv", "patient_id,sex\nP1,F\n"));
  AheadClock now;
  now.ahead = -absl::Hours(24);
  FolderWatch watch(server.folder / "in", absl::Seconds(60), *server.intake, now);
  REQUIRE_VALUE(FolderWatch::Pass seen, watch.Look());
  CHECK(seen.released == 0);
  now.ahead += absl::Seconds(61);
  REQUIRE_VALUE(FolderWatch::Pass taken, watch.Look());
  CHECK(taken.released == 1);
}

TEST_CASE("quarantine: what comes again is there once, what was damaged stays",
          "[deidentification]") {
  Server server;
  const std::vector<Server::Sent> sent = {{v1::OBJECT_KIND_DICOM, "no image"},
                                          {v1::OBJECT_KIND_CLINICAL_TABLE, "no image"}};
  Server::Answer first = server.Ingest(sent);
  REQUIRE_OK(first.status);
  std::vector<v1::QuarantinedObject> held = server.Quarantined();
  REQUIRE(held.size() == 2);
  CHECK_FALSE(first.outcomes[0].repeated());
  Server::Answer again = server.Ingest(sent);
  REQUIRE_OK(again.status);
  CHECK(again.outcomes[0].repeated());
  CHECK(again.outcomes[1].repeated());
  CHECK(server.Quarantined().size() == 2);
  CHECK(server.Quarantined()[0].id() == held[0].id());
  REQUIRE_VALUE(std::vector<std::string> files, base::ListFiles(server.folder / "quarantine"));
  CHECK(files.size() == 2);

  // A table that could be released, had its bytes been those announced.
  const std::vector<Server::Sent> table = {
      {v1::OBJECT_KIND_CLINICAL_TABLE, "patient_id,sex\nP1,F\n"}};
  REQUIRE(server.Ingest(table, "holder", /*wrong_digest=*/true).outcomes[0].reason() ==
          "DIGEST_WRONG");
  held = server.Quarantined();
  REQUIRE(held.size() == 3);
  REQUIRE_VALUE(IntakeResult retried, server.intake->Retry(held[2].id(), /*pixels_checked=*/true));
  CHECK(retried.state == IntakeResult::State::kQuarantined);
  CHECK(retried.reason == "DIGEST_WRONG");
  CHECK(server.Released().empty());
  CHECK(server.Quarantined()[2].reason() == "DIGEST_WRONG");
  // Even when only the name is left to tell it.
  REQUIRE_OK(server.store->RemoveQuarantined(held[2].id()));
  std::unique_ptr<Intake> restarted = server.OpenIntake();
  REQUIRE_VALUE(QuarantineRow row, server.store->FindQuarantined(held[2].id()));
  CHECK(row.reason == "DIGEST_WRONG");
  // The same, sent well: released.
  CHECK(server.Ingest(table).outcomes[0].state() == v1::Outcome::STATE_RELEASED);
}

// The entries of all manifests that are kept, by their names in the object store.
std::set<std::string> OnRecord(const Server& server) {
  std::set<std::string> out;
  absl::StatusOr<std::vector<std::string>> files =
      base::ListFiles(absl::StrCat(server.folder.path(), "/manifests"));
  REQUIRE_OK(files);
  for (const std::string& path : *files) {
    CHECK(absl::EndsWith(path, ".jsonl"));
    absl::StatusOr<std::string> text = base::ReadFile(path);
    REQUIRE_OK(text);
    absl::StatusOr<ReadManifestResult> record = ReadManifest(*text);
    REQUIRE_OK(record);
    for (const ManifestEntry& entry : record->manifest.entries) out.insert(entry.path);
  }
  return out;
}

TEST_CASE("manifest: a call that breaks off has one, and so has a release from quarantine",
          "[deidentification]") {
  Server server;
  grpc::ClientContext context;
  server.Prepare(context);
  auto stream = server.stub->Ingest(&context);
  const std::string table = "patient_id,sex\nP1,F\n";
  v1::IngestRequest request;
  request.mutable_header()->set_kind(v1::OBJECT_KIND_CLINICAL_TABLE);
  request.mutable_header()->set_size(static_cast<int64_t>(table.size()));
  REQUIRE(stream->Write(request));
  request.set_chunk(table);
  REQUIRE(stream->Write(request));
  request.mutable_end()->set_sha256(crypto::Sha256Hex(table));
  REQUIRE(stream->Write(request));
  v1::IngestResponse response;
  REQUIRE(stream->Read(&response));
  stream->WritesDone();
  CHECK_FALSE(stream->Read(&response));
  CHECK(stream->Finish().error_code() == grpc::StatusCode::CANCELLED);
  std::vector<v1::ReleasedObject> released = server.Released();
  REQUIRE(released.size() == 1);
  CHECK(OnRecord(server) == std::set<std::string>{released[0].sha256()});

  if (!HasZoo()) return;
  REQUIRE_OK(server.Ingest({{v1::OBJECT_KIND_DICOM, Zoo("US1_UNCI.dcm")}}).status);
  for (const v1::QuarantinedObject& object : server.Quarantined()) {
    REQUIRE_OK(server.intake->Retry(object.id(), /*pixels_checked=*/true).status());
  }
  released = server.Released();
  REQUIRE(released.size() == 2);
  CHECK(OnRecord(server).count(released[1].sha256()) == 1);
}

TEST_CASE("manifest: the journal of a process that was killed becomes one", "[deidentification]") {
  Server server;
  IntakeResult result;
  result.state = IntakeResult::State::kReleased;
  result.sha256 = crypto::Sha256Hex("one");
  result.bytes = 7;
  auto left =
      std::make_unique<IntakeRecord>(server.deidentifier, "north", server.folder / "manifests");
  left->Add(0, result);
  REQUIRE_OK(left->Keep());
  result.sha256 = crypto::Sha256Hex("two");
  left->Add(1, result);
  left->Add(2, result);
  REQUIRE_OK(left->Keep());
  REQUIRE_VALUE(std::vector<std::string> journals, base::ListFiles(server.folder / "manifests"));
  REQUIRE(journals.size() == 1);
  REQUIRE_VALUE(std::string journal, base::ReadFile(journals[0]));
  left.reset();  // makes the manifest: as a call that broke off
  const std::set<std::string> both{crypto::Sha256Hex("one"), crypto::Sha256Hex("two")};
  CHECK(OnRecord(server) == both);
  REQUIRE_VALUE(std::vector<std::string> manifests, base::ListFiles(server.folder / "manifests"));
  REQUIRE(manifests.size() == 1);
  REQUIRE_VALUE(std::string manifest, base::ReadFile(manifests[0]));

  // As it lay there before, with the beginning of a batch behind it.
  REQUIRE_OK(base::WriteFileAtomically(journals[0], journal + journal.substr(0, 300)));
  REQUIRE(unlink(manifests[0].c_str()) == 0);
  REQUIRE_OK(IntakeRecord::Recover(server.deidentifier, server.folder / "manifests"));
  CHECK(OnRecord(server) == both);
  REQUIRE_VALUE(std::string again, base::ReadFile(manifests[0]));
  CHECK(again == manifest);
}

TEST_CASE("intake: after a crash quarantine and its list agree", "[deidentification]") {
  Server server;
  const std::string key = server.deidentifier.project_keys().QuarantineKey();
  REQUIRE_OK(base::WriteFileAtomically(server.folder / "original", "patient_id\n"));
  // An original without a row, and a row without an original.
  REQUIRE_OK(SealFile(server.folder / "original", server.folder / "quarantine/q-kept.sealed", key));
  REQUIRE_OK(server.store->AddQuarantined(
      {0, "q-gone", ObjectKind::kDicom, "NOT_DICOM", 1, server.clock.Now()}));
  std::unique_ptr<Intake> again = server.OpenIntake();
  REQUIRE_VALUE(std::vector<QuarantineRow> rows, server.store->ListQuarantined(0, 10));
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].id == "q-kept");
  CHECK(rows[0].kind == ObjectKind::kClinicalTable);
  CHECK(rows[0].reason == "UNLISTED");
  CHECK(rows[0].bytes == 11);
  REQUIRE_OK(again->Delete("q-kept"));
}

}  // namespace
}  // namespace oncomesh::deidentification
