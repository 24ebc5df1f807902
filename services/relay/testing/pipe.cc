// SPDX-License-Identifier: Apache-2.0
#include "services/relay/testing/pipe.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <utility>

namespace oncomesh::relay::testing {

class Scheduler::Alarm final : public Loop::Timer {
 public:
  explicit Alarm(Scheduler& scheduler) : scheduler_(scheduler) {}
  ~Alarm() override { scheduler_.timers_.erase(this); }

 private:
  Scheduler& scheduler_;
};

std::unique_ptr<Loop::Timer> Scheduler::After(absl::Duration wait, std::function<void()> task) {
  auto alarm = std::make_unique<Alarm>(*this);
  timers_[alarm.get()] = {now_ + wait, std::move(task)};
  return alarm;
}

Scheduler::~Scheduler() {
  while (!queues_.empty()) std::exchange(queues_, {}).clear();
  for (size_t i = 0; i < pipes_.size(); ++i) {
    if (std::shared_ptr<Pipe> pipe = pipes_[i].lock()) pipe->Forget();
  }
  while (!queues_.empty()) std::exchange(queues_, {}).clear();
}

bool Scheduler::Step() {
  if (queues_.empty()) return false;
  auto queue = std::next(queues_.begin(), Draw(static_cast<unsigned>(queues_.size())));
  std::function<void()> task = std::move(queue->second.front());
  queue->second.pop_front();
  if (queue->second.empty()) queues_.erase(queue);
  task();
  return true;
}

void Scheduler::Run() {
  while (Step()) {
  }
}

void Scheduler::Advance(absl::Duration by) {
  now_ += by;
  while (true) {
    Run();
    auto due = std::find_if(timers_.begin(), timers_.end(),
                            [&](const auto& timer) { return timer.second.due <= now_; });
    if (due == timers_.end()) return;
    std::function<void()> task = std::move(due->second.task);
    timers_.erase(due);
    task();
  }
}

class Pipe::Server final : public IncomingCall {
 public:
  explicit Server(std::shared_ptr<Pipe> pipe) : pipe_(std::move(pipe)) {}

  const CallHeader& header() const override { return pipe_->header_; }
  const std::vector<std::string>& peer_uris() const override { return pipe_->peer_uris_; }
  void Observe(std::shared_ptr<Observer> observer) override {
    pipe_->server_observer_ = std::move(observer);
  }
  void Read() override {
    pipe_->server_reads_ = true;
    pipe_->ServeRequests();
  }
  void Send(ResponsePart part) override {
    // gRPC ends the process over a second beginning.
    if (part.initial && begun_) std::abort();
    begun_ = true;
    pipe_->down_.push_back(std::move(part));
    pipe_->server_writes_ = true;
    pipe_->ServeResponses();
  }
  void Cancel() override { pipe_->End(1, "reset by the server"); }

 private:
  bool begun_ = false;
  const std::shared_ptr<Pipe> pipe_;
};

class Pipe::Client final : public OutgoingCall {
 public:
  explicit Client(std::shared_ptr<Pipe> pipe) : pipe_(std::move(pipe)) {}

  void Observe(std::shared_ptr<Observer> observer) override {
    pipe_->client_observer_ = std::move(observer);
  }
  void Start(CallHeader header, RequestPart first) override {
    pipe_->header_ = std::move(header);
    pipe_->started_ = true;
    std::shared_ptr<Pipe> pipe = pipe_;
    pipe_->scheduler_.Post(pipe_->server_queue_, [pipe] {
      if (!pipe->over_) pipe->accept_(std::make_shared<Server>(pipe));
    });
    Write(std::move(first));
  }
  void Write(RequestPart part) override {
    if (part.message || part.end) pipe_->up_.push_back(std::move(part));
    pipe_->client_writes_ = true;
    pipe_->ServeRequests();
  }
  void Read() override {
    pipe_->client_reads_ = true;
    pipe_->ServeResponses();
  }
  void Cancel() override { pipe_->End(1, "cancelled by the client"); }

 private:
  const std::shared_ptr<Pipe> pipe_;
};

Pipe::Pipe(Scheduler& scheduler, Accept accept, std::vector<std::string> peer_uris, size_t window)
    : scheduler_(scheduler),
      accept_(std::move(accept)),
      peer_uris_(std::move(peer_uris)),
      window_(window),
      client_queue_(scheduler.NewQueue()),
      server_queue_(scheduler.NewQueue()) {}

std::shared_ptr<OutgoingCall> Pipe::client() {
  scheduler_.Know(weak_from_this());
  return std::make_shared<Client>(shared_from_this());
}

void Pipe::Forget() {
  over_ = true;
  const std::shared_ptr<Pipe> self = shared_from_this();
  // By way of locals: what they let go of may come back here.
  const auto client = std::exchange(client_observer_, nullptr);
  const auto server = std::exchange(server_observer_, nullptr);
  const Accept accept = std::exchange(accept_, nullptr);
}

void Pipe::Break() { End(14, "connection lost"); }

// What can move up moves: a part to a server that reads, an answer to a client that waits.
void Pipe::ServeRequests() {
  std::shared_ptr<Pipe> self = shared_from_this();
  scheduler_.Post(server_queue_, [self] {
    if (self->over_ || !self->server_reads_ || self->up_.empty() || !self->server_observer_) return;
    self->server_reads_ = false;
    RequestPart part = std::move(self->up_.front());
    self->up_.pop_front();
    auto observer = self->server_observer_;
    observer->OnRequest(std::move(part));
    self->ServeRequests();
  });
  scheduler_.Post(client_queue_, [self] {
    if (self->over_ || !self->client_writes_ || self->up_.size() >= self->window_) return;
    self->client_writes_ = false;
    if (auto observer = self->client_observer_) observer->OnWritten();
  });
}

void Pipe::ServeResponses() {
  std::shared_ptr<Pipe> self = shared_from_this();
  scheduler_.Post(client_queue_, [self] {
    if (self->over_ || self->down_.empty() || !self->client_observer_) return;
    ResponsePart& next = self->down_.front();
    bool trailer_alone = next.trailer && !next.initial && !next.message;
    if (!self->client_reads_ && !trailer_alone) return;
    self->client_reads_ = false;
    auto observer = self->client_observer_;
    if (next.initial && (next.message || next.trailer) && !self->header_.unary) {
      // Initial metadata comes by itself, as from gRPC.
      ResponsePart part;
      part.initial = std::move(next.initial);
      next.initial.reset();
      observer->OnResponse(std::move(part));
      return self->ServeResponses();
    }
    ResponsePart part = std::move(next);
    self->down_.pop_front();
    if (part.trailer) {
      self->over_ = true;
      self->client_observer_ = nullptr;
    }
    observer->OnResponse(std::move(part));
    if (!self->over_) self->ServeResponses();
  });
  scheduler_.Post(server_queue_, [self] {
    if (self->reset_ || !self->server_writes_ || !self->server_observer_) return;
    bool closing = self->over_ || (!self->down_.empty() && self->down_.back().trailer);
    if (closing) {
      auto observer = std::move(self->server_observer_);
      self->server_observer_ = nullptr;
      return observer->OnClosed(/*cancelled=*/false);
    }
    if (self->down_.size() >= self->window_) return;
    self->server_writes_ = false;
    auto observer = self->server_observer_;
    observer->OnSent();
  });
}

void Pipe::End(int client_code, const char* message) {
  if (over_) return;
  over_ = true;
  reset_ = true;
  up_.clear();
  down_.clear();
  std::shared_ptr<Pipe> self = shared_from_this();
  scheduler_.Post(server_queue_, [self] {
    auto observer = std::move(self->server_observer_);
    self->server_observer_ = nullptr;
    if (observer) observer->OnClosed(/*cancelled=*/true);
  });
  scheduler_.Post(client_queue_, [self, client_code, message] {
    auto observer = std::move(self->client_observer_);
    self->client_observer_ = nullptr;
    if (!observer) return;
    ResponsePart part;
    part.trailer.emplace();
    part.trailer->code = client_code;
    part.trailer->message = message;
    observer->OnResponse(std::move(part));
  });
}

std::shared_ptr<OutgoingCall> PipeLine::NewCall() {
  pipes_.erase(
      std::remove_if(pipes_.begin(), pipes_.end(), [](const auto& pipe) { return pipe->over(); }),
      pipes_.end());
  pipes_.push_back(std::make_shared<Pipe>(scheduler_, accept_, peer_uris_));
  return pipes_.back()->client();
}

void PipeLine::Break() {
  for (auto& pipe : pipes_) pipe->Break();
}

size_t PipeLine::calls() const {
  return static_cast<size_t>(
      std::count_if(pipes_.begin(), pipes_.end(), [](const auto& pipe) { return !pipe->over(); }));
}

}  // namespace oncomesh::relay::testing
