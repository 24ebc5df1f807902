// SPDX-License-Identifier: Apache-2.0
// Roots and proofs of a growing log, from the hashes of its perfect subtrees.
//
// The hashes are kept in the order in which they become final: a leaf, then every inner node that
// it completes. Their position follows from level and number alone, so they are one append-only
// array, 64 bytes per leaf, in memory or in a file; nothing in it ever changes.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libs/ledger/hash.h"
#include "libs/ledger/proof.h"

namespace oncomesh::ledger {

// Position in the array of the node `number` (from the left, 0 first) of `level` (0: the leaves).
uint64_t NodePosition(int level, uint64_t number);
// How many hashes a log of `size` leaves has.
uint64_t NodeCount(uint64_t size);

// The roots of the perfect subtrees that a log falls into, largest first: all that is needed to go
// on appending. O(log n) memory.
class Frontier {
 public:
  // Adds a leaf; `emit`, when given, gets the hashes that became final, in their order.
  void Append(const Hash& leaf_hash, absl::FunctionRef<void(const Hash&)> emit);
  void Append(const Hash& leaf_hash) {
    Append(leaf_hash, [](const Hash&) {});
  }
  uint64_t size() const { return size_; }
  Hash Root() const;

 private:
  friend class TreeReader;
  uint64_t size_ = 0;
  std::vector<Hash> peaks_;
};

// Reads the array. `read(position)` gives one hash; its error is passed on.
class TreeReader {
 public:
  using Read = absl::FunctionRef<absl::StatusOr<Hash>(uint64_t position)>;
  explicit TreeReader(Read read) : read_(read) {}

  // The root of the first `size` leaves. O(log size).
  absl::StatusOr<Hash> Root(uint64_t size);
  // RFC 6962 §2.1.1. Errors: INVALID_ARGUMENT (INDEX_OUT_OF_RANGE) unless index < size.
  absl::StatusOr<Proof> Inclusion(uint64_t index, uint64_t size);
  // RFC 6962 §2.1.2; empty for equal sizes and for size1 = 0.
  // Errors: INVALID_ARGUMENT (INDEX_OUT_OF_RANGE) unless size1 ≤ size2.
  absl::StatusOr<Proof> Consistency(uint64_t size1, uint64_t size2);
  // The state after `size` leaves.
  absl::StatusOr<Frontier> FrontierAt(uint64_t size);

 private:
  // The root of the leaves [start, end), where start is a multiple of the power of two next above.
  absl::StatusOr<Hash> RangeRoot(uint64_t start, uint64_t end);
  Read read_;
};

}  // namespace oncomesh::ledger
