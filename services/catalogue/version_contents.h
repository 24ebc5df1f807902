// SPDX-License-Identifier: Apache-2.0
// Versions of one dataset that differ by few patients are told the same sizes: otherwise whoever
// reads both would see what those few have.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/optional.h"
#include "oncomesh/catalogue/v1/node_catalogue.pb.h"
#include "services/catalogue/disclosure.h"

namespace oncomesh::catalogue {

// What each patient has in a version of a dataset.
class VersionContents {
 public:
  // In any order, each once.
  void Add(const v1::ManifestItem& item);

  // Patients who are in one of two versions only, or have other objects in one than in the other.
  static size_t Difference(const VersionContents& a, const VersionContents& b);

 private:
  absl::flat_hash_map<std::string, uint64_t> by_patient_;  // a sum over the objects
};

// The versions of a dataset, by the rules that AnswerMemory has for populations: some are
// references, told for what they are, and some are followers, told what a reference was. The
// distance of two versions is VersionContents::Difference. Nothing is remembered but the versions
// themselves, so that a restart changes nothing.
class VersionHistory {
 public:
  explicit VersionHistory(const DisclosureRules& rules) : rules_(rules) {}

  // The version whose sizes are told of `next`; nothing when it is told for what it is.
  absl::optional<v1::Statistics> ToldOf(const VersionContents& next) const;
  // Adds a version that was told for what it is.
  void AddReference(VersionContents contents, v1::Statistics told);
  // Adds one that was told the sizes of the reference that was added last.
  void AddTold(VersionContents contents, v1::Statistics told);

 private:
  struct Past {
    VersionContents contents;
    v1::Statistics told;
    bool reference;
  };
  struct Nearest {
    size_t distance;
    const Past* past;
  };
  // The nearest reference or follower; of equally near ones the earliest.
  Nearest Find(const VersionContents& next, bool reference) const;

  const DisclosureRules rules_;
  std::vector<Past> past_;
};

}  // namespace oncomesh::catalogue
