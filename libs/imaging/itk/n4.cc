// SPDX-License-Identifier: Apache-2.0
#include "libs/imaging/itk/n4.h"

#include <itkImage.h>
#include <itkMultiThreaderBase.h>
#include <itkN4BiasFieldCorrectionImageFilter.h>
#include <itkVersion.h>

#include <algorithm>
#include <array>
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

// An axis that is made coarser keeps at least so many samples. The field is known between the first
// and the last of them only; with few, the margins would be a large part of the image.
constexpr int64_t kFewestSamples = 32;

// The samples of one axis to which the field is fitted: every `step`-th from `first`, as many on
// either side of the middle.
struct Samples {
  int64_t first, step, count;
};

Samples SamplesOf(int64_t size, int shrink) {
  const int64_t step = std::clamp<int64_t>(size / kFewestSamples, 1, shrink);
  const int64_t count = size / step;
  return {(size - 1 - (count - 1) * step) / 2, step, count};
}

// The voxels of `image` at the samples.
template <typename ImageType>
typename ImageType::Pointer Sampled(const ImageType& image, const Grid& grid,
                                    const std::array<Samples, 3>& samples) {
  Grid coarse = grid;
  Vector3 corner{};
  for (size_t axis = 0; axis < 3; ++axis) {
    coarse.size[axis] = samples[axis].count;
    coarse.spacing[axis] = grid.spacing[axis] * static_cast<double>(samples[axis].step);
    corner[axis] = static_cast<double>(samples[axis].first);
  }
  coarse.origin = grid.Position(corner);
  auto out = NewImage<ImageType>(coarse);
  auto* to = out->GetBufferPointer();
  const auto& [x, y, z] = samples;
  for (int64_t k = 0; k < z.count; ++k) {
    for (int64_t j = 0; j < y.count; ++j) {
      const int64_t row = (z.first + k * z.step) * grid.size[1] + y.first + j * y.step;
      const auto* from = image.GetBufferPointer() + row * grid.size[0];
      for (int64_t i = 0; i < x.count; ++i) *to++ = from[x.first + i * x.step];
    }
  }
  return out;
}

// What a voxel of one axis takes from the control points: four of them, from `first` on.
struct Basis {
  size_t first;
  std::array<double, 4> weights;
};

// Uniform cubic B-splines over the domain that was fitted, from the first to the last sample.
// Voxels beyond have the value at its end.
std::vector<Basis> BasisOf(int64_t size, const Samples& samples, size_t control_points) {
  const auto spans = static_cast<double>(control_points - 3);
  const auto last = static_cast<double>(std::max<int64_t>(samples.count - 1, 1));
  std::vector<Basis> out;
  for (int64_t i = 0; i < size; ++i) {
    double sample = static_cast<double>(i - samples.first) / static_cast<double>(samples.step);
    double at = std::clamp(sample / last, 0.0, 1.0) * spans;
    double span = std::min(std::floor(at), spans - 1);
    double t = at - span, s = 1 - t;
    out.push_back({static_cast<size_t>(span),
                   {s * s * s / 6, (4 - 6 * t * t + 3 * t * t * t) / 6,
                    (4 - 6 * s * s + 3 * s * s * s) / 6, t * t * t / 6}});
  }
  return out;
}

double Blend(const Basis& basis, const double* values, size_t stride) {
  double out = 0;
  for (size_t i = 0; i < 4; ++i) out += basis.weights[i] * values[(basis.first + i) * stride];
  return out;
}

// The spline with these control points at every voxel of `grid`, column fastest.
std::vector<double> Evaluate(const N4::BiasFieldControlPointLatticeType& lattice, const Grid& grid,
                             const std::array<Samples, 3>& samples) {
  const auto points = lattice.GetLargestPossibleRegion().GetSize();
  const size_t nx = points[0], ny = points[1], nz = points[2];
  std::vector<double> all(nx * ny * nz), plane(nx * ny), row(nx), out;
  for (size_t i = 0; i < all.size(); ++i) all[i] = lattice.GetBufferPointer()[i][0];
  std::array<std::vector<Basis>, 3> basis;
  for (size_t axis = 0; axis < 3; ++axis) {
    basis[axis] = BasisOf(grid.size[axis], samples[axis], points[axis]);
  }
  out.reserve(static_cast<size_t>(grid.voxels()));
  for (const Basis& z : basis[2]) {
    for (size_t i = 0; i < plane.size(); ++i) plane[i] = Blend(z, &all[i], plane.size());
    for (const Basis& y : basis[1]) {
      for (size_t i = 0; i < nx; ++i) row[i] = Blend(y, &plane[i], nx);
      for (const Basis& x : basis[0]) out.push_back(Blend(x, row.data(), 1));
    }
  }
  return out;
}

// Thrown through the filter, which has no other way to be stopped between iterations.
class Stopped {};

// Tells `progress` where the filter is.
void Watch(N4& filter, const N4Options& options, const N4Progress& progress) {
  if (!progress) return;
  filter.AddObserver(itk::IterationEvent(), [&](const itk::EventObject&) {
    size_t done = filter.GetElapsedIterations(), most = 0;
    for (size_t level = 0; level < options.iterations.size(); ++level) {
      const auto count = static_cast<size_t>(options.iterations[level]);
      if (level < filter.GetCurrentLevel()) done += count;
      most += count;
    }
    if (!progress(done, most)) throw Stopped();
  });
}

absl::StatusOr<N4Result> Run(const Volume& input, const Volume* mask, const N4Options& options,
                             const N4Progress& progress) {
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
  std::array<Samples, 3> samples{};
  for (size_t axis = 0; axis < 3; ++axis) {
    samples[axis] = SamplesOf(input.grid.size[axis], options.shrink);
  }
  auto small = Sampled(*image, input.grid, samples);
  auto small_mask = Sampled(*inside, input.grid, samples);
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
      const Samples& fitted_to = samples[axis];
      double length =
          static_cast<double>((fitted_to.count - 1) * fitted_to.step) * input.grid.spacing[axis];
      double spans = std::ceil(length / *options.spline_distance_mm - 1e-6);
      points[axis] = static_cast<unsigned>(std::clamp(spans, 1.0, 125.0)) + 3;
    }
  }
  n4->SetNumberOfControlPoints(points);
  Watch(*n4, options, progress);
  n4->Update();

  const std::vector<double> log_field =
      Evaluate(*n4->GetLogBiasFieldControlPointLattice(), input.grid, samples);
  N4Result out;
  out.corrected.grid = out.bias_field.grid = input.grid;
  out.corrected.voxels.resize(input.voxels.size());
  out.bias_field.voxels.resize(input.voxels.size());
  for (size_t i = 0; i < input.voxels.size(); ++i) {
    const double field = std::exp(log_field[i]);
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
                                          const N4Options& options, const N4Progress& progress) {
  RETURN_IF_ERROR(CheckOptions(input, mask, options));
  static std::once_flag once;
  std::call_once(once, [] { itk::MultiThreaderBase::SetGlobalDefaultNumberOfThreads(1); });
  try {
    return Run(input, mask, options, progress);
  } catch (const Stopped&) {
    return base::Error(StatusCode::kAborted, "STOPPED", "the result is no longer wanted");
  } catch (const itk::ExceptionObject&) {
    // What ITK says names files and addresses of its own; it does not help who reads this.
    return base::Error(StatusCode::kInternal, "N4_FAILED",
                       "the bias field could not be computed; use fewer levels or a larger mask");
  } catch (const std::bad_alloc&) {
    return base::Error(StatusCode::kResourceExhausted, "OUT_OF_MEMORY",
                       "the image is too large for this machine; use a larger --shrink");
  }
}

std::string N4EngineVersion() { return itk::Version::GetITKVersion(); }

}  // namespace oncomesh::imaging
