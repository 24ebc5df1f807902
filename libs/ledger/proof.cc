// SPDX-License-Identifier: Apache-2.0
#include "libs/ledger/proof.h"

#include <bit>

#include "libs/base/error.h"
#include "libs/base/status_macros.h"

namespace oncomesh::ledger {
namespace {

absl::Status Invalid(absl::string_view what) {
  return base::Error(absl::StatusCode::kInvalidArgument, "PROOF_INVALID", what);
}

absl::Status CheckSubtree(uint64_t start, uint64_t end) {
  if (start > end) return Invalid("the subtree ends before it starts");
  const uint64_t width = end - start;
  if (width <= 1) return absl::OkStatus();
  // Beyond 2^63 leaves no power of two is left that bit_ceil could name; only 0 is aligned then.
  const bool aligned = width > (uint64_t{1} << 63) ? start == 0 : start % std::bit_ceil(width) == 0;
  return aligned ? absl::OkStatus() : Invalid("the subtree does not start at a whole subtree");
}

}  // namespace

absl::StatusOr<Hash> RootFromInclusion(uint64_t index, uint64_t size, const Hash& leaf_hash,
                                       const Proof& proof) {
  if (index >= size) return Invalid("the index is beyond the log");
  // Follow the leaf's node and the log's last node upwards together. Where both are the same node
  // and it is a left child, the level has no sibling for it: the proof skips such levels.
  uint64_t node = index, last = size - 1;
  Hash hash = leaf_hash;
  for (const Hash& sibling : proof) {
    if (last == 0) return Invalid("the proof is too long");
    if ((node & 1) != 0 || node == last) {
      hash = NodeHash(sibling, hash);
      while ((node & 1) == 0 && node != 0) {
        node >>= 1;
        last >>= 1;
      }
    } else {
      hash = NodeHash(hash, sibling);
    }
    node >>= 1;
    last >>= 1;
  }
  if (last != 0) return Invalid("the proof is too short");
  return hash;
}

absl::Status VerifyInclusion(uint64_t index, uint64_t size, const Hash& leaf_hash,
                             const Proof& proof, const Hash& root) {
  ASSIGN_OR_RETURN(Hash computed, RootFromInclusion(index, size, leaf_hash, proof));
  return computed == root ? absl::OkStatus() : Invalid("the proof leads to another root");
}

absl::Status VerifySubtreeInclusion(uint64_t index, uint64_t start, uint64_t end,
                                    const Hash& leaf_hash, const Proof& proof, const Hash& root) {
  RETURN_IF_ERROR(CheckSubtree(start, end));
  if (index < start || index >= end) return Invalid("the index is outside the subtree");
  return VerifyInclusion(index - start, end - start, leaf_hash, proof, root);
}

absl::Status VerifyConsistency(uint64_t size1, uint64_t size2, const Proof& proof,
                               const Hash& root1, const Hash& root2) {
  if (size1 == 0) return Invalid("consistency with an empty log says nothing");
  return VerifySubtreeConsistency(0, size1, size2, proof, root1, root2);
}

absl::Status VerifySubtreeConsistency(uint64_t start, uint64_t end, uint64_t size,
                                      const Proof& proof, const Hash& subtree_root,
                                      const Hash& root) {
  RETURN_IF_ERROR(CheckSubtree(start, end));
  if (end > size) return Invalid("the subtree ends beyond the log");
  if (start == end) {
    if (!proof.empty()) return Invalid("the proof is too long");
    return subtree_root == EmptyRoot() ? absl::OkStatus() : Invalid("the subtree is not empty");
  }
  // Three nodes go up together: the subtree's first, its last, and the log's last.
  uint64_t first = start, inner = end - 1, last = size - 1;
  auto up = [&] {
    first >>= 1;
    inner >>= 1;
    last >>= 1;
  };
  if (inner == last) {
    while (first != inner) up();  // the subtree is one node of the log, at its right edge
  } else {
    while (first != inner && (inner & 1) != 0) up();  // its rightmost perfect part
  }
  // Unless that part is the whole subtree, whose root the reader has, the proof begins with it.
  auto next = proof.begin();
  Hash sub = subtree_root;
  if (first != inner) {
    if (next == proof.end()) return Invalid("the proof is too short");
    sub = *next++;
  }
  Hash whole = sub;
  for (; next != proof.end(); ++next) {
    if (last == 0) return Invalid("the proof is too long");
    if ((inner & 1) != 0 || inner == last) {
      // A left neighbour: part of the subtree as long as that reaches further left.
      if (first < inner) sub = NodeHash(*next, sub);
      whole = NodeHash(*next, whole);
      while ((inner & 1) == 0 && inner != 0) up();
    } else {
      whole = NodeHash(whole, *next);
    }
    up();
  }
  if (last != 0) return Invalid("the proof is too short");
  if (sub != subtree_root) return Invalid("the proof leads to another root of the subtree");
  return whole == root ? absl::OkStatus() : Invalid("the proof leads to another root");
}

}  // namespace oncomesh::ledger
