// SPDX-License-Identifier: Apache-2.0
#include "libs/phantom/volume.h"

#include <algorithm>
#include <cmath>

namespace oncomesh::phantom {
namespace {

// By tissue, in the order of the enumeration. CT in HU, MR T1-weighted with contrast agent relative
// to 350 for muscle, PET as SUV one hour after FDG.
constexpr double kSignal[3][kTissues] = {
    //  air couch   fat muscle gland  lung organ urine marrow cortex tumour necrosis
    {-1000, -600, -100, 50, 35, -820, 45, 8, 260, 900, 120, 95},
    {0, 0, 900, 350, 420, 30, 380, 180, 760, 40, 620, 240},
    {0, 0, 0.25, 0.6, 0.8, 0.4, 1.6, 14, 1.1, 0.5, 7.0, 2.0},
};

// Patients' tumours differ: what is added to (CT) or multiplies (MR, PET) the tumour's signal.
double TumourChange(Modality modality, const Key& patient) {
  Stream draw(patient.Below("tumour contrast"));
  double ct = draw.Uniform(-10, 10);  // 60 to 80 HU above muscle
  double mr = draw.Uniform(0.85, 1.15);
  double pt = draw.Uniform(0.6, 1.8);
  return modality == Modality::kCt ? ct : modality == Modality::kMr ? mr : pt;
}

// One pass of [1 2 1]/4 along rows and columns of every slice; edges repeat.
void Smooth(const Grid& grid, std::vector<float>& values, std::vector<float>& scratch) {
  size_t row_size = grid.columns, slice_size = row_size * grid.rows;
  scratch.resize(values.size());
  for (int k = 0; k < grid.slices; ++k) {
    float* slice = values.data() + k * slice_size;
    float* out = scratch.data() + k * slice_size;
    for (int j = 0; j < grid.rows; ++j) {
      const float* row = slice + j * row_size;
      for (int i = 0; i < grid.columns; ++i) {
        float left = row[std::max(i - 1, 0)], right = row[std::min(i + 1, grid.columns - 1)];
        out[j * row_size + i] = 0.25f * left + 0.5f * row[i] + 0.25f * right;
      }
    }
    for (int j = 0; j < grid.rows; ++j) {
      const float* above = out + std::max(j - 1, 0) * row_size;
      const float* here = out + j * row_size;
      const float* below = out + std::min(j + 1, grid.rows - 1) * row_size;
      for (int i = 0; i < grid.columns; ++i) {
        slice[j * row_size + i] = 0.25f * above[i] + 0.5f * here[i] + 0.25f * below[i];
      }
    }
  }
}

// By how much `passes` of Smooth shrink the standard deviation of white noise: the weights of one
// direction are the binomial coefficients of order 2·passes, and Σw² = C(4p, 2p) / 16^p.
double NoiseShrink(int passes) {
  double sum = 1;
  for (int i = 1; i <= 2 * passes; ++i) sum *= (2.0 * passes + i) / i / 4;
  return sum;  // √(Σw²) in each of two directions
}

// White noise seen through the same kernel as the image, with standard deviation 1.
std::vector<float> Noise(const Grid& grid, int passes, Stream draw, std::vector<float>& scratch) {
  std::vector<float> out(grid.size());
  for (float& value : out) value = static_cast<float>(draw.Normal());
  for (int i = 0; i < passes; ++i) Smooth(grid, out, scratch);
  float scale = static_cast<float>(1 / NoiseShrink(passes));
  for (float& value : out) value *= scale;
  return out;
}

// The receive coil's sensitivity: a polynomial of second order, about ±30 % over the body.
class BiasField {
 public:
  explicit BiasField(Stream draw) {
    for (double& value : linear_) value = draw.Uniform(-0.18, 0.18);
    for (double& value : square_) value = draw.Uniform(-0.15, 0.05);
    cross_ = draw.Uniform(-0.1, 0.1);
  }
  double At(double x, double y, double z) const {
    double u = x / 200, v = y / 200, w = z / 100;
    double value = 1 + linear_[0] * u + linear_[1] * v + linear_[2] * w + square_[0] * u * u +
                   square_[1] * v * v + square_[2] * w * w + cross_ * u * v;
    return std::max(value, 0.3);
  }

 private:
  double linear_[3], square_[3], cross_;
};

}  // namespace

Grid GridOf(const Scanner& scanner) {
  int slices = static_cast<int>(2 * Anatomy::kHalfLength / scanner.slice_mm);
  return {scanner.matrix, scanner.matrix, slices, scanner.pixel_mm, scanner.slice_mm};
}

std::vector<float> Render(const Anatomy& anatomy, const Scanner& scanner, Modality modality,
                          const Key& patient) {
  Grid grid = GridOf(scanner);
  int row = static_cast<int>(modality);
  double signal[kTissues];
  std::copy(kSignal[row], kSignal[row] + kTissues, signal);
  double change = TumourChange(modality, patient);
  for (Tissue tissue : {Tissue::kTumour, Tissue::kNecrosis}) {
    double& value = signal[static_cast<int>(tissue)];
    value = modality == Modality::kCt ? value + change : value * change;
  }
  // No MR or PET scanner shows the couch, which both signals have as 0.

  Key key = patient.Below("image").Below(ModalityName(modality));
  std::vector<float> values(grid.size());
  constexpr int kPlanes = 3;  // samples through a slice: partial volume
  size_t at = 0;
  for (int k = 0; k < grid.slices; ++k) {
    for (int j = 0; j < grid.rows; ++j) {
      for (int i = 0; i < grid.columns; ++i, ++at) {
        double sum = 0;
        for (int plane = 0; plane < kPlanes; ++plane) {
          double z = grid.Z(k) + grid.slice_mm * ((plane + 0.5) / kPlanes - 0.5);
          sum += signal[static_cast<int>(anatomy.At(grid.X(i), grid.Y(j), z))];
        }
        values[at] = static_cast<float>(sum / kPlanes);
      }
    }
  }
  std::vector<float> scratch;
  for (int i = 0; i < scanner.blur_passes; ++i) Smooth(grid, values, scratch);

  std::vector<float> noise = Noise(grid, scanner.blur_passes, Stream(key.Below("noise")), scratch);
  // Tissue is not uniform at the scale of centimetres either.
  std::vector<float> texture = Noise(grid, 6, Stream(key.Below("texture")), scratch);
  BiasField bias{Stream(key.Below("bias field"))};
  double muscle = signal[static_cast<int>(Tissue::kMuscle)];
  at = 0;
  for (int k = 0; k < grid.slices; ++k) {
    for (int j = 0; j < grid.rows; ++j) {
      for (int i = 0; i < grid.columns; ++i, ++at) {
        double value = values[at];
        switch (modality) {
          case Modality::kCt:
            if (value > -300) value += 6 * texture[at];
            value += scanner.noise * noise[at];
            value = std::clamp(value, -1024.0, 3071.0);
            break;
          case Modality::kMr: {
            value *= (1 + 0.05 * texture[at]) * bias.At(grid.X(i), grid.Y(j), grid.Z(k));
            value = value + scanner.noise * muscle * noise[at];
            // A magnitude image has no negative values.
            value = scanner.gain * std::abs(value) + scanner.offset;
            break;
          }
          case Modality::kPt:
            value *= 1 + 0.08 * texture[at];
            // Counting noise grows with the square root of the activity.
            value += scanner.noise * std::sqrt(std::max(value, 0.0) + 0.02) * noise[at];
            value = scanner.gain * std::max(value, 0.0);
            break;
        }
        values[at] = static_cast<float>(value);
      }
    }
  }
  return values;
}

}  // namespace oncomesh::phantom
