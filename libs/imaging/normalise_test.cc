// SPDX-License-Identifier: Apache-2.0
#include "libs/imaging/normalise.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

#include "libs/base/files.h"
#include "libs/crypto/digest.h"
#include "libs/imaging/sidecar.h"
#include "libs/imaging/statistics.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"

namespace oncomesh::imaging {
namespace {

Volume Line(std::vector<float> values) {
  Volume volume;
  volume.grid.size = {static_cast<int64_t>(values.size()), 1, 1};
  volume.voxels = std::move(values);
  return volume;
}

TEST_CASE("statistics: percentiles as numpy gives them") {
  // numpy.percentile([15, 20, 35, 40, 50], [0, 5, 30, 40, 50, 99, 100])
  std::vector<float> values = {50, 15, 40, 20, 35};
  REQUIRE(Percentile(values, 0) == 15);
  REQUIRE(Percentile(values, 5) == Approx(16));
  REQUIRE(Percentile(values, 30) == Approx(23));
  REQUIRE(Percentile(values, 40) == Approx(29));
  REQUIRE(Percentile(values, 50) == 35);
  REQUIRE(Percentile(values, 99) == Approx(49.6));
  REQUIRE(Percentile(values, 100) == 50);
}

TEST_CASE("normalise: each method by its definition, inside the mask") {
  Volume image = Line({2, 4, 4, 4, 5, 5, 7, 9, 1000, NAN});
  Volume mask = Line({1, 1, 1, 1, 1, 1, 1, 1, 0, 1});
  REQUIRE_VALUE(std::vector<float> values, ValuesInside(image, &mask));
  REQUIRE(values.size() == 8);
  // Mean 5, standard deviation 2 (the textbook's set).
  REQUIRE_VALUE(auto zscore, FitNormalisation(NormalisationMethod::kZscore, values));
  REQUIRE(zscore.shift == Approx(5));
  REQUIRE(zscore.scale == Approx(2));
  Volume out = image;
  Apply(zscore, out);
  REQUIRE(out.voxels[0] == Approx(-1.5));
  REQUIRE(out.voxels[8] == Approx(497.5));  // outside the mask too
  REQUIRE_VALUE(auto minmax, FitNormalisation(NormalisationMethod::kMinmax, values));
  out = image;
  Apply(minmax, out);
  REQUIRE(out.voxels[0] == 0);
  REQUIRE(out.voxels[7] == 1);
  REQUIRE_VALUE(auto percentile,
                FitNormalisation(NormalisationMethod::kPercentile, values, {0, 50}));
  out = image;
  Apply(percentile, out);
  REQUIRE(out.voxels[0] == 0);
  REQUIRE(out.voxels[3] == Approx(2 / 2.5));
  REQUIRE(out.voxels[8] == 1);  // clipped
}

TEST_CASE("normalise: nothing to go by is an error") {
  const auto refused = absl::StatusCode::kFailedPrecondition;
  std::vector<float> alike(5, 3.0f), none;
  for (auto method : {NormalisationMethod::kZscore, NormalisationMethod::kMinmax,
                      NormalisationMethod::kPercentile}) {
    REQUIRE_REASON(FitNormalisation(method, alike), refused, "NO_CONTRAST");
    REQUIRE_REASON(FitNormalisation(method, none), refused, "NO_CONTRAST");
  }
  REQUIRE_REASON(FitNormalisation(NormalisationMethod::kPercentile, alike, {99, 1}),
                 absl::StatusCode::kInvalidArgument, "PERCENTILES_INVALID");
  Volume image = Line({1, 2}), empty = Line({0, 0}), other = Line({1});
  REQUIRE_REASON(ValuesInside(image, &empty), refused, "MASK_EMPTY");
  REQUIRE_REASON(ValuesInside(image, &other), absl::StatusCode::kInvalidArgument,
                 "MASK_OTHER_GRID");
}

TEST_CASE("normalise: a model is read back as it was written, and nothing else is") {
  std::vector<float> values = {1, 2, 3, 4, 100};
  for (auto method : {NormalisationMethod::kZscore, NormalisationMethod::kMinmax,
                      NormalisationMethod::kPercentile}) {
    REQUIRE_VALUE(auto model, FitNormalisation(method, values, {5, 95}));
    REQUIRE_VALUE(auto read, ParseNormalisationModel(ToJson(model).dump()));
    REQUIRE(read.method == method);
    REQUIRE(read.shift == model.shift);
    REQUIRE(read.scale == model.scale);
    REQUIRE(read.clip_high == model.clip_high);
  }
  for (const char* text :
       {"", "[]", "{}", "{\"format\":\"oncomesh-normalisation/1\"}",
        R"({"format":"oncomesh-normalisation/1","method":"zscore","shift":0,"scale":0})",
        R"({"format":"oncomesh-normalisation/1","method":"zscore","shift":"0","scale":1})",
        R"({"format":"oncomesh-normalisation/1","method":"percentile","shift":0,"scale":1})",
        R"({"format":"other/1","method":"zscore","shift":0,"scale":1})"}) {
    REQUIRE_REASON(ParseNormalisationModel(text), absl::StatusCode::kInvalidArgument,
                   "MODEL_INVALID");
  }
  REQUIRE_REASON(ParseNormalisationMethod("nyul"), absl::StatusCode::kUnimplemented,
                 "METHOD_NOT_AVAILABLE");
  REQUIRE_REASON(ParseNormalisationMethod("x"), absl::StatusCode::kInvalidArgument,
                 "METHOD_UNKNOWN");
}

TEST_CASE("quality: figures of an image whose figures are known") {
  // Object 100 ± 10, background 0 ± 2 in a fixed pattern.
  Volume image;
  image.grid.size = {4, 4, 2};
  Volume mask = image;
  for (int i = 0; i < 16; ++i) {
    image.voxels.push_back(i % 2 == 0 ? 90 : 110);
    mask.voxels.push_back(1);
  }
  for (int i = 0; i < 16; ++i) {
    image.voxels.push_back(i % 2 == 0 ? -2 : 2);
    mask.voxels.push_back(0);
  }
  const Volume* const masks[] = {&mask, nullptr};
  for (const Volume* given : masks) {
    REQUIRE_VALUE(Quality quality, AssessQuality(image, given));
    REQUIRE(quality.object.count == 16);
    REQUIRE(*quality.snr == Approx(100 / (10 * std::sqrt(16 / 15.0))));
    REQUIRE(*quality.snr_dietrich == Approx(0.6551364 * 100 / 2));
    REQUIRE(*quality.cnr == Approx(100 / std::sqrt(104)));
    REQUIRE(*quality.fber == Approx((90.0 * 90 + 110 * 110) / 2 / 4));
    REQUIRE(quality.constant_slices == 0);
  }
  // Energy spread evenly has the largest entropy; in one voxel the least.
  REQUIRE_VALUE(Quality even, AssessQuality(Line({5, 5, 5, 5}), nullptr));
  REQUIRE(*even.entropy_focus == Approx(1));
  REQUIRE(even.constant_slices == 1);
  REQUIRE_FALSE(even.snr.has_value());
  REQUIRE_VALUE(Quality point, AssessQuality(Line({5, 0, 0, 0}), nullptr));
  REQUIRE(*point.entropy_focus == Approx(0).margin(1e-12));
}

TEST_CASE("sidecar: tells the way of an image through its steps, by digests alone") {
  testing::TemporaryFolder folder;
  Grid grid;
  grid.size = {2, 1, 1};
  Sidecar first;
  first.AddInput("series", std::string(64, 'a'), 12);
  first.AddStep("assemble", {{"slices", 12}});
  std::string document = first.Document("image one", grid);
  REQUIRE(document == first.Document("image one", grid));
  REQUIRE_OK(base::WriteFileAtomically(folder / "x.json", document));
  REQUIRE(SidecarPath(folder / "x.nii.gz") == folder / "x.json");

  auto history = ReadSidecar(folder / "x.nii.gz", crypto::Sha256Hex("image one"));
  REQUIRE(history.is_object());
  // Of other bytes it is not the history.
  REQUIRE(ReadSidecar(folder / "x.nii.gz", crypto::Sha256Hex("image two")).is_null());
  Sidecar second;
  second.AddInput("image", crypto::Sha256Hex("image one"), 1, history);
  second.AddStep("resample", {{"interpolator", "linear"}});
  auto read = nlohmann::json::parse(second.Document("image two", grid));
  REQUIRE(read["format"] == "oncomesh-image-sidecar/1");
  REQUIRE(read["output"]["sha256"] == crypto::Sha256Hex("image two"));
  REQUIRE(read["steps"][0]["name"] == "resample");
  REQUIRE(read["inputs"][0]["history"]["steps"][0]["parameters"]["slices"] == 12);
  REQUIRE(read["inputs"][0]["history"]["inputs"][0]["objects"] == 12);
  REQUIRE(SeriesDigest({"b", "a"}) == SeriesDigest({"a", "b"}));
  // The test vector of doc/formats/image-sidecar.md.
  REQUIRE(SeriesDigest({crypto::Sha256Hex("b"), crypto::Sha256Hex("a")}) ==
          "e31b611bfa25cad7df113c6721feec788606f694069ced6d3d3f738a89d14e2a");
  for (const char* odd :
       {"", "[", "[]", R"({"format":1})", R"({"format":"oncomesh-image-sidecar/1","output":3})"}) {
    REQUIRE_OK(base::WriteFileAtomically(folder / "x.json", odd));
    REQUIRE(ReadSidecar(folder / "x.nii.gz", "").is_null());
  }
}

}  // namespace
}  // namespace oncomesh::imaging
