// SPDX-License-Identifier: Apache-2.0
// What anybody can check without trusting the log: that an entry is in it, and that a later log
// holds the earlier one unchanged. Pure functions, any thread.
//
// A subtree [start, end) is a range of leaves whose root stands for them alone; it is valid when
// `start` is a multiple of the smallest power of two that is not below `end - start`
// (draft-ietf-plants-merkle-tree-certs §4). The whole log is the subtree [0, size).
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libs/ledger/hash.h"

namespace oncomesh::ledger {

// From the leaf's sibling upwards for inclusion; as RFC 6962 §2.1.2 orders it for consistency.
using Proof = std::vector<Hash>;

// Every function below answers OK or INVALID_ARGUMENT (PROOF_INVALID): sizes that make no sense, a
// proof that is too long or too short by one hash, or a root that does not come out.

// RFC 9162 §2.1.3.2: the leaf with `leaf_hash` is number `index` of the log of `size` with `root`.
absl::Status VerifyInclusion(uint64_t index, uint64_t size, const Hash& leaf_hash,
                             const Proof& proof, const Hash& root);

// The root that the proof leads to, for a reader who then looks it up. INVALID_ARGUMENT
// (PROOF_INVALID) when the proof does not have the one length that fits.
absl::StatusOr<Hash> RootFromInclusion(uint64_t index, uint64_t size, const Hash& leaf_hash,
                                       const Proof& proof);

// RFC 9162 §2.1.4.2: the log of `size2` with `root2` begins with the log of `size1` with `root1`.
// `size1` = 0 is refused: every log begins with nothing, so such a proof says nothing.
absl::Status VerifyConsistency(uint64_t size1, uint64_t size2, const Proof& proof,
                               const Hash& root1, const Hash& root2);

// The leaf is in the subtree [start, end) with `root`; `index` counts from the log's beginning.
absl::Status VerifySubtreeInclusion(uint64_t index, uint64_t start, uint64_t end,
                                    const Hash& leaf_hash, const Proof& proof, const Hash& root);

// The log of `size` with `root` holds the subtree [start, end) with `subtree_root`. An empty
// subtree is in every log: `start` = `end` needs an empty proof and the empty root.
absl::Status VerifySubtreeConsistency(uint64_t start, uint64_t end, uint64_t size,
                                      const Proof& proof, const Hash& subtree_root,
                                      const Hash& root);

}  // namespace oncomesh::ledger
