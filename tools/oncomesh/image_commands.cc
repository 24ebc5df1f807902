// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/image_commands.h"

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "libs/imaging/normalise.h"
#include "libs/imaging/resample.h"
#include "libs/imaging/series_files.h"
#include "libs/imaging/statistics.h"
#include "libs/imaging/suv.h"
#include "tools/oncomesh/image_files.h"
#include "tools/oncomesh/image_n4.h"
#include "tools/oncomesh/image_prepare.h"

namespace oncomesh::cli {
namespace {

using imaging::Sidecar;
using imaging::VoxelType;
using nlohmann::json;
using nlohmann::ordered_json;
namespace fs = std::filesystem;

std::string SizeText(const imaging::Grid& grid) {
  return absl::StrFormat("%d × %d × %d voxels of %.4g × %.4g × %.4g mm", grid.size[0], grid.size[1],
                         grid.size[2], grid.spacing[0], grid.spacing[1], grid.spacing[2]);
}

absl::StatusOr<imaging::LoadedSeries> LoadFolder(const std::string& folder,
                                                 const Session& session) {
  ASSIGN_OR_RETURN(std::vector<std::string> paths, ListNamedFolder(folder, "--series"));
  Progress progress(session, "reading the series", "files", paths.size());
  ASSIGN_OR_RETURN(imaging::LoadedSeries loaded, imaging::LoadSeries(paths, [&] {
                     progress.Advance(1);
                     return true;
                   }));
  if (loaded.other_files > 0) {
    session.Say(absl::StrCat("passed over ", loaded.other_files, " files that are no images"));
  }
  if (loaded.copies > 0) {
    session.Say(absl::StrCat("passed over ", loaded.copies, " copies of images"));
  }
  return loaded;
}

// ---- convert

struct ConvertOptions {
  std::string series, out, suv;
  bool force = false;
};

absl::StatusOr<int> Convert(const ConvertOptions& options, const Session& session) {
  RETURN_IF_ERROR(CheckOutputImage(options.out, options.force));
  ASSIGN_OR_RETURN(imaging::LoadedSeries loaded, LoadFolder(options.series, session));
  imaging::ImageSeries& series = loaded.series;
  Sidecar sidecar;
  sidecar.AddInput("series", imaging::SeriesDigest(loaded.sha256), loaded.sha256.size());
  sidecar.AddStep("assemble", {{"modality", series.modality}, {"slices", series.slices}});
  json document = {{"modality", series.modality}, {"slices", series.slices}};
  std::string remark;
  if (!options.suv.empty()) {
    if (!series.pet.has_value()) {
      return base::Error(absl::StatusCode::kFailedPrecondition, "SUV_NOT_PET",
                         "--suv is for PET series; leave it out");
    }
    ASSIGN_OR_RETURN(imaging::SuvKind kind, imaging::ParseSuvKind(options.suv));
    ASSIGN_OR_RETURN(imaging::SuvFactor factor, imaging::ComputeSuvFactor(*series.pet, kind));
    imaging::Scale(series.volume, factor.factor);
    sidecar.AddStep("suv", {{"kind", options.suv},
                            {"sourceUnits", factor.source_units},
                            {"decayRule", factor.decay_rule},
                            {"decayTimeS", factor.decay_time_s},
                            {"factor", factor.factor}});
    document["suv"] = {{"kind", options.suv}, {"factor", factor.factor}};
    remark = absl::StrCat(", SUV ", options.suv);
  }
  ASSIGN_OR_RETURN(
      std::string digest,
      WriteOutputImage(options.out, series.volume, VoxelType::kFloat32, sidecar, options.force));
  document.update(DescribeImage(digest, series.volume.grid));
  session.Print(document, absl::StrCat(series.modality, remark, ": ", series.slices, " slices, ",
                                       SizeText(series.volume.grid)));
  return kDone;
}

void AddConvert(CLI::App* image, Session& session) {
  auto* command = image->add_subcommand("convert", "DICOM series to NIfTI-1 and its sidecar");
  auto options = std::make_shared<ConvertOptions>();
  command->add_option("--series", options->series, "folder with one image series")
      ->required()
      ->type_name("DIR");
  command->add_option("--out", options->out, "X.nii or X.nii.gz; X.json is written beside it")
      ->required()
      ->type_name("FILE");
  command->add_option("--suv", options->suv, "PET as standardised uptake value: bw, lbm or bsa")
      ->check(CLI::IsMember({"bw", "lbm", "bsa"}));
  AddForce(command, options->force);
  command->footer(
      "Refuses a series whose slices make no volume, and says why.\n\n"
      "Example: oncomesh image convert --series PET/image --out pet.nii.gz --suv bw");
  OnRun(command, session, [options, &session] { return Convert(*options, session); });
}

// ---- mask

struct MaskOptions {
  std::string source, roi, series, out;
  bool force = false;
};

absl::StatusOr<int> Mask(const MaskOptions& options, const Session& session) {
  RETURN_IF_ERROR(CheckOutputImage(options.out, options.force));
  ASSIGN_OR_RETURN(std::string source,
                   ReadNamedFile(options.source, uint64_t{1} << 30, "--source"));
  ASSIGN_OR_RETURN(imaging::LoadedSeries loaded, LoadFolder(options.series, session));
  ASSIGN_OR_RETURN(imaging::LoadedMask mask,
                   imaging::MaskFromObject(source, options.roi, loaded.series));
  if (!mask.exact_name) {
    session.Say("took the one region whose name goes on after the given one");
  }
  if (mask.result.holes > 0) {
    session.Say(absl::StrCat("the region is not drawn on ", mask.result.holes,
                             " slices between others: the mask is empty there"));
  }
  Sidecar sidecar;
  sidecar.AddInput("regions", mask.sha256);
  sidecar.AddInput("series", imaging::SeriesDigest(loaded.sha256), loaded.sha256.size());
  sidecar.AddStep("mask", {{"source", mask.kind},
                           {"roi", options.roi},
                           {"nameMatch", mask.exact_name ? "exact" : "unique"},
                           {"holes", mask.result.holes},
                           {"rule", "voxel centre, even-odd"}});
  ASSIGN_OR_RETURN(std::string digest, WriteOutputImage(options.out, mask.result.mask,
                                                        VoxelType::kUint8, sidecar, options.force));
  json document = {{"voxels", mask.result.voxels},
                   {"volumeMl", mask.result.volume_ml},
                   {"slices", mask.result.slices},
                   {"holes", mask.result.holes},
                   {"contours", mask.result.contours}};
  document.update(DescribeImage(digest, mask.result.mask.grid));
  session.Print(document,
                absl::StrFormat("%d voxels inside, %.2f ml, on %d slices", mask.result.voxels,
                                mask.result.volume_ml, mask.result.slices));
  return kDone;
}

void AddMask(CLI::App* image, Session& session) {
  auto* command =
      image->add_subcommand("mask", "RTSTRUCT or SEG to a mask on the grid of a series");
  auto options = std::make_shared<MaskOptions>();
  command->add_option("--source", options->source, "RT Structure Set or Segmentation")
      ->required()
      ->type_name("FILE");
  command
      ->add_option("--roi", options->roi,
                   "name of the region; GTV finds GTV_1 when no other name fits")
      ->required()
      ->type_name("NAME");
  command->add_option("--series", options->series, "folder with the series it was drawn on")
      ->required()
      ->type_name("DIR");
  command->add_option("--out", options->out, "M.nii or M.nii.gz")->required()->type_name("FILE");
  AddForce(command, options->force);
  command->footer(
      "A voxel is inside when its centre is; contours of a slice combine by the even-odd rule.\n"
      "Slices that are not drawn between others stay empty and are told (\"holes\").\n\n"
      "Example: oncomesh image mask --source CT/mask/RS.dcm --roi GTV_Mass --series CT/image "
      "--out gtv.nii.gz");
  OnRun(command, session, [options, &session] { return Mask(*options, session); });
}

// ---- resample

struct ResampleOptions {
  std::string in, out, interpolator = "linear", align = "centre", reference;
  std::vector<double> spacing;
  double outside = 0;
  bool force = false;
};

absl::StatusOr<int> ResampleImage(const ResampleOptions& options, const Session& session) {
  if (options.spacing.empty() && options.reference.empty()) {
    return WrongUsage("SPACING_MISSING", "give --spacing x,y,z or --reference IMAGE");
  }
  RETURN_IF_ERROR(CheckOutputImage(options.out, options.force));
  ASSIGN_OR_RETURN(InputImage input, ReadInputImage(options.in, "--in"));
  ASSIGN_OR_RETURN(imaging::Interpolator interpolator,
                   imaging::ParseInterpolator(options.interpolator));
  Sidecar sidecar;
  sidecar.AddInput("image", input.sha256, 1, input.history);
  ordered_json parameters;
  imaging::Grid grid;
  if (!options.reference.empty()) {
    ASSIGN_OR_RETURN(InputImage reference, ReadInputImage(options.reference, "--reference"));
    grid = reference.volume.grid;
    sidecar.AddInput("reference", reference.sha256, 1, reference.history);
    parameters["grid"] = "reference";
  } else {
    bool corner = options.align == "corner";
    ASSIGN_OR_RETURN(
        grid, imaging::GridWithSpacing(
                  input.volume.grid, {options.spacing[0], options.spacing[1], options.spacing[2]},
                  corner ? imaging::Alignment::kCorner : imaging::Alignment::kCentre));
    parameters["spacingMm"] = options.spacing;
    parameters["align"] = options.align;
  }
  parameters["interpolator"] = options.interpolator;
  parameters["outside"] = options.outside;
  sidecar.AddStep("resample", parameters);
  ASSIGN_OR_RETURN(imaging::Volume output, imaging::Resample(input.volume, grid, interpolator,
                                                             static_cast<float>(options.outside)));
  ASSIGN_OR_RETURN(std::string digest, WriteOutputImage(options.out, output, VoxelType::kFloat32,
                                                        sidecar, options.force));
  session.Print(DescribeImage(digest, grid), SizeText(grid));
  return kDone;
}

void AddResample(CLI::App* image, Session& session) {
  auto* command = image->add_subcommand("resample", "an image on voxels of another size");
  auto options = std::make_shared<ResampleOptions>();
  command->add_option("--in", options->in, "NIfTI-1 image")->required()->type_name("X");
  command->add_option("--out", options->out, "NIfTI-1 image to write")->required()->type_name("Y");
  auto* spacing = command->add_option("--spacing", options->spacing, "mm along x, y and z")
                      ->check(CLI::PositiveNumber)
                      ->delimiter(',')
                      ->expected(3)
                      ->type_name("x,y,z");
  auto* reference = command
                        ->add_option("--reference", options->reference,
                                     "instead of --spacing: the grid of this image")
                        ->type_name("R");
  spacing->excludes(reference);
  command->add_option("--interpolator", options->interpolator, "nearest, linear or bspline3")
      ->check(CLI::IsMember({"nearest", "linear", "bspline3"}))
      ->capture_default_str();
  command
      ->add_option("--align", options->align,
                   "what old and new grid have in common: their centre or their first corner")
      ->check(CLI::IsMember({"centre", "corner"}))
      ->capture_default_str();
  command->add_option("--outside", options->outside, "value beyond the image")
      ->capture_default_str();
  AddForce(command, options->force);
  command->footer(
      "Example: oncomesh image resample --in ct.nii.gz --out ct2.nii.gz --spacing 2,2,2");
  OnRun(command, session, [options, &session] { return ResampleImage(*options, session); });
}

// ---- normalise

struct NormaliseOptions {
  std::string method, out, model;
  std::vector<std::string> in, masks;
  std::vector<double> percentiles = {1, 99};
  bool force = false;
};

std::string BaseName(const std::string& path) { return fs::path(path).filename().string(); }

absl::Status CheckNormalise(const NormaliseOptions& options) {
  if (!options.masks.empty() && options.masks.size() != options.in.size()) {
    return WrongUsage("MASK_COUNT", "give no mask, or one for each image in the same order");
  }
  if (options.percentiles[0] >= options.percentiles[1]) {
    return WrongUsage("PERCENTILES_INVALID", "--percentiles takes the lower one first, like 1,99");
  }
  std::set<std::string> names;
  for (const std::string& path : options.in) {
    if (!names.insert(BaseName(path)).second) {
      return WrongUsage("OUTPUT_NAME",
                        "two images have the same base name; their outputs would be one file");
    }
  }
  RETURN_IF_ERROR(base::MakeDirectories(options.out));
  for (const std::string& name : names) {
    RETURN_IF_ERROR(CheckOutputImage(absl::StrCat(options.out, "/", name), options.force));
  }
  return absl::OkStatus();
}

struct CaseValues {
  InputImage image;
  std::vector<float> values;
  std::string mask_sha256;
  ordered_json mask_history;
};

absl::StatusOr<CaseValues> ReadCase(const NormaliseOptions& options, size_t index) {
  CaseValues out;
  ASSIGN_OR_RETURN(out.image, ReadInputImage(options.in[index],
                                             WhichOf(index, options.in.size(), "image", "--in")));
  std::optional<InputImage> mask;
  if (!options.masks.empty()) {
    ASSIGN_OR_RETURN(mask, ReadInputImage(options.masks[index],
                                          WhichOf(index, options.masks.size(), "mask", "--mask")));
    out.mask_sha256 = mask->sha256;
    out.mask_history = mask->history;
  }
  ASSIGN_OR_RETURN(out.values,
                   imaging::ValuesInside(out.image.volume, mask ? &mask->volume : nullptr));
  return out;
}

// The model in the file; nothing when there is no such file.
absl::StatusOr<std::optional<imaging::NormalisationModel>> ReadModel(
    const std::string& path, imaging::NormalisationMethod method, std::string& sha256) {
  std::error_code error;
  if (path.empty() || !fs::exists(path, error)) {
    return std::optional<imaging::NormalisationModel>();
  }
  ASSIGN_OR_RETURN(std::string text, ReadNamedFile(path, 1 << 20, "--model"));
  ASSIGN_OR_RETURN(imaging::NormalisationModel model, imaging::ParseNormalisationModel(text));
  if (model.method != method) {
    return base::Error(absl::StatusCode::kInvalidArgument, "MODEL_OTHER_METHOD",
                       "the model is of another method; give its method, or another --model");
  }
  sha256 = crypto::Sha256Hex(text);
  return std::optional<imaging::NormalisationModel>(model);
}

absl::StatusOr<int> Normalise(const NormaliseOptions& options, const Session& session) {
  ASSIGN_OR_RETURN(imaging::NormalisationMethod method,
                   imaging::ParseNormalisationMethod(options.method));
  RETURN_IF_ERROR(CheckNormalise(options));
  imaging::PercentileRange range = {options.percentiles[0], options.percentiles[1]};
  std::string model_sha256;
  ASSIGN_OR_RETURN(auto shared, ReadModel(options.model, method, model_sha256));
  if (!options.model.empty() && !shared) {
    // Fitted on the values of all images together.
    std::vector<float> pooled;
    for (size_t i = 0; i < options.in.size(); ++i) {
      ASSIGN_OR_RETURN(CaseValues one, ReadCase(options, i));
      pooled.insert(pooled.end(), one.values.begin(), one.values.end());
    }
    ASSIGN_OR_RETURN(shared, imaging::FitNormalisation(method, pooled, range));
    std::string text = imaging::ToJson(*shared).dump(2) + "\n";
    RETURN_IF_ERROR(base::WriteFileAtomically(options.model, text, 0644, options.force));
    model_sha256 = crypto::Sha256Hex(text);
  }
  json images = json::array();
  std::vector<std::vector<std::string>> rows = {{"IMAGE", "SHIFT", "SCALE"}};
  auto progress = std::make_unique<Progress>(session, "normalising", "images", options.in.size());
  for (size_t i = 0; i < options.in.size(); ++i) {
    ASSIGN_OR_RETURN(CaseValues one, ReadCase(options, i));
    imaging::NormalisationModel model;
    if (shared) {
      model = *shared;
    } else {
      ASSIGN_OR_RETURN(model, imaging::FitNormalisation(method, one.values, range));
    }
    imaging::Apply(model, one.image.volume);
    Sidecar sidecar;
    sidecar.AddInput("image", one.image.sha256, 1, one.image.history);
    if (!one.mask_sha256.empty()) sidecar.AddInput("mask", one.mask_sha256, 1, one.mask_history);
    if (!model_sha256.empty()) sidecar.AddInput("model", model_sha256);
    ordered_json parameters = {
        {"method", options.method}, {"shift", model.shift}, {"scale", model.scale}};
    if (model.clip_low) {
      parameters["percentiles"] = {model.lower_percent, model.upper_percent};
      parameters["clip"] = {*model.clip_low, *model.clip_high};
    }
    sidecar.AddStep("normalise", parameters);
    ASSIGN_OR_RETURN(
        std::string digest,
        WriteOutputImage(absl::StrCat(options.out, "/", BaseName(options.in[i])), one.image.volume,
                         VoxelType::kFloat32, sidecar, options.force));
    images.push_back(
        {{"index", i}, {"sha256", digest}, {"shift", model.shift}, {"scale", model.scale}});
    rows.push_back({absl::StrCat(i + 1), absl::StrFormat("%.6g", model.shift),
                    absl::StrFormat("%.6g", model.scale)});
    progress->Advance(1);
  }
  progress.reset();  // its last line stands before the result
  session.Print({{"method", options.method}, {"images", images}}, Table(rows));
  return kDone;
}

void AddNormalise(CLI::App* image, Session& session) {
  auto* command = image->add_subcommand("normalise", "bring intensities to a common scale");
  auto options = std::make_shared<NormaliseOptions>();
  command
      ->add_option("--method", options->method,
                   "zscore, minmax or percentile (of nyul, whitestripe, kde, histogram in later "
                   "versions)")
      ->required()
      ->check(CLI::IsMember(
          {"zscore", "minmax", "percentile", "nyul", "whitestripe", "kde", "histogram"}));
  command->add_option("--in", options->in, "NIfTI-1 images")->required()->type_name("X…");
  command->add_option("--out", options->out, "folder for images of the same base names")
      ->required()
      ->type_name("DIR");
  command->add_option("--mask", options->masks, "where to look, one per image in the same order")
      ->type_name("M…");
  command
      ->add_option("--model", options->model,
                   "fitted on all images together and written when absent, applied when present")
      ->type_name("FILE");
  command->add_option("--percentiles", options->percentiles, "of method percentile: become 0 and 1")
      ->delimiter(',')
      ->expected(2)
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str()
      ->type_name("LOW,HIGH");
  AddForce(command, options->force);
  command->footer(
      "Without --model each image is normalised by itself.\n\n"
      "Example: oncomesh image normalise --method zscore --in a.nii.gz b.nii.gz --out normalised");
  OnRun(command, session, [options, &session] { return Normalise(*options, session); });
}

// ---- quality

struct QualityOptions {
  std::string in, mask;
};

json MomentsJson(const imaging::Moments& moments) {
  return {{"count", moments.count},
          {"mean", moments.mean},
          {"standardDeviation", moments.standard_deviation},
          {"minimum", moments.minimum},
          {"maximum", moments.maximum}};
}

absl::StatusOr<int> AssessImage(const QualityOptions& options, const Session& session) {
  ASSIGN_OR_RETURN(InputImage input, ReadInputImage(options.in, "--in"));
  std::optional<InputImage> mask;
  if (!options.mask.empty()) {
    ASSIGN_OR_RETURN(mask, ReadInputImage(options.mask, "--mask"));
  }
  ASSIGN_OR_RETURN(imaging::Quality quality,
                   imaging::AssessQuality(input.volume, mask ? &mask->volume : nullptr));
  json document = DescribeImage(input.sha256, input.volume.grid);
  document["voxels"] = MomentsJson(quality.all);
  document["percentiles"] = {{"p1", quality.p1}, {"p50", quality.p50}, {"p99", quality.p99}};
  document["notFinite"] = quality.not_finite;
  document["constantSlices"] = quality.constant_slices;
  document["clippedHigh"] = quality.clipped_high;
  document["object"] = MomentsJson(quality.object);
  document["objectFrom"] = mask ? "mask" : "otsu";
  document["background"] = quality.background ? MomentsJson(*quality.background) : json();
  std::vector<std::vector<std::string>> rows = {
      {"FIGURE", "VALUE"},
      {"size", SizeText(input.volume.grid)},
      {"mean", absl::StrFormat("%.6g", quality.all.mean)},
      {"standard deviation", absl::StrFormat("%.6g", quality.all.standard_deviation)},
      {"percentiles 1, 50, 99",
       absl::StrFormat("%.6g, %.6g, %.6g", quality.p1, quality.p50, quality.p99)},
      {"not finite", absl::StrCat(quality.not_finite)}};
  for (auto [name, key, value] :
       {std::tuple{"signal to noise in the object", "snr", quality.snr},
        std::tuple{"signal to noise against the background", "snrDietrich", quality.snr_dietrich},
        std::tuple{"contrast to noise", "cnr", quality.cnr},
        std::tuple{"entropy focus criterion", "efc", quality.entropy_focus},
        std::tuple{"foreground to background energy", "fber", quality.fber}}) {
    document[key] = value ? json(*value) : json();
    rows.push_back({name, value ? absl::StrFormat("%.4g", *value) : "-"});
  }
  session.Print(document, Table(rows));
  return kDone;
}

void AddQuality(CLI::App* image, Session& session) {
  auto* command = image->add_subcommand("quality", "quality figures of an image");
  auto options = std::make_shared<QualityOptions>();
  command->add_option("--in", options->in, "NIfTI-1 image")->required()->type_name("X");
  command->add_option("--mask", options->mask, "the object; default: above Otsu's threshold")
      ->type_name("M");
  command->footer("Example: oncomesh -o json image quality --in t1.nii.gz");
  OnRun(command, session, [options, &session] { return AssessImage(*options, session); });
}

}  // namespace

void AddImageCommands(CLI::App& app, Session& session) {
  auto* image = app.add_subcommand("image", "convert, mask, resample and normalise images");
  image->require_subcommand(1);
  image->footer("Example: oncomesh image convert --series CT/image --out ct.nii.gz");
  AddConvert(image, session);
  AddMask(image, session);
  AddResample(image, session);
  AddImageN4(image, session);
  AddNormalise(image, session);
  AddQuality(image, session);
  AddImagePrepare(image, session);
}

}  // namespace oncomesh::cli
