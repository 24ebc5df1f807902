// SPDX-License-Identifier: Apache-2.0
// Our use of the filter against the filter itself.
#include <itkImage.h>
#include <itkMultiThreaderBase.h>
#include <itkN4BiasFieldCorrectionImageFilter.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "libs/imaging/itk/n4.h"
#include "libs/testing/status_matchers.h"

namespace oncomesh::imaging {
namespace {

TEST_CASE("n4: without shrinking the result is that of ITK's filter") {
  using Image = itk::Image<float, 3>;
  using Mask = itk::Image<unsigned char, 3>;
  using N4 = itk::N4BiasFieldCorrectionImageFilter<Image, Mask, Image>;
  Volume volume;
  volume.grid.size = {20, 17, 9};
  volume.grid.spacing = {2, 1.5, 4};
  volume.grid.origin = {-30, 12, 5};
  Image::Pointer image = Image::New();
  Mask::Pointer mask = Mask::New();
  Image::RegionType region;
  Image::PointType origin;
  Image::SpacingType spacing;
  for (unsigned axis = 0; axis < 3; ++axis) {
    region.SetSize(axis, static_cast<itk::SizeValueType>(volume.grid.size[axis]));
    origin[axis] = volume.grid.origin[axis];
    spacing[axis] = volume.grid.spacing[axis];
  }
  image->SetRegions(region);
  image->SetOrigin(origin);
  image->SetSpacing(spacing);
  image->Allocate();
  mask->SetRegions(region);
  mask->SetOrigin(origin);
  mask->SetSpacing(spacing);
  mask->Allocate();
  for (int z = 0; z < 9; ++z) {
    for (int y = 0; y < 17; ++y) {
      for (int x = 0; x < 20; ++x) {
        double tissue = (x / 4 + y / 3 + z / 2) % 2 == 0 ? 200 : 320;
        volume.voxels.push_back(static_cast<float>(tissue * std::exp(0.02 * x - 0.03 * z)));
      }
    }
  }
  std::copy(volume.voxels.begin(), volume.voxels.end(), image->GetBufferPointer());
  mask->FillBuffer(1);

  N4Options options;
  options.shrink = 1;
  options.iterations = {10, 10};
  REQUIRE_VALUE(N4Result ours, CorrectBiasField(volume, nullptr, options));

  itk::MultiThreaderBase::SetGlobalDefaultNumberOfThreads(1);
  N4::Pointer filter = N4::New();
  filter->SetInput(image);
  filter->SetMaskImage(mask);
  N4::VariableSizeArrayType iterations(2);
  iterations.Fill(10);
  filter->SetMaximumNumberOfIterations(iterations);
  N4::ArrayType levels;
  levels.Fill(2);
  filter->SetNumberOfFittingLevels(levels);
  filter->SetConvergenceThreshold(options.convergence);
  filter->Update();
  const float* theirs = filter->GetOutput()->GetBufferPointer();
  for (size_t i = 0; i < ours.corrected.voxels.size(); ++i) {
    REQUIRE(ours.corrected.voxels[i] == Approx(theirs[i]).epsilon(1e-4));
  }
}

}  // namespace
}  // namespace oncomesh::imaging
