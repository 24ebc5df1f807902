// SPDX-License-Identifier: Apache-2.0
#include "services/relay/loop.h"

#include <future>
#include <utility>

namespace oncomesh::relay {
namespace {

// Breaks its promise when the task is dropped unrun, so that nobody waits for ever.
struct Ticket {
  std::promise<void> done;
};

}  // namespace

bool RunOn(Loop& loop, const std::function<void()>& task) {
  auto ticket = std::make_shared<Ticket>();
  std::future<void> done = ticket->done.get_future();
  bool ran = false;
  bool posted = loop.Post([ticket = std::move(ticket), &task, &ran] {
    task();
    ran = true;
    ticket->done.set_value();
  });
  if (!posted) return false;
  done.wait();  // ready with a value, or with a broken promise
  return ran;
}

}  // namespace oncomesh::relay
