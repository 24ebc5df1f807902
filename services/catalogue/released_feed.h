// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace oncomesh::catalogue {

// One event of the de-identification service's feed.
struct Released {
  enum class Kind {
    kObject,         // a DICOM object was released
    kClinicalTable,  // a pseudonymised clinical table; its values replace the patients' earlier
                     // ones
  };
  int64_t sequence = 0;  // position in the feed, ascending from 1
  Kind kind = Kind::kObject;
  std::string sha256{};  // name in the object store
};

// What de-identification has released, in the order in which it did. Nothing that was released is
// taken back one by one: what may no longer be used is withdrawn as a dataset. Any thread.
class ReleasedFeed {
 public:
  virtual ~ReleasedFeed() = default;
  // At most `limit` events after position `after`; empty when there are none yet. Positions never
  // change, so that a reader can begin anew at 0.
  // Errors: UNAVAILABLE (RELEASED_FEED).
  virtual absl::StatusOr<std::vector<Released>> List(int64_t after, int limit) = 0;
};

}  // namespace oncomesh::catalogue
