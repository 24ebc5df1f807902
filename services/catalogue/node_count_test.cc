// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/node_count.h"

#include <catch2/catch.hpp>
#include <map>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/query/text.h"
#include "libs/store/test_database.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"

namespace oncomesh::catalogue {
namespace {

using terminology::Registry;
using State = v1::NodeCount;

std::unique_ptr<NodeStore> OpenStore(const testing::TemporaryFolder& folder) {
  auto store = NodeStore::Open(store::TestDatabaseUrl(folder / "node.db"));
  REQUIRE(store.ok());
  return *std::move(store);
}

// 40 women and 20 men; each has one CT series, the women an MR series too; no stages.
struct Node {
  CurrentIndex index;
  FixedPolicy policy{CountPolicy{}};
  AnswerMemory memory;
  testing::TemporaryFolder folder;
  std::unique_ptr<NodeStore> store = OpenStore(folder);
  DatasetIndex datasets{"north", Registry::Builtin(), *store, index};
  struct NoPermits final : CountPermits {
    absl::StatusOr<std::vector<std::string>> Datasets(absl::string_view) override {
      return base::Error(absl::StatusCode::kPermissionDenied, "PERMIT_EXPIRED", "it has expired");
    }
  } permits;
  NodeCount counts{{.node = "north",
                    .registry = Registry::Builtin(),
                    .index = index,
                    .policy = policy,
                    .memory = memory,
                    .permits = permits,
                    .datasets = datasets}};

  explicit Node(size_t capacity = 1024) : memory(capacity) { Hold(0); }

  // `with_field` of the women have an MR series that says how strong its magnet is.
  void Hold(uint32_t with_field) {
    const Registry& variables = Registry::Builtin();
    IndexBuilder builder;
    int64_t series = 0;
    for (uint32_t p = 0; p < 60; ++p) {
      builder.AddPatient(p);
      builder.Set(*variables.Find("sex"), p < 40 ? "F" : "M");
      builder.Set(*variables.Find("topography"), p % 2 == 0 ? "C50.4" : "C34.1");
      builder.AddStudy();
      builder.Set(*variables.Find("age"), absl::StrCat(30 + p));
      builder.AddSeries(++series);
      builder.Set(*variables.Find("modality"), "CT");
      builder.Set(*variables.Find("manufacturer"), p < 58 ? "GE" : "RARE MAKER");
      if (p >= 40) continue;
      builder.AddSeries(++series);
      builder.Set(*variables.Find("modality"), "MR");
      builder.Set(*variables.Find("manufacturer"), "SIEMENS");
      if (p < with_field) builder.Set(*variables.Find("magnetic_field_t"), "3");
    }
    index.Set(std::move(builder).Build());
  }

  v1::NodeCount Ask(const std::string& text, std::vector<std::string> by = {}) {
    v1::CountAtNodeRequest request;
    auto parsed = query::ParseText(text);
    REQUIRE(parsed.ok());
    *request.mutable_where() = *parsed;
    for (const std::string& name : by) request.add_by(name);
    auto out = counts.Count(request, "");
    REQUIRE(out.ok());
    CHECK(out->node() == "north");
    return *out;
  }
};

std::vector<std::string> Reasons(const v1::NodeCount& count) {
  std::vector<std::string> out;
  for (const v1::Reason& reason : count.reasons()) {
    out.push_back(absl::StrCat(reason.reason(), reason.part().empty() ? "" : " ", reason.part()));
  }
  return out;
}

TEST_CASE("count: conditions of one level bind to one row") {
  Node node;
  v1::NodeCount both = node.Ask("modality = \"MR\" and manufacturer = \"SIEMENS\"");
  CHECK(both.state() == State::STATE_ANSWERED);
  CHECK(both.value() == 40);
  // Every woman has a GE series and an MR series, none a GE MR series.
  v1::NodeCount none = node.Ask("modality = \"MR\" and manufacturer = \"GE\"");
  CHECK(none.state() == State::STATE_ANSWERED);
  CHECK_FALSE(none.has_value());
  CHECK(Reasons(none) == std::vector<std::string>{"COUNT_HIDDEN"});
  // What is meant by "has both" is said with has.
  CHECK(
      node.Ask("patient has (modality = \"MR\") and patient has (manufacturer = \"GE\")").value() ==
      40);
  CHECK(node.Ask("not patient has (modality = \"MR\")").value() == 20);
  CHECK(node.Ask("topography = \"C50\"").value() == 30);
}

TEST_CASE("count: a part that cannot be answered is named, and nothing else is answered instead") {
  Node node;
  v1::NodeCount needed = node.Ask("sex = \"F\" and stage = \"II\"");
  CHECK(needed.state() == State::STATE_REFUSED);
  CHECK_FALSE(needed.has_value());
  CHECK(Reasons(needed) == std::vector<std::string>{"VARIABLE_NOT_HELD stage"});

  v1::NodeCount alternative = node.Ask("sex = \"F\" or stage = \"II\"");
  CHECK(alternative.state() == State::STATE_PARTLY);
  CHECK(alternative.value() == 40);
  CHECK(Reasons(alternative) == std::vector<std::string>{"VARIABLE_NOT_HELD stage"});

  // Without the stage nobody knows who is in neither group.
  v1::NodeCount negated = node.Ask("not (sex = \"F\" or stage = \"II\")");
  CHECK(negated.state() == State::STATE_REFUSED);

  v1::NodeCount unknown = node.Ask("sex = \"F\" or patient has (wishes = 3 and modality = \"CT\")");
  CHECK(unknown.state() == State::STATE_PARTLY);
  CHECK(Reasons(unknown) == std::vector<std::string>{"VARIABLE_UNKNOWN wishes = 3"});
  CHECK(node.Ask("modality > 3").state() == State::STATE_REFUSED);
}

TEST_CASE("count: splits list every value of closed variables and only shown ones of open lists") {
  Node node;
  v1::NodeCount closed = node.Ask("all", {"sex"});
  REQUIRE(closed.groups_size() == 4);  // F, M, O, unknown
  CHECK(closed.groups(0).key(0).value() == "F");
  CHECK(closed.groups(0).value() == 40);
  CHECK(closed.groups(1).value() == 20);
  CHECK_FALSE(closed.groups(2).has_value());
  CHECK_FALSE(closed.groups(3).key(0).has_value());

  v1::NodeCount open = node.Ask("all", {"manufacturer"});
  for (const v1::Group& group : open.groups()) CHECK(group.key(0).value() != "RARE MAKER");
  for (const v1::Group& group : open.groups()) CHECK(group.has_value());

  v1::NodeCount bands = node.Ask("all", {"sex", "age"});
  CHECK(bands.groups_size() == 4 * 11);
}

TEST_CASE("count: a split that cannot be made leaves the count and says why") {
  Node node;
  for (auto [by, reason] :
       {std::pair<std::vector<std::string>, std::string>{{"stage"}, "VARIABLE_NOT_HELD stage"},
        {{"wishes"}, "VARIABLE_UNKNOWN wishes"},
        {{"sex", "sex"}, "GROUP_INVALID sex"},
        {{"sex", "age", "modality", "topography"}, "GROUP_INVALID"}}) {
    v1::NodeCount count = node.Ask("all", by);
    CHECK(count.state() == State::STATE_PARTLY);
    CHECK(count.value() == 60);
    CHECK(count.groups().empty());
    CHECK(Reasons(count) == std::vector<std::string>{reason});
  }
}

TEST_CASE("count: narrowing age year by year gives no single person away") {
  Node node;
  // The researcher knows one woman of 45. Asking with and without that year must not differ.
  v1::NodeCount with = node.Ask("sex = \"F\" and age >= 40");
  v1::NodeCount without = node.Ask("sex = \"F\" and age >= 40 and age != 45");
  CHECK(with.value() == without.value());
}

TEST_CASE("count: splits by many values do not make a node forget what it has told") {
  Node node(/*capacity=*/4);
  // Thirty-three women, told 35; thirty-two alone would be told 30.
  v1::NodeCount with = node.Ask("sex = \"F\" and age >= 37");
  CHECK(with.value() == 35);
  node.Ask("sex = \"F\" or sex = \"M\"", {"age", "topography"});
  node.Ask("sex = \"F\" or sex = \"M\"", {"manufacturer", "modality", "sex"});
  CHECK(node.Ask("sex = \"F\" and age >= 37 and age != 45").value() == with.value());
}

TEST_CASE("count: whether few have a value of a variable is not told, nor whether anybody has") {
  // k is 5: up to 2k - 2 patients look like none.
  std::vector<std::string> answers;
  for (uint32_t few : {0, 1, 4, 5, 8}) {
    Node node;
    node.Hold(few);
    v1::NodeCount count = node.Ask("magnetic_field_t > 0");
    CHECK(count.state() == State::STATE_REFUSED);
    CHECK(Reasons(count) == std::vector<std::string>{"VARIABLE_NOT_HELD magnetic_field_t"});
    v1::NodeCount alternative = node.Ask("sex = \"M\" or not magnetic_field_t > 0");
    CHECK(alternative.state() == State::STATE_PARTLY);
    CHECK(alternative.value() == 20);
    v1::NodeCount split = node.Ask("all", {"magnetic_field_t"});
    CHECK(Reasons(split) == std::vector<std::string>{"VARIABLE_NOT_HELD magnetic_field_t"});
    answers.push_back(count.DebugString() + alternative.DebugString() + split.DebugString());
  }
  for (const std::string& answer : answers) CHECK(answer == answers[0]);

  Node enough;
  enough.Hold(9);
  CHECK(enough.Ask("magnetic_field_t > 0").value() == 10);
  // One patient less does not show, and neither does one more.
  enough.Hold(8);
  CHECK(enough.Ask("magnetic_field_t > 5").state() == State::STATE_ANSWERED);
  Node grows;
  grows.Hold(8);
  CHECK(grows.Ask("magnetic_field_t > 0").state() == State::STATE_REFUSED);
  grows.Hold(9);
  CHECK(grows.Ask("magnetic_field_t > 0").state() == State::STATE_REFUSED);
  grows.Hold(40);
  CHECK(grows.Ask("magnetic_field_t > 0").value() == 40);
}

TEST_CASE("count: the node's policy has the last word") {
  Node node;
  FixedPolicy closed(CountPolicy{.rules = {}, .open_counts = false});
  NodeCount counts({.node = "north",
                    .registry = Registry::Builtin(),
                    .index = node.index,
                    .policy = closed,
                    .memory = node.memory,
                    .permits = node.permits,
                    .datasets = node.datasets});
  v1::CountAtNodeRequest request;
  request.mutable_where()->mutable_and_();
  REQUIRE_VALUE(v1::NodeCount refused, counts.Count(request, ""));
  CHECK(refused.state() == State::STATE_REFUSED);
  CHECK(Reasons(refused) == std::vector<std::string>{"POLICY_REFUSES"});
  REQUIRE_VALUE(v1::NodeCount expired, counts.Count(request, "expired"));
  CHECK(expired.state() == State::STATE_REFUSED);
  CHECK(expired.reasons(0).message() == "it has expired");
  // Where counts are open, nobody asks for the permit.
  REQUIRE_VALUE(v1::NodeCount open, node.counts.Count(request, "expired"));
  CHECK(open.value() == 60);

  class NoPolicy final : public PolicySource {
    absl::StatusOr<CountPolicy> Get() override {
      return base::Error(absl::StatusCode::kUnavailable, "ACCESS_UNAVAILABLE", "access is down");
    }
  } none;
  NodeCount blind({.node = "north",
                   .registry = Registry::Builtin(),
                   .index = node.index,
                   .policy = none,
                   .memory = node.memory,
                   .permits = node.permits,
                   .datasets = node.datasets});
  REQUIRE_VALUE(v1::NodeCount nothing, blind.Count(request, ""));
  CHECK(nothing.state() == State::STATE_REFUSED);
  CHECK_FALSE(nothing.has_value());

  v1::CountAtNodeRequest empty;
  REQUIRE_REASON(counts.Count(empty, ""), absl::StatusCode::kInvalidArgument, "EXPRESSION_INVALID");
}

}  // namespace
}  // namespace oncomesh::catalogue
