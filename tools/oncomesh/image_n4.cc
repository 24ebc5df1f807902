// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/image_n4.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/imaging/itk/n4.h"
#include "libs/imaging/statistics.h"
#include "tools/oncomesh/image_files.h"

namespace oncomesh::cli {
namespace {

using imaging::Sidecar;
using imaging::VoxelType;
using nlohmann::json;
using nlohmann::ordered_json;

struct Options {
  std::string in, out, mask, bias_field, iterations = "50x50x50x50", engine = "itk";
  imaging::N4Options n4;
  bool force = false;
};

// The element of an object, or null.
const ordered_json& At(const ordered_json& object, const char* name) {
  static const ordered_json* null = new ordered_json();
  auto found = object.is_object() ? object.find(name) : object.end();
  return found != object.end() ? *found : *null;
}

// The modality of the series an image was made of, by its record; empty when that does not say.
std::string ModalityOf(const ordered_json& record) {
  // An image that was made of another one has that one's record in its own.
  const ordered_json* history = &record;
  while (history != nullptr) {
    for (const ordered_json& step : At(*history, "steps")) {
      if (At(step, "name") != "assemble") continue;
      const ordered_json& modality = At(At(step, "parameters"), "modality");
      for (const char* known : {"CT", "PT", "MR"}) {
        if (modality == known) return known;
      }
    }
    const ordered_json* earlier = nullptr;
    for (const ordered_json& input : At(*history, "inputs")) {
      if (At(input, "role") == "image") earlier = &At(input, "history");
    }
    history = earlier;
  }
  return "";
}

absl::StatusOr<imaging::N4Result> Correct(const imaging::Volume& input, const imaging::Volume* mask,
                                          const imaging::N4Options& options,
                                          const Session& session) {
  size_t most = 0, told = 0;
  for (int count : options.iterations) most += static_cast<size_t>(std::max(count, 0));
  Progress progress(session, "correcting", "iterations", most);
  auto tell = [&](size_t done) {
    progress.Advance(done - told);
    told = done;
  };
  ASSIGN_OR_RETURN(imaging::N4Result result,
                   imaging::CorrectBiasField(input, mask, options, [&](size_t done, size_t) {
                     tell(done);
                     return true;
                   }));
  tell(most);  // levels may have ended before their last iteration
  return result;
}

absl::StatusOr<int> Run(Options options, const Session& session) {
  if (options.engine != "itk") {
    return base::Error(absl::StatusCode::kUnimplemented, "ENGINE_NOT_AVAILABLE",
                       "this version computes N4 with ITK only; use --engine itk",
                       {{"available", "itk"}});
  }
  options.n4.iterations.clear();
  for (absl::string_view part : absl::StrSplit(options.iterations, absl::ByAnyChar("x,"))) {
    int count = 0;
    if (!absl::SimpleAtoi(part, &count) || count < 0 || count > 10'000 ||
        options.n4.iterations.size() == 8) {
      return WrongUsage("N4_OPTIONS",
                        "--iterations has one number of 0 to 10,000 for each of at most 8 levels, "
                        "like 50x50x50x50");
    }
    options.n4.iterations.push_back(count);
  }
  RETURN_IF_ERROR(CheckOutputImage(options.out, options.force));
  if (!options.bias_field.empty()) {
    RETURN_IF_ERROR(CheckOutputImage(options.bias_field, options.force));
  }
  ASSIGN_OR_RETURN(InputImage input, ReadInputImage(options.in, "--in"));
  if (const std::string modality = ModalityOf(input.history);
      !modality.empty() && modality != "MR") {
    session.Say(absl::StrCat("by its record the image is ", modality,
                             ": N4 is for MR, and leaves its values without their unit"));
  }
  Sidecar sidecar;
  sidecar.AddInput("image", input.sha256, 1, input.history);
  std::optional<InputImage> mask;
  if (!options.mask.empty()) {
    ASSIGN_OR_RETURN(mask, ReadInputImage(options.mask, "--mask"));
    sidecar.AddInput("mask", mask->sha256, 1, mask->history);
  }
  ordered_json parameters = {{"engine", options.engine},
                             {"engineVersion", imaging::N4EngineVersion()},
                             {"shrink", options.n4.shrink},
                             {"iterations", options.n4.iterations},
                             {"convergence", options.n4.convergence}};
  if (options.n4.spline_distance_mm) {
    parameters["splineDistanceMm"] = *options.n4.spline_distance_mm;
  } else {
    parameters["controlPoints"] = options.n4.control_points;
  }
  sidecar.AddStep("n4", parameters);
  ASSIGN_OR_RETURN(imaging::N4Result result,
                   Correct(input.volume, mask ? &mask->volume : nullptr, options.n4, session));
  if (!options.bias_field.empty()) {
    Sidecar field = sidecar;
    field.AddStep("bias-field", ordered_json::object());
    RETURN_IF_ERROR(WriteOutputImage(options.bias_field, result.bias_field, VoxelType::kFloat32,
                                     field, options.force)
                        .status());
  }
  ASSIGN_OR_RETURN(
      std::string digest,
      WriteOutputImage(options.out, result.corrected, VoxelType::kFloat32, sidecar, options.force));
  ASSIGN_OR_RETURN(std::vector<float> field,
                   imaging::ValuesInside(result.bias_field, mask ? &mask->volume : nullptr));
  imaging::Moments moments = imaging::ComputeMoments(field);
  json document = DescribeImage(digest, result.corrected.grid);
  document["biasField"] = {{"minimum", moments.minimum}, {"maximum", moments.maximum}};
  session.Print(document, absl::StrFormat("bias field between %.3f and %.3f", moments.minimum,
                                          moments.maximum));
  return kDone;
}

}  // namespace

void AddImageN4(CLI::App* image, Session& session) {
  auto* command = image->add_subcommand("n4", "correct the bias field of an MR image");
  auto options = std::make_shared<Options>();
  command->add_option("--in", options->in, "NIfTI-1 image")->required()->type_name("X");
  command->add_option("--out", options->out, "NIfTI-1 image to write")->required()->type_name("Y");
  command->add_option("--mask", options->mask, "where the field is fitted; default: above zero")
      ->type_name("M");
  command->add_option("--bias-field", options->bias_field, "also write the field, input / output")
      ->type_name("B");
  command->add_option("--shrink", options->n4.shrink, "how much coarser the field is fitted")
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
  command->add_option("--iterations", options->iterations, "at most, per level")
      ->capture_default_str();
  auto* distance = command->add_option("--spline-distance", options->n4.spline_distance_mm,
                                       "mm between knots at the first level");
  distance->type_name("MM")->check(CLI::Range(1.0, 10'000.0));
  command->add_option("--control-points", options->n4.control_points, "per axis at the first level")
      ->check(CLI::Range(4, 128))
      ->capture_default_str()
      ->type_name("N")
      ->excludes(distance);
  command->add_option("--convergence", options->n4.convergence, "threshold at which a level ends")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--engine", options->engine, "what computes it: itk (fast: not yet here)")
      ->check(CLI::IsMember({"fast", "itk"}))
      ->capture_default_str();
  AddForce(command, options->force);
  command->footer("Example: oncomesh image n4 --in t1.nii.gz --out t1-n4.nii.gz --shrink 4");
  OnRun(command, session, [options, &session] { return Run(*options, session); });
}

}  // namespace oncomesh::cli
