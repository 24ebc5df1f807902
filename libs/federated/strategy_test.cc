// SPDX-License-Identifier: Apache-2.0
#include "libs/federated/strategy.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "libs/base/files.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"

namespace oncomesh::federated {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

// A place for the files of a round.
struct Round {
  testing::TemporaryFolder folder;
  int files = 0;

  std::string Write(const std::vector<Tensor>& tensors) {
    absl::StatusOr<std::string> bytes = WriteTensors(tensors);
    REQUIRE_OK(bytes);
    std::string path = folder / absl::StrCat("f", files++);
    REQUIRE_OK(base::WriteFileAtomically(path, *bytes));
    return path;
  }
  Summand Update(const std::vector<Tensor>& tensors, int64_t weight, const Template& expected) {
    Summand summand{Write(tensors), weight, {}};
    absl::StatusOr<TensorFile> file = TensorFile::Open(summand.path);
    REQUIRE_OK(file);
    absl::StatusOr<Maxima> maxima = CheckUpdate(*file, expected);
    REQUIRE_OK(maxima);
    summand.maxima = *maxima;
    return summand;
  }
  // The next model's path.
  std::string Next(Strategy strategy, const StepOptions& options, const std::string& model_path,
                   int64_t examples, const std::vector<Summand>& summands) {
    absl::StatusOr<TensorFile> model = TensorFile::Open(model_path);
    REQUIRE_OK(model);
    absl::StatusOr<StreamingSum> sum = StreamingSum::Open(summands, {});
    REQUIRE_OK(sum);
    std::string path = folder / absl::StrCat("f", files++);
    int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    std::vector<TensorSpec> specs;
    for (const auto& [name, tensor] : model->header().tensors) {
      specs.push_back({name, tensor.dtype, tensor.shape});
    }
    absl::StatusOr<TensorWriter> writer = TensorWriter::Create(fd, specs, {});
    REQUIRE_OK(writer);
    REQUIRE_OK(Step(strategy, options, *model, examples, *sum, *writer));
    absl::StatusOr<std::string> sha256 = writer->Finish();
    REQUIRE_OK(sha256);
    absl::StatusOr<std::string> content = base::ReadFile(path);
    REQUIRE_OK(content);
    CHECK(*sha256 == crypto::Sha256Hex(*content));
    close(fd);
    return path;
  }
  std::vector<double> Values(const std::string& path, const std::string& tensor) {
    absl::StatusOr<TensorFile> file = TensorFile::Open(path);
    REQUIRE_OK(file);
    absl::StatusOr<std::vector<double>> values = file->ReadAll(*file->Find(tensor));
    REQUIRE_OK(values);
    return *values;
  }
};

TEST_CASE("FedAvg: the published vector of three sites") {
  // Computed with Flower 1.27 (FedAvg, float32): [0.5083333254, 0.1416666806, 0.6000000238].
  Round round;
  const Template expected = {{"w", {3}}};
  auto update = [&](std::vector<double> w, int64_t n) {
    return round.Update({{{"w", Dtype::kF32, {3}}, w}}, n, expected);
  };
  std::string model = round.Write({{{"w", Dtype::kF64, {3}}, {0, 0, 0}}});
  std::string next =
      round.Next(Strategy::kFedAvg, {}, model, 12,
                 {update({.1, .2, .3}, 5), update({.4, .5, .7}, 3), update({1.1, -.2, .9}, 4)});
  std::vector<double> w = round.Values(next, "w");
  CHECK(w[0] == Approx(0.50833333).margin(1e-7));
  CHECK(w[1] == Approx(0.14166667).margin(1e-7));
  CHECK(w[2] == Approx(0.6).margin(1e-7));
}

TEST_CASE("FedAvg: tensors of more than one block and of both types, any order, the same bytes") {
  Round round;
  const int64_t n = 150'001;
  const Template expected = {{"a", {n}}, {"b", {2}}};
  std::vector<Summand> summands;
  for (int k = 0; k < 3; ++k) {
    std::vector<double> a(static_cast<size_t>(n));
    for (size_t i = 0; i < a.size(); ++i) a[i] = std::sin(static_cast<double>(i) * (k + 1)) * 3;
    summands.push_back(round.Update({{{"a", k == 1 ? Dtype::kF32 : Dtype::kF64, {n}}, a},
                                     {{"b", Dtype::kF64, {2}}, {k + 0.5, -k * 1e9}}},
                                    k + 2, expected));
  }
  std::string model = round.Write(
      {{{"a", Dtype::kF32, {n}}, std::vector<double>(n, 0.0)}, {{"b", Dtype::kF64, {2}}, {0, 0}}});
  std::string first = round.Next(Strategy::kFedAvg, {}, model, 9, summands);
  std::reverse(summands.begin(), summands.end());
  std::string second = round.Next(Strategy::kFedAvg, {}, model, 9, summands);
  CHECK(*base::ReadFile(first) == *base::ReadFile(second));
  std::vector<double> a = round.Values(first, "a");
  for (size_t i : {size_t{0}, size_t{65'535}, size_t{65'536}, size_t{150'000}}) {
    double mean = 0;
    for (int k = 0; k < 3; ++k) mean += (k + 2) * std::sin(static_cast<double>(i) * (k + 1)) * 3;
    CHECK(a[i] == Approx(mean / 9).margin(1e-6));
  }
  CHECK(round.Values(first, "b")[1] == Approx(-(3 * 1e9 + 4 * 2e9) / 9));
}

TEST_CASE("gradient: one step is w - lr (g / n + l2 w)") {
  Round round;
  std::string model =
      round.Write({{{"w", Dtype::kF64, {2}}, {1, -2}}, {{"b", Dtype::kF64, {1}}, {0.5}}});
  const Template expected = {{"w", {2}}, {"b", {1}}};
  auto update = [&](double g0, double g1, double gb) {
    return round.Update({{{"w", Dtype::kF64, {2}}, {g0, g1}}, {{"b", Dtype::kF64, {1}}, {gb}}}, 1,
                        expected);
  };
  StepOptions options{0.5, 0.25, {"b"}};
  std::string next =
      round.Next(Strategy::kGradient, options, model, 8, {update(4, -1, 2), update(8, 5, -6)});
  CHECK(round.Values(next, "w") ==
        std::vector<double>{1 - 0.5 * (12.0 / 8 + 0.25), -2 - 0.5 * (4.0 / 8 - 0.5)});
  CHECK(round.Values(next, "b") == std::vector<double>{0.5 - 0.5 * (-4.0 / 8)});
}

TEST_CASE("Newton: three sites find the published fit of the O-ring data") {
  // Dalal, Fowlkes and Hoadley 1989, 23 flights; R's glm(distress ~ temperature, binomial) gives
  // 15.0429 and -0.2322 (Agresti, Categorical Data Analysis, problem 5.1 and its solution).
  const std::vector<double> temperature = {66, 70, 69, 68, 67, 72, 73, 70, 57, 63, 70, 78,
                                           67, 53, 67, 75, 70, 81, 76, 79, 75, 76, 58};
  const std::vector<double> distress = {0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0,
                                        0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1};
  auto fit = [&](int sites) {
    Round round;
    std::string model =
        round.Write({{{"intercept", Dtype::kF64, {1}}, {0}}, {{"slope", Dtype::kF64, {1}}, {0}}});
    const Template expected = {{"intercept", {1}}, {"slope", {1}}, {"hessian", {2, 2}}};
    for (int step = 0; step < 12; ++step) {
      double b0 = round.Values(model, "intercept")[0], b1 = round.Values(model, "slope")[0];
      std::vector<Summand> summands;
      for (int site = 0; site < sites; ++site) {
        double g0 = 0, g1 = 0, h00 = 0, h01 = 0, h11 = 0;
        for (size_t i = static_cast<size_t>(site); i < temperature.size();
             i += static_cast<size_t>(sites)) {
          double t = temperature[i], p = 1 / (1 + std::exp(-(b0 + b1 * t)));
          g0 += p - distress[i];
          g1 += (p - distress[i]) * t;
          h00 += p * (1 - p);
          h01 += p * (1 - p) * t;
          h11 += p * (1 - p) * t * t;
        }
        summands.push_back(round.Update({{{"intercept", Dtype::kF64, {1}}, {g0}},
                                         {{"slope", Dtype::kF64, {1}}, {g1}},
                                         {{"hessian", Dtype::kF64, {2, 2}}, {h00, h01, h01, h11}}},
                                        1, expected));
      }
      model = round.Next(Strategy::kNewton, {}, model, 23, summands);
    }
    return std::pair(round.Values(model, "intercept")[0], round.Values(model, "slope")[0]);
  };
  auto [intercept, slope] = fit(3);
  CHECK(intercept == Approx(15.0429).margin(1e-4));
  CHECK(slope == Approx(-0.2322).margin(1e-4));
  auto [pooled_intercept, pooled_slope] = fit(1);
  CHECK(std::fabs(intercept - pooled_intercept) < 1e-9);
  CHECK(std::fabs(slope - pooled_slope) < 1e-11);
}

TEST_CASE("Newton: a Hessian that is not positive definite is refused") {
  std::vector<double> b = {1, 1};
  REQUIRE_REASON(SolveSymmetric({1, 2, 2, 1}, b), kInvalid, "HESSIAN_NOT_POSITIVE");
  std::vector<double> c = {1};
  REQUIRE_REASON(SolveSymmetric({std::nan("")}, c), kInvalid, "HESSIAN_NOT_POSITIVE");
  std::vector<double> x = {2, 3};
  REQUIRE_OK(SolveSymmetric({4, 2, 2, 3}, x));  // solution (0, 1)
  CHECK(x[0] == Approx(0).margin(1e-15));
  CHECK(x[1] == Approx(1));
}

TEST_CASE("an update of another shape, with a tensor too many or too few, or with NaN is refused") {
  Round round;
  const Template expected = {{"w", {2}}};
  auto check = [&](const std::vector<Tensor>& tensors) {
    absl::StatusOr<TensorFile> file = TensorFile::Open(round.Write(tensors));
    REQUIRE_OK(file);
    return CheckUpdate(*file, expected).status();
  };
  REQUIRE_OK(check({{{"w", Dtype::kF64, {2}}, {1, 2}}}));
  REQUIRE_OK(check({{{"w", Dtype::kF32, {2}}, {1, 2}}}));
  REQUIRE_REASON(check({{{"w", Dtype::kF64, {1, 2}}, {1, 2}}}), kInvalid, "UPDATE_SHAPE");
  REQUIRE_REASON(check({{{"v", Dtype::kF64, {2}}, {1, 2}}}), kInvalid, "UPDATE_SHAPE");
  REQUIRE_REASON(check({{{"w", Dtype::kF64, {2}}, {1, 2}}, {{"x", Dtype::kF64, {1}}, {1}}}),
                 kInvalid, "UPDATE_SHAPE");
  REQUIRE_REASON(check({{{"w", Dtype::kF64, {2}}, {1, std::nan("")}}}), kInvalid,
                 "UPDATE_NOT_FINITE");
  REQUIRE_REASON(check({{{"w", Dtype::kF32, {2}}, {std::numeric_limits<double>::infinity(), 1}}}),
                 kInvalid, "UPDATE_NOT_FINITE");
  REQUIRE_VALUE(std::string chatty,
                WriteTensors({{{"w", Dtype::kF64, {2}}, {1, 2}}}, {{"note", "x"}}));
  std::string path = round.folder / "chatty";
  REQUIRE_OK(base::WriteFileAtomically(path, chatty));
  REQUIRE_VALUE(TensorFile file, TensorFile::Open(path));
  REQUIRE_REASON(CheckUpdate(file, expected), kInvalid, "UPDATE_METADATA");
}

TEST_CASE("a declared bound cuts and counts; without one the grid fits the updates") {
  Round round;
  const Template expected = {{"w", {2}}};
  std::vector<Summand> summands = {
      round.Update({{{"w", Dtype::kF64, {2}}, {100, 0.5}}}, 1, expected),
      round.Update({{{"w", Dtype::kF64, {2}}, {1, 0.25}}}, 1, expected)};
  REQUIRE_VALUE(StreamingSum bounded, StreamingSum::Open(summands, {{"w", 2.0}}));
  REQUIRE_VALUE(auto cut, bounded.Whole("w"));
  CHECK(cut == std::vector<double>{3, 0.75});
  CHECK(bounded.grids().at("w").saturated == 1);
  REQUIRE_VALUE(StreamingSum fitted, StreamingSum::Open(summands, {}));
  REQUIRE_VALUE(auto whole, fitted.Whole("w"));
  CHECK(whole == std::vector<double>{101, 0.75});
  CHECK(fitted.grids().at("w").saturated == 0);
  CHECK(fitted.grids().at("w").scale == 44);
}

}  // namespace
}  // namespace oncomesh::federated
