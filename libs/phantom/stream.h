// SPDX-License-Identifier: Apache-2.0
// Randomness that is a function of a seed and a name.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "absl/strings/string_view.h"

namespace oncomesh::phantom {

// What a drawn value depends on, and nothing else: the seed and a path of names such as
// {"north", "patient", "3", "tumour"}. Two different keys give unrelated values, so adding a site,
// a patient or a modality never changes what the others look like.
class Key {
 public:
  explicit Key(uint64_t seed) : seed_(seed) {}
  // The key below this one. Names may hold any bytes.
  Key Below(absl::string_view name) const;
  Key Below(absl::string_view name, int64_t number) const;

  // A UID under 2.25 (PS3.5 B.2) whose UUID (version 8, RFC 9562) is made from the key.
  std::string Uid() const;
  // SHA-256 of the key.
  std::string Digest() const;

 private:
  uint64_t seed_;
  std::string path_;
};

// The numbers of one key, in order (xoshiro256** of Blackman and Vigna, 2018). Only integer
// operations, additions, multiplications and square roots: every machine draws the same. Value
// type, one thread at a time.
class Stream {
 public:
  explicit Stream(const Key& key);

  uint64_t Bits();
  // In [0, 1).
  double Uniform();
  // In [low, high).
  double Uniform(double low, double high) { return low + (high - low) * Uniform(); }
  // In [low, high], both included.
  int Integer(int low, int high);
  bool Chance(double probability) { return Uniform() < probability; }
  // Mean 0, variance 1: the sum of four uniform 16-bit numbers, which stays within ±3.5.
  double Normal();
  // An index drawn with the given weights, of which one must be positive.
  int Weighted(std::initializer_list<double> weights) {
    return Weighted(weights.begin(), static_cast<int>(weights.size()));
  }
  int Weighted(const double* weights, int count);

 private:
  uint64_t state_[4];
};

}  // namespace oncomesh::phantom
