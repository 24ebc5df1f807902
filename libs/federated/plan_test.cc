// SPDX-License-Identifier: Apache-2.0
#include "libs/federated/plan.h"

#include <catch2/catch.hpp>
#include <limits>
#include <nlohmann/json.hpp>

#include "libs/testing/status_matchers.h"

namespace oncomesh::federated {
namespace {

using nlohmann::json;

json Valid() {
  return json::parse(R"({
    "name": "tumour voxels", "strategy": "NEWTON", "rounds": 5,
    "datasets": ["nodes/south/datasets/sarcoma/versions/1", "nodes/north/datasets/sarcoma/versions/2",
                 "nodes/north/datasets/extra/versions/1"],
    "minContributors": 2, "roundDeadline": "90s",
    "trainer": {"name": "voxel-logistic",
                "digest": "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"},
    "model": {"tensors": {"weights": {"shape": [12]}, "intercept": {"dtype": "F64", "shape": [1]}}},
    "step": {"l2": 0.001, "unregularised": ["intercept"]},
    "hyperparameters": {"scales": [1, 2, 4], "negatives": 10},
    "metrics": ["loss", "dice", "auc"],
    "statistics": {"tensors": {"sum": {"shape": [12]}, "squares": {"shape": [12]}}},
    "evaluate": {"heldOut": 0.3},
    "caseInputs": {"modalities": ["PT", "CT"], "roi": "GTV_Mass", "spacing": [4, 4, 4]},
    "bounds": {"weights": 1000}
  })");
}

TEST_CASE("plan: a full plan is read, with defaults where it is silent") {
  REQUIRE_VALUE(auto plan, ParsePlan(Valid().dump()));
  CHECK(StrategyOf(plan) == Strategy::kNewton);
  CHECK(NodesOf(plan) == std::vector<std::string>{"north", "south"});
  CHECK(DatasetsOf(plan, "north").size() == 2);
  CHECK(QuorumOf(plan) == 2);
  CHECK(RoundDeadlineOf(plan) == absl::Seconds(90));
  CHECK(StepOptionsOf(plan).learning_rate == 1.0);
  CHECK(StepOptionsOf(plan).unregularised.count("intercept") == 1);
  json shorter = Valid();
  shorter.erase("minContributors");
  shorter.erase("roundDeadline");
  REQUIRE_VALUE(auto silent, ParsePlan(shorter.dump()));
  CHECK(QuorumOf(silent) == 2);
  CHECK(RoundDeadlineOf(silent) == absl::Hours(1));
}

TEST_CASE("plan: the digest depends on the content, not on the order or the spaces") {
  REQUIRE_VALUE(auto a, ParsePlan(Valid().dump()));
  REQUIRE_VALUE(auto b, ParsePlan(Valid().dump(4)));
  CHECK(PlanDigest(a) == PlanDigest(b));
  json other = Valid();
  other["hyperparameters"]["negatives"] = 11;
  REQUIRE_VALUE(auto c, ParsePlan(other.dump()));
  CHECK(PlanDigest(c) != PlanDigest(a));
  REQUIRE_VALUE(auto again, ParsePlan(CanonicalPlan(a)));
  CHECK(PlanDigest(again) == PlanDigest(a));
}

TEST_CASE("plan: what is out of range is refused by the name of its field") {
  struct Case {
    const char* patch;  // JSON merge patch, RFC 7396
    const char* field;
  };
  for (const Case& c : std::vector<Case>{
           {R"({"strategy":"KRUM"})", "JSON"},
           {R"({"strategy":null})", "strategy"},
           {R"({"rounds":0})", "rounds"},
           {R"({"rounds":10001})", "rounds"},
           {R"({"rounds":"many"})", "JSON"},
           {R"({"surprise":1})", "JSON"},
           {R"({"datasets":[]})", "datasets"},
           {R"({"datasets":["nodes/a/datasets/d"]})", "datasets"},
           {R"({"datasets":["nodes/../datasets/d/versions/1"]})", "datasets"},
           {R"({"datasets":["nodes/aa/datasets/dd/versions/1","nodes/aa/datasets/dd/versions/1"]})",
            "datasets"},
           {R"({"minContributors":3})", "minContributors"},
           {R"({"minContributors":-1})", "minContributors"},
           {R"({"roundDeadline":"0.5s"})", "roundDeadline"},
           {R"({"roundDeadline":"700000s"})", "roundDeadline"},
           {R"({"trainer":{"name":"../x"}})", "trainer.name"},
           {R"({"trainer":{"digest":"ab"}})", "trainer.digest"},
           {R"({"model":{"tensors":null}})", "model"},
           {R"({"model":{"initial":"ab","tensors":null}})", "model.initial"},
           {R"({"model":{"tensors":{"w":{"dtype":"I8","shape":[1]}}}})", "model.tensors"},
           {R"({"model":{"tensors":{"w":{"shape":[-1]}}}})", "model.tensors"},
           {R"({"model":{"tensors":{"w":{"shape":[100000]}}}})", "model.tensors"},
           {R"({"model":{"tensors":{"hessian":{"shape":[1]}}}})", "model.tensors"},
           {R"({"model":{"tensors":{"w":{"shape":[1073741824,2]}}}})", "model.tensors"},
           {R"({"statistics":{"tensors":{"s":{"shape":[536870912]},"t":{"shape":[536870913]}}}})",
            "statistics.tensors"},
           {R"({"step":{"l2":-1}})", "step.l2"},
           {R"({"step":{"l2":"NaN"}})", "step.l2"},
           {R"({"step":{"learningRate":"Infinity"}})", "step.learningRate"},
           {R"({"step":{"unregularised":["absent"]}})", "step.unregularised"},
           {R"({"bounds":{"weights":0}})", "bounds"},
           {R"({"metrics":["a","a"]})", "metrics"},
           {R"({"metrics":["a b"]})", "metrics"},
           {R"({"statistics":{"tensors":null}})", "statistics"},
           {R"({"evaluate":{"heldOut":0.95}})", "evaluate.heldOut"},
           {R"({"caseInputs":{"modalities":["../CT"]}})", "caseInputs.modalities"},
           // What no node can prepare.
           {R"({"caseInputs":{"modalities":["US"]}})", "caseInputs.modalities"},
           {R"({"caseInputs":{"modalities":["CT","CT"]}})", "caseInputs.modalities"},
           {R"({"caseInputs":{"spacing":[1,1,0.08]}})", "caseInputs.spacing"},
           {R"({"caseInputs":{"spacing":[1,1,100.5]}})", "caseInputs.spacing"},
           {R"({"caseInputs":{"spacing":[1,1]}})", "caseInputs.spacing"},
           {R"({"caseInputs":{"spacing":[1,1,0]}})", "caseInputs.spacing"}}) {
    CAPTURE(c.patch);
    json plan = Valid();
    plan.merge_patch(json::parse(c.patch));
    absl::Status status = ParsePlan(plan.dump()).status();
    REQUIRE_REASON(status, absl::StatusCode::kInvalidArgument, "PLAN_INVALID");
    CHECK(base::ErrorInfoOf(status).metadata.at("field") == c.field);
  }
}

TEST_CASE("plan: numbers that JSON would print like a text are refused") {
  REQUIRE_VALUE(training::v1::Plan plan, ParsePlan(Valid().dump()));
  (*plan.mutable_hyperparameters()->mutable_fields())["x"].set_number_value(
      std::numeric_limits<double>::quiet_NaN());
  absl::Status status = CheckPlan(plan);
  REQUIRE_REASON(status, absl::StatusCode::kInvalidArgument, "PLAN_INVALID");
  CHECK(base::ErrorInfoOf(status).metadata.at("field") == "hyperparameters");
  google::protobuf::Value* value = &(*plan.mutable_hyperparameters()->mutable_fields())["x"];
  for (int depth = 0; depth < 17; ++depth) value = value->mutable_list_value()->add_values();
  value->set_bool_value(true);
  REQUIRE_REASON(CheckPlan(plan), absl::StatusCode::kInvalidArgument, "PLAN_INVALID");
  (*plan.mutable_hyperparameters()->mutable_fields())["x"].Clear();  // a value without a kind
  REQUIRE_REASON(CheckPlan(plan), absl::StatusCode::kInvalidArgument, "PLAN_INVALID");
}

TEST_CASE("plan: text that is no plan is refused") {
  for (const std::string& text : {std::string(""), std::string("[]"), std::string("{"),
                                  std::string("{\"rounds\":1,\"rounds\":2}"),
                                  std::string(kMaxPlanBytes + 1, ' '), std::string(100000, '[')}) {
    REQUIRE_REASON(ParsePlan(text), absl::StatusCode::kInvalidArgument, "PLAN_INVALID");
  }
}

}  // namespace
}  // namespace oncomesh::federated
