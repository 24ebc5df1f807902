// SPDX-License-Identifier: Apache-2.0
#include "libs/imaging/itk/n4.h"

#include <itkBSplineControlPointImageFilter.h>
#include <itkImage.h>
#include <itkMultiThreaderBase.h>
#include <itkN4BiasFieldCorrectionImageFilter.h>
#include <itkShrinkImageFilter.h>

#include <algorithm>
#include <cmath>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"

namespace oncomesh::imaging {
namespace {

using absl::StatusCode;
using Image = itk::Image<float, 3>;
using Mask = itk::Image<unsigned char, 3>;
using N4 = itk::N4BiasFieldCorrectionImageFilter<Image, Mask, Image>;

absl::Status OptionError(absl::string_view what) {
  return base::Error(StatusCode::kInvalidArgument, "N4_OPTIONS", what);
}

absl::Status CheckOptions(const Volume& input, const Volume* mask, const N4Options& options) {
  RETURN_IF_ERROR(CheckGrid(input.grid));
  if (mask != nullptr && !SameGrid(input.grid, mask->grid)) {
    return base::Error(StatusCode::kInvalidArgument, "MASK_OTHER_GRID",
                       "image and mask lie on different grids; resample the mask to the image");
  }
  if (options.shrink < 1 || options.shrink > 16) return OptionError("shrink is 1 to 16");
  if (options.iterations.empty() || options.iterations.size() > 8) {
    return OptionError("iterations has one number for each of 1 to 8 levels, like 50x50x50x50");
  }
  for (int count : options.iterations) {
    if (count < 0 || count > 10000) return OptionError("iterations are 0 to 10,000 per level");
  }
  if (!(options.convergence >= 0) || options.convergence > 1) {
    return OptionError("the convergence threshold is 0 to 1");
  }
  // Each level doubles the lattice.
  if (options.control_points < 4 || options.control_points > 128) {
    return OptionError("control points are 4 to 128 per axis");
  }
  if (options.spline_distance_mm && !(*options.spline_distance_mm >= 1)) {
    return OptionError("the spline distance is at least 1 mm");
  }
  return absl::OkStatus();
}

template <typename ImageType>
typename ImageType::Pointer NewImage(const Grid& grid) {
  auto image = ImageType::New();
  typename ImageType::RegionType region;
  typename ImageType::PointType origin;
  typename ImageType::SpacingType spacing;
  typename ImageType::DirectionType direction;
  for (unsigned axis = 0; axis < 3; ++axis) {
    region.SetSize(axis, static_cast<itk::SizeValueType>(grid.size[axis]));
    origin[axis] = grid.origin[axis];
    spacing[axis] = grid.spacing[axis];
    for (unsigned row = 0; row < 3; ++row) direction[row][axis] = grid.direction[row][axis];
  }
  image->SetRegions(region);
  image->SetOrigin(origin);
  image->SetSpacing(spacing);
  image->SetDirection(direction);
  image->Allocate();
  return image;
}

template <typename ImageType>
typename ImageType::Pointer Shrunk(typename ImageType::Pointer image, const Grid& grid,
                                   int factor) {
  if (factor == 1) return image;
  auto shrink = itk::ShrinkImageFilter<ImageType, ImageType>::New();
  shrink->SetInput(image);
  for (unsigned axis = 0; axis < 3; ++axis) {
    // An axis keeps at least the four points that a cubic spline needs.
    auto most = std::max<int64_t>(1, grid.size[axis] / 4);
    shrink->SetShrinkFactor(axis, static_cast<unsigned>(std::min<int64_t>(factor, most)));
  }
  shrink->Update();
  return shrink->GetOutput();
}

absl::StatusOr<N4Result> Run(const Volume& input, const Volume* mask, const N4Options& options) {
  auto image = NewImage<Image>(input.grid);
  auto inside = NewImage<Mask>(input.grid);
  std::copy(input.voxels.begin(), input.voxels.end(), image->GetBufferPointer());
  size_t fitted = 0;
  for (size_t i = 0; i < input.voxels.size(); ++i) {
    const bool in = (mask == nullptr || mask->voxels[i] >= kInside) && input.voxels[i] > 0 &&
                    std::isfinite(input.voxels[i]);
    inside->GetBufferPointer()[i] = in ? 1 : 0;
    fitted += in ? 1 : 0;
    if (!std::isfinite(input.voxels[i])) image->GetBufferPointer()[i] = 0;
  }
  auto small = Shrunk<Image>(image, input.grid, options.shrink);
  auto small_mask = Shrunk<Mask>(inside, input.grid, options.shrink);
  // The filter's histogram needs two different values.
  float low = INFINITY, high = -INFINITY;
  const size_t count = small->GetLargestPossibleRegion().GetNumberOfPixels();
  for (size_t i = 0; i < count; ++i) {
    float value = small->GetBufferPointer()[i];
    if (small_mask->GetBufferPointer()[i] == 0 || !(value > 0)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  if (fitted == 0 || low > high) {
    return base::Error(StatusCode::kFailedPrecondition, "MASK_EMPTY",
                       "no voxel above zero lies in the mask (or in its shrunk form); use another "
                       "mask or a smaller --shrink");
  }
  if (!(low < high)) {
    return base::Error(StatusCode::kFailedPrecondition, "N4_NO_CONTRAST",
                       "all voxels in the mask are alike: there is no field to see");
  }

  auto n4 = N4::New();
  n4->SetInput(small);
  n4->SetMaskImage(small_mask);
  N4::VariableSizeArrayType iterations(static_cast<unsigned>(options.iterations.size()));
  for (unsigned i = 0; i < iterations.Size(); ++i) {
    iterations[i] = static_cast<unsigned>(options.iterations[i]);
  }
  n4->SetMaximumNumberOfIterations(iterations);
  N4::ArrayType levels;
  levels.Fill(iterations.Size());
  n4->SetNumberOfFittingLevels(levels);
  n4->SetConvergenceThreshold(options.convergence);
  N4::ArrayType points;
  for (unsigned axis = 0; axis < 3; ++axis) {
    points[axis] = static_cast<unsigned>(options.control_points);
    if (options.spline_distance_mm) {
      double length = static_cast<double>(input.grid.size[axis] - 1) * input.grid.spacing[axis];
      double spans = std::ceil(length / *options.spline_distance_mm - 1e-6);
      points[axis] = static_cast<unsigned>(std::clamp(spans, 1.0, 125.0)) + 3;
    }
  }
  n4->SetNumberOfControlPoints(points);
  n4->Update();

  auto evaluate = itk::BSplineControlPointImageFilter<N4::BiasFieldControlPointLatticeType,
                                                      N4::ScalarImageType>::New();
  evaluate->SetInput(n4->GetLogBiasFieldControlPointLattice());
  evaluate->SetSplineOrder(n4->GetSplineOrder());
  evaluate->SetSize(image->GetLargestPossibleRegion().GetSize());
  evaluate->SetOrigin(image->GetOrigin());
  evaluate->SetSpacing(image->GetSpacing());
  evaluate->SetDirection(image->GetDirection());
  evaluate->Update();

  N4Result out;
  out.corrected.grid = out.bias_field.grid = input.grid;
  out.corrected.voxels.resize(input.voxels.size());
  out.bias_field.voxels.resize(input.voxels.size());
  const auto* log_field = evaluate->GetOutput()->GetBufferPointer();
  for (size_t i = 0; i < input.voxels.size(); ++i) {
    const double field = std::exp(static_cast<double>(log_field[i][0]));
    if (!std::isfinite(field)) {
      return base::Error(StatusCode::kInternal, "N4_FAILED",
                         "the bias field did not stay finite; use fewer control points");
    }
    out.bias_field.voxels[i] = static_cast<float>(field);
    out.corrected.voxels[i] = static_cast<float>(static_cast<double>(input.voxels[i]) / field);
  }
  return out;
}

}  // namespace

absl::StatusOr<N4Result> CorrectBiasField(const Volume& input, const Volume* mask,
                                          const N4Options& options) {
  RETURN_IF_ERROR(CheckOptions(input, mask, options));
  static std::once_flag once;
  std::call_once(once, [] { itk::MultiThreaderBase::SetGlobalDefaultNumberOfThreads(1); });
  try {
    return Run(input, mask, options);
  } catch (const itk::ExceptionObject&) {
    // What ITK says names files and addresses of its own; it does not help who reads this.
    return base::Error(StatusCode::kInternal, "N4_FAILED",
                       "the bias field could not be computed; use fewer levels or a larger mask");
  } catch (const std::bad_alloc&) {
    return base::Error(StatusCode::kResourceExhausted, "OUT_OF_MEMORY",
                       "the image is too large for this machine; use a larger --shrink");
  }
}

}  // namespace oncomesh::imaging
