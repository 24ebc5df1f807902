// SPDX-License-Identifier: Apache-2.0
#include "libs/base/parallel.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <set>
#include <thread>
#include <vector>

#include "libs/base/mutex.h"

namespace oncomesh::base {
namespace {

TEST_CASE("in parallel: everything is done once, by no more threads than allowed") {
  for (size_t count : {0u, 1u, 3u, 100u}) {
    std::vector<std::atomic<int>> done(count);
    Mutex mutex;
    std::set<std::thread::id> by;
    ForEachInParallel(count, 4, [&](size_t i) {
      ++done[i];
      MutexLock lock(mutex);
      by.insert(std::this_thread::get_id());
    });
    for (const std::atomic<int>& times : done) CHECK(times == 1);
    CHECK(by.size() <= 4);
  }
}

#ifndef ONCOMESH_SANITIZED  // sanitizers need address space too
TEST_CASE("in parallel: when no thread can be made, the caller does it all") {
  // In a process of its own, with no address space left for another stack.
  const pid_t child = fork();
  if (child == 0) {
    const rlimit none{1, 1};
    setrlimit(RLIMIT_AS, &none);
    std::atomic<int> done{0};
    ForEachInParallel(20, 8, [&](size_t) { ++done; });
    _exit(done == 20 ? 0 : 1);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}
#endif

}  // namespace
}  // namespace oncomesh::base
