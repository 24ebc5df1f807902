// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "services/relay/call.h"

namespace oncomesh::relay {

// Joins an incoming call to an outgoing one until both have ended. It reads from one side only when
// the other has taken what was read before: it holds at most kWindow parts per direction, the one
// being written included, whatever either side does. A caller that goes away cancels the outgoing
// call; it never looks to the service like a caller that has sent all it had to send.
// On the loop's thread; it keeps itself and both calls alive until the end.
class Pump final : public IncomingCall::Observer,
                   public OutgoingCall::Observer,
                   public std::enable_shared_from_this<Pump> {
 public:
  static constexpr size_t kWindow = 2;
  // Called once, with the code that ended the call (CANCELLED when the caller went away).
  using Done = std::function<void(Pump& pump, absl::StatusCode code)>;

  // `header` is what the outgoing call is started with. `done` may be called before Run returns.
  static std::shared_ptr<Pump> Make(std::shared_ptr<IncomingCall> incoming, CallHeader header,
                                    std::shared_ptr<OutgoingCall> outgoing, Done done);
  void Run();
  bool ended() const { return incoming_closed_ && outgoing_closed_; }

  // Ends both sides now. The caller gets `status`, or a reset when it has not taken what it was
  // sent.
  void Abort(const absl::Status& status);

  void OnRequest(RequestPart part) override;
  void OnSent() override;
  void OnClosed(bool cancelled) override;
  void OnWritten() override;
  void OnResponse(ResponsePart part) override;

 private:
  Pump(std::shared_ptr<IncomingCall> incoming, CallHeader header,
       std::shared_ptr<OutgoingCall> outgoing, Done done);
  void MoveRequests();
  void MoveResponses();
  void EndIfDone();

  const std::shared_ptr<IncomingCall> incoming_;
  const std::shared_ptr<OutgoingCall> outgoing_;
  CallHeader header_;  // until the outgoing call is started
  Done done_;

  bool started_ = false;          // the outgoing call
  bool reading_request_ = false;  // a Read is out
  bool writing_request_ = false;  // a Start or Write is out
  bool request_read_ = false;     // its end has come
  std::deque<RequestPart> requests_;

  bool reading_response_ = false;
  bool sending_ = false;
  bool trailer_read_ = false;
  bool trailer_sent_ = false;
  std::deque<ResponsePart> responses_;

  bool incoming_closed_ = false;
  bool outgoing_closed_ = false;
  bool aborted_ = false;
  absl::StatusCode code_ = absl::StatusCode::kUnknown;
};

}  // namespace oncomesh::relay
