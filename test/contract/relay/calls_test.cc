// SPDX-License-Identifier: Apache-2.0
// What a caller and a service see of each other through two relays must be what they would see of
// each other directly. Each test goes both ways: hub to node by lane, node to hub by proxied call.
#include <catch2/catch.hpp>
#include <chrono>
#include <fstream>
#include <functional>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "libs/rpc/channel.h"
#include "services/relay/testing/test_mesh.h"

namespace oncomesh::relay::testing {
namespace {

using echo::v1::ChatRequest;
using echo::v1::ChatResponse;
using echo::v1::DownloadRequest;
using echo::v1::DownloadResponse;
using echo::v1::SayRequest;
using echo::v1::SayResponse;
using echo::v1::UploadRequest;
using echo::v1::UploadResponse;
using std::chrono::steady_clock;
using Stub = echo::v1::EchoService::Stub;

double MillisecondsSince(steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(steady_clock::now() - start).count();
}

// One mesh for the tests that leave it as they found it.
TestMesh& Shared() {
  static TestMesh mesh;
  return mesh;
}

void BothWays(const std::function<void(Stub&, EchoService&)>& test) {
  TestMesh& mesh = Shared();
  SECTION("hub to node") {
    auto stub = echo::v1::EchoService::NewStub(mesh.ToNode());
    test(*stub, mesh.node_echo());
  }
  SECTION("node to hub") {
    auto stub = echo::v1::EchoService::NewStub(mesh.ToHub());
    test(*stub, mesh.hub_echo());
  }
}

bool Eventually(const std::function<bool()>& condition, int milliseconds = 10'000) {
  auto start = steady_clock::now();
  while (MillisecondsSince(start) < milliseconds) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return condition();
}

long ResidentKib() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    if (word == "VmRSS:") {
      long kib = 0;
      status >> kib;
      return kib;
    }
  }
  return 0;
}

std::string Value(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata,
                  const char* key) {
  auto it = metadata.find(key);
  return it == metadata.end() ? "(none)" : std::string(it->second.data(), it->second.size());
}

const std::string kBytes("\0\x01\xff\x80 bytes", 10);

}  // namespace

TEST_CASE("relay: a unary call returns what the service returned") {
  BothWays([](Stub& stub, EchoService&) {
    for (size_t size : {size_t{0}, size_t{1}, size_t{100'000}, size_t{4'000'000}}) {
      grpc::ClientContext context;
      rpc::SetDeadline(context, absl::Seconds(20));
      SayRequest request;
      SayResponse response;
      request.set_payload(std::string(size, 'x'));
      grpc::Status status = stub.Say(&context, request, &response);
      INFO(status.error_message());
      REQUIRE(status.ok());
      REQUIRE(response.payload() == request.payload());
    }
  });
}

TEST_CASE("relay: metadata travels both ways, text and bytes, before and after the answer") {
  BothWays([](Stub& stub, EchoService&) {
    auto check = [](grpc::ClientContext& context) {
      CHECK(Value(context.GetServerInitialMetadata(), "x-text") == "plain");
      CHECK(Value(context.GetServerInitialMetadata(), "x-bytes-bin") == kBytes);
      CHECK(Value(context.GetServerTrailingMetadata(), "x-text") == "plain!");
      CHECK(Value(context.GetServerTrailingMetadata(), "x-bytes-bin") == kBytes + "!");
    };
    auto prepare = [](grpc::ClientContext& context) {
      rpc::SetDeadline(context, absl::Seconds(20));
      context.AddMetadata("x-text", "plain");
      context.AddMetadata("x-bytes-bin", kBytes);
    };
    {
      grpc::ClientContext context;
      prepare(context);
      SayResponse response;
      REQUIRE(stub.Say(&context, {}, &response).ok());
      check(context);
    }
    {
      grpc::ClientContext context;
      prepare(context);
      auto stream = stub.Chat(&context);
      REQUIRE(stream->Write(ChatRequest()));
      ChatResponse response;
      REQUIRE(stream->Read(&response));
      REQUIRE(stream->WritesDone());
      REQUIRE_FALSE(stream->Read(&response));
      REQUIRE(stream->Finish().ok());
      check(context);
    }
  });
}

TEST_CASE("relay: a status arrives with its code, its text and its details") {
  BothWays([](Stub& stub, EchoService&) {
    for (int code = 1; code <= 16; ++code) {
      grpc::ClientContext context;
      rpc::SetDeadline(context, absl::Seconds(20));
      context.AddMetadata("x-text", "of an error");
      SayRequest request;
      SayResponse response;
      request.set_fail_code(code);
      grpc::Status status = stub.Say(&context, request, &response);
      CHECK(status.error_code() == code);
      CHECK(status.error_message() == "as asked: äöü");
      CHECK(status.error_details() == std::string("details\0with zero", 17));
      CHECK(Value(context.GetServerTrailingMetadata(), "x-text") == "of an error!");
    }
  });
}

TEST_CASE("relay: a stream up, a stream down and a stream both ways keep every message in order") {
  BothWays([](Stub& stub, EchoService&) {
    {
      grpc::ClientContext context;
      rpc::SetDeadline(context, absl::Seconds(60));
      UploadResponse response;
      auto writer = stub.Upload(&context, &response);
      UploadRequest request;
      for (int i = 0; i < 500; ++i) {
        request.set_payload(std::string(static_cast<size_t>(i), 'u'));
        REQUIRE(writer->Write(request));
      }
      REQUIRE(writer->WritesDone());
      REQUIRE(writer->Finish().ok());
      CHECK(response.messages() == 500);
      CHECK(response.bytes() == 500 * 499 / 2);
    }
    {
      grpc::ClientContext context;
      rpc::SetDeadline(context, absl::Seconds(60));
      DownloadRequest request;
      request.set_messages(500);
      request.set_bytes(1000);
      auto reader = stub.Download(&context, request);
      DownloadResponse response;
      int messages = 0;
      while (reader->Read(&response)) {
        ++messages;
        REQUIRE(response.payload().size() == 1000);
      }
      REQUIRE(reader->Finish().ok());
      CHECK(messages == 500);
    }
    {
      grpc::ClientContext context;
      rpc::SetDeadline(context, absl::Seconds(60));
      auto stream = stub.Chat(&context);
      ChatRequest request;
      ChatResponse response;
      for (int i = 0; i < 300; ++i) {
        request.set_payload(std::to_string(i));
        REQUIRE(stream->Write(request));
        REQUIRE(stream->Read(&response));
        REQUIRE(response.payload() == request.payload());
      }
      REQUIRE(stream->WritesDone());
      CHECK_FALSE(stream->Read(&response));
      REQUIRE(stream->Finish().ok());
    }
  });
}

TEST_CASE("relay: 64 MiB pass up and down in messages of 1 MiB") {
  BothWays([](Stub& stub, EchoService&) {
    {
      grpc::ClientContext context;
      rpc::SetDeadline(context, absl::Seconds(120));
      UploadResponse response;
      auto writer = stub.Upload(&context, &response);
      UploadRequest request;
      request.set_payload(std::string(1 << 20, 'u'));
      for (int i = 0; i < 64; ++i) REQUIRE(writer->Write(request));
      REQUIRE(writer->WritesDone());
      REQUIRE(writer->Finish().ok());
      CHECK(response.bytes() == int64_t{64} << 20);
    }
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Seconds(120));
    DownloadRequest request;
    request.set_messages(64);
    request.set_bytes(1 << 20);
    auto reader = stub.Download(&context, request);
    DownloadResponse response;
    int64_t bytes = 0;
    while (reader->Read(&response)) bytes += static_cast<int64_t>(response.payload().size());
    REQUIRE(reader->Finish().ok());
    CHECK(bytes == int64_t{64} << 20);
  });
}

TEST_CASE("relay: initial metadata arrives before the first message is there") {
  BothWays([](Stub& stub, EchoService&) {
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Seconds(20));
    context.AddMetadata("x-text", "early");
    DownloadRequest request;
    request.set_messages(1);
    request.set_delay_ms(600);
    auto start = steady_clock::now();
    auto reader = stub.Download(&context, request);
    reader->WaitForInitialMetadata();
    double metadata_after = MillisecondsSince(start);
    CHECK(Value(context.GetServerInitialMetadata(), "x-text") == "early");
    DownloadResponse response;
    REQUIRE(reader->Read(&response));
    CHECK(MillisecondsSince(start) >= 600);
    CHECK(metadata_after < 500);
    CHECK_FALSE(reader->Read(&response));
    REQUIRE(reader->Finish().ok());
  });
}

TEST_CASE("relay: a deadline travels, and ends the call at the service too") {
  BothWays([](Stub& stub, EchoService& service) {
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Milliseconds(400));
    SayRequest request;
    SayResponse response;
    request.set_delay_ms(20'000);
    auto start = steady_clock::now();
    grpc::Status status = stub.Say(&context, request, &response);
    CHECK(status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED);
    CHECK(MillisecondsSince(start) < 2000);
    CHECK(service.deadline_ms() > 100);
    CHECK(service.deadline_ms() < 500);
    CHECK(Eventually([&] { return service.running() == 0; }));
  });
}

TEST_CASE("relay: a call without a deadline is refused") {
  BothWays([](Stub& stub, EchoService&) {
    grpc::ClientContext context;
    SayResponse response;
    grpc::Status status = stub.Say(&context, {}, &response);
    CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
    CHECK(status.error_details().find("DEADLINE_NEEDED") != std::string::npos);
  });
}

TEST_CASE("relay: a service that answers early ends the call, and the lane lives on") {
  BothWays([](Stub& stub, EchoService&) {
    for (int i = 0; i < 50; ++i) {
      grpc::ClientContext context;
      rpc::SetDeadline(context, absl::Seconds(20));
      UploadResponse response;
      auto writer = stub.Upload(&context, &response);
      UploadRequest request;
      request.set_payload(std::string(100'000, 'u'));
      request.set_stop_here(true);
      writer->Write(request);
      for (int j = 0; j < 20; ++j) {
        if (!writer->Write(request)) break;
      }
      writer->WritesDone();
      REQUIRE(writer->Finish().ok());
      CHECK(response.messages() == 1);
    }
  });
}

TEST_CASE("relay: of a thousand cancelled streams none looks complete to its handler") {
  BothWays([](Stub& stub, EchoService& service) {
    int finished = service.finished();
    int cancelled = service.cancelled();
    int seen = 0;
    for (int i = 0; i < 1000; ++i) {
      grpc::ClientContext context;
      rpc::SetDeadline(context, absl::Seconds(60));
      if (i % 2 == 0) {
        auto stream = stub.Chat(&context);
        ChatRequest request;
        ChatResponse response;
        REQUIRE(stream->Write(request));
        REQUIRE(stream->Read(&response));  // the handler is at work
        if (i % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(i));
        ++seen;
        context.TryCancel();
        while (stream->Read(&response)) {
        }
        CHECK(stream->Finish().error_code() == grpc::StatusCode::CANCELLED);
      } else {
        UploadResponse response;
        auto writer = stub.Upload(&context, &response);
        UploadRequest request;
        request.set_payload(std::string(static_cast<size_t>(i * 7 % 5000), 'u'));
        for (int j = 0; j < i % 7; ++j) writer->Write(request);
        context.TryCancel();
        CHECK(writer->Finish().error_code() == grpc::StatusCode::CANCELLED);
      }
    }
    REQUIRE(Eventually([&] { return service.running() == 0; }));
    CHECK(service.finished() == finished);
    CHECK(service.cancelled() >= cancelled + seen);
  });
}

TEST_CASE(
    "relay: a cancelled call is cancelled at the service at once, also when nothing is read") {
  BothWays([](Stub& stub, EchoService& service) {
    {
      grpc::ClientContext context;
      rpc::SetDeadline(context, absl::Seconds(60));
      SayRequest request;
      request.set_delay_ms(30'000);
      std::future<grpc::Status> call = std::async(std::launch::async, [&] {
        SayResponse response;
        return stub.Say(&context, request, &response);
      });
      REQUIRE(Eventually([&] { return service.running() == 1; }));
      auto start = steady_clock::now();
      context.TryCancel();
      CHECK(call.get().error_code() == grpc::StatusCode::CANCELLED);
      REQUIRE(Eventually([&] { return service.running() == 0; }));
      CHECK(MillisecondsSince(start) < 1000);
    }
    {
      // A download that nobody reads fills every window between here and there.
      grpc::ClientContext context;
      rpc::SetDeadline(context, absl::Seconds(60));
      DownloadRequest request;
      request.set_messages(1000);
      request.set_bytes(1 << 20);
      auto reader = stub.Download(&context, request);
      DownloadResponse response;
      REQUIRE(reader->Read(&response));
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      REQUIRE(service.running() == 1);
      auto start = steady_clock::now();
      context.TryCancel();
      REQUIRE(Eventually([&] { return service.running() == 0; }));
      CHECK(MillisecondsSince(start) < 1000);
      while (reader->Read(&response)) {
      }
      CHECK(reader->Finish().error_code() == grpc::StatusCode::CANCELLED);
    }
  });
}

TEST_CASE("relay: a reader that stands still stops the writer, and memory does not grow") {
  BothWays([](Stub& stub, EchoService& service) {
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Seconds(60));
    DownloadRequest request;
    request.set_messages(1024);
    request.set_bytes(1 << 20);
    long before = ResidentKib();
    int64_t sent_before = service.sent();
    auto reader = stub.Download(&context, request);
    DownloadResponse response;
    for (int i = 0; i < 100; ++i) REQUIRE(reader->Read(&response));
    // The windows fill up, then nothing moves.
    int64_t sent = 0;
    int still = 0;
    while (still < 10) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      int64_t now = service.sent() - sent_before;
      still = now == sent ? still + 1 : 0;
      sent = now;
    }
    CHECK(sent < int64_t{300} << 20);            // of 1 GiB; 100 MiB were read
    CHECK(ResidentKib() - before < 200L << 10);  // client, service and both relays are in here
    context.TryCancel();
    while (reader->Read(&response)) {
    }
    reader->Finish();
  });
}

TEST_CASE("relay: 100 calls at once share 16 idle lanes that grow") {
  BothWays([](Stub& stub, EchoService&) {
    auto start = steady_clock::now();
    std::vector<std::thread> callers;
    std::atomic<int> good{0};
    for (int i = 0; i < 100; ++i) {
      callers.emplace_back([&] {
        grpc::ClientContext context;
        rpc::SetDeadline(context, absl::Seconds(30));
        SayRequest request;
        SayResponse response;
        request.set_delay_ms(300);
        if (stub.Say(&context, request, &response).ok()) ++good;
      });
    }
    for (auto& caller : callers) caller.join();
    CHECK(good == 100);
    CHECK(MillisecondsSince(start) < 3000);  // one after the other they take 30 s, by 16s 2.1 s
  });
}

TEST_CASE("relay: a message above the limit is refused, and the next call works") {
  BothWays([](Stub& stub, EchoService&) {
    {
      grpc::ClientContext context;
      rpc::SetDeadline(context, absl::Seconds(20));
      SayRequest request;
      SayResponse response;
      request.set_payload(std::string(5 << 20, 'x'));
      CHECK(stub.Say(&context, request, &response).error_code() ==
            grpc::StatusCode::RESOURCE_EXHAUSTED);
    }
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Seconds(20));
    SayResponse response;
    CHECK(stub.Say(&context, {}, &response).ok());
  });
}

}  // namespace oncomesh::relay::testing
