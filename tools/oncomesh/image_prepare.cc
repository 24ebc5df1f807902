// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/image_prepare.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "services/harmonisation/case_preparation.h"
#include "tools/oncomesh/image_files.h"

namespace oncomesh::cli {
namespace {

using harmonisation::CasePlan;
using harmonisation::PreparedCase;
using nlohmann::json;

struct Options {
  std::vector<std::string> in, modalities = {"CT"}, bias_field;
  std::string out, roi, normalise;
  std::vector<double> spacing;
  bool force = false;
};

absl::StatusOr<CasePlan> PlanOf(const Options& options) {
  CasePlan plan;
  for (const std::string& name : options.bias_field) {
    if (std::find(options.modalities.begin(), options.modalities.end(), name) ==
        options.modalities.end()) {
      return base::Error(absl::StatusCode::kInvalidArgument, "CASE_INVALID",
                         "--n4 names a modality that --modality does not");
    }
  }
  for (const std::string& name : options.modalities) {
    harmonisation::ModalityPlan modality;
    modality.modality = name;
    if (!options.normalise.empty()) {
      ASSIGN_OR_RETURN(modality.normalisation,
                       imaging::ParseNormalisationMethod(options.normalise));
    }
    modality.bias_field_correction = std::find(options.bias_field.begin(), options.bias_field.end(),
                                               name) != options.bias_field.end();
    plan.modalities.push_back(std::move(modality));
  }
  if (!options.spacing.empty()) {
    plan.spacing_mm = {options.spacing[0], options.spacing[1], options.spacing[2]};
  }
  plan.region = options.roi;
  RETURN_IF_ERROR(harmonisation::CheckCasePlan(plan));
  return plan;
}

// All that a folder of a prepared case may hold.
constexpr const char* kOutputs[] = {"CT", "PT", "MR", "mask"};

std::string OutputPath(const Options& options, absl::string_view name) {
  return absl::StrCat(options.out, "/", name, ".nii.gz");
}

// A folder holds one case: what an earlier run has left is not beside another run's grid.
absl::Status RemoveEarlier(const Options& options) {
  for (const char* name : kOutputs) {
    const std::string image = OutputPath(options, name);
    // The image first, so that one is never without its record.
    for (const std::string& path : {image, imaging::SidecarPath(image)}) {
      std::error_code error;
      std::filesystem::remove(path, error);
      if (error) return base::ErrnoStatus(error.value(), "remove an output of an earlier run");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<int> Run(const Options& options, const Session& session) {
  absl::StatusOr<CasePlan> planned = PlanOf(options);
  if (!planned.ok()) return AsWrongUsage(planned.status());
  const CasePlan plan = *std::move(planned);
  RETURN_IF_ERROR(base::MakeDirectories(options.out));
  auto path = [&](absl::string_view name) { return OutputPath(options, name); };
  for (const char* name : kOutputs) RETURN_IF_ERROR(CheckOutputImage(path(name), options.force));
  std::vector<std::string> files;
  size_t index = 0;
  for (const std::string& place : options.in) {
    ASSIGN_OR_RETURN(std::vector<std::string> some,
                     ListNamedFolder(place, WhichOf(index++, options.in.size(), "path", "--in")));
    files.insert(files.end(), some.begin(), some.end());
  }
  PreparedCase prepared;
  {
    Progress progress(session, "looking through", "files", files.size());
    size_t looked = 0;
    ASSIGN_OR_RETURN(prepared, harmonisation::PrepareCase(files, plan, [&] {
                       if (looked++ < files.size()) progress.Advance(1);
                       return true;
                     }));
  }
  if (options.force) RETURN_IF_ERROR(RemoveEarlier(options));
  json images = json::array();
  for (const harmonisation::PreparedImage& image : prepared.images) {
    ASSIGN_OR_RETURN(std::string digest,
                     WriteOutputImage(path(image.modality), image.volume,
                                      imaging::VoxelType::kFloat32, image.sidecar, options.force));
    images.push_back({{"modality", image.modality}, {"sha256", digest}});
  }
  json document = {
      {"images", images}, {"size", prepared.grid.size}, {"spacingMm", prepared.grid.spacing}};
  for (const harmonisation::LeftOutSeries& one : prepared.left_out) {
    session.Say(absl::StrCat("left out a ", one.modality, " series of ", one.objects,
                             " images: ", one.why));
    document["leftOut"].push_back({{"modality", one.modality},
                                   {"sha256", one.sha256},
                                   {"objects", one.objects},
                                   {"why", one.why}});
  }
  std::string text =
      absl::StrFormat("%d images on %d × %d × %d voxels", prepared.images.size(),
                      prepared.grid.size[0], prepared.grid.size[1], prepared.grid.size[2]);
  if (prepared.mask) {
    ASSIGN_OR_RETURN(std::string digest, WriteOutputImage(path("mask"), prepared.mask->volume,
                                                          imaging::VoxelType::kUint8,
                                                          prepared.mask->sidecar, options.force));
    document["mask"] = {{"sha256", digest}, {"voxels", prepared.mask_voxels}};
    absl::StrAppend(&text, ", ", prepared.mask_voxels, " of them in the region");
  }
  session.Print(document, text);
  return kDone;
}

}  // namespace

void AddImagePrepare(CLI::App* image, Session& session) {
  auto* command = image->add_subcommand(
      "prepare", "a patient's files to volumes on one grid, as a node prepares them for training");
  auto options = std::make_shared<Options>();
  command->add_option("--in", options->in, "folders or files of one patient, in any order")
      ->required()
      ->type_name("PATH…");
  command->add_option("--out", options->out, "folder for CT.nii.gz, PT.nii.gz, … and mask.nii.gz")
      ->required()
      ->type_name("DIR");
  command
      ->add_option("--modality", options->modalities,
                   "which; the first one's series gives the grid")
      ->delimiter(',')
      ->check(CLI::IsMember({"CT", "PT", "MR"}))
      ->capture_default_str()
      ->type_name("CT,PT,MR");
  command->add_option("--spacing", options->spacing, "mm of the common grid; default: the series'")
      ->delimiter(',')
      ->expected(3)
      ->type_name("x,y,z");
  command->add_option("--roi", options->roi, "region that becomes the mask; default: none")
      ->type_name("NAME");
  command->add_option("--normalise", options->normalise, "every image by itself")
      ->check(CLI::IsMember({"zscore", "minmax", "percentile"}));
  command->add_option("--n4", options->bias_field, "modalities whose bias field is corrected first")
      ->delimiter(',')
      ->check(CLI::IsMember({"MR"}))
      ->type_name("MR");
  command->add_flag("--force", options->force, "replace the case that the folder holds");
  command->footer(
      "PT becomes SUV by body weight. Beyond its image CT is air, everything else 0.\n"
      "Localisers (scouts) are left out; a region with slices left out is refused.\n\n"
      "Example: oncomesh image prepare --in PATIENT --out case --modality CT,PT --spacing 4,4,4 "
      "--roi GTV_Mass");
  OnRun(command, session, [options, &session] { return Run(*options, session); });
}

}  // namespace oncomesh::cli
