// SPDX-License-Identifier: Apache-2.0
#include "libs/base/log.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "libs/base/error.h"
#include "oncomesh/access/v1/people.pb.h"
#include "oncomesh/admin/v1/admin.pb.h"

namespace oncomesh::base {
namespace {

struct Captured {
  Captured() {
    SetLogSink([this](const std::string& line) { lines.push_back(line); });
  }
  ~Captured() { SetLogSink(nullptr); }
  std::vector<std::string> lines;
};

TEST_CASE("log: one JSON line per event, and nothing in a value can break out of it") {
  Captured captured;
  Log(Level::kInfo, "a.b",
      {{"text", "line\nbreak \"quoted\" \\ \x01"}, {"n", 7}, {"yes", true}, {"x", 0.5}});
  REQUIRE(captured.lines.size() == 1);
  const std::string& line = captured.lines[0];
  CHECK(line.back() == '\n');
  CHECK(line.find('\n') == line.size() - 1);
  CHECK(line.find(R"("text":"line\u000abreak \"quoted\" \\ \u0001","n":7,"yes":true,"x":0.5})") !=
        std::string::npos);
  Log(Level::kDebug, "below.the.level");
  CHECK(captured.lines.size() == 1);
}

TEST_CASE("log: an error carries its code and reason") {
  Captured captured;
  LogError("x.failed", Error(absl::StatusCode::kNotFound, "THING_NOT_FOUND", "no thing"));
  REQUIRE(captured.lines.size() == 1);
  CHECK(captured.lines[0].find(
            R"("code":"NOT_FOUND","reason":"THING_NOT_FOUND","message":"no thing")") !=
        std::string::npos);
}

TEST_CASE("log: only fields marked public are shown, and a masked one gives nothing away") {
  admin::v1::GetInfoResponse info;
  info.set_service("catalogue");
  info.set_address("127.0.0.1:1");
  CHECK(Masked(info) == R"({"service":"catalogue","address":"***"})");
  access::v1::AuthenticateRequest request;
  request.set_token("eyJhbGciOi-secret");
  CHECK(Masked(request) == R"({"token":"***"})");
}

TEST_CASE("json: text that is not UTF-8 is replaced, not passed on") {
  CHECK(JsonQuoted("gr\xc3\xbc\xc3\x9f") == "\"gr\xc3\xbc\xc3\x9f\"");
  for (const char* bad : {"\xff", "\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xf5\x80\x80\x80"}) {
    const std::string quoted = JsonQuoted(bad);
    CHECK(quoted.find(bad) == std::string::npos);
    CHECK(quoted.find("\xef\xbf\xbd") != std::string::npos);
  }
}

TEST_CASE("error: reason and metadata travel in the status, and a prefix keeps them") {
  absl::Status status =
      Error(absl::StatusCode::kAborted, "STALE", "old", {{"etag", "7"}}, "x.oncomesh");
  ErrorInfo info = ErrorInfoOf(Annotate(status, "could not save: "));
  CHECK(info.reason == "STALE");
  CHECK(info.domain == "x.oncomesh");
  CHECK(info.metadata.at("etag") == "7");
  CHECK(Annotate(status, "could not save: ").message() == "could not save: old");
  CHECK(ReasonOf(absl::NotFoundError("x")) == "NOT_FOUND");
}

}  // namespace
}  // namespace oncomesh::base
