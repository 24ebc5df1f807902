// SPDX-License-Identifier: Apache-2.0
#include "libs/base/parallel.h"

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>
#include <vector>

namespace oncomesh::base {

void ForEachInParallel(size_t count, size_t threads, absl::FunctionRef<void(size_t)> work) {
  std::atomic<size_t> next{0};
  auto take = [&] {
    for (size_t i = next++; i < count; i = next++) work(i);
  };
  std::vector<std::thread> others;
  const size_t wanted = std::min(threads, count);
  others.reserve(wanted);
  try {
    while (others.size() + 1 < wanted) others.emplace_back(take);
  } catch (const std::system_error&) {
    // No thread left: slower, not less.
  }
  take();
  for (std::thread& other : others) other.join();
}

}  // namespace oncomesh::base
