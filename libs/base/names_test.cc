// SPDX-License-Identifier: Apache-2.0
#include "libs/base/names.h"

#include <catch2/catch.hpp>

#include "libs/testing/status_matchers.h"

namespace oncomesh::base {
namespace {

TEST_CASE("names: of nodes and datasets") {
  for (const char* good : {"ab", "lisbon", "a-1", "a--"}) {
    CHECK(IsNodeName(good));
    CHECK(IsDatasetId(good));
  }
  for (const char* bad : {"", "a", "1a", "-a", "Lisbon", "a_b", "a.b", "a/b",
                          "\xc3\xa4"
                          "b",
                          "a b"}) {
    CHECK_FALSE(IsNodeName(bad));
    CHECK_FALSE(IsDatasetId(bad));
  }
  CHECK_FALSE(IsNodeName("hub"));
  CHECK(IsDatasetId("hub"));
  CHECK(IsNodeName(std::string(32, 'a')));
  CHECK_FALSE(IsNodeName(std::string(33, 'a')));
  CHECK(IsDatasetId(std::string(63, 'a')));
  CHECK_FALSE(IsDatasetId(std::string(64, 'a')));
}

TEST_CASE("names: a dataset and its versions have one spelling") {
  for (const char* text :
       {"nodes/lisbon/datasets/sarcoma", "nodes/lisbon/datasets/sarcoma/versions/1",
        "nodes/ab/datasets/cd/versions/999999999"}) {
    REQUIRE_VALUE(DatasetName name, ParseDatasetName(text));
    CHECK(name.Text() == text);
  }
  for (const char* bad :
       {"", "sarcoma", "nodes/lisbon", "nodes/lisbon/datasets/", "nodes/hub/datasets/sarcoma",
        "nodes/lisbon/datasets/sarcoma/", "nodes/lisbon/datasets/sarcoma/versions",
        "nodes/lisbon/datasets/sarcoma/versions/", "nodes/lisbon/datasets/sarcoma/versions/0",
        "nodes/lisbon/datasets/sarcoma/versions/01", "nodes/lisbon/datasets/sarcoma/versions/+1",
        "nodes/lisbon/datasets/sarcoma/versions/-1", "nodes/lisbon/datasets/sarcoma/versions/1/x",
        "nodes/lisbon/datasets/sarcoma/versions/1000000000", "nodes/../datasets/d/versions/1",
        "Nodes/lisbon/datasets/sarcoma", "nodes/lisbon/runs/sarcoma"}) {
    INFO(bad);
    REQUIRE_REASON(ParseDatasetName(bad), absl::StatusCode::kInvalidArgument,
                   "DATASET_NAME_INVALID");
    CHECK(NodeOfDataset(bad).empty());
  }
  CHECK(NodeOfDataset("nodes/lisbon/datasets/sarcoma/versions/1") == "lisbon");
  CHECK(NodeOfDataset("nodes/lisbon/datasets/sarcoma").empty());
}

}  // namespace
}  // namespace oncomesh::base
