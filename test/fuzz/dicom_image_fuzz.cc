// link: oncomesh::imaging
// SPDX-License-Identifier: Apache-2.0
// DICOM objects as the readers of images, structure sets and segmentations take them, and what is
// made of those that are read.
#include <cstdint>
#include <cstdlib>

#include "libs/dicom/segmentation.h"
#include "libs/dicom/series_image.h"
#include "libs/dicom/structure_set.h"
#include "libs/imaging/contour_mask.h"
#include "libs/imaging/series_assembly.h"
#include "libs/imaging/suv.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace oncomesh;
  absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  imaging::Grid grid;
  grid.size = {16, 16, 8};
  auto image = dicom::ReadImage(bytes);
  if (image.ok()) {
    for (const dicom::Slice& slice : image->slices) {
      if (slice.values.size() != static_cast<size_t>(image->rows) * image->columns) std::abort();
    }
    if (image->pet) (void)imaging::ComputeSuvFactor(*image->pet, imaging::SuvKind::kLeanBody);
    std::vector<dicom::ImageObject> objects;
    objects.push_back(*std::move(image));
    auto series = imaging::AssembleSeries(std::move(objects));
    if (series.ok()) {
      const imaging::Volume& volume = series->volume;
      if (static_cast<int64_t>(volume.voxels.size()) != volume.grid.voxels()) std::abort();
    }
  }
  auto set = dicom::ReadStructureSet(bytes);
  if (set.ok()) {
    for (const auto& region : set->regions) (void)imaging::FillContours(region, grid);
  }
  auto segmentation = dicom::ReadSegmentation(bytes);
  if (segmentation.ok()) {
    for (size_t i = 0; i < segmentation->segments.size(); ++i) {
      (void)imaging::PlaceSegment(*segmentation, i, grid);
    }
  }
  return 0;
}
