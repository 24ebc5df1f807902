// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "libs/base/mutex.h"
#include "services/catalogue/index.h"

namespace oncomesh::catalogue {

// The index in use. A reader keeps the one it got for as long as it needs it. Any thread.
class CurrentIndex {
 public:
  CurrentIndex() : index_(IndexBuilder().Build()) {}

  std::shared_ptr<const Index> Get() {
    base::MutexLock lock(mutex_);
    return index_;
  }
  void Set(std::shared_ptr<const Index> index) {
    base::MutexLock lock(mutex_);
    index_.swap(index);
  }

 private:
  base::Mutex mutex_;
  std::shared_ptr<const Index> index_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace oncomesh::catalogue
