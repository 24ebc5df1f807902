// SPDX-License-Identifier: Apache-2.0
#include "services/relay/pump.h"

#include <catch2/catch.hpp>
#include <optional>
#include <vector>

#include "libs/base/error.h"

namespace oncomesh::relay {
namespace {

// Ends of a call that do nothing by themselves and note what they are asked.
class StillIncoming final : public IncomingCall {
 public:
  const CallHeader& header() const override { return header_; }
  const std::vector<std::string>& peer_uris() const override { return none_; }
  void Observe(std::shared_ptr<Observer> o) override { observer = std::move(o); }
  void Read() override {
    REQUIRE_FALSE(reading);
    reading = true;
  }
  void Send(ResponsePart part) override {
    REQUIRE_FALSE(sending);
    sending = true;
    sent.push_back(std::move(part));
  }
  void Cancel() override { cancelled = true; }

  void Give(const char* text, bool end = false) {
    REQUIRE(reading);
    reading = false;
    RequestPart part;
    if (text != nullptr) part.message = Message::Copy(text);
    part.end = end;
    observer->OnRequest(std::move(part));
  }
  void Acknowledge() {
    sending = false;
    observer->OnSent();
  }
  void Close(bool was_cancelled) {
    auto last = std::move(observer);
    last->OnClosed(was_cancelled);
  }

  std::shared_ptr<Observer> observer;
  std::vector<ResponsePart> sent;
  bool reading = false;
  bool sending = false;
  bool cancelled = false;

 private:
  CallHeader header_;
  std::vector<std::string> none_;
};

class StillOutgoing final : public OutgoingCall {
 public:
  void Observe(std::shared_ptr<Observer> o) override { observer = std::move(o); }
  void Start(CallHeader h, RequestPart first) override {
    REQUIRE_FALSE(header.has_value());
    header = std::move(h);
    writing = true;
    written.push_back(std::move(first));
  }
  void Write(RequestPart part) override {
    REQUIRE(header.has_value());
    REQUIRE_FALSE(writing);
    writing = true;
    written.push_back(std::move(part));
  }
  void Read() override {
    REQUIRE(header.has_value());
    REQUIRE_FALSE(reading);
    reading = true;
  }
  void Cancel() override { cancelled = true; }

  void Acknowledge() {
    writing = false;
    observer->OnWritten();
  }
  void Answer(const char* text) {
    REQUIRE(reading);
    reading = false;
    ResponsePart part;
    part.message = Message::Copy(text);
    observer->OnResponse(std::move(part));
  }
  void End(int code) {
    reading = false;
    ResponsePart part;
    part.trailer.emplace();
    part.trailer->code = code;
    auto last = std::move(observer);
    last->OnResponse(std::move(part));
  }

  std::shared_ptr<Observer> observer;
  std::optional<CallHeader> header;
  std::vector<RequestPart> written;
  bool reading = false;
  bool writing = false;
  bool cancelled = false;
};

struct Joined {
  explicit Joined(bool unary) {
    CallHeader header;
    header.method = "/a.B/C";
    header.unary = unary;
    std::shared_ptr<Pump> made =
        Pump::Make(in, std::move(header), out, [this](Pump&, absl::StatusCode code) {
          REQUIRE_FALSE(ended.has_value());
          ended = code;
        });
    pump = made;
    made->Run();
  }
  std::shared_ptr<StillIncoming> in = std::make_shared<StillIncoming>();
  std::shared_ptr<StillOutgoing> out = std::make_shared<StillOutgoing>();
  std::weak_ptr<Pump> pump;
  std::optional<absl::StatusCode> ended;
};

}  // namespace

TEST_CASE("pump: a unary call waits for its message and goes on in one piece") {
  Joined joined(/*unary=*/true);
  CHECK_FALSE(joined.out->header.has_value());
  joined.in->Give("question", /*end=*/true);
  REQUIRE(joined.out->written.size() == 1);
  CHECK(joined.out->written[0].message->ToString() == "question");
  CHECK(joined.out->written[0].end);
  CHECK_FALSE(joined.in->reading);
  joined.out->End(0);
  REQUIRE(joined.in->sent.size() == 1);
  CHECK(joined.in->sent[0].trailer->code == 0);
  joined.in->Close(false);
  CHECK(joined.ended == absl::StatusCode::kOk);
  CHECK(joined.pump.expired());
}

TEST_CASE("pump: a hint of a unary call without a message makes an ordinary one") {
  Joined joined(/*unary=*/true);
  joined.in->Give(nullptr, /*end=*/true);
  REQUIRE(joined.out->header.has_value());
  CHECK_FALSE(joined.out->header->unary);
  joined.out->Acknowledge();
  REQUIRE(joined.out->written.size() == 2);
  CHECK(joined.out->written[1].end);
  CHECK_FALSE(joined.out->written[1].message.has_value());
}

TEST_CASE("pump: an ordinary call opens before the caller has sent anything") {
  Joined joined(/*unary=*/false);
  CHECK(joined.out->header.has_value());
  CHECK(joined.out->reading);
  CHECK(joined.in->reading);
}

TEST_CASE("pump: holds two parts per direction and asks for no third") {
  Joined joined(/*unary=*/false);
  joined.out->Acknowledge();  // the start
  joined.in->Give("1");       // being written
  joined.in->Give("2");       // held
  CHECK_FALSE(joined.in->reading);
  CHECK(joined.out->written.size() == 2);
  joined.out->Acknowledge();
  CHECK(joined.in->reading);
  CHECK(joined.out->written.size() == 3);

  joined.out->Answer("a");
  joined.out->Answer("b");
  CHECK_FALSE(joined.out->reading);
  CHECK(joined.in->sent.size() == 1);
  joined.in->Acknowledge();
  CHECK(joined.out->reading);
  CHECK(joined.in->sent.size() == 2);
}

TEST_CASE("pump: the end of a request travels with the message before it, if that still waits") {
  Joined joined(/*unary=*/false);
  joined.in->Give("1");
  joined.out->Acknowledge();  // the start; "1" is being written
  joined.in->Give("2");
  joined.out->Acknowledge();
  joined.in->Give(nullptr, /*end=*/true);
  joined.out->Acknowledge();
  REQUIRE(joined.out->written.size() == 4);  // start, 1, 2, end
  CHECK(joined.out->written.back().end);
  CHECK_FALSE(joined.in->reading);
}

TEST_CASE("pump: a caller that goes away cancels, and never ends, the outgoing call") {
  Joined joined(/*unary=*/false);
  joined.out->Acknowledge();
  joined.in->Give("1");
  joined.in->Give("2");
  joined.in->Close(/*cancelled=*/true);
  CHECK(joined.out->cancelled);
  for (const auto& part : joined.out->written) CHECK_FALSE(part.end);
  size_t written = joined.out->written.size();
  joined.out->Acknowledge();
  CHECK(joined.out->written.size() == written);  // what was held is dropped
  CHECK_FALSE(joined.ended.has_value());
  joined.out->End(1);
  CHECK(joined.ended == absl::StatusCode::kCancelled);
  CHECK(joined.pump.expired());
}

TEST_CASE("pump: a caller that goes away before its unary message leaves nothing started") {
  Joined joined(/*unary=*/true);
  joined.in->Close(/*cancelled=*/true);
  CHECK_FALSE(joined.out->header.has_value());
  CHECK(joined.ended == absl::StatusCode::kCancelled);
  CHECK(joined.pump.expired());
}

TEST_CASE(
    "pump: a service that ends early ends the caller's call; what it still sends is dropped") {
  Joined joined(/*unary=*/false);
  joined.out->Acknowledge();
  joined.in->Give("1");
  joined.out->Answer("a");
  joined.out->End(9);
  joined.in->Acknowledge();
  REQUIRE(joined.in->sent.size() == 2);
  CHECK(joined.in->sent[1].trailer->code == 9);
  joined.in->Close(false);
  CHECK(joined.ended == absl::StatusCode::kFailedPrecondition);
  CHECK(joined.pump.expired());
}

TEST_CASE("pump: the trailer travels with the message before it, if that still waits") {
  Joined joined(/*unary=*/false);
  joined.out->Answer("a");
  joined.out->Answer("b");
  joined.out->End(0);
  CHECK(joined.in->sent.size() == 1);
  joined.in->Acknowledge();
  REQUIRE(joined.in->sent.size() == 2);
  CHECK(joined.in->sent[1].message->ToString() == "b");
  CHECK(joined.in->sent[1].trailer.has_value());
}

TEST_CASE("pump: an abort tells the caller why, or resets one that takes nothing") {
  absl::Status why = base::Error(absl::StatusCode::kPermissionDenied, "NODE_SUSPENDED", "out");
  SECTION("the caller has taken everything") {
    Joined joined(/*unary=*/false);
    joined.pump.lock()->Abort(why);
    CHECK(joined.out->cancelled);
    REQUIRE(joined.in->sent.size() == 1);
    CHECK(joined.in->sent[0].trailer->code == 7);
    CHECK(joined.in->sent[0].trailer->details.find("NODE_SUSPENDED") != std::string::npos);
    joined.out->End(1);
    joined.in->Close(false);
    CHECK(joined.ended == absl::StatusCode::kPermissionDenied);
    CHECK(joined.pump.expired());
  }
  SECTION("the caller stands still") {
    Joined joined(/*unary=*/false);
    joined.out->Answer("a");
    joined.pump.lock()->Abort(why);
    CHECK(joined.in->cancelled);
    CHECK(joined.out->cancelled);
    joined.in->Close(true);
    joined.out->End(1);
    CHECK(joined.ended.has_value());
    CHECK(joined.pump.expired());
  }
  SECTION("nothing was started") {
    Joined joined(/*unary=*/true);
    joined.pump.lock()->Abort(why);
    REQUIRE(joined.in->sent.size() == 1);
    joined.in->Close(false);
    CHECK(joined.ended.has_value());
    CHECK(joined.pump.expired());
  }
}

}  // namespace oncomesh::relay
