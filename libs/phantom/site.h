// SPDX-License-Identifier: Apache-2.0
// What is particular about a site: its scanners, how it images, and whom it sees.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "libs/phantom/stream.h"

namespace oncomesh::phantom {

enum class Modality { kCt, kMr, kPt };

// "CT", "MR", "PT", as in (0008,0060).
absl::string_view ModalityName(Modality modality);

// One scanner and the protocol that a site runs on it: the site effect that harmonisation is for.
struct Scanner {
  std::string manufacturer;
  std::string model;
  std::string station;
  std::string serial;
  std::string software;
  std::string kernel;   // name of the reconstruction kernel
  int matrix = 96;      // rows and columns
  double pixel_mm = 0;  // in-plane spacing
  double slice_mm = 0;  // slice thickness and spacing
  double noise = 0;     // standard deviation: HU, fraction of the muscle signal, or of √SUV
  int blur_passes = 0;  // in-plane binomial smoothing passes, [1 2 1]/4 each way
  double gain = 1;      // multiplies the signal (MR, PT)
  double offset = 0;    // added to it (MR: same unit as the signal)
  bool signed_pixels = false;
  bool head_to_foot = false;  // the order in which slices are numbered
};

struct Site {
  std::string name;
  std::string institution;
  std::string address;
  Scanner ct, mr, pt;
  // How often each of Topographies() is seen; relative.
  std::vector<double> case_mix;
  // Tumours here are this much larger than elsewhere: the share of tumour voxels differs.
  double tumour_scale = 1;

  const Scanner& ScannerFor(Modality modality) const;
};

// Depends on the seed in `root` and on `name` alone.
Site MakeSite(const Key& root, absl::string_view name);

// Which part of the body a phantom shows.
enum class Region { kChest, kPelvis, kThigh };

// A place where the tumour can sit (ICD-O-3 topography) and what grows there.
struct Topography {
  absl::string_view code;  // "C49.2"
  absl::string_view description;
  Region region;
  bool female_only;
  std::vector<absl::string_view> histologies;  // ICD-O-3 morphology with behaviour
};
const std::vector<Topography>& Topographies();

}  // namespace oncomesh::phantom
