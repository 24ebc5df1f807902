// SPDX-License-Identifier: Apache-2.0
// Plans of training runs: from the JSON that a researcher writes to a checked message.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "libs/base/names.h"
#include "libs/federated/strategy.h"
#include "oncomesh/training/v1/plan.pb.h"

namespace oncomesh::federated {

inline constexpr size_t kMaxPlanBytes = 256 << 10;

// Reads a plan strictly: an unknown or repeated key, or a value of another type is refused.
// Strategies may stand without their prefix ("NEWTON"). What comes back has passed CheckPlan.
// Errors: INVALID_ARGUMENT (PLAN_INVALID), saying what is wrong.
absl::StatusOr<training::v1::Plan> ParsePlan(absl::string_view json);

// OK when every field is within the range that plan.proto gives. Errors: INVALID_ARGUMENT
// (PLAN_INVALID) with the field's name in the metadata "field".
absl::Status CheckPlan(const training::v1::Plan& plan);

// The plan as JSON with sorted keys and no spaces: the same plan, the same text.
std::string CanonicalPlan(const training::v1::Plan& plan);
// Hex SHA-256 of CanonicalPlan.
std::string PlanDigest(const training::v1::Plan& plan);

using base::NodeOfDataset;
// The nodes of the plan's datasets, sorted, each once.
std::vector<std::string> NodesOf(const training::v1::Plan& plan);
std::vector<std::string> DatasetsOf(const training::v1::Plan& plan, absl::string_view node);

// Of a plan that passed CheckPlan, with the defaults filled in.
Strategy StrategyOf(const training::v1::Plan& plan);
StepOptions StepOptionsOf(const training::v1::Plan& plan);
int QuorumOf(const training::v1::Plan& plan);
absl::Duration RoundDeadlineOf(const training::v1::Plan& plan);
// What an update of the statistics round looks like.
Template StatisticsTemplate(const training::v1::Plan& plan);
// The tensors of a shape map as they stand in a file.
std::vector<TensorSpec> TensorsOf(
    const google::protobuf::Map<std::string, training::v1::TensorShape>& shapes);

}  // namespace oncomesh::federated
