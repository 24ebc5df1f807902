// SPDX-License-Identifier: Apache-2.0
#include "libs/ledger/event_log.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "libs/ledger/event.h"
#include "libs/ledger/verify.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"

namespace oncomesh::ledger {
namespace {

using absl::StatusCode;
using audit::v1::Event;

Event Example() {
  Event event;
  event.set_event_id("ev-abcdefghijklmnopqrst");
  event.mutable_time()->set_seconds(1'800'000'000);
  event.mutable_time()->set_nanos(123'456'000);
  event.set_site("hub");
  event.set_actor("person:ana");
  event.set_type("permit.issued");
  event.set_object("permits/permit-1");
  event.set_outcome("OK");
  (*event.mutable_attributes())["datasets"] = std::string("2");
  (*event.mutable_attributes())["advice"] = "FITS \"é\" \\";
  return event;
}

// The bytes of doc/formats/log.md, made with Python's json.dumps(sort_keys=True,
// separators=(',', ':'), ensure_ascii=False) and hashlib.
constexpr char kExampleLeaf[] =
    "{\"actor\":\"person:ana\",\"attributes\":{\"advice\":\"FITS \\\"\xc3\xa9\\\" \\\\\","
    "\"datasets\":\"2\"},\"event_id\":\"ev-abcdefghijklmnopqrst\",\"object\":\"permits/permit-1\","
    "\"outcome\":\"OK\",\"permit_sha256\":\"\",\"reason\":\"\",\"site\":\"hub\","
    "\"time\":\"2027-01-15T08:00:00.123456Z\",\"type\":\"permit.issued\",\"v\":1}";

TEST_CASE("event: the canonical bytes are those that another program makes of it") {
  REQUIRE_VALUE(std::string leaf, CanonicalEvent(Example()));
  CHECK(leaf == kExampleLeaf);
  CHECK(Hex(LeafHash(leaf)) == "3ff7b4af32d26d1ec7c189031c0a7003b7d75ff863e378f0b01a237cefb81a24");
  REQUIRE_VALUE(Event again, ParseEvent(leaf));
  CHECK(again.SerializeAsString().size() == Example().SerializeAsString().size());
  REQUIRE_VALUE(std::string same, CanonicalEvent(again));
  CHECK(same == leaf);
}

TEST_CASE("event: only the canonical spelling is read") {
  const std::string leaf = kExampleLeaf;
  auto with = [&](const std::string& from, const std::string& to) {
    return absl::StrReplaceAll(leaf, {{from, to}});
  };
  for (const std::string& bad :
       {std::string(), std::string("{}"), absl::StrCat(leaf, " "), with(",\"v\":1", ""),
        with("\"v\":1", "\"v\":2"), with("{\"actor\"", "{ \"actor\""), with(",\"reason\":\"\"", ""),
        with("\"v\":1", "\"v\":1,\"x\":1"), with("123456Z", "1234560Z"), with("123456Z", "12345Z "),
        with("\xc3\xa9", "\\u00e9"), with("\xc3\xa9", "\xc3"), with("\"2\"", "2"),
        with("person:ana", "per\\nson:ana")}) {
    INFO(bad);
    CHECK_FALSE(ParseEvent(bad).ok());
  }
}

TEST_CASE("event: each field has its limits, and the error names it") {
  auto field_of = [](void (*change)(Event&)) {
    Event event = Example();
    change(event);
    const absl::Status status = CanonicalEvent(event).status();
    REQUIRE_REASON(status, StatusCode::kInvalidArgument, "EVENT_INVALID");
    return base::ErrorInfoOf(status).metadata.at("field");
  };
  CHECK(field_of([](Event& e) { e.set_event_id("a b"); }) == "event_id");
  CHECK(field_of([](Event& e) { e.set_event_id(std::string(65, 'a')); }) == "event_id");
  CHECK(field_of([](Event& e) { e.set_site(""); }) == "site");
  CHECK(field_of([](Event& e) { e.set_actor(""); }) == "actor");
  CHECK(field_of([](Event& e) { e.set_actor("a\nb"); }) == "actor");
  CHECK(field_of([](Event& e) { e.set_object(std::string(513, 'a')); }) == "object");
  CHECK(field_of([](Event& e) { e.set_object("\x7f"); }) == "object");
  CHECK(field_of([](Event& e) { e.set_type("permit issued"); }) == "type");
  CHECK(field_of([](Event& e) { e.set_outcome("ok"); }) == "outcome");
  CHECK(field_of([](Event& e) { e.set_reason("because"); }) == "reason");
  CHECK(field_of([](Event& e) { e.set_permit_sha256("ABC"); }) == "permit_sha256");
  CHECK(field_of([](Event& e) { (*e.mutable_attributes())["A"] = ""; }) == "attributes");
  CHECK(field_of([](Event& e) { (*e.mutable_attributes())["a"] = std::string("\x01"); }) ==
        "attributes");
  CHECK(field_of([](Event& e) {
          for (int i = 0; i < 17; ++i) (*e.mutable_attributes())[absl::StrCat("a", i)] = "";
        }) == "attributes");
  CHECK(field_of([](Event& e) { e.mutable_time()->set_seconds(-1); }) == "time");
  CHECK(field_of([](Event& e) { e.mutable_time()->set_nanos(1'000'000'000); }) == "time");
}

struct World {
  testing::TemporaryFolder folder;
  crypto::PrivateKey key = crypto::PrivateKey::Generate(crypto::KeyType::kEd25519);
  base::FakeClock clock;
  absl::StatusOr<std::unique_ptr<EventLog>> Open() {
    return EventLog::Open({.folder = folder / "audit",
                           .site = "north",
                           .trust_domain = "mesh.example",
                           .key = key,
                           .clock = &clock});
  }
};

Event Wish(const std::string& type, const std::string& actor = "person:ana") {
  Event event;
  event.set_actor(actor);
  event.set_type(type);
  event.set_outcome("OK");
  return event;
}

TEST_CASE("event log: the log fills in what is its own, and a repeated call writes nothing") {
  World world;
  audit::v1::AppendRequest request;
  *request.add_events() = Wish("dataset.frozen");
  *request.add_events() = Wish("dataset.published");
  request.mutable_events(0)->set_site("elsewhere");
  request.mutable_events(1)->set_event_id("mine-1");
  {
    REQUIRE_VALUE(auto log, world.Open());
    REQUIRE_VALUE(audit::v1::AppendResponse first, log->Append(request));
    CHECK(first.events(0).event().site() == "north");
    CHECK(first.events(0).event().event_id().size() > 20);
    CHECK(first.events(0).event().time().seconds() == absl::ToUnixSeconds(world.clock.Now()));
    CHECK(first.events(1).index() == 1);
  }
  world.clock.Advance(absl::Hours(1));
  REQUIRE_VALUE(auto log, world.Open());
  request.mutable_events()->DeleteSubrange(0, 1);
  REQUIRE_VALUE(audit::v1::AppendResponse again, log->Append(request));
  CHECK(again.events(0).index() == 1);
  CHECK(log->log().size() == 2);
  *request.add_events() = request.events(0);
  REQUIRE_REASON(log->Append(request), StatusCode::kInvalidArgument, "EVENT_INVALID");
  REQUIRE_REASON(log->Append({}), StatusCode::kInvalidArgument, "EVENT_INVALID");
  REQUIRE_REASON(log->Record(Wish("")), StatusCode::kInvalidArgument, "EVENT_INVALID");
  CHECK(log->log().size() == 2);
}

TEST_CASE("event log: a call that is repeated while the first is written writes nothing") {
  World world;
  REQUIRE_VALUE(auto log, world.Open());
  for (int round = 0; round < 50; ++round) {
    audit::v1::AppendRequest request;
    for (int i = 0; i < 3; ++i) {
      *request.add_events() = Example();
      request.mutable_events(i)->set_event_id(absl::StrCat("ev-", round, "-", i));
    }
    audit::v1::AppendRequest backwards = request;
    backwards.mutable_events()->SwapElements(0, 2);
    std::vector<std::thread> callers;
    std::vector<int64_t> index(8);
    for (int caller = 0; caller < 8; ++caller) {
      callers.emplace_back([&, caller] {
        auto response = log->Append(caller % 2 == 0 ? request : backwards);
        if (response.ok()) index[caller] = response->events(1).index();
      });
    }
    for (std::thread& caller : callers) caller.join();
    CHECK(std::set<int64_t>(index.begin(), index.end()).size() == 1);
    CHECK(log->log().size() == static_cast<uint64_t>(3 * (round + 1)));
  }
}

TEST_CASE("event log: lists newest first, by page and by filter") {
  World world;
  REQUIRE_VALUE(auto log, world.Open());
  for (int i = 0; i < 25; ++i) {
    REQUIRE_OK(log->Record(Wish(i % 2 == 0 ? "permit.used" : "call.refused",
                                i % 5 == 0 ? "person:ben" : "person:ana")));
  }
  audit::v1::ListRequest request;
  request.set_page_size(10);
  std::vector<int64_t> seen;
  do {
    REQUIRE_VALUE(audit::v1::ListResponse page, log->List(request));
    for (const auto& event : page.events()) seen.push_back(event.index());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  REQUIRE(seen.size() == 25);
  CHECK(seen.front() == 24);
  CHECK(std::is_sorted(seen.rbegin(), seen.rend()));

  audit::v1::ListRequest filter;
  filter.set_actor("person:ben");
  filter.set_type_prefix("permit.");
  REQUIRE_VALUE(audit::v1::ListResponse page, log->List(filter));
  CHECK(page.events_size() == 3);
  for (const char* token : {"0", "26", "-1", "x", "18446744073709551616"}) {
    filter.set_page_token(token);
    REQUIRE_REASON(log->List(filter), StatusCode::kInvalidArgument, "PAGE_TOKEN_INVALID");
  }
}

TEST_CASE("event log: the hashes of the leaves give the signed root, and say nothing else") {
  World world;
  REQUIRE_VALUE(auto log, world.Open());
  for (int i = 0; i < 70; ++i) REQUIRE_OK(log->Record(Wish("dataset.frozen")));
  audit::v1::ListLeafHashesRequest request;
  std::string hashes;
  for (request.set_count(30); hashes.size() < 70 * 32;) {
    request.set_first(static_cast<int64_t>(hashes.size() / 32));
    REQUIRE_VALUE(auto page, log->ListLeafHashes(request));
    CHECK(page.hashes().size() == std::min<size_t>(30 * 32, 70 * 32 - hashes.size()));
    hashes += page.hashes();
  }
  Frontier frontier;
  for (uint64_t i = 0; i < 70; ++i) {
    Hash hash;
    REQUIRE(ToHash(absl::string_view(hashes).substr(i * 32, 32), hash));
    REQUIRE_VALUE(std::string leaf, log->log().Read(i));
    CHECK(hash == LeafHash(leaf));
    frontier.Append(hash);
  }
  REQUIRE_VALUE(auto head, log->GetCheckpoint());
  REQUIRE_VALUE(Checkpoint checkpoint,
                VerifyCheckpoint(head.checkpoint(), log->log().verifier_key()));
  CHECK(checkpoint.size == 70);
  CHECK(frontier.Root() == checkpoint.root);
  request.set_first(70);
  REQUIRE_VALUE(auto end, log->ListLeafHashes(request));
  CHECK(end.hashes().empty());
  for (int64_t wrong : {int64_t{-1}, int64_t{71}}) {
    request.set_first(wrong);
    REQUIRE_REASON(log->ListLeafHashes(request), StatusCode::kInvalidArgument,
                   "INDEX_OUT_OF_RANGE");
  }
}

TEST_CASE("event log: every event is proved to somebody who has only the verifier key") {
  World world;
  REQUIRE_VALUE(auto log, world.Open());
  std::vector<std::string> ids;
  for (int i = 0; i < 9; ++i) {
    REQUIRE_VALUE(audit::v1::LoggedEvent event, log->Record(Wish(absl::StrCat("step.", i))));
    ids.push_back(event.event().event_id());
  }
  REQUIRE_VALUE(audit::v1::GetCheckpointResponse early, log->GetCheckpoint());
  REQUIRE_OK(log->Record(Wish("later")));
  // Asking again and again makes no new one.
  REQUIRE_VALUE(audit::v1::GetCheckpointResponse again, log->GetCheckpoint());
  CHECK(again.checkpoint() == early.checkpoint());
  world.clock.Advance(EventLog::kCheckpointInterval);
  REQUIRE_VALUE(again, log->GetCheckpoint());
  CHECK(again.checkpoint() != early.checkpoint());
  REQUIRE_VALUE(NoteKey key, NoteKey::Parse(early.verifier_key()));
  CHECK(key.name() == "mesh.example/audit/north");
  auto hashes = [](const google::protobuf::RepeatedPtrField<std::string>& nodes) {
    Proof proof(static_cast<size_t>(nodes.size()));
    for (int i = 0; i < nodes.size(); ++i) REQUIRE(ToHash(nodes[i], proof[static_cast<size_t>(i)]));
    return proof;
  };
  for (const std::string& id : ids) {
    audit::v1::ProveRequest request;
    request.set_event_id(id);
    REQUIRE_VALUE(audit::v1::ProveResponse proof, log->Prove(request));
    REQUIRE_VALUE(Checkpoint checkpoint, VerifyCheckpoint(proof.checkpoint(), key));
    REQUIRE(checkpoint.size == 10);
    REQUIRE(View(checkpoint.root) == proof.root());
    REQUIRE_OK(VerifyInclusion(static_cast<uint64_t>(proof.event().index()), checkpoint.size,
                               LeafHash(proof.leaf()), hashes(proof.proof()), checkpoint.root));
    CHECK(absl::StrContains(proof.leaf(), id));
  }
  REQUIRE_VALUE(Checkpoint before, VerifyCheckpoint(early.checkpoint(), key));
  audit::v1::ConsistencyRequest between;
  between.set_size1(static_cast<int64_t>(before.size));
  REQUIRE_VALUE(audit::v1::ConsistencyResponse later, log->Consistency(between));
  Hash root2{};
  REQUIRE(ToHash(later.root2(), root2));
  REQUIRE_OK(VerifyConsistency(before.size, static_cast<uint64_t>(later.size2()),
                               hashes(later.proof()), before.root, root2));

  audit::v1::ProveRequest request;
  request.set_event_id("nobody");
  REQUIRE_REASON(log->Prove(request), StatusCode::kNotFound, "EVENT_NOT_FOUND");
  for (int64_t index : {int64_t{-1}, int64_t{10}, INT64_MAX}) {
    request.set_index(index);
    REQUIRE_REASON(log->Prove(request), StatusCode::kNotFound, "EVENT_NOT_FOUND");
  }
  request.set_index(5);
  for (int64_t size : {int64_t{-1}, int64_t{5}, int64_t{11}}) {
    request.set_size(size);
    REQUIRE_REASON(log->Prove(request), StatusCode::kInvalidArgument, "INDEX_OUT_OF_RANGE");
  }
  request.set_size(6);
  REQUIRE_OK(log->Prove(request));
  for (auto [size1, size2] :
       {std::pair<int64_t, int64_t>{0, 3}, {4, 3}, {3, 11}, {-1, 3}, {1, -1}}) {
    between.set_size1(size1);
    between.set_size2(size2);
    REQUIRE_REASON(log->Consistency(between), StatusCode::kInvalidArgument, "INDEX_OUT_OF_RANGE");
  }
}

}  // namespace
}  // namespace oncomesh::ledger
