// SPDX-License-Identifier: Apache-2.0
// How a scanner sees a body: sampling, partial volume, kernel, noise, bias field.
#pragma once

#include <vector>

#include "libs/phantom/anatomy.h"
#include "libs/phantom/site.h"

namespace oncomesh::phantom {

// A stack of transverse slices in the anatomy's coordinates.
struct Grid {
  int columns, rows, slices;
  double pixel_mm, slice_mm;

  // The centre of a voxel.
  double X(int column) const { return (column - (columns - 1) / 2.0) * pixel_mm; }
  double Y(int row) const { return (row - (rows - 1) / 2.0) * pixel_mm; }
  double Z(int slice) const { return (slice - (slices - 1) / 2.0) * slice_mm; }
  size_t size() const { return static_cast<size_t>(columns) * rows * slices; }
};

// The grid on which `scanner` images the phantom's length.
Grid GridOf(const Scanner& scanner);

// The signal, slice after slice from the feet, row after row from the front: Hounsfield units (CT),
// arbitrary units ≥ 0 (MR), standardised uptake value in g/mL (PT).
std::vector<float> Render(const Anatomy& anatomy, const Scanner& scanner, Modality modality,
                          const Key& patient);

}  // namespace oncomesh::phantom
