// SPDX-License-Identifier: Apache-2.0
// A gRPC call as the relay sees it, without gRPC: an incoming call, made by somebody else, and an
// outgoing one, made by the relay. A lane looks like either from its two ends, so one pump joins
// them all, and tests need no network.
//
// Everything here belongs to the loop's thread (loop.h): no method may be called from another one,
// and every event comes on it. An event may come before the method that caused it has returned.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "services/relay/message.h"

namespace oncomesh::relay {

// In the order they came; a key may stand twice.
using Metadata = std::vector<std::pair<std::string, std::string>>;

struct CallHeader {
  std::string method;  // "/oncomesh.catalogue.v1.CatalogueService/Count"
  Metadata metadata;
  absl::Time deadline = absl::InfiniteFuture();  // by this machine's clock
  bool unary = false;                            // one message each way
  std::string caller;                            // hub service whose call a lane carries
};

// How a call ended. `details` is a serialised google.rpc.Status or empty.
struct Trailer {
  int code = 0;  // as absl::StatusCode
  std::string message;
  std::string details;
  Metadata metadata;
};

// The trailer that tells of `status`, its reason included.
Trailer TrailerOf(const absl::Status& status);

// What the caller sends, in parts; the last has `end`. A part is never empty.
struct RequestPart {
  std::optional<Message> message;
  bool end = false;
};

// What the service sends, in parts: `initial` at most once and first; the last has `trailer`.
struct ResponsePart {
  std::optional<Metadata> initial;
  std::optional<Message> message;
  std::optional<Trailer> trailer;
};

class IncomingCall {
 public:
  class Observer {
   public:
    virtual ~Observer() = default;
    // The answer to a Read. A caller that cancels, or goes away, never causes a part with `end`.
    virtual void OnRequest(RequestPart part) = 0;
    // The answer to a Send without trailer: the next may follow.
    virtual void OnSent() = 0;
    // The last event. `cancelled`: the caller did not wait for the trailer, or its deadline passed.
    virtual void OnClosed(bool cancelled) = 0;
  };

  virtual ~IncomingCall() = default;
  virtual const CallHeader& header() const = 0;
  // The URI names of the caller's certificate.
  virtual const std::vector<std::string>& peer_uris() const = 0;
  // The caller's certificate, PEM; empty when it showed none.
  virtual std::string peer_certificate() const { return ""; }
  // Before anything else; kept until OnClosed.
  virtual void Observe(std::shared_ptr<Observer> observer) = 0;
  // One at a time, and none after `end`.
  virtual void Read() = 0;
  // One at a time, and none after a trailer.
  virtual void Send(ResponsePart part) = 0;
  // Resets the call; OnClosed follows.
  virtual void Cancel() = 0;
};

class OutgoingCall {
 public:
  class Observer {
   public:
    virtual ~Observer() = default;
    // The answer to Start and Write, unless the call ends first.
    virtual void OnWritten() = 0;
    // The answer to a Read. A part with a trailer may come without one, always comes, and is the
    // last event.
    virtual void OnResponse(ResponsePart part) = 0;
  };

  virtual ~OutgoingCall() = default;
  // Before anything else; kept until the trailer. With nullptr, a call not started is given up.
  virtual void Observe(std::shared_ptr<Observer> observer) = 0;
  // With header.unary, `first` is the one message with `end`; else it is empty.
  virtual void Start(CallHeader header, RequestPart first) = 0;
  // One at a time, and none after `end`.
  virtual void Write(RequestPart part) = 0;
  // One at a time, after Start.
  virtual void Read() = 0;
  // The trailer comes soon, whatever the other side does.
  virtual void Cancel() = 0;
};

// Where calls can be made to.
class Line {
 public:
  virtual ~Line() = default;
  virtual std::shared_ptr<OutgoingCall> NewCall() = 0;
};

// Ends a call that is passed to nobody.
void Refuse(const std::shared_ptr<IncomingCall>& call, const absl::Status& status);

}  // namespace oncomesh::relay
