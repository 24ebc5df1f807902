// SPDX-License-Identifier: Apache-2.0
// Lanes, sessions, link and pumps of both sites together, over calls in memory, in thousands of
// interleavings drawn by lot. One seed is one interleaving.
#include <catch2/catch.hpp>
#include <deque>
#include <set>

#include "absl/strings/str_cat.h"
#include "libs/base/log.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "services/relay/hub_link.h"
#include "services/relay/hub_relay.h"
#include "services/relay/node_directory.h"
#include "services/relay/node_relay.h"
#include "services/relay/testing/pipe.h"

namespace oncomesh::relay {
namespace {

using testing::Pipe;
using testing::PipeLine;
using testing::Scheduler;

// What a service has seen of a call.
struct Seen {
  std::vector<std::string> messages;
  bool end = false;
  bool cancelled = false;
  bool answered = false;
  std::string caller;
};

// A service: answers each message with itself, ends when the caller has ended or after `stop_after`
// messages. Unary calls are answered in one part.
class Service final : public IncomingCall::Observer, public std::enable_shared_from_this<Service> {
 public:
  Service(std::shared_ptr<IncomingCall> call, std::shared_ptr<Seen> seen, size_t stop_after)
      : call_(std::move(call)), seen_(std::move(seen)), stop_after_(stop_after) {
    for (const auto& [key, value] : call_->header().metadata) {
      if (key == kCallerKey) seen_->caller = value;
    }
  }
  void Open() {
    call_->Observe(shared_from_this());
    call_->Read();
  }
  void OnRequest(RequestPart part) override {
    if (part.message) {
      seen_->messages.push_back(part.message->ToString());
      answers_.push_back(*std::move(part.message));
    }
    seen_->end = seen_->end || part.end;
    if (!seen_->end && seen_->messages.size() < stop_after_) {
      read_next_ = true;
    } else {
      done_ = true;
    }
    Speak();
  }
  void OnSent() override {
    sending_ = false;
    Speak();
  }
  void OnClosed(bool cancelled) override {
    seen_->cancelled = cancelled;
    call_ = nullptr;
  }

 private:
  void Speak() {
    if (call_ == nullptr) return;
    if (!sending_ && !last_ && (!answers_.empty() || done_)) {
      ResponsePart part;
      if (!spoken_) part.initial = Metadata{{"x-initial", "i"}};
      if (!answers_.empty()) {
        part.message = std::move(answers_.front());
        answers_.pop_front();
      }
      if (done_ && answers_.empty()) {
        part.trailer.emplace();
        part.trailer->message = "done";
        part.trailer->metadata = {{"x-trailer", "t"}};
        last_ = true;
        seen_->answered = true;
      }
      spoken_ = true;
      sending_ = true;
      call_->Send(std::move(part));
    }
    if (read_next_ && answers_.size() < 2) {
      read_next_ = false;
      call_->Read();
    }
  }

  std::shared_ptr<IncomingCall> call_;
  const std::shared_ptr<Seen> seen_;
  const size_t stop_after_;
  std::deque<Message> answers_;
  bool read_next_ = false, sending_ = false, spoken_ = false, done_ = false, last_ = false;
};

// A caller: sends `messages`, ends, reads everything; or goes away at some point.
class Caller final : public OutgoingCall::Observer, public std::enable_shared_from_this<Caller> {
 public:
  Caller(std::shared_ptr<OutgoingCall> call, std::vector<std::string> messages)
      : call_(std::move(call)), to_send_(messages.begin(), messages.end()) {}
  void Open(CallHeader header) {
    call_->Observe(shared_from_this());
    RequestPart first;
    if (header.unary) {
      first.message = Message::Copy(to_send_.front());
      first.end = true;
      to_send_.clear();
      ended = true;
    }
    call_->Start(std::move(header), std::move(first));
    call_->Read();
  }
  void Cancel() {
    if (trailer || cancelled) return;
    cancelled = true;
    cancelled_before_end = !ended;
    call_->Cancel();
  }
  void OnWritten() override {
    if (cancelled || ended) return;
    RequestPart part;
    if (to_send_.empty()) {
      part.end = true;
    } else {
      part.message = Message::Copy(to_send_.front());
      to_send_.pop_front();
    }
    ended = part.end;
    call_->Write(std::move(part));
  }
  void OnResponse(ResponsePart part) override {
    if (part.initial) initial = *part.initial;
    if (part.message) answers.push_back(part.message->ToString());
    if (part.trailer) {
      trailer = std::move(part.trailer);
    } else {
      call_->Read();
    }
  }

  std::optional<Metadata> initial;
  std::vector<std::string> answers;
  std::optional<Trailer> trailer;
  bool cancelled = false;
  bool cancelled_before_end = false;
  bool ended = false;

 private:
  const std::shared_ptr<OutgoingCall> call_;
  std::deque<std::string> to_send_;
};

// A hub and a node, but for gRPC.
class Sites {
 public:
  explicit Sites(unsigned seed, LaneLimits limits = {4, 64, 1024, 16})
      : scheduler(seed),
        nodes({scheduler, clock, base::SystemRandom::Get(), limits, folder / "suspended.json"}),
        hub("d", nodes, hub_routes),
        node("d", "lisbon", node_routes) {
    base::SetLogLevel(base::Level::kError);
    node_service = std::make_shared<PipeLine>(
        scheduler, [this](std::shared_ptr<IncomingCall> call) { Serve(std::move(call)); });
    hub_service = std::make_shared<PipeLine>(
        scheduler, [this](std::shared_ptr<IncomingCall> call) { Serve(std::move(call)); });
    REQUIRE_OK(node_routes.Add("/s.", node_service));
    REQUIRE_OK(hub_routes.Add("/s.", hub_service));
    link = std::make_shared<HubLink>(HubLink::Deps{
        scheduler, Backoff(absl::Milliseconds(200), absl::Seconds(5), base::SystemRandom::Get()),
        "1.0",
        [this]() -> std::shared_ptr<Line> {
          ++dialled;
          wire = std::make_shared<PipeLine>(
              scheduler,
              [this](std::shared_ptr<IncomingCall> call) {
                if (hub_up) {
                  hub.OnCall(std::move(call));
                } else {
                  Refuse(call, absl::UnavailableError("hub is down"));
                }
              },
              std::vector<std::string>{"spiffe://d/node/lisbon/relay"});
          return wire;
        },
        [this](std::shared_ptr<IncomingCall> call) { node.OnArrived(std::move(call)); }});
    node.Use(link);
  }
  void Connect() {
    link->Start();
    scheduler.Run();
  }
  // A call of a hub service to the node, or of a node service to the hub.
  std::shared_ptr<Caller> Call(bool to_node, std::vector<std::string> messages, bool unary,
                               size_t stop_after = 1000) {
    auto pipe = std::make_shared<Pipe>(
        scheduler,
        [this, to_node](std::shared_ptr<IncomingCall> call) {
          to_node ? hub.OnCall(std::move(call)) : node.OnCall(std::move(call));
        },
        std::vector<std::string>{to_node ? "spiffe://d/hub/training"
                                         : "spiffe://d/node/lisbon/training"});
    auto caller = std::make_shared<Caller>(pipe->client(), std::move(messages));
    CallHeader header;
    header.method = "/s.S/M";
    header.deadline = absl::Now() + absl::Hours(1);
    header.unary = unary;
    header.metadata = {{"x-call", absl::StrCat(seen.size())}, {"x-stop", absl::StrCat(stop_after)}};
    if (to_node) header.metadata.emplace_back("oncomesh-node", "lisbon");
    seen.push_back(std::make_shared<Seen>());
    caller->Open(std::move(header));
    return caller;
  }
  base::FakeClock clock;
  oncomesh::testing::TemporaryFolder folder;
  Scheduler scheduler;
  Routes hub_routes, node_routes;
  NodeDirectory nodes;
  HubRelay hub;
  NodeRelay node;
  std::shared_ptr<PipeLine> node_service, hub_service, wire;
  std::shared_ptr<HubLink> link;
  std::vector<std::shared_ptr<Seen>> seen;
  int dialled = 0;
  bool hub_up = true;

 private:
  void Serve(std::shared_ptr<IncomingCall> call) {
    size_t number = 0, stop_after = 0;
    for (const auto& [key, value] : call->header().metadata) {
      if (key == "x-call") number = std::stoul(value);
      if (key == "x-stop") stop_after = std::stoul(value);
    }
    std::make_shared<Service>(std::move(call), seen.at(number), stop_after)->Open();
  }
};

std::vector<std::string> Numbered(size_t count) {
  std::vector<std::string> out;
  for (size_t i = 0; i < count; ++i) out.push_back(std::string(i % 3, 'x') + std::to_string(i));
  return out;
}

}  // namespace

TEST_CASE("lanes: in every interleaving a call arrives whole, or is seen to be cancelled") {
  int reused = 0;
  for (unsigned seed = 0; seed < 1500; ++seed) {
    INFO("seed " << seed);
    Sites sites(seed);
    sites.Connect();
    REQUIRE(sites.nodes.connected() == 1);
    struct Planned {
      std::shared_ptr<Caller> caller;
      std::vector<std::string> messages;
      bool unary;
      size_t stop_after;
      int cancel_after;  // steps; -1: never
      bool to_node;
    };
    std::vector<Planned> calls;
    size_t wanted = 1 + sites.scheduler.Draw(12);
    int steps = 0;
    while (true) {
      if (calls.size() < wanted && sites.scheduler.Draw(10) == 0) {
        Planned call;
        call.unary = sites.scheduler.Draw(3) == 0;
        call.messages = Numbered(call.unary ? 1 : sites.scheduler.Draw(7));
        call.stop_after = sites.scheduler.Draw(4) == 0 ? 1 + sites.scheduler.Draw(4) : 1000;
        call.cancel_after =
            sites.scheduler.Draw(3) == 0 ? steps + static_cast<int>(sites.scheduler.Draw(80)) : -1;
        call.to_node = sites.scheduler.Draw(3) != 0;
        call.caller = sites.Call(call.to_node, call.messages, call.unary, call.stop_after);
        calls.push_back(std::move(call));
      }
      for (auto& call : calls) {
        if (call.cancel_after == steps) call.caller->Cancel();
      }
      ++steps;
      if (!sites.scheduler.Step() && calls.size() == wanted) break;
    }
    for (size_t i = 0; i < calls.size(); ++i) {
      const Planned& call = calls[i];
      const Seen& seen = *sites.seen[i];
      INFO("call " << i << ", unary " << call.unary << ", to node " << call.to_node << ", "
                   << call.messages.size() << " messages, stop after " << call.stop_after);
      REQUIRE(call.caller->trailer.has_value());
      // Whatever happened, the service saw a beginning of what was sent, in order.
      REQUIRE(seen.messages.size() <= call.messages.size());
      for (size_t m = 0; m < seen.messages.size(); ++m) {
        REQUIRE(seen.messages[m] == call.messages[m]);
      }
      if (call.caller->cancelled) {
        // The point of it all: a request that was broken off never looks complete.
        if (call.caller->cancelled_before_end) REQUIRE_FALSE(seen.end);
        continue;
      }
      bool early = !call.unary && call.stop_after <= call.messages.size();
      REQUIRE(call.caller->trailer->code == 0);
      REQUIRE(call.caller->trailer->message == "done");
      REQUIRE(call.caller->trailer->metadata == Metadata{{"x-trailer", "t"}});
      REQUIRE(call.caller->initial == Metadata{{"x-initial", "i"}});
      REQUIRE(seen.caller == (call.to_node ? "hub/training" : "node/lisbon/training"));
      REQUIRE(call.caller->answers == seen.messages);
      REQUIRE(seen.messages.size() == (early ? call.stop_after : call.messages.size()));
      if (!early) REQUIRE(seen.end);
    }
    // Nothing is left over: no call, and all lanes free again on both sides.
    REQUIRE(sites.hub.calls().size() == 0);
    REQUIRE(sites.node.calls().size() == 0);
    REQUIRE(sites.link->busy_lanes() == 0);
    REQUIRE(sites.link->lanes() >= 4);
    REQUIRE(sites.link->lanes() <= 16);
    if (static_cast<int>(calls.size()) > sites.link->lanes()) ++reused;
  }
  CHECK(reused > 100);
}

TEST_CASE("lanes: 200 calls, one after the other, travel on the lanes that are there") {
  Sites sites(1);
  sites.Connect();
  for (int i = 0; i < 200; ++i) {
    auto caller = sites.Call(true, Numbered(static_cast<size_t>(i % 4 + 1)), i % 4 == 0);
    sites.scheduler.Run();
    REQUIRE(caller->trailer->code == 0);
  }
  // Four idle ones wanted, and one more for each call at once.
  CHECK(sites.link->lanes() == 5);
  CHECK(sites.wire->calls() == 6);  // and the control stream
}

TEST_CASE("lanes: calls beyond the lanes wait for one in order, and no more than allowed") {
  LaneLimits limits{2, 2, 3, 2};
  Sites sites(3, limits);
  sites.Connect();
  std::vector<std::shared_ptr<Caller>> callers;
  // Nobody reads at the node while we count: stop stepping once all have been placed.
  for (int i = 0; i < 20; ++i) callers.push_back(sites.Call(true, Numbered(1), true));
  sites.scheduler.Run();
  int good = 0, busy = 0;
  for (auto& caller : callers) {
    REQUIRE(caller->trailer.has_value());
    if (caller->trailer->code == 0) ++good;
    if (caller->trailer->code == 8) {
      ++busy;
      CHECK(caller->trailer->details.find("NODE_BUSY") != std::string::npos);
    }
  }
  CHECK(good + busy == 20);
  CHECK(good >= 5);
  CHECK(sites.link->lanes() == 2);
}

TEST_CASE("lanes: a node that leaves ends its calls with UNAVAILABLE, a waiting one too") {
  for (unsigned seed = 0; seed < 300; ++seed) {
    LaneLimits limits{1, 2, 100, 2};
    Sites sites(seed, limits);
    sites.Connect();
    std::vector<std::shared_ptr<Caller>> callers;
    for (int i = 0; i < 6; ++i) callers.push_back(sites.Call(true, Numbered(5), false));
    for (unsigned i = 0; i < seed; ++i) sites.scheduler.Step();
    sites.wire->Break();
    sites.scheduler.Run();
    for (size_t i = 0; i < callers.size(); ++i) {
      INFO("seed " << seed << ", call " << i);
      REQUIRE(callers[i]->trailer.has_value());
      int code = callers[i]->trailer->code;
      REQUIRE((code == 0 || code == 14));
      if (code == 14) REQUIRE(callers[i]->trailer->details.find("NODE_") != std::string::npos);
      // What did not arrive whole did not look whole.
      if (sites.seen[i]->messages.size() < 5) REQUIRE_FALSE(sites.seen[i]->end);
    }
    REQUIRE(sites.nodes.connected() == 0);
    REQUIRE(sites.hub.calls().size() == 0);
    REQUIRE(sites.node.calls().size() == 0);
    // It dials again by itself, after a while.
    sites.scheduler.Advance(absl::Seconds(1));
    REQUIRE(sites.nodes.connected() == 1);
    auto again = sites.Call(true, Numbered(2), false);
    sites.scheduler.Run();
    REQUIRE(again->trailer->code == 0);
  }
}

TEST_CASE("link: a hub that is away is dialled with growing pauses, and found when it is back") {
  Sites sites(5);
  sites.hub_up = false;
  sites.Connect();
  CHECK(sites.dialled == 1);
  sites.scheduler.Advance(absl::Milliseconds(99));
  CHECK(sites.dialled == 1);
  sites.scheduler.Advance(absl::Milliseconds(101));
  CHECK(sites.dialled == 2);
  for (int i = 0; i < 60; ++i) sites.scheduler.Advance(absl::Seconds(1));
  // At most every 2.5 s, at least every 5 s, once the pauses have grown.
  CHECK(sites.dialled >= 14);
  CHECK(sites.dialled <= 32);
  CHECK(sites.link->line() == nullptr);
  auto caller = sites.Call(false, Numbered(1), true);
  sites.scheduler.Run();
  CHECK(caller->trailer->code == 14);
  CHECK(caller->trailer->details.find("HUB_NOT_CONNECTED") != std::string::npos);
  sites.hub_up = true;
  sites.scheduler.Advance(absl::Seconds(5));
  CHECK(sites.nodes.connected() == 1);
  CHECK(sites.link->line() != nullptr);
  CHECK(sites.link->lanes() == 4);
}

TEST_CASE("link: a drain lets calls end, refuses new ones and does not dial again") {
  for (unsigned seed = 0; seed < 200; ++seed) {
    INFO("seed " << seed);
    Sites sites(seed);
    sites.Connect();
    auto before = sites.Call(true, Numbered(4), false);
    while (sites.seen[0]->messages.empty()) REQUIRE(sites.scheduler.Step());
    bool gone = false;
    sites.node.Drain([&] { gone = true; });
    sites.scheduler.Run();
    CHECK(before->trailer->code == 0);
    CHECK(before->answers == Numbered(4));
    CHECK(gone);
    auto after = sites.Call(true, Numbered(1), true);
    sites.scheduler.Run();
    CHECK(after->trailer->code == 14);
    sites.scheduler.Advance(absl::Minutes(1));
    CHECK(sites.dialled == 1);
    CHECK(sites.nodes.connected() == 0);
  }
}

TEST_CASE("lanes: a burst that had to wait makes the node keep more lanes ready") {
  LaneLimits limits{.idle = 2, .lanes = 32, .waiting = 64, .idle_to_keep = 8};
  Sites sites(5, limits);
  sites.Connect();
  CHECK(sites.link->lanes() == 2);
  std::vector<std::shared_ptr<Caller>> callers;
  for (int i = 0; i < 30; ++i) callers.push_back(sites.Call(true, Numbered(1), true));
  sites.scheduler.Run();
  for (auto& caller : callers) {
    REQUIRE(caller->trailer.has_value());
    CHECK(caller->trailer->code == 0);
  }
  CHECK(sites.link->lanes() == 8);  // as many as the hub keeps, and no more
}

TEST_CASE("directory: a node that connects anew replaces its older connection") {
  Sites sites(7);
  sites.Connect();
  auto old_wire = sites.wire;
  // The same node over another connection, while the hub has not noticed that the first is dead.
  auto second = std::make_shared<HubLink>(HubLink::Deps{
      sites.scheduler,
      Backoff(absl::Milliseconds(200), absl::Seconds(5), base::SystemRandom::Get()), "2.0",
      [&]() -> std::shared_ptr<Line> {
        return std::make_shared<PipeLine>(
            sites.scheduler,
            [&](std::shared_ptr<IncomingCall> call) { sites.hub.OnCall(std::move(call)); },
            std::vector<std::string>{"spiffe://d/node/lisbon/relay"});
      },
      [&](std::shared_ptr<IncomingCall> call) { sites.node.OnArrived(std::move(call)); }});
  sites.link->Drain([] {});  // the first is not to fight for its place
  second->Start();
  sites.scheduler.Run();
  CHECK(sites.nodes.connected() == 1);
  CHECK(old_wire->calls() == 0);
  second->Stop();
  sites.scheduler.Run();
  CHECK(sites.nodes.connected() == 0);
}

TEST_CASE("session: a control stream that says nothing, or nonsense, is ended") {
  Sites sites(9);
  auto open = [&](const std::string& first) {
    PipeLine line(sites.scheduler,
                  [&](std::shared_ptr<IncomingCall> call) { sites.hub.OnCall(std::move(call)); },
                  {"spiffe://d/node/porto/relay"});
    std::vector<std::string> messages;
    if (!first.empty()) messages.push_back(first);
    auto caller = std::make_shared<Caller>(line.NewCall(), messages);
    caller->ended = first.empty();  // says nothing more
    CallHeader header;
    header.method = kControlMethod;
    caller->Open(std::move(header));
    sites.scheduler.Run();
    return caller;
  };
  CHECK(open("\xff\xff nonsense")->trailer->details.find("FRAME_INVALID") != std::string::npos);
  CHECK(open(std::string(5000, 'x'))->trailer->details.find("FRAME_INVALID") != std::string::npos);
  v1::ControlFromNode old;
  old.mutable_hello()->set_protocol(99);
  CHECK(open(old.SerializeAsString())->trailer->details.find("PROTOCOL_UNKNOWN") !=
        std::string::npos);
  // A version that would break whoever reads the list of nodes, or the line of a log.
  for (const char* version : {"1.0\xc3\xa9", "1.0\n", "1.0 0"}) {
    v1::ControlFromNode odd;
    odd.mutable_hello()->set_protocol(kProtocol);
    odd.mutable_hello()->set_software_version(version);
    CHECK(open(odd.SerializeAsString())->trailer->details.find("FRAME_INVALID") !=
          std::string::npos);
  }
  v1::ControlFromNode long_one;
  long_one.mutable_hello()->set_protocol(kProtocol);
  long_one.mutable_hello()->set_software_version(std::string(65, 'a'));
  CHECK(open(long_one.SerializeAsString())->trailer->details.find("FRAME_INVALID") !=
        std::string::npos);
  auto silent = open("");
  CHECK_FALSE(silent->trailer.has_value());
  sites.scheduler.Advance(absl::Seconds(16));
  REQUIRE(silent->trailer.has_value());
  CHECK(silent->trailer->details.find("HELLO_MISSING") != std::string::npos);
  CHECK(sites.nodes.connected() == 0);
}

TEST_CASE("session: a lane of no session, or of another node's, is refused") {
  Sites sites(11);
  sites.Connect();
  auto open = [&](const std::string& node, const std::string& session, const std::string& lane) {
    PipeLine line(sites.scheduler,
                  [&](std::shared_ptr<IncomingCall> call) { sites.hub.OnCall(std::move(call)); },
                  {"spiffe://d/node/" + node + "/relay"});
    auto caller = std::make_shared<Caller>(line.NewCall(), std::vector<std::string>{});
    CallHeader header;
    header.method = kCarryMethod;
    header.metadata = {{kSessionKey, session}, {kLaneKey, lane}};
    caller->ended = true;
    caller->Open(std::move(header));
    sites.scheduler.Run();
    return caller->trailer.has_value() ? caller->trailer->details : "open";
  };
  CHECK(open("lisbon", "s-unknown", "1").find("SESSION_UNKNOWN") != std::string::npos);
  CHECK(open("lisbon", "", "").find("SESSION_UNKNOWN") != std::string::npos);
}

TEST_CASE("hub lane: a node that breaks the protocol loses the lane, and the caller is told") {
  // The node's end by hand: the frames with which it answers.
  const std::string initial("\x02\0\0\0\0", 5), message("\x08ok");
  for (const std::vector<std::string>& frames : std::vector<std::vector<std::string>>{
           {""},
           {"\x01"},
           {"\xff"},
           {message},
           {std::string("\x04\x02\0\0\0\x08\x63", 7)},
           // Good frames in an order that gRPC would end the process over.
           {initial, initial},
           {message, initial}}) {
    Scheduler scheduler(1);
    class Nobody final : public HubLane::Owner {
     public:
      void OnLaneFree(HubLane& lane) override { free = &lane; }
      void OnLaneGone(HubLane&, bool) override { ++gone; }
      HubLane* free = nullptr;
      int gone = 0;
    } owner;
    std::shared_ptr<HubLane> lane;
    auto pipe = std::make_shared<Pipe>(scheduler, [&](std::shared_ptr<IncomingCall> stream) {
      lane = std::make_shared<HubLane>(std::move(stream), 1, &owner);
      lane->Open();
    });
    auto node = std::make_shared<Caller>(pipe->client(), frames);
    node->Open({});
    while (owner.free == nullptr) REQUIRE(scheduler.Step());
    class Source final : public LaneSource {
     public:
      explicit Source(std::shared_ptr<HubLane>& at) : lane(at) {}
      void Place(std::shared_ptr<LaneCall> call) override { call->Board(lane); }
      void Withdraw(const std::shared_ptr<LaneCall>&) override {}
      std::shared_ptr<HubLane>& lane;
    };
    auto source = std::make_shared<Source>(lane);
    auto caller =
        std::make_shared<Caller>(std::make_shared<LaneCall>(source), std::vector<std::string>{"m"});
    CallHeader header;
    header.method = "/s.S/M";
    header.deadline = absl::Now() + absl::Hours(1);
    caller->Open(std::move(header));
    scheduler.Run();
    INFO(frames.size() << " frames, the first of " << frames[0].size() << " bytes");
    REQUIRE(caller->trailer.has_value());
    // "\x08ok" is a good message; the node then ends the lane, which it may not.
    CHECK(caller->answers.size() == (frames[0] == message ? 1 : 0));
    CHECK((caller->trailer->code == 13 || caller->trailer->code == 14));
    CHECK(owner.gone == 1);
  }
}

}  // namespace oncomesh::relay
