// SPDX-License-Identifier: Apache-2.0
// Turns exact sets of patients into numbers that may leave the node. The rules, and what they do
// and do not protect from, are in doc/formats/query.md. This is disclosure limitation, not a formal
// privacy guarantee.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "libs/base/mutex.h"
#include "services/catalogue/bits.h"

namespace oncomesh::catalogue {

// From the node's policy.
struct DisclosureRules {
  int64_t min_cell = 5;  // fewer patients than this are not told; at least 1
  int64_t rounding = 5;  // numbers told are multiples of this; at least 1
  // A population is told for what it is only when it has at least so many patients: whichever
  // min_cell - 1 of them are taken out, min_cell are left.
  int64_t apart() const { return 2 * std::max<int64_t>(min_cell, 1) - 1; }
  // A hidden population has at most so many patients.
  int64_t most_hidden() const { return 3 * (std::max<int64_t>(min_cell, 1) - 1); }
  bool operator==(const DisclosureRules&) const = default;
};

// `patients` rounded to the nearest multiple (halves up), never to zero; nothing when there are
// fewer than `min_cell`, zero included: a hidden number does not say whether there is anybody.
std::optional<int64_t> Round(int64_t patients, const DisclosureRules& rules);

// A cell of a table of counts.
struct Cell {
  std::vector<size_t> place;  // coordinates, one per variable
  int64_t patients = 0;       // exact
  bool shown = false;
};

// Decides which cells are shown. A cell is hidden below `min_cell`. In every line of the table (all
// coordinates but one fixed) the hidden cells together hold no patient or at least `min_cell`, so
// that none of them follows from the line's total: where they do not, the smallest shown cell of
// the line is hidden too, until no line needs it. Cells that are not listed hold no patient.
void Suppress(std::vector<Cell>& cells, const DisclosureRules& rules);

// Gives populations that are near each other the same answer. The distance of two populations is
// the number of patients who are in one of them only; k stands for min_cell, 2k - 1 is apart().
// Some of those that were asked are remembered: references, told for what they are, and followers,
// told what a reference was. The empty population is a reference from the start, and hidden. For a
// population the first of these holds:
//   1. It is nearer than k to a reference, of which there is at most one: that one's answer.
//   2. It is nearer than k to a follower: the answer of the nearest one.
//   3. It is nearer than 2k - 1 to a reference: the answer of the nearest one, and it becomes a
//      follower.
//   4. It becomes a reference, and is told rounded.
// Of equally near ones the earliest counts. What follows from this, and what does not, is in
// doc/formats/query.md. Applies to every number that leaves, whoever asked. Any thread.
//
// The memory is the process's own and holds, of the populations of whole questions and of those of
// groups, the `capacity` that were used last; what is forgotten, or asked before a restart, no
// longer protects. With 100,000 patients a population takes 12.5 kB.
class AnswerMemory {
 public:
  // A split has up to a thousand groups at once: they push out groups only, never what was asked as
  // a question of its own.
  enum class Asked { kQuestion, kGroup };
  struct Told {
    std::optional<int64_t> number;  // nothing when it is hidden
    // The number is this very population's own, rounded, and not that of one near it.
    bool own = false;
  };

  explicit AnswerMemory(size_t capacity = 1024) : capacity_(capacity) {}

  Told Tell(const Bits& patients, const DisclosureRules& rules, Asked asked);
  // The number of a whole question.
  std::optional<int64_t> Answer(const Bits& patients, const DisclosureRules& rules) {
    return Tell(patients, rules, Asked::kQuestion).number;
  }

 private:
  struct Past {
    Bits patients;
    std::optional<int64_t> told;
    bool reference;
    uint64_t number;  // in order of time
    Asked asked;
    uint64_t used;  // when it last answered something
  };
  using Place = std::multimap<int64_t, Past>::iterator;
  // From the one that was used longest ago.
  using ByUse = std::map<uint64_t, Place>;

  ByUse& List(Asked asked) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return asked == Asked::kQuestion ? questions_ : groups_;
  }
  // Notes that `place` has answered. What answers a question is kept as one.
  void Renew(Place place, Asked asked) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Adds it to its list, and forgets what that list has no room for.
  void Enter(Place place) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t capacity_;
  base::Mutex mutex_;
  DisclosureRules rules_ ABSL_GUARDED_BY(mutex_);
  std::multimap<int64_t, Past> by_count_ ABSL_GUARDED_BY(mutex_);  // by exact count
  ByUse questions_ ABSL_GUARDED_BY(mutex_);
  ByUse groups_ ABSL_GUARDED_BY(mutex_);
  uint64_t last_ ABSL_GUARDED_BY(mutex_) = 0;  // numbers count from 1
};

}  // namespace oncomesh::catalogue
