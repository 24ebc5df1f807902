// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include "absl/time/time.h"
#include "libs/base/random.h"

namespace oncomesh::relay {

// How long to wait before dialling again: doubling from `first` to `most`, each time a random part
// between a half and the whole, so that a hub that comes back does not meet all nodes at once.
class Backoff {
 public:
  Backoff(absl::Duration first, absl::Duration most, base::Random& random)
      : first_(first), most_(most), next_(first), random_(random) {}

  absl::Duration Next() {
    absl::Duration whole = next_;
    next_ = std::min(next_ * 2, most_);
    std::string bytes = random_.Bytes(2);
    unsigned part =
        static_cast<unsigned char>(bytes[0]) << 8 | static_cast<unsigned char>(bytes[1]);
    return whole * (0.5 + part / 131070.0);
  }
  void Reset() { next_ = first_; }

 private:
  const absl::Duration first_;
  const absl::Duration most_;
  absl::Duration next_;
  base::Random& random_;
};

}  // namespace oncomesh::relay
