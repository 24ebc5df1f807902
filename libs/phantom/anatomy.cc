// SPDX-License-Identifier: Apache-2.0
#include "libs/phantom/anatomy.h"

#include <algorithm>
#include <cmath>

namespace oncomesh::phantom {
namespace {

constexpr double kPi = 3.141592653589793;

// Below 1 inside the ellipse (ellipsoid) around (cx, cy[, cz]).
double Ellipse(double x, double y, double cx, double cy, double rx, double ry) {
  double u = (x - cx) / rx;
  double v = (y - cy) / ry;
  return u * u + v * v;
}

double Ellipsoid(double x, double y, double z, double cx, double cy, double cz, double rx,
                 double ry, double rz) {
  double w = (z - cz) / rz;
  return Ellipse(x, y, cx, cy, rx, ry) + w * w;
}

// A rod of bone along z: compact outside, marrow inside.
bool Bone(double x, double y, double cx, double cy, double radius, double shell, Tissue& out) {
  double r2 = (x - cx) * (x - cx) + (y - cy) * (y - cy);
  if (r2 >= radius * radius) return false;
  double inner = radius - shell;
  out = r2 < inner * inner ? Tissue::kMarrow : Tissue::kCortex;
  return true;
}

// Breasts sit on the front of the chest wall.
constexpr double kBreastX = 85, kBreastWidth = 58, kBreastDepth = 48, kBreastHeight = 62;
constexpr double kThighX = 98, kThighNarrowing = 0.10;

double ThighScale(double z) { return 1 + kThighNarrowing * z / Anatomy::kHalfLength; }

}  // namespace

Tumour::Tumour(Stream draw, double x, double y, double z, double radius_mm)
    : x_(x), y_(y), z_(z), radius_(radius_mm) {
  radius_x_ = radius_mm * draw.Uniform(0.85, 1.2);
  radius_y_ = radius_mm * draw.Uniform(0.85, 1.2);
  radius_z_ = radius_mm * draw.Uniform(0.9, 1.3);
  drift_x_ = radius_mm * draw.Uniform(-0.25, 0.25);
  drift_y_ = radius_mm * draw.Uniform(-0.25, 0.25);
  for (int i = 0; i < kHarmonics; ++i) {
    // Higher orders are weaker. The sum stays below 1, so the outline never crosses itself.
    double amplitude = 0.16 / (i + 1);
    cosine_[i] = draw.Uniform(-amplitude, amplitude);
    sine_[i] = draw.Uniform(-amplitude, amplitude);
    twist_[i] = draw.Uniform(-0.8, 0.8);
  }
}

double Tumour::Reach(double c, double s, double t) const {
  double reach = 1;
  double ck = c, sk = s;
  for (int i = 0; i < kHarmonics; ++i) {
    // cos((k+1)θ) and sin((k+1)θ) from those of kθ.
    double next = ck * c - sk * s;
    sk = sk * c + ck * s;
    ck = next;
    reach += (cosine_[i] * ck + sine_[i] * sk) * (1 + twist_[i] * t) / 1.8;
  }
  return reach;
}

double Tumour::Depth(double x, double y, double z) const {
  double t = (z - z_) / radius_z_;
  if (t <= -1 || t >= 1) return 2;
  double u = (x - x_ - drift_x_ * t) / radius_x_;
  double v = (y - y_ - drift_y_ * t) / radius_y_;
  double rho = std::sqrt(u * u + v * v);
  if (rho == 0) return 0;
  return rho / (std::sqrt(1 - t * t) * Reach(u / rho, v / rho, t));
}

std::vector<Point2> Tumour::Outline(double z, int points) const {
  std::vector<Point2> out;
  double t = (z - z_) / radius_z_;
  if (t <= -1 || t >= 1) return out;
  double scale = std::sqrt(1 - t * t);
  for (int i = 0; i < points; ++i) {
    double c = std::cos(2 * kPi * i / points);
    double s = std::sin(2 * kPi * i / points);
    double rho = scale * Reach(c, s, t);
    out.push_back(
        {x_ + drift_x_ * t + radius_x_ * rho * c, y_ + drift_y_ * t + radius_y_ * rho * s});
  }
  return out;
}

double Tumour::volume_mm3() const {
  // Of a section, ½∮ρ²dθ with the harmonics' squares; over the height, ∫(1−t²)dt with the twist's
  // square, of which the odd part vanishes: ∫(1−t²)dt = 4/3 and ∫(1−t²)t²dt = 4/15.
  double flat = 1, twisted = 0;
  for (int i = 0; i < kHarmonics; ++i) {
    double power = (cosine_[i] * cosine_[i] + sine_[i] * sine_[i]) / (2 * 1.8 * 1.8);
    flat += power;
    twisted += power * twist_[i] * twist_[i];
  }
  return kPi * radius_x_ * radius_y_ * radius_z_ * (flat * 4 / 3 + twisted * 4 / 15);
}

Anatomy::Anatomy(const Patient& patient, const Site& site)
    : region_(patient.topography->region),
      female_(patient.sex == 'F'),
      body_(MakeBody(patient)),
      rib_phase_(Stream(patient.key.Below("ribs")).Uniform()),
      tumour_(PlaceTumour(patient, site, body_)) {}

Anatomy::Body Anatomy::MakeBody(const Patient& patient) {
  Stream draw(patient.key.Below("body"));
  // Heavier people are wider and carry more fat.
  double bmi = patient.weight_kg / (patient.height_m * patient.height_m);
  double size = std::sqrt(bmi / 25);
  switch (patient.topography->region) {
    case Region::kChest:
      return {std::min(158 * size * draw.Uniform(0.95, 1.05), 182.0),
              108 * size * draw.Uniform(0.95, 1.05), std::clamp(14 + 1.6 * (bmi - 25), 6.0, 32.0)};
    case Region::kPelvis:
      return {std::min(165 * size * draw.Uniform(0.95, 1.05), 184.0),
              112 * size * draw.Uniform(0.95, 1.05), std::clamp(20 + 1.8 * (bmi - 25), 9.0, 38.0)};
    case Region::kThigh:
      return {std::min(78 * size * draw.Uniform(0.95, 1.05), 84.0),
              std::min(82 * size * draw.Uniform(0.95, 1.05), 96.0),
              std::clamp(11 + 1.0 * (bmi - 25), 5.0, 22.0)};
  }
  return {};
}

bool Anatomy::InBody(const Patient& patient, const Body& body, double x, double y, double z) {
  switch (patient.topography->region) {
    case Region::kThigh: {
      double scale = ThighScale(z);
      double side = x < 0 ? -kThighX : kThighX;
      return Ellipse(x, y, side, 0, body.half_width * scale, body.half_depth * scale) < 1;
    }
    case Region::kChest:
      if (patient.sex == 'F' && Ellipsoid(std::abs(x), y, z, kBreastX, -body.half_depth * 0.75, 0,
                                          kBreastWidth, kBreastDepth, kBreastHeight) < 1) {
        return true;
      }
      return Ellipse(x, y, 0, 0, body.half_width, body.half_depth) < 1;
    case Region::kPelvis:
      return Ellipse(x, y, 0, 0, body.half_width, body.half_depth) < 1;
  }
  return false;
}

Tumour Anatomy::PlaceTumour(const Patient& patient, const Site& site, const Body& body) {
  Stream draw(patient.key.Below("tumour"));
  double side = patient.left_side ? 1 : -1;
  double x = 0, y = 0, radius = 0;
  double z = draw.Uniform(-25, 25);
  absl::string_view code = patient.topography->code;
  if (code == "C49.2") {
    // In the muscles around the femur, which stands 44 mm away.
    double u = draw.Uniform(-1, 1), v = draw.Uniform(-1, 1);
    double length = std::max(std::sqrt(u * u + v * v), 0.1);
    x = side * kThighX + 44 * u / length;
    y = 44 * v / length;
    radius = draw.Uniform(24, 36);
  } else if (code == "C49.3") {
    x = side * (body.half_width - body.fat - 22);
    y = draw.Uniform(-15, 25);
    radius = draw.Uniform(22, 32);
  } else if (code == "C49.5") {
    x = side * draw.Uniform(60, 80);
    y = 0.55 * body.half_depth;
    radius = draw.Uniform(24, 38);
  } else if (code == "C50.4") {
    x = side * (kBreastX + 8);
    y = -body.half_depth * 0.75 - 14;
    z = draw.Uniform(0, 18);
    radius = draw.Uniform(17, 26);
  } else if (code == "C34.1") {
    x = side * draw.Uniform(62, 82);
    y = draw.Uniform(-25, 20);
    z = draw.Uniform(10, 35);
    radius = draw.Uniform(24, 36);
  } else {
    x = draw.Uniform(-6, 6);
    y = 0.42 * body.half_depth;
    radius = draw.Uniform(20, 30);
  }
  radius *= site.tumour_scale;
  Key shape = patient.key.Below("tumour shape");
  // It grows within the body and within what is imaged: smaller until it fits.
  while (true) {
    Tumour tumour(Stream(shape), x, y, z, radius);
    bool fits = tumour.lowest_z() > -kHalfLength + 8 && tumour.highest_z() < kHalfLength - 8;
    for (int step = -9; fits && step <= 9; ++step) {
      double plane = z + step * 0.1 * (tumour.highest_z() - z);
      for (const Point2& point : tumour.Outline(plane, 36)) {
        // Skin and a little room are left around it.
        fits = fits &&
               InBody(patient, body, x + 1.15 * (point.x - x), y + 1.15 * (point.y - y), plane);
      }
    }
    if (fits || radius < 6) return tumour;
    radius *= 0.93;
  }
}

Tissue Anatomy::At(double x, double y, double z) const {
  double depth = tumour_.Depth(x, y, z);
  if (depth < 1) {
    bool dead_middle = tumour_.mean_radius_mm() > 26 && depth < 0.35;
    return dead_middle ? Tissue::kNecrosis : Tissue::kTumour;
  }
  return Normal(x, y, z);
}

Tissue Anatomy::Normal(double x, double y, double z) const {
  switch (region_) {
    case Region::kChest:
      return Chest(x, y, z);
    case Region::kPelvis:
      return Pelvis(x, y, z);
    case Region::kThigh:
      return Thigh(x, y, z);
  }
  return Tissue::kAir;
}

Tissue Anatomy::Chest(double x, double y, double z) const {
  double a = body_.half_width, b = body_.half_depth;
  double skin = Ellipse(x, y, 0, 0, a, b);
  if (skin >= 1) {
    if (female_) {
      double breast = Ellipsoid(std::abs(x), y, z, kBreastX, -b * 0.75, 0, kBreastWidth,
                                kBreastDepth, kBreastHeight);
      if (breast < 1) return breast < 0.5 ? Tissue::kGland : Tissue::kFat;
    }
    return y > b + 6 && y < b + 18 && std::abs(x) < 190 ? Tissue::kCouch : Tissue::kAir;
  }
  double inner_a = a - body_.fat, inner_b = b - body_.fat;
  if (Ellipse(x, y, 0, 0, inner_a, inner_b) >= 1) return Tissue::kFat;
  Tissue bone;
  if (Bone(x, y, 0, 0.62 * inner_b, 21, 4, bone)) return bone;
  if (Bone(x, y, 0, -0.93 * inner_b, 11, 4, bone)) return bone;  // sternum
  double cage = Ellipse(x, y, 0, 0, inner_a - 16, inner_b - 16);
  if (cage >= 1) {
    // Ribs slope down to the front: one every 28 mm, 11 mm thick, in the inner part of the wall.
    double slope = z - 0.35 * y;
    double turn = slope / 28 + rib_phase_;
    bool rib = turn - std::floor(turn) < 0.4 && Ellipse(x, y, 0, 0, inner_a - 6, inner_b - 6) < 1;
    return rib ? Tissue::kCortex : Tissue::kMuscle;
  }
  if (Ellipsoid(x, y, z, 22, -0.22 * inner_b, -15, 48, 42, 62) < 1) return Tissue::kOrgan;
  if (Ellipsoid(std::abs(x), y, z, 0.5 * inner_a, 0, 10, 0.42 * inner_a, 0.74 * inner_b, 130) < 1) {
    return Tissue::kLung;
  }
  return std::abs(x) < 40 ? Tissue::kFat : Tissue::kMuscle;  // mediastinum
}

Tissue Anatomy::Pelvis(double x, double y, double z) const {
  double a = body_.half_width, b = body_.half_depth;
  if (Ellipse(x, y, 0, 0, a, b) >= 1) {
    return y > b + 6 && y < b + 18 && std::abs(x) < 190 ? Tissue::kCouch : Tissue::kAir;
  }
  double inner_a = a - body_.fat, inner_b = b - body_.fat;
  if (Ellipse(x, y, 0, 0, inner_a, inner_b) >= 1) return Tissue::kFat;
  Tissue bone;
  if (Bone(x, y, 0, 0.78 * inner_b, 24 - 0.08 * z, 4, bone)) return bone;  // sacrum
  // The iliac wings: flat ellipses turned by 35° (cosine and sine below).
  double wing_x = std::abs(x) - 0.68 * inner_a, wing_y = y - 0.05 * inner_b;
  double along = 0.57 * wing_x + 0.82 * wing_y, across = 0.82 * wing_x - 0.57 * wing_y;
  double wing = Ellipse(along, across, 0, 0, 44 + 0.12 * z, 10);
  if (wing < 1) return wing < 0.4 ? Tissue::kMarrow : Tissue::kCortex;
  if (Ellipsoid(x, y, z, 0, -0.35 * inner_b, -25, 38, 30, 36) < 1) return Tissue::kUrine;
  double rectum = Ellipse(x, y, 0, 0.42 * b, 17, 15);
  if (rectum < 1) return rectum < 0.2 ? Tissue::kAir : Tissue::kOrgan;
  // Fat lies between the organs.
  if (Ellipse(x, y, 0, 0, 0.5 * inner_a, 0.62 * inner_b) < 1) return Tissue::kFat;
  return Tissue::kMuscle;
}

Tissue Anatomy::Thigh(double x, double y, double z) const {
  double scale = ThighScale(z);
  double a = body_.half_width * scale, b = body_.half_depth * scale;
  double side = x < 0 ? -kThighX : kThighX;
  if (Ellipse(x, y, side, 0, a, b) >= 1) {
    double back = body_.half_depth * (1 + kThighNarrowing);
    return y > back + 6 && y < back + 18 && std::abs(x) < 190 ? Tissue::kCouch : Tissue::kAir;
  }
  if (Ellipse(x, y, side, 0, a - body_.fat, b - body_.fat) >= 1) return Tissue::kFat;
  Tissue bone;
  if (Bone(x, y, side, 0, 15, 6, bone)) return bone;
  // Fat planes between the front, inner and back muscles.
  double out = x < 0 ? -(x - side) : x - side;
  bool plane = (std::abs(y - 12 - 0.35 * out) < 2.5 && out > 0) ||
               (std::abs(y - 18 + 0.5 * out) < 2.5 && out < 0);
  return plane ? Tissue::kFat : Tissue::kMuscle;
}

}  // namespace oncomesh::phantom
