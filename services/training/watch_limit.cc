// SPDX-License-Identifier: Apache-2.0
#include "services/training/watch_limit.h"

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"

namespace oncomesh::training {

absl::StatusOr<std::unique_ptr<WatchLimit::Place>> WatchLimit::Enter(const std::string& person) {
  {
    base::MutexLock lock(mutex_);
    int& open = open_[person];
    if (open >= most_) {
      return base::Error(absl::StatusCode::kResourceExhausted, "TOO_MANY_WATCHERS",
                         absl::StrCat("you watch runs ", most_,
                                      " times already; end one of the watches, or use GetRun"));
    }
    ++open;
  }
  return std::make_unique<Place>(*this, person);
}

void WatchLimit::Leave(const std::string& person) {
  base::MutexLock lock(mutex_);
  auto found = open_.find(person);
  if (--found->second == 0) open_.erase(found);
}

}  // namespace oncomesh::training
