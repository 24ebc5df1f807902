// SPDX-License-Identifier: Apache-2.0
// The inside of a phantom, as functions of a point: what tissue is there, and is it tumour.
//
// Coordinates are millimetres along the patient's axes (x to the left, y to the back, z to the
// head) from the middle of the imaged part.
#pragma once

#include <vector>

#include "libs/phantom/patient.h"
#include "libs/phantom/stream.h"

namespace oncomesh::phantom {

enum class Tissue : uint8_t {
  kAir,
  kCouch,
  kFat,
  kMuscle,
  kGland,
  kLung,
  kOrgan,  // heart, rectal wall
  kUrine,
  kMarrow,
  kCortex,  // compact bone
  kTumour,
  kNecrosis,  // the dead middle of a large tumour; part of the tumour
};
inline constexpr int kTissues = 12;

struct Point2 {
  double x, y;
};

// An irregular solid whose every transverse section is one closed curve around a centre line, so
// that its outline in any slice is known exactly. Immutable.
class Tumour {
 public:
  // A shape drawn from `draw` with mean radius `radius_mm` around the point (x, y, z).
  Tumour(Stream draw, double x, double y, double z, double radius_mm);

  bool Contains(double x, double y, double z) const { return Depth(x, y, z) < 1; }
  // 0 on the centre line, 1 on the surface, more outside.
  double Depth(double x, double y, double z) const;
  // The outline in the plane z: `points` points in the direction from x to y, without the
  // first one repeated; empty where the plane misses the tumour.
  std::vector<Point2> Outline(double z, int points) const;

  double mean_radius_mm() const { return radius_; }
  double lowest_z() const { return z_ - radius_z_; }
  double highest_z() const { return z_ + radius_z_; }
  double volume_mm3() const;

 private:
  static constexpr int kHarmonics = 4;  // orders 2 to 5
  // The surface's radius in direction (c, s) at relative height t, in units of the ellipse.
  double Reach(double c, double s, double t) const;

  double x_, y_, z_, radius_;
  double radius_x_, radius_y_, radius_z_;
  double drift_x_, drift_y_;  // how far the centre line leans from the middle to the top, mm
  double cosine_[kHarmonics], sine_[kHarmonics], twist_[kHarmonics];
};

// One patient's body with its tumour. Immutable; any thread may ask.
class Anatomy {
 public:
  explicit Anatomy(const Patient& patient, const Site& site);

  Tissue At(double x, double y, double z) const;
  const Tumour& tumour() const { return tumour_; }
  Region region() const { return region_; }
  // Half of the length that is imaged, mm.
  static constexpr double kHalfLength = 75;

 private:
  struct Body {
    double half_width, half_depth, fat;
  };
  static Body MakeBody(const Patient& patient);
  static Tumour PlaceTumour(const Patient& patient, const Site& site, const Body& body);
  Tissue Normal(double x, double y, double z) const;
  Tissue Chest(double x, double y, double z) const;
  Tissue Pelvis(double x, double y, double z) const;
  Tissue Thigh(double x, double y, double z) const;
  static bool InBody(const Patient& patient, const Body& body, double x, double y, double z);

  Region region_;
  bool female_;
  Body body_;
  double rib_phase_;
  Tumour tumour_;
};

}  // namespace oncomesh::phantom
