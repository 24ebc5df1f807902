// SPDX-License-Identifier: Apache-2.0
#include "services/harmonisation/case_preparation.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "libs/dicom/series_image.h"
#include "libs/imaging/case_limits.h"
#include "libs/imaging/itk/n4.h"
#include "libs/imaging/resample.h"
#include "libs/imaging/series_files.h"
#include "libs/imaging/statistics.h"
#include "libs/imaging/suv.h"

namespace oncomesh::harmonisation {
namespace {

using absl::StatusCode;
using imaging::CheckGoOn;
using imaging::GoOn;
using imaging::ImageSeries;
using imaging::LoadedSeries;

absl::Status Invalid(absl::string_view why) {
  return base::Error(StatusCode::kInvalidArgument, "CASE_INVALID", why);
}

// The files of a series. One that has localisers only is never the one that is meant.
struct SeriesFiles {
  std::vector<std::string> paths;
  size_t localisers = 0;
  std::set<std::string> localisers_sha256;

  bool localiser() const { return localisers == paths.size(); }
};

// The files of a patient, by what they are.
struct SortedFiles {
  std::map<std::pair<std::string, std::string>, SeriesFiles> series;  // by modality and UID
  std::vector<std::string> regions;  // structure sets and segmentations
};

absl::StatusOr<SortedFiles> Sort(const std::vector<std::string>& paths, const GoOn& go_on) {
  SortedFiles out;
  for (const std::string& path : paths) {
    RETURN_IF_ERROR(CheckGoOn(go_on));
    ASSIGN_OR_RETURN(std::string bytes, base::ReadFile(path));
    auto summary = dicom::Summarise(bytes);
    if (!summary.ok() && !imaging::HasDicomMagic(bytes)) continue;
    RETURN_IF_ERROR(summary.status());
    if (summary->modality == "RTSTRUCT" || summary->modality == "SEG") {
      out.regions.push_back(path);
    } else if (summary->has_pixels) {
      SeriesFiles& series = out.series[{summary->modality, summary->series_uid}];
      series.paths.push_back(path);
      if (summary->localiser) {
        ++series.localisers;
        series.localisers_sha256.insert(crypto::Sha256Hex(bytes));
      }
    }
  }
  return out;
}

struct ChosenSeries {
  std::vector<std::string> paths;
  std::vector<LeftOutSeries> left_out;
};

absl::StatusOr<ChosenSeries> ChooseSeries(const SortedFiles& files, const ModalityPlan& plan) {
  ChosenSeries chosen;
  size_t found = 0;
  for (const auto& [key, series] : files.series) {
    if (key.first != plan.modality) continue;
    if (!plan.series_uid.empty() && key.second != plan.series_uid) continue;
    if (plan.series_uid.empty() && series.localiser()) {
      const std::set<std::string>& digests = series.localisers_sha256;
      chosen.left_out.push_back({plan.modality,
                                 imaging::SeriesDigest({digests.begin(), digests.end()}),
                                 digests.size(), "localiser"});
      continue;
    }
    ++found;
    chosen.paths = series.paths;
  }
  // Not by UID, which differs between a patient's files and the released ones.
  std::sort(chosen.left_out.begin(), chosen.left_out.end(),
            [](const LeftOutSeries& a, const LeftOutSeries& b) { return a.sha256 < b.sha256; });
  if (found == 0) {
    return base::Error(StatusCode::kFailedPrecondition, "CASE_MODALITY_MISSING",
                       absl::StrCat("the case has no series of modality ", plan.modality,
                                    chosen.left_out.empty() ? "" : " but localisers"),
                       {{"modality", plan.modality}});
  }
  if (found > 1) {
    return base::Error(StatusCode::kFailedPrecondition, "CASE_AMBIGUOUS",
                       absl::StrCat("the case has ", found, " series of modality ", plan.modality,
                                    "; name the one that is meant"),
                       {{"modality", plan.modality}, {"series", absl::StrCat(found)}});
  }
  return chosen;
}

// One modality at its own resolution.
struct Assembled {
  LoadedSeries loaded;
  std::vector<LeftOutSeries> left_out;
  imaging::Sidecar sidecar;
  float outside = 0;
};

absl::Status Normalise(const ModalityPlan& plan, Assembled& image) {
  if (!plan.normalisation) return absl::OkStatus();
  imaging::Volume& volume = image.loaded.series.volume;
  ASSIGN_OR_RETURN(std::vector<float> values, imaging::ValuesInside(volume, nullptr));
  ASSIGN_OR_RETURN(imaging::NormalisationModel model,
                   imaging::FitNormalisation(*plan.normalisation, values));
  imaging::Apply(model, volume);
  imaging::Volume outside;
  outside.voxels = {image.outside};
  imaging::Apply(model, outside);
  image.outside = outside.voxels[0];
  nlohmann::ordered_json parameters = {{"method", imaging::NormalisationMethodName(model.method)},
                                       {"shift", model.shift},
                                       {"scale", model.scale}};
  if (model.clip_low) {
    parameters["percentiles"] = {model.lower_percent, model.upper_percent};
    parameters["clip"] = {*model.clip_low, *model.clip_high};
  }
  image.sidecar.AddStep("normalise", parameters);
  return absl::OkStatus();
}

absl::StatusOr<Assembled> Assemble(const SortedFiles& files, const ModalityPlan& plan,
                                   const GoOn& go_on) {
  ASSIGN_OR_RETURN(ChosenSeries chosen, ChooseSeries(files, plan));
  Assembled out;
  out.left_out = std::move(chosen.left_out);
  ASSIGN_OR_RETURN(out.loaded, imaging::LoadSeries(chosen.paths, go_on));
  ImageSeries& series = out.loaded.series;
  out.sidecar.AddInput("series", imaging::SeriesDigest(out.loaded.sha256),
                       out.loaded.sha256.size());
  nlohmann::ordered_json assemble = {{"modality", series.modality}, {"slices", series.slices}};
  for (const LeftOutSeries& one : out.left_out) {
    assemble["leftOut"].push_back(
        {{"sha256", one.sha256}, {"objects", one.objects}, {"why", one.why}});
  }
  out.sidecar.AddStep("assemble", assemble);
  if (series.pet) {
    ASSIGN_OR_RETURN(imaging::SuvFactor suv,
                     imaging::ComputeSuvFactor(*series.pet, imaging::SuvKind::kBodyWeight));
    imaging::Scale(series.volume, suv.factor);
    out.sidecar.AddStep("suv", {{"kind", "bw"},
                                {"sourceUnits", suv.source_units},
                                {"decayRule", suv.decay_rule},
                                {"decayTimeS", suv.decay_time_s},
                                {"factor", suv.factor}});
  }
  if (plan.bias_field_correction) {
    imaging::N4Options options;
    ASSIGN_OR_RETURN(imaging::N4Result corrected,
                     imaging::CorrectBiasField(series.volume, nullptr, options,
                                               [&](size_t, size_t) { return !go_on || go_on(); }));
    series.volume = std::move(corrected.corrected);
    out.sidecar.AddStep("n4", {{"engine", "itk"},
                               {"engineVersion", imaging::N4EngineVersion()},
                               {"shrink", options.shrink},
                               {"iterations", options.iterations},
                               {"convergence", options.convergence},
                               {"controlPoints", options.control_points}});
    RETURN_IF_ERROR(CheckGoOn(go_on));
  }
  out.outside = dicom::OutsideValue(plan.modality);
  RETURN_IF_ERROR(Normalise(plan, out));
  return out;
}

// Puts an image onto the common grid and says so.
absl::StatusOr<PreparedImage> Place(Assembled image, const ModalityPlan& plan,
                                    const imaging::Grid& grid, const std::string& grid_source) {
  PreparedImage out;
  out.modality = plan.modality;
  out.sidecar = std::move(image.sidecar);
  ASSIGN_OR_RETURN(out.volume, imaging::Resample(image.loaded.series.volume, grid,
                                                 imaging::Interpolator::kLinear, image.outside));
  out.sidecar.AddStep("resample", {{"grid", grid_source},
                                   {"spacingMm", grid.spacing},
                                   {"align", "centre"},
                                   {"interpolator", "linear"},
                                   {"outside", image.outside}});
  return out;
}

// A structure set or segmentation that has the region, and the series of the case it refers to.
struct RegionSource {
  std::string bytes;
  size_t series;
};

// Chooses among the objects with the region: those drawn on the first series before the others.
absl::StatusOr<RegionSource> FindRegionSource(const SortedFiles& files, const CasePlan& plan,
                                              const std::vector<ImageSeries>& series,
                                              const GoOn& go_on) {
  // By the series they were drawn on; last those that name none but share its frame of reference.
  std::vector<std::vector<RegionSource>> found(series.size() + 1);
  std::set<std::string> seen;
  bool ambiguous = false;
  for (const std::string& path : files.regions) {
    RETURN_IF_ERROR(CheckGoOn(go_on));
    ASSIGN_OR_RETURN(std::string bytes, base::ReadFile(path));
    if (!seen.insert(bytes).second) continue;
    ASSIGN_OR_RETURN(imaging::RegionList list, imaging::ListRegions(bytes, go_on));
    auto region = imaging::FindRegion(list.names, plan.region);
    ambiguous = ambiguous || base::ReasonOf(region.status()) == "ROI_AMBIGUOUS";
    if (!region.ok()) continue;
    size_t drawn_on = 0;
    while (drawn_on < series.size() &&
           std::find(list.referenced_series.begin(), list.referenced_series.end(),
                     series[drawn_on].series_uid) == list.referenced_series.end()) {
      ++drawn_on;
    }
    if (drawn_on < series.size()) {
      found[drawn_on].push_back({std::move(bytes), drawn_on});
    } else if (list.referenced_series.empty() && !list.frames[*region].empty() &&
               list.frames[*region] == series[0].frame_of_reference_uid) {
      found.back().push_back({std::move(bytes), 0});
    }
  }
  for (std::vector<RegionSource>& sources : found) {
    if (sources.size() == 1) return std::move(sources[0]);
    if (sources.size() > 1) ambiguous = true;
    if (ambiguous) break;
  }
  if (ambiguous) {
    return base::Error(StatusCode::kInvalidArgument, "ROI_AMBIGUOUS",
                       "more than one region of the case fits the name; give the whole name");
  }
  return base::Error(StatusCode::kNotFound, "ROI_NOT_FOUND",
                     "no structure set or segmentation of the prepared series has a region of "
                     "this name");
}

}  // namespace

absl::Status CheckCasePlan(const CasePlan& plan) {
  if (plan.modalities.empty() || plan.modalities.size() > imaging::kMaxCaseModalities) {
    return Invalid("a case has 1 to 8 modalities");
  }
  std::set<std::string> names;
  for (const ModalityPlan& one : plan.modalities) {
    if (!imaging::IsCaseModality(one.modality)) {
      return Invalid("a modality is CT, PT or MR");
    }
    if (!names.insert(one.modality).second) return Invalid("each modality stands once");
    // Hounsfield units and uptake have no such field, and what it does to them means nothing.
    if (one.bias_field_correction && one.modality != "MR") {
      return Invalid("bias field correction is for MR only");
    }
  }
  if (plan.spacing_mm) {
    for (double value : *plan.spacing_mm) {
      if (!imaging::IsCaseSpacing(value)) return Invalid("a spacing is 0.1 to 100 mm");
    }
  }
  if (plan.region.size() > imaging::kMaxRegionName)
    return Invalid("the name of a region has at most 64 characters");
  return absl::OkStatus();
}

absl::StatusOr<PreparedCase> PrepareCase(const std::vector<std::string>& paths,
                                         const CasePlan& plan, const GoOn& go_on) {
  std::vector<PreparedImage> images;
  std::optional<PreparedImage> mask;
  auto keep = [&](PreparedImage image) {
    if (image.modality.empty()) {
      mask = std::move(image);
    } else {
      images.push_back(std::move(image));
    }
    return absl::OkStatus();
  };
  ASSIGN_OR_RETURN(PreparedCase out, PrepareCase(paths, plan, keep, go_on));
  out.images = std::move(images);
  out.mask = std::move(mask);
  return out;
}

absl::StatusOr<PreparedCase> PrepareCase(const std::vector<std::string>& paths,
                                         const CasePlan& plan, const KeepImage& keep,
                                         const GoOn& go_on) {
  RETURN_IF_ERROR(CheckCasePlan(plan));
  ASSIGN_OR_RETURN(SortedFiles files, Sort(paths, go_on));
  PreparedCase out;
  // What is kept of each series when its voxels are gone: where it is and what it is called.
  std::vector<ImageSeries> series;
  std::vector<std::pair<std::string, size_t>> sources;  // digest and objects of each
  for (const ModalityPlan& modality : plan.modalities) {
    ASSIGN_OR_RETURN(Assembled image, Assemble(files, modality, go_on));
    const ImageSeries& loaded = image.loaded.series;
    ImageSeries kept;
    kept.volume.grid = loaded.volume.grid;
    kept.modality = loaded.modality;
    kept.series_uid = loaded.series_uid;
    kept.frame_of_reference_uid = loaded.frame_of_reference_uid;
    if (series.empty()) {
      out.grid = loaded.volume.grid;
      if (plan.spacing_mm) {
        ASSIGN_OR_RETURN(out.grid, imaging::GridWithSpacing(out.grid, *plan.spacing_mm,
                                                            imaging::Alignment::kCentre));
      }
      if (out.grid.voxels() > imaging::kMaxCaseVoxels) {
        return base::Error(StatusCode::kInvalidArgument, "GRID_INVALID",
                           "the grid of the case has more than 2^28 voxels; ask for a larger "
                           "spacing");
      }
    } else if (kept.frame_of_reference_uid.empty() ||
               kept.frame_of_reference_uid != series[0].frame_of_reference_uid) {
      return base::Error(StatusCode::kFailedPrecondition, "CASE_OTHER_FRAME",
                         absl::StrCat("the ", modality.modality,
                                      " series is in another frame of "
                                      "reference than the first one; register them before"),
                         {{"modality", modality.modality}});
    }
    series.push_back(std::move(kept));
    sources.emplace_back(imaging::SeriesDigest(image.loaded.sha256), image.loaded.sha256.size());
    out.left_out.insert(out.left_out.end(), image.left_out.begin(), image.left_out.end());
    const std::vector<std::string> used = image.loaded.sha256;
    out.used_sha256.insert(out.used_sha256.end(), used.begin(), used.end());
    ASSIGN_OR_RETURN(PreparedImage placed,
                     Place(std::move(image), modality, out.grid, sources[0].first));
    placed.used_sha256 = used;
    RETURN_IF_ERROR(keep(std::move(placed)));
    RETURN_IF_ERROR(CheckGoOn(go_on));
  }
  if (plan.region.empty()) return out;

  ASSIGN_OR_RETURN(RegionSource source, FindRegionSource(files, plan, series, go_on));
  ASSIGN_OR_RETURN(imaging::LoadedMask mask, imaging::MaskFromObject(source.bytes, plan.region,
                                                                     series[source.series], go_on));
  if (mask.result.holes > 0) {
    return base::Error(
        StatusCode::kFailedPrecondition, "ROI_HOLES",
        absl::StrCat("the region is not drawn on ", mask.result.holes,
                     " slices between others; draw it there, or give each separate part a "
                     "region of its own"),
        {{"slices", absl::StrCat(mask.result.holes)}});
  }
  out.used_sha256.push_back(mask.sha256);
  PreparedImage image;
  image.sidecar.AddInput("regions", mask.sha256);
  // On whose grid it is filled.
  image.sidecar.AddInput("series", sources[source.series].first, sources[source.series].second);
  image.sidecar.AddStep("mask", {{"source", mask.kind},
                                 {"roi", plan.region},
                                 {"nameMatch", mask.exact_name ? "exact" : "unique"},
                                 {"series", series[source.series].modality},
                                 {"rule", "voxel centre, even-odd"}});
  ASSIGN_OR_RETURN(image.volume, imaging::ResampleMask(mask.result.mask, out.grid));
  image.sidecar.AddStep("resample", {{"grid", sources[0].first},
                                     {"spacingMm", out.grid.spacing},
                                     {"align", "centre"},
                                     {"interpolator", "linear"},
                                     {"threshold", imaging::kInside}});
  out.mask_voxels =
      static_cast<size_t>(std::count(image.volume.voxels.begin(), image.volume.voxels.end(), 1.0f));
  if (out.mask_voxels == 0) {
    return base::Error(StatusCode::kFailedPrecondition, "ROI_EMPTY",
                       "the region contains no voxel of the common grid; use a smaller spacing");
  }
  image.used_sha256 = {mask.sha256};
  RETURN_IF_ERROR(keep(std::move(image)));
  return out;
}

}  // namespace oncomesh::harmonisation
