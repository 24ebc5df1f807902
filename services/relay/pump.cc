// SPDX-License-Identifier: Apache-2.0
#include "services/relay/pump.h"

#include <utility>

namespace oncomesh::relay {

std::shared_ptr<Pump> Pump::Make(std::shared_ptr<IncomingCall> incoming, CallHeader header,
                                 std::shared_ptr<OutgoingCall> outgoing, Done done) {
  return std::shared_ptr<Pump>(
      new Pump(std::move(incoming), std::move(header), std::move(outgoing), std::move(done)));
}

Pump::Pump(std::shared_ptr<IncomingCall> incoming, CallHeader header,
           std::shared_ptr<OutgoingCall> outgoing, Done done)
    : incoming_(std::move(incoming)),
      outgoing_(std::move(outgoing)),
      header_(std::move(header)),
      done_(std::move(done)) {}

void Pump::Run() {
  std::shared_ptr<Pump> self = shared_from_this();
  incoming_->Observe(shared_from_this());
  outgoing_->Observe(shared_from_this());
  if (!header_.unary) {
    // The service may be the first to speak, so the call opens before anything is read.
    started_ = true;
    writing_request_ = true;
    outgoing_->Start(std::move(header_), {});
    MoveResponses();
  }
  MoveRequests();
}

void Pump::OnRequest(RequestPart part) {
  reading_request_ = false;
  if (outgoing_closed_) return;
  request_read_ = part.end;
  if (!started_) {
    started_ = true;
    // A caller that hints at a unary call and then sends no message gets an ordinary one.
    header_.unary = part.end && part.message.has_value();
    writing_request_ = true;
    if (header_.unary) {
      outgoing_->Start(std::move(header_), std::move(part));
      MoveResponses();
      return;
    }
    outgoing_->Start(std::move(header_), {});
    MoveResponses();
  }
  if (!part.message && !requests_.empty()) {
    requests_.back().end = true;  // travels with the message before it
  } else {
    requests_.push_back(std::move(part));
  }
  MoveRequests();
}

void Pump::OnWritten() {
  writing_request_ = false;
  MoveRequests();
}

void Pump::MoveRequests() {
  if (incoming_closed_ || outgoing_closed_) return;
  if (!writing_request_ && !requests_.empty()) {
    writing_request_ = true;
    RequestPart part = std::move(requests_.front());
    requests_.pop_front();
    outgoing_->Write(std::move(part));
    if (incoming_closed_ || outgoing_closed_) return;
  }
  size_t held = requests_.size() + (writing_request_ ? 1 : 0);
  if (!reading_request_ && !request_read_ && held < kWindow) {
    reading_request_ = true;
    incoming_->Read();
  }
}

void Pump::OnResponse(ResponsePart part) {
  reading_response_ = false;
  if (part.trailer) {
    outgoing_closed_ = true;
    trailer_read_ = true;
    requests_.clear();
    if (code_ == absl::StatusCode::kUnknown) {
      code_ = static_cast<absl::StatusCode>(part.trailer->code);
    }
  }
  if (incoming_closed_ || aborted_) {
    EndIfDone();
    return;
  }
  if (!part.initial && !part.message && !responses_.empty()) {
    responses_.back().trailer = std::move(part.trailer);  // travels with the message before it
  } else {
    responses_.push_back(std::move(part));
  }
  MoveResponses();
}

void Pump::OnSent() {
  sending_ = false;
  MoveResponses();
}

void Pump::MoveResponses() {
  if (incoming_closed_) return;
  if (!sending_ && !trailer_sent_ && !responses_.empty()) {
    sending_ = true;
    ResponsePart part = std::move(responses_.front());
    responses_.pop_front();
    trailer_sent_ = part.trailer.has_value();
    incoming_->Send(std::move(part));
    if (incoming_closed_) return;
  }
  size_t held = responses_.size() + (sending_ ? 1 : 0);
  if (started_ && !reading_response_ && !trailer_read_ && !aborted_ && held < kWindow) {
    reading_response_ = true;
    outgoing_->Read();
  }
}

void Pump::OnClosed(bool cancelled) {
  std::shared_ptr<Pump> self = shared_from_this();
  incoming_closed_ = true;
  responses_.clear();
  requests_.clear();
  if (cancelled && !trailer_sent_) code_ = absl::StatusCode::kCancelled;
  if (!started_) {
    outgoing_closed_ = true;
    // Nobody else will tell the outgoing call that it is not wanted.
    outgoing_->Observe(nullptr);
  } else if (!outgoing_closed_) {
    outgoing_->Cancel();
  }
  EndIfDone();
}

void Pump::Abort(const absl::Status& status) {
  if (aborted_ || incoming_closed_ || outgoing_closed_) return;
  std::shared_ptr<Pump> self = shared_from_this();
  aborted_ = true;
  code_ = status.code();
  requests_.clear();
  responses_.clear();
  if (sending_) {
    incoming_->Cancel();  // the caller may never take what is being sent
  } else {
    sending_ = true;
    trailer_sent_ = true;
    ResponsePart part;
    part.trailer = TrailerOf(status);
    incoming_->Send(std::move(part));
  }
  if (started_) {
    outgoing_->Cancel();
  } else {
    outgoing_closed_ = true;
    outgoing_->Observe(nullptr);
    EndIfDone();
  }
}

void Pump::EndIfDone() {
  if (!ended() || !done_) return;
  Done done = std::move(done_);
  done_ = nullptr;
  done(*this, code_);
}

}  // namespace oncomesh::relay
