// SPDX-License-Identifier: Apache-2.0
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "libs/base/files.h"
#include "libs/crypto/digest.h"
#include "libs/imaging/nifti.h"
#include "libs/imaging/statistics.h"
#include "libs/rpc/access_rules.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/status.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "libs/testing/test_data.h"
#include "services/harmonisation/harmonisation_service.h"

namespace oncomesh::harmonisation {
namespace {

std::vector<std::string> FilesOf(const std::string& patient) {
  REQUIRE_VALUE(std::vector<std::string> paths, base::ListFiles(patient));
  return paths;
}

CasePlan PlanOf(std::vector<std::string> modalities, double spacing = 4) {
  CasePlan plan;
  for (std::string& modality : modalities) {
    plan.modalities.emplace_back().modality = std::move(modality);
  }
  plan.spacing_mm = imaging::Vector3{spacing, spacing, spacing};
  plan.region = "GTV_Mass";
  return plan;
}

TEST_CASE("case: CT, PET and MR of a real patient come onto one grid with the tumour") {
  const std::string patient = testing::TestData("sts/node-a/STS_002");
  if (patient.empty()) {
    WARN("no shared test data: skipped");
    return;
  }
  std::vector<std::string> paths = FilesOf(patient);
  REQUIRE_VALUE(PreparedCase prepared, PrepareCase(paths, PlanOf({"CT", "PT", "MR"})));
  REQUIRE(prepared.images.size() == 3);
  // CT: 161 × 143 × 48 voxels of 0.9766, 0.9766 and 3.27 mm.
  REQUIRE(prepared.grid.size == std::array<int64_t, 3>{40, 35, 40});
  for (const PreparedImage& image : prepared.images) {
    REQUIRE(imaging::SameGrid(image.volume.grid, prepared.grid));
  }
  REQUIRE(prepared.mask.has_value());
  REQUIRE(prepared.mask_voxels > 100);
  // In the tumour, CT is soft tissue and the uptake is above the surroundings'.
  REQUIRE_VALUE(auto hu, imaging::ValuesInside(prepared.images[0].volume, &prepared.mask->volume));
  imaging::Moments ct = imaging::ComputeMoments(hu);
  REQUIRE(ct.mean > -50);
  REQUIRE(ct.mean < 150);
  REQUIRE_VALUE(auto suv, imaging::ValuesInside(prepared.images[1].volume, &prepared.mask->volume));
  REQUIRE_VALUE(auto everywhere, imaging::ValuesInside(prepared.images[1].volume, nullptr));
  REQUIRE(imaging::ComputeMoments(suv).mean > 1.5 * imaging::ComputeMoments(everywhere).mean);

  SECTION("the order of the files does not matter") {
    std::reverse(paths.begin(), paths.end());
    REQUIRE_VALUE(PreparedCase again, PrepareCase(paths, PlanOf({"CT", "PT", "MR"})));
    for (size_t i = 0; i < 3; ++i) {
      REQUIRE(again.images[i].volume.voxels == prepared.images[i].volume.voxels);
      REQUIRE(again.images[i].sidecar.Document("x", again.grid) ==
              prepared.images[i].sidecar.Document("x", prepared.grid));
    }
    REQUIRE(again.mask->volume.voxels == prepared.mask->volume.voxels);
  }
  SECTION("the mask is that of the first modality's series, or of another when it has none") {
    std::erase_if(paths, [](const std::string& path) {
      return path.find("/CT/mask/") != std::string::npos ||
             path.find("/MR_T1/mask/") != std::string::npos;
    });
    REQUIRE_VALUE(PreparedCase other, PrepareCase(paths, PlanOf({"CT", "PT"})));
    // The same tumour, drawn on PET.
    double ratio =
        static_cast<double>(other.mask_voxels) / static_cast<double>(prepared.mask_voxels);
    REQUIRE(ratio > 0.8);
    REQUIRE(ratio < 1.25);
    REQUIRE_REASON(PrepareCase(paths, PlanOf({"CT"})), absl::StatusCode::kNotFound,
                   "ROI_NOT_FOUND");
  }
  SECTION("normalisation and bias correction are steps of the record") {
    CasePlan plan = PlanOf({"MR"});
    plan.modalities[0].normalisation = imaging::NormalisationMethod::kZscore;
    plan.modalities[0].bias_field_correction = true;
    REQUIRE_VALUE(PreparedCase mr, PrepareCase(paths, plan));
    auto record = nlohmann::json::parse(mr.images[0].sidecar.Document("x", mr.grid));
    std::vector<std::string> names;
    for (const auto& step : record["steps"]) names.push_back(step["name"]);
    REQUIRE(names == std::vector<std::string>{"assemble", "n4", "normalise", "resample"});
    // No value of the patient's: nothing that stands in the headers.
    std::string text = record.dump();
    for (const char* value : {"STS", "1.3.6.1.4.1", "GTV_Mass_MR", "node-a"}) {
      REQUIRE(text.find(value) == std::string::npos);
    }
  }
}

TEST_CASE("case: what cannot be prepared has a reason") {
  const auto invalid = absl::StatusCode::kInvalidArgument;
  REQUIRE_REASON(PrepareCase({}, PlanOf({})), invalid, "CASE_INVALID");
  REQUIRE_REASON(PrepareCase({}, PlanOf({"US"})), invalid, "CASE_INVALID");
  REQUIRE_REASON(PrepareCase({}, PlanOf({"CT", "CT"})), invalid, "CASE_INVALID");
  REQUIRE_REASON(PrepareCase({}, PlanOf({"CT"}, 0)), invalid, "CASE_INVALID");
  REQUIRE_REASON(PrepareCase({}, PlanOf({"CT"})), absl::StatusCode::kFailedPrecondition,
                 "CASE_MODALITY_MISSING");
  const std::string sts = testing::TestData("sts");
  if (sts.empty()) {
    WARN("no shared test data: the rest is skipped");
    return;
  }
  std::vector<std::string> paths = FilesOf(sts + "/node-a/STS_002/CT");
  CasePlan plan = PlanOf({"CT"});
  plan.region = "PTV";
  REQUIRE_REASON(PrepareCase(paths, plan), absl::StatusCode::kNotFound, "ROI_NOT_FOUND");
  REQUIRE_REASON(PrepareCase(paths, PlanOf({"CT"}), [] { return false; }),
                 absl::StatusCode::kAborted, "STOPPED");
  // Two patients at once: two CT series, and PET in another frame of reference.
  std::vector<std::string> other = FilesOf(sts + "/node-b/STS_003/PET");
  std::vector<std::string> both = paths;
  both.insert(both.end(), other.begin(), other.end());
  REQUIRE_REASON(PrepareCase(both, PlanOf({"CT", "PT"})), absl::StatusCode::kFailedPrecondition,
                 "CASE_OTHER_FRAME");
  other = FilesOf(sts + "/node-b/STS_003/CT");
  both.insert(both.end(), other.begin(), other.end());
  REQUIRE_REASON(PrepareCase(both, PlanOf({"CT"})), absl::StatusCode::kFailedPrecondition,
                 "CASE_AMBIGUOUS");
  paths.erase(paths.begin() + 20);
  REQUIRE_REASON(PrepareCase(paths, PlanOf({"CT"})), invalid, "SERIES_GAP");
}

// Only the connection's certificate is told to the guard.
struct Site final : rpc::Authenticator, rpc::Auditor {
  absl::StatusOr<rpc::Person> Authenticate(absl::string_view token) override {
    return rpc::Person{"somebody", {std::string(token)}, absl::InfiniteFuture()};
  }
  absl::Status Record(const rpc::CallEvent& event) override {
    events.push_back(event.type);
    return absl::OkStatus();
  }
  std::vector<std::string> events;
  std::string peer = "node/north/training";
};

struct Server {
  Site site;
  testing::TemporaryFolder folder;
  std::unique_ptr<objects::ObjectStore> released, prepared;
  std::unique_ptr<CaseDesk> desk;
  std::unique_ptr<rpc::CallGuard> guard;
  std::unique_ptr<HarmonisationServiceImpl> service;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<v1::HarmonisationService::Stub> stub;

  Server() {
    REQUIRE_VALUE(released, objects::OpenFolder(folder / "released"));
    REQUIRE_VALUE(prepared, objects::OpenFolder(folder / "prepared"));
    desk = std::make_unique<CaseDesk>(CaseDesk::Deps{*released, *prepared, 1});
    rpc::CallGuard::Deps deps;
    deps.site = "north";
    deps.trust_domain = "test";
    deps.authenticator = &site;
    deps.auditor = &site;
    deps.peer = [this](const grpc::ServerContext&) {
      rpc::Peer peer;
      peer.uris = {absl::StrCat("spiffe://test/", site.peer)};
      return peer;
    };
    guard = std::make_unique<rpc::CallGuard>(deps);
    service = std::make_unique<HarmonisationServiceImpl>(*guard, *desk);
    grpc::ServerBuilder builder;
    builder.RegisterService(service.get());
    server = builder.BuildAndStart();
    stub = v1::HarmonisationService::NewStub(server->InProcessChannel({}));
  }
  ~Server() { server->Shutdown(); }

  std::vector<std::string> Release(const std::string& below) {
    std::vector<std::string> names;
    for (const std::string& path : FilesOf(below)) {
      REQUIRE_VALUE(std::string name, released->Put(*base::ReadFile(path)));
      names.push_back(name);
    }
    return names;
  }
  absl::StatusOr<v1::PrepareCaseResponse> Prepare(const v1::PrepareCaseRequest& request) {
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Seconds(60));
    v1::PrepareCaseResponse response;
    absl::Status status = rpc::FromGrpc(stub->PrepareCase(&context, request, &response));
    if (!status.ok()) return status;
    return response;
  }
  absl::StatusOr<v1::CheckSeriesResponse> Check(const std::vector<std::string>& names) {
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Seconds(60));
    v1::CheckSeriesRequest request;
    *request.mutable_objects() = {names.begin(), names.end()};
    v1::CheckSeriesResponse response;
    absl::Status status = rpc::FromGrpc(stub->CheckSeries(&context, request, &response));
    if (!status.ok()) return status;
    return response;
  }
};

TEST_CASE("harmonisation service: every call has a rule, and only the node's own may call") {
  REQUIRE_OK(rpc::CheckServiceRules("oncomesh.harmonisation.v1.HarmonisationService"));
  Server server;
  for (const char* peer : {"hub/training", "node/south/training", "node/north/catalogue"}) {
    server.site.peer = peer;
    CHECK(server.Prepare({}).status().code() == absl::StatusCode::kPermissionDenied);
  }
  server.site.peer = "node/north/training";
  REQUIRE_REASON(server.Prepare({}), absl::StatusCode::kInvalidArgument, "CASE_INVALID");
}

TEST_CASE("harmonisation service: a case goes from store to store, repeatably") {
  const std::string patient = testing::TestData("sts/node-c/STS_025");
  if (patient.empty()) {
    WARN("no shared test data: skipped");
    return;
  }
  Server server;
  std::vector<std::string> names = server.Release(patient);
  v1::PrepareCaseRequest request;
  *request.mutable_objects() = {names.begin(), names.end()};
  request.add_modalities()->set_modality("CT");
  request.add_modalities()->set_modality("PT");
  for (int i = 0; i < 3; ++i) request.add_spacing_mm(4);
  request.set_region("GTV_Mass");
  REQUIRE_VALUE(v1::PrepareCaseResponse first, server.Prepare(request));
  REQUIRE(first.images_size() == 2);
  REQUIRE(first.images(1).modality() == "PT");
  REQUIRE(first.mask_voxels() > 0);
  REQUIRE(first.grid().direction_size() == 9);
  for (const auto& object : {first.images(0), first.images(1), first.mask()}) {
    REQUIRE_VALUE(std::string bytes, server.prepared->Get(object.sha256()));
    REQUIRE(static_cast<int64_t>(bytes.size()) == object.bytes());
    REQUIRE_VALUE(imaging::Volume volume, imaging::DecodeNifti(bytes));
    REQUIRE(volume.grid.size[0] == first.grid().size(0));
    REQUIRE_VALUE(std::string sidecar, server.prepared->Get(object.sidecar_sha256()));
    REQUIRE(nlohmann::json::parse(sidecar)["output"]["sha256"] == object.sha256());
  }
  REQUIRE_VALUE(v1::PrepareCaseResponse second, server.Prepare(request));
  REQUIRE(second.SerializeAsString() == first.SerializeAsString());
  REQUIRE(std::count(server.site.events.begin(), server.site.events.end(),
                     "rpc.HarmonisationService.PrepareCase") == 2);

  SECTION("an object that is not there or damaged is told") {
    request.add_objects(std::string(64, 'a'));
    REQUIRE_REASON(server.Prepare(request), absl::StatusCode::kNotFound, "OBJECT_NOT_FOUND");
    request.mutable_objects()->RemoveLast();
    request.add_objects("../../etc/passwd");
    REQUIRE_REASON(server.Prepare(request), absl::StatusCode::kInvalidArgument,
                   "OBJECT_NAME_INVALID");
    request.mutable_objects()->RemoveLast();
    REQUIRE_VALUE(std::string path, server.released->LocalPath(names[3]));
    REQUIRE_VALUE(std::string bytes, base::ReadFile(path));
    bytes.back() ^= 1;
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    REQUIRE_OK(base::WriteFileAtomically(path, bytes));
    REQUIRE_REASON(server.Prepare(request), absl::StatusCode::kDataLoss, "OBJECT_CORRUPT");
  }
}

TEST_CASE("harmonisation service: a series is checked without its pixels") {
  const std::string pet = testing::TestData("sts/node-c/STS_025/PET/image");
  if (pet.empty()) {
    WARN("no shared test data: skipped");
    return;
  }
  Server server;
  std::vector<std::string> names = server.Release(pet);
  REQUIRE_VALUE(v1::CheckSeriesResponse good, server.Check(names));
  REQUIRE(good.makes_volume());
  REQUIRE(good.modality() == "PT");
  REQUIRE(good.slices() == 47);
  REQUIRE(good.grid().size(2) == 47);
  REQUIRE(good.min_step_mm() == Approx(3.27));
  REQUIRE(good.suv());
  // The names are digests: any one but the outermost slices leaves a gap.
  size_t gaps = 0;
  for (size_t i : {5u, 15u, 25u}) {
    std::vector<std::string> some = names;
    some.erase(some.begin() + static_cast<std::ptrdiff_t>(i));
    REQUIRE_VALUE(v1::CheckSeriesResponse bad, server.Check(some));
    if (!bad.makes_volume()) REQUIRE(bad.reason() == "SERIES_GAP");
    gaps += bad.makes_volume() ? 0 : 1;
  }
  REQUIRE(gaps >= 1);
}

}  // namespace
}  // namespace oncomesh::harmonisation
