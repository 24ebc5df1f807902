// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "libs/base/mutex.h"
#include "tools/oncomesh/session.h"

namespace oncomesh::cli {

// Says on stderr that something is waited for, and how long already: a line that is drawn anew
// every second on a terminal and is gone with this object, a plain one every five seconds
// elsewhere, nothing with --quiet. For work whose parts cannot be counted, as a call that answers
// at its end.
class Waiting {
 public:
  Waiting(const Session& session, std::string what);
  ~Waiting();
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

 private:
  void Tell();

  const std::string what_;
  const bool terminal_;
  base::Mutex mutex_;
  base::CondVar changed_;
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread teller_;  // last: it uses the others
};

}  // namespace oncomesh::cli
