// SPDX-License-Identifier: Apache-2.0
#include "services/harmonisation/case_desk.h"

#include <chrono>
#include <set>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "libs/dicom/series_image.h"
#include "libs/imaging/nifti.h"
#include "libs/imaging/series_assembly.h"
#include "libs/imaging/suv.h"

namespace oncomesh::harmonisation {
namespace {

using absl::StatusCode;

constexpr int kMaxObjects = 20000;

absl::Status Invalid(absl::string_view why) {
  return base::Error(StatusCode::kInvalidArgument, "CASE_INVALID", why);
}

// An object that no longer has the bytes of its name.
absl::Status Corrupt() {
  return base::Error(StatusCode::kDataLoss, "OBJECT_CORRUPT",
                     "an object in the store does not have the bytes of its name; restore it or "
                     "release it again");
}

void Describe(const imaging::Grid& grid, v1::VoxelGrid& out) {
  for (size_t axis = 0; axis < 3; ++axis) {
    out.add_size(grid.size[axis]);
    out.add_spacing_mm(grid.spacing[axis]);
    out.add_origin_mm(grid.origin[axis]);
    for (double value : grid.direction[axis]) out.add_direction(value);
  }
}

absl::StatusOr<CasePlan> PlanOf(const v1::PrepareCaseRequest& request) {
  CasePlan plan;
  for (const v1::ModalityRequest& one : request.modalities()) {
    ModalityPlan modality;
    modality.modality = one.modality();
    modality.series_uid = one.series_uid();
    modality.bias_field_correction = one.bias_field_correction();
    switch (one.normalisation()) {
      case v1::NORMALISATION_UNSPECIFIED:
        break;
      case v1::NORMALISATION_ZSCORE:
        modality.normalisation = imaging::NormalisationMethod::kZscore;
        break;
      case v1::NORMALISATION_MINMAX:
        modality.normalisation = imaging::NormalisationMethod::kMinmax;
        break;
      case v1::NORMALISATION_PERCENTILE:
        modality.normalisation = imaging::NormalisationMethod::kPercentile;
        break;
      default:
        return Invalid("an unknown normalisation");
    }
    plan.modalities.push_back(std::move(modality));
  }
  if (request.spacing_mm_size() == 3) {
    plan.spacing_mm = {request.spacing_mm(0), request.spacing_mm(1), request.spacing_mm(2)};
  } else if (request.spacing_mm_size() != 0) {
    return Invalid("a spacing has three numbers, or there is none");
  }
  plan.region = request.region();
  RETURN_IF_ERROR(CheckCasePlan(plan));
  return plan;
}

}  // namespace

// A place among the calls that work; gives it back.
class CaseDesk::Turn {
 public:
  // Waits until there is one or `go_on` says no.
  static absl::StatusOr<std::unique_ptr<Turn>> Take(CaseDesk& desk,
                                                    const std::function<bool()>& go_on) {
    base::MutexLock lock(desk.mutex_);
    while (desk.free_ == 0) {
      desk.freed_.WaitFor(desk.mutex_, std::chrono::milliseconds(200));
      if (!go_on()) {
        return base::Error(StatusCode::kAborted, "STOPPED", "the result is no longer wanted");
      }
    }
    --desk.free_;
    return std::unique_ptr<Turn>(new Turn(desk));
  }
  ~Turn() {
    base::MutexLock lock(desk_.mutex_);
    ++desk_.free_;
    desk_.freed_.Signal();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  explicit Turn(CaseDesk& desk) : desk_(desk) {}
  CaseDesk& desk_;
};

absl::StatusOr<std::vector<std::string>> CaseDesk::LocalPaths(
    const google::protobuf::RepeatedPtrField<std::string>& names) {
  if (names.empty() || names.size() > kMaxObjects) return Invalid("a case has 1 to 20,000 objects");
  std::set<std::string> distinct(names.begin(), names.end());
  std::vector<std::string> paths;
  for (const std::string& name : distinct) {
    if (!objects::IsObjectName(name)) {
      return base::Error(StatusCode::kInvalidArgument, "OBJECT_NAME_INVALID",
                         "an object's name is its SHA-256 in 64 lower-case hexadecimal digits");
    }
    ASSIGN_OR_RETURN(std::string path, deps_.released.LocalPath(name));
    paths.push_back(std::move(path));
  }
  return paths;
}

absl::StatusOr<v1::PreparedObject> CaseDesk::Store(const PreparedImage& image, bool mask) {
  ASSIGN_OR_RETURN(std::string bytes, imaging::EncodeNifti(image.volume,
                                                           mask ? imaging::VoxelType::kUint8
                                                                : imaging::VoxelType::kFloat32,
                                                           /*compress=*/true));
  v1::PreparedObject out;
  out.set_modality(image.modality);
  out.set_bytes(static_cast<int64_t>(bytes.size()));
  ASSIGN_OR_RETURN(*out.mutable_sha256(), deps_.prepared.Put(bytes));
  ASSIGN_OR_RETURN(*out.mutable_sidecar_sha256(),
                   deps_.prepared.Put(image.sidecar.Document(bytes, image.volume.grid)));
  return out;
}

absl::StatusOr<v1::PrepareCaseResponse> CaseDesk::Prepare(const v1::PrepareCaseRequest& request,
                                                          const std::function<bool()>& go_on) {
  ASSIGN_OR_RETURN(CasePlan plan, PlanOf(request));
  ASSIGN_OR_RETURN(std::vector<std::string> paths, LocalPaths(request.objects()));
  ASSIGN_OR_RETURN(std::unique_ptr<Turn> turn, Turn::Take(*this, go_on));
  const std::set<std::string> named(request.objects().begin(), request.objects().end());
  v1::PrepareCaseResponse response;
  auto keep = [&](const PreparedImage& image) -> absl::Status {
    for (const std::string& sha256 : image.used_sha256) {
      if (named.count(sha256) == 0) return Corrupt();
    }
    const bool mask = image.modality.empty();
    ASSIGN_OR_RETURN(v1::PreparedObject stored, Store(image, mask));
    *(mask ? response.mutable_mask() : response.add_images()) = std::move(stored);
    return absl::OkStatus();
  };
  ASSIGN_OR_RETURN(PreparedCase prepared, PrepareCase(paths, plan, keep, go_on));
  if (response.has_mask()) {
    response.set_mask_voxels(static_cast<int64_t>(prepared.mask_voxels));
  }
  Describe(prepared.grid, *response.mutable_grid());
  return response;
}

absl::StatusOr<v1::CheckSeriesResponse> CaseDesk::Check(const v1::CheckSeriesRequest& request,
                                                        const std::function<bool()>& go_on) {
  ASSIGN_OR_RETURN(std::vector<std::string> paths, LocalPaths(request.objects()));
  ASSIGN_OR_RETURN(std::unique_ptr<Turn> turn, Turn::Take(*this, go_on));
  std::set<std::string> named(request.objects().begin(), request.objects().end());
  v1::CheckSeriesResponse response;
  auto fault = [&](const absl::Status& status) {
    response.set_reason(base::ReasonOf(status));
    response.set_message(std::string(status.message()));
    return response;
  };
  std::vector<dicom::ImageObject> images;
  for (const std::string& path : paths) {
    if (!go_on()) {
      return base::Error(StatusCode::kAborted, "STOPPED", "the result is no longer wanted");
    }
    ASSIGN_OR_RETURN(std::string bytes, base::ReadFile(path));
    if (named.count(crypto::Sha256Hex(bytes)) == 0) return Corrupt();
    // The geometry is in the header: pixels are not decoded.
    auto image = dicom::ReadImage(bytes, /*pixels=*/false, go_on);
    if (base::ReasonOf(image.status()) == "STOPPED") return image.status();
    if (!image.ok()) return fault(image.status());
    response.set_slices(response.slices() + static_cast<int64_t>(image->slices.size()));
    images.push_back(*std::move(image));
  }
  response.set_modality(images.front().modality);
  if (images.front().pet) {
    auto suv = imaging::ComputeSuvFactor(*images.front().pet, imaging::SuvKind::kBodyWeight);
    response.set_suv(suv.ok());
    if (!suv.ok()) response.set_suv_reason(base::ReasonOf(suv.status()));
  }
  auto geometry = imaging::CheckSeriesGeometry(images);
  if (!geometry.ok()) return fault(geometry.status());
  response.set_makes_volume(true);
  response.set_min_step_mm(geometry->min_step_mm);
  response.set_max_step_mm(geometry->max_step_mm);
  Describe(geometry->grid, *response.mutable_grid());
  return response;
}

}  // namespace oncomesh::harmonisation
