// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "absl/functional/function_ref.h"

namespace oncomesh::base {

// Calls work(0) … work(count - 1), each once, on this thread and at most `threads` - 1 others, and
// returns when all are done. When the system gives no further thread the ones there do it all.
// `work` is called by several threads at once and must not throw.
void ForEachInParallel(size_t count, size_t threads, absl::FunctionRef<void(size_t)> work);

}  // namespace oncomesh::base
