// SPDX-License-Identifier: Apache-2.0
#include "services/relay/frame.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>

#include "libs/testing/status_matchers.h"
#include "oncomesh/relay/v1/lane.pb.h"

namespace oncomesh::relay {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

// The same bytes, cut into pieces of `size`.
Message Cut(const std::string& bytes, size_t size) {
  Message message;
  for (size_t at = 0; at < bytes.size(); at += size) {
    message.Append(Message::Copy(absl::string_view(bytes).substr(at, size)));
  }
  return message;
}

CallHeader Header() {
  CallHeader header;
  header.method = "/oncomesh.echo.v1.EchoService/Say";
  header.metadata = {
      {"x-text", "plain"}, {"x-bytes-bin", std::string("\0\xff", 2)}, {"x-text", ""}};
  header.deadline = kNow + absl::Seconds(3);
  header.unary = true;
  header.caller = "hub/training";
  return header;
}

}  // namespace

TEST_CASE("frame: the bytes are those of lane.proto") {
  // Written by hand from the description in protos/oncomesh/relay/v1/lane.proto and the wire format
  // of Protobuf: method, timeout_us = 3,000,000, unary, caller.
  CallHeader header;
  header.method = "/a.B/C";
  header.deadline = kNow + absl::Seconds(3);
  header.unary = true;
  header.caller = "hub/x";
  RequestFrame frame;
  frame.call = header;
  frame.part.message = Message::Copy("body");
  frame.part.end = true;
  const std::string expected(
      "\x19\x16\0\0\0\x0a\x06/a.B/C\x18\xc0\x8d\xb7\x01\x20\x01\x2a\x05hub/xbody", 31);
  CHECK(EncodeFrame(std::move(frame), kNow).ToString() == expected);

  RequestFrame end;
  end.part.end = true;
  CHECK(EncodeFrame(std::move(end), kNow).ToString() == "\x10");

  ResponsePart part;
  part.initial.emplace();
  part.trailer.emplace();
  part.trailer->code = 5;
  part.trailer->message = "no";
  CHECK(EncodeFrame(std::move(part)).ToString() ==
        std::string("\x06\0\0\0\0\x06\0\0\0\x08\x05\x12\x02no", 15));
}

TEST_CASE("frame: what is encoded is parsed back, in whatever pieces it comes") {
  RequestFrame frame;
  frame.call = Header();
  frame.part.message = Message::Copy("a message with \x19 and \x10 in it");
  frame.part.end = true;
  std::string bytes = EncodeFrame(frame, kNow).ToString();
  for (size_t size : {size_t{1}, size_t{2}, size_t{3}, size_t{7}, bytes.size()}) {
    REQUIRE_VALUE(RequestFrame parsed,
                  ParseRequestFrame(Cut(bytes, size), kNow + absl::Seconds(100)));
    REQUIRE(parsed.call.has_value());
    CHECK(parsed.call->method == frame.call->method);
    CHECK(parsed.call->metadata == frame.call->metadata);
    CHECK(parsed.call->deadline == kNow + absl::Seconds(103));  // by the receiver's clock
    CHECK(parsed.call->unary);
    CHECK(parsed.call->caller == "hub/training");
    CHECK(parsed.part.end);
    REQUIRE(parsed.part.message.has_value());
    CHECK(parsed.part.message->ToString() == frame.part.message->ToString());
  }

  ResponsePart part;
  part.initial = Metadata{{"k", "v"}};
  part.message = Message();  // a message of no bytes is a message
  part.trailer = Trailer{7, "text \xff", std::string("d\0d", 3), {{"t-bin", "\xfe"}}};
  bytes = EncodeFrame(part).ToString();
  for (size_t size : {size_t{1}, size_t{5}, bytes.size()}) {
    REQUIRE_VALUE(ResponsePart parsed, ParseResponseFrame(Cut(bytes, size)));
    CHECK(parsed.initial == part.initial);
    REQUIRE(parsed.message.has_value());
    CHECK(parsed.message->size() == 0);
    REQUIRE(parsed.trailer.has_value());
    CHECK(parsed.trailer->code == 7);
    CHECK(parsed.trailer->message == "text \xff");
    CHECK(parsed.trailer->details == part.trailer->details);
    CHECK(parsed.trailer->metadata == part.trailer->metadata);
  }
}

TEST_CASE("frame: a deadline that has passed is still one") {
  RequestFrame frame;
  frame.call = Header();
  frame.call->deadline = kNow - absl::Seconds(9);
  frame.part.message = Message();
  frame.part.end = true;
  REQUIRE_VALUE(RequestFrame parsed, ParseRequestFrame(EncodeFrame(std::move(frame), kNow), kNow));
  CHECK(parsed.call->deadline == kNow + absl::Microseconds(1));
}

TEST_CASE("frame: the message is passed on without a copy") {
  auto owner = std::make_shared<std::string>(1 << 20, 'm');
  Message big;
  big.Append({owner, *owner});
  RequestFrame frame;
  frame.part.message = big;
  REQUIRE_VALUE(RequestFrame parsed, ParseRequestFrame(EncodeFrame(std::move(frame), kNow), kNow));
  REQUIRE(parsed.part.message->pieces().size() == 1);
  CHECK(parsed.part.message->pieces()[0].bytes.data() == owner->data());
}

TEST_CASE("frame: what no relay may send is refused") {
  auto request = [](const std::string& bytes) {
    return ParseRequestFrame(Message::Copy(bytes), kNow).status();
  };
  auto response = [](const std::string& bytes) {
    return ParseResponseFrame(Message::Copy(bytes)).status();
  };
  auto section = [](const google::protobuf::MessageLite& header) {
    std::string bytes = header.SerializeAsString();
    std::string out;
    for (int shift = 0; shift < 32; shift += 8) {
      out.push_back(static_cast<char>(bytes.size() >> shift));
    }
    return out + bytes;
  };
  auto call = [&](const std::function<void(v1::CallHeader&)>& change) {
    v1::CallHeader header;
    header.set_method("/a.B/C");
    header.set_timeout_us(1);
    change(header);
    return std::string("\x01", 1) + section(header);
  };
  REQUIRE_OK(request(call([](auto&) {})));
  auto metadatum = [](const std::string& key, const std::string& value) {
    return [key, value](auto& header) {
      auto* entry = header.add_metadata();
      entry->set_key(key);
      entry->set_value(value);
    };
  };
  for (const std::string& bytes : std::vector<std::string>{
           "",
           std::string(1, '\0'),
           "\x02",
           "\x04",
           "\x20",
           "\xff",
           "\x01",
           "\x10x",
           std::string("\x01\x05\0\0\0ab", 7),
           std::string("\x01\xff\xff\xff\xff", 5),
           std::string("\x01\x01\0\0\0\xff", 6),
           call([](auto& h) { h.set_method(""); }),
           call([](auto& h) { h.set_method("a.B/C"); }),
           call([](auto& h) { h.set_method("/a.B/C/D"); }),
           call([](auto& h) { h.set_method("/a.B/C\r\nx: y"); }),
           call([](auto& h) { h.set_method("/" + std::string(600, 'a') + "/C"); }),
           call([](auto& h) { h.set_timeout_us(0); }),
           call([](auto& h) { h.set_timeout_us(-5); }),
           call([](auto& h) { h.set_unary(true); }),
           call(metadatum("", "v")),
           call(metadatum("Upper", "v")),
           call(metadatum("a b", "v")),
           call(metadatum(":path", "v")),
           call(metadatum("grpc-timeout", "1S")),
           call(metadatum("k", "line\nbreak")),
           call(metadatum("k", "\xff")),
           call(metadatum("k", std::string(1, '\0'))),
           call([](auto&) {}) + "trailing bytes"}) {
    INFO(absl::StrCat("request of ", bytes.size(), " bytes"));
    REQUIRE_REASON(request(bytes), absl::StatusCode::kInvalidArgument, "FRAME_INVALID");
  }
  auto trailer = [&](const std::function<void(v1::TrailerHeader&)>& change) {
    v1::TrailerHeader header;
    change(header);
    return std::string("\x04", 1) + section(header);
  };
  REQUIRE_OK(response(trailer([](auto&) {})));
  for (const std::string& bytes : std::vector<std::string>{
           "", "\x01", "\x10", "\x06", trailer([](auto& h) { h.set_code(17); }),
           trailer([](auto& h) { h.set_code(-1); }), trailer(metadatum("grpc-status", "0")),
           trailer([](auto&) {}) + "x"}) {
    REQUIRE_REASON(response(bytes), absl::StatusCode::kInvalidArgument, "FRAME_INVALID");
  }
}

TEST_CASE("frame: no bytes crash the parser") {
  std::mt19937 random(7);
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes(random() % 40, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    if (!bytes.empty()) bytes[0] = static_cast<char>(random() & 0x1f);
    if (bytes.size() > 4) bytes[2] = bytes[3] = bytes[4] = 0;
    (void)ParseRequestFrame(Cut(bytes, 1 + i % 5), kNow);
    (void)ParseResponseFrame(Cut(bytes, 1 + i % 5));
  }
}

TEST_CASE("message: taking moves bytes over the borders of pieces, or nothing") {
  Message message = Cut("abcdefghij", 3);
  std::string out;
  REQUIRE(message.Take(4, &out));
  CHECK(out == "abcd");
  CHECK(message.ToString() == "efghij");
  CHECK_FALSE(message.Take(7, &out));
  CHECK(message.ToString() == "efghij");
  REQUIRE(message.Take(0, &out));
  CHECK(out.empty());
  REQUIRE(message.Take(6, &out));
  CHECK(out == "efghij");
  CHECK(message.size() == 0);
  CHECK(message.pieces().empty());
}

}  // namespace oncomesh::relay
