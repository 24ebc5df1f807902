// SPDX-License-Identifier: Apache-2.0
// gRPC in memory, for tests of what lies between calls: a scheduler that lets any event come next
// that may come next, and calls whose two ends are both at hand.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "services/relay/call.h"
#include "services/relay/loop.h"

namespace oncomesh::relay::testing {

class Pipe;

// A loop without a thread. Events of one queue come in order; which queue is next is drawn by lot,
// so that one seed is one interleaving. Time moves only when told.
class Scheduler final : public Loop {
 public:
  explicit Scheduler(unsigned seed) : lot_(seed) {}
  // Whoever observes a call that is still open is let go, as when gRPC is shut down: the call and
  // its observer hold each other.
  ~Scheduler() override;

  bool Post(std::function<void()> task) override {
    Post(0, std::move(task));
    return true;
  }
  std::unique_ptr<Timer> After(absl::Duration wait, std::function<void()> task) override;

  int NewQueue() { return next_queue_++; }
  void Post(int queue, std::function<void()> task) { queues_[queue].push_back(std::move(task)); }
  // False when there is nothing to do.
  bool Step();
  // Steps until there is nothing to do.
  void Run();
  // Moves time on, runs the timers that are due, and then Run.
  void Advance(absl::Duration by);
  void Know(std::weak_ptr<Pipe> pipe) { pipes_.push_back(std::move(pipe)); }
  unsigned Draw(unsigned below) { return static_cast<unsigned>(lot_() % below); }

 private:
  struct Waiting {
    absl::Duration due;
    std::function<void()> task;
  };
  class Alarm;
  std::mt19937 lot_;
  int next_queue_ = 1;
  std::map<int, std::deque<std::function<void()>>> queues_;  // those with a task
  absl::Duration now_;
  std::map<const Alarm*, Waiting> timers_;
  std::vector<std::weak_ptr<Pipe>> pipes_;
};

// A call in memory. Like gRPC it answers later, never within the method that asks; a writer waits
// when `window` messages have not been read; a reset drops what has not been read.
class Pipe final : public std::enable_shared_from_this<Pipe> {
 public:
  using Accept = std::function<void(std::shared_ptr<IncomingCall>)>;

  Pipe(Scheduler& scheduler, Accept accept, std::vector<std::string> peer_uris = {},
       size_t window = 2);

  // The end that makes the call.
  std::shared_ptr<OutgoingCall> client();
  // The connection is lost: the client gets UNAVAILABLE.
  void Break();
  void Forget();
  bool over() const { return over_; }

 private:
  class Client;
  class Server;
  void End(int client_code, const char* message);
  void ServeRequests();
  void ServeResponses();

  Scheduler& scheduler_;
  Accept accept_;
  const std::vector<std::string> peer_uris_;
  const size_t window_;
  const int client_queue_;
  const int server_queue_;

  CallHeader header_;
  std::shared_ptr<OutgoingCall::Observer> client_observer_;
  std::shared_ptr<IncomingCall::Observer> server_observer_;
  std::deque<RequestPart> up_;
  std::deque<ResponsePart> down_;
  bool client_reads_ = false;
  bool server_reads_ = false;
  bool client_writes_ = false;
  bool server_writes_ = false;
  bool started_ = false;
  bool over_ = false;  // reset, or the trailer has been taken
  bool reset_ = false;
};

// A line whose calls all arrive at `accept`.
class PipeLine final : public Line {
 public:
  PipeLine(Scheduler& scheduler, Pipe::Accept accept, std::vector<std::string> peer_uris = {})
      : scheduler_(scheduler), accept_(std::move(accept)), peer_uris_(std::move(peer_uris)) {}
  std::shared_ptr<OutgoingCall> NewCall() override;
  // Ends every call on the line.
  void Break();
  size_t calls() const;

 private:
  Scheduler& scheduler_;
  Pipe::Accept accept_;
  const std::vector<std::string> peer_uris_;
  std::vector<std::shared_ptr<Pipe>> pipes_;
};

}  // namespace oncomesh::relay::testing
