// SPDX-License-Identifier: Apache-2.0
#include "libs/ledger/tree.h"

#include <algorithm>
#include <bit>

#include "libs/base/error.h"
#include "libs/base/status_macros.h"

namespace oncomesh::ledger {
namespace {

absl::Status OutOfRange(absl::string_view what) {
  return base::Error(absl::StatusCode::kInvalidArgument, "INDEX_OUT_OF_RANGE", what);
}

// The largest power of two below n, for n > 1: where RFC 6962 splits a tree.
uint64_t SplitOf(uint64_t n) { return uint64_t{1} << (std::bit_width(n - 1) - 1); }

}  // namespace

// A perfect subtree of 2^k leaves has 2^(k+1) − 1 nodes; summed over the bits of `size`.
uint64_t NodeCount(uint64_t size) { return 2 * size - static_cast<uint64_t>(std::popcount(size)); }

// A node becomes final with its last leaf, after that leaf and the `level` − 1 nodes between.
uint64_t NodePosition(int level, uint64_t number) {
  const uint64_t last_leaf = ((number + 1) << level) - 1;
  return NodeCount(last_leaf) + static_cast<uint64_t>(level);
}

void Frontier::Append(const Hash& leaf_hash, absl::FunctionRef<void(const Hash&)> emit) {
  Hash hash = leaf_hash;
  emit(hash);
  // One carry of binary counting for every one-bit at the end of the old size.
  for (uint64_t bits = size_; (bits & 1) != 0; bits >>= 1) {
    hash = NodeHash(peaks_.back(), hash);
    peaks_.pop_back();
    emit(hash);
  }
  peaks_.push_back(hash);
  ++size_;
}

Hash Frontier::Root() const {
  if (peaks_.empty()) return EmptyRoot();
  Hash root = peaks_.back();
  for (size_t i = peaks_.size() - 1; i-- > 0;) root = NodeHash(peaks_[i], root);
  return root;
}

absl::StatusOr<Frontier> TreeReader::FrontierAt(uint64_t size) {
  Frontier out;
  out.size_ = size;
  uint64_t start = 0;
  for (int level = 63; level >= 0; --level) {
    if ((size >> level & 1) == 0) continue;
    ASSIGN_OR_RETURN(Hash peak, read_(NodePosition(level, start >> level)));
    out.peaks_.push_back(peak);
    start += uint64_t{1} << level;
  }
  return out;
}

absl::StatusOr<Hash> TreeReader::Root(uint64_t size) {
  ASSIGN_OR_RETURN(Frontier frontier, FrontierAt(size));
  return frontier.Root();
}

absl::StatusOr<Hash> TreeReader::RangeRoot(uint64_t start, uint64_t end) {
  std::vector<Hash> parts;
  while (start < end) {
    const int level = std::bit_width(end - start) - 1;  // the largest perfect subtree that fits
    ASSIGN_OR_RETURN(Hash part, read_(NodePosition(level, start >> level)));
    parts.push_back(part);
    start += uint64_t{1} << level;
  }
  Hash root = parts.back();
  for (size_t i = parts.size() - 1; i-- > 0;) root = NodeHash(parts[i], root);
  return root;
}

absl::StatusOr<Proof> TreeReader::Inclusion(uint64_t index, uint64_t size) {
  if (index >= size) return OutOfRange("the log has no entry with this number yet");
  Proof proof;
  // Downwards from the root, collecting the other side of every split; the proof goes upwards.
  uint64_t start = 0, end = size;
  while (end - start > 1) {
    const uint64_t middle = start + SplitOf(end - start);
    ASSIGN_OR_RETURN(Hash sibling,
                     index < middle ? RangeRoot(middle, end) : RangeRoot(start, middle));
    proof.push_back(sibling);
    (index < middle ? end : start) = middle;
  }
  std::reverse(proof.begin(), proof.end());
  return proof;
}

absl::StatusOr<Proof> TreeReader::Consistency(uint64_t size1, uint64_t size2) {
  if (size1 > size2) return OutOfRange("the earlier log is the larger one");
  Proof proof;
  if (size1 == 0 || size1 == size2) return proof;
  // SUBPROOF of RFC 6962 as a loop: down along the right edge of the earlier log.
  uint64_t start = 0, end = size2;
  while (end != size1) {
    const uint64_t middle = start + SplitOf(end - start);
    ASSIGN_OR_RETURN(Hash sibling,
                     size1 <= middle ? RangeRoot(middle, end) : RangeRoot(start, middle));
    proof.push_back(sibling);
    (size1 <= middle ? end : start) = middle;
  }
  // What is left is the earlier log's last perfect part; the reader has it when it is all of it.
  if (start != 0) {
    ASSIGN_OR_RETURN(Hash part, RangeRoot(start, end));
    proof.push_back(part);
  }
  std::reverse(proof.begin(), proof.end());
  return proof;
}

}  // namespace oncomesh::ledger
