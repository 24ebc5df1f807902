// SPDX-License-Identifier: Apache-2.0
#include "libs/federated/plan.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "libs/crypto/jws.h"
#include "libs/imaging/case_limits.h"

namespace oncomesh::federated {
namespace {

using training::v1::Plan;

absl::Status Invalid(absl::string_view field, absl::string_view what) {
  return base::Error(absl::StatusCode::kInvalidArgument, "PLAN_INVALID",
                     absl::StrCat("the plan's ", field, " ", what),
                     {{"field", std::string(field)}});
}

bool IsHexDigest(absl::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

bool Consists(absl::string_view text, size_t longest, absl::string_view characters) {
  return !text.empty() && text.size() <= longest &&
         text.find_first_not_of(characters) == absl::string_view::npos;
}

// 8 GiB of float64: what a plan can make the hub and each node write before anyone trains.
constexpr uint64_t kMaxPlanElements = uint64_t{1} << 30;
constexpr int kMaxHyperparameterDepth = 16;

constexpr absl::string_view kNameCharacters = "abcdefghijklmnopqrstuvwxyz0123456789-";
constexpr absl::string_view kWordCharacters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

absl::Status CheckTensors(
    absl::string_view field,
    const google::protobuf::Map<std::string, training::v1::TensorShape>& shapes) {
  if (static_cast<size_t>(shapes.size()) > kMaxTensors)
    return Invalid(field, "has too many tensors");
  uint64_t total = 0;
  for (const auto& [name, tensor] : shapes) {
    if (!Consists(name, kMaxTensorName,
                  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                  "0123456789_.-/") ||
        name == "__metadata__") {
      return Invalid(field, "has a tensor name that is not of letters, digits and _.-/");
    }
    if (!tensor.dtype().empty() && !DtypeOf(tensor.dtype()).ok()) {
      return Invalid(field, "has a tensor that is neither F32 nor F64");
    }
    std::vector<int64_t> shape(tensor.shape().begin(), tensor.shape().end());
    absl::StatusOr<uint64_t> elements = ElementsOf(shape);
    if (!elements.ok()) return Invalid(field, "has a tensor of an impossible shape");
    total += *elements;
    if (total > kMaxPlanElements) return Invalid(field, "has more than 2^30 numbers together");
  }
  return absl::OkStatus();
}

// What JSON cannot carry, or not unambiguously, would make two plans of one digest: numbers that
// are not finite, and structures deeper than the printer goes.
absl::Status CheckValue(const google::protobuf::Value& value, int depth) {
  if (depth > kMaxHyperparameterDepth) {
    return Invalid("hyperparameters", "are nested deeper than 16 levels");
  }
  switch (value.kind_case()) {
    case google::protobuf::Value::kNumberValue:
      if (!std::isfinite(value.number_value())) {
        return Invalid("hyperparameters", "have a number that is not finite");
      }
      return absl::OkStatus();
    case google::protobuf::Value::kStructValue:
      for (const auto& [name, inner] : value.struct_value().fields()) {
        RETURN_IF_ERROR(CheckValue(inner, depth + 1));
      }
      return absl::OkStatus();
    case google::protobuf::Value::kListValue:
      for (const auto& inner : value.list_value().values()) {
        RETURN_IF_ERROR(CheckValue(inner, depth + 1));
      }
      return absl::OkStatus();
    case google::protobuf::Value::KIND_NOT_SET:
      return Invalid("hyperparameters", "have a value that is not set");
    default:
      return absl::OkStatus();
  }
}

absl::Status CheckModel(const Plan& plan) {
  const auto& model = plan.model();
  if (model.tensors().empty() == model.initial().empty()) {
    return Invalid("model", "names either its tensors or the model to start from");
  }
  if (!model.initial().empty() && !IsHexDigest(model.initial())) {
    return Invalid("model.initial", "is not the SHA-256 of a model (64 hexadecimal digits)");
  }
  RETURN_IF_ERROR(CheckTensors("model.tensors", model.tensors()));
  if (plan.strategy() == training::v1::STRATEGY_NEWTON && !model.tensors().empty()) {
    Header header;
    for (const TensorSpec& spec : TensorsOf(model.tensors())) {
      TensorInfo info{spec.name, spec.dtype, spec.shape, 0, 0};
      ASSIGN_OR_RETURN(info.elements, ElementsOf(spec.shape));
      header.tensors.emplace(spec.name, info);
    }
    absl::StatusOr<Template> update = UpdateTemplate(Strategy::kNewton, header);
    if (!update.ok()) return Invalid("model.tensors", update.status().message());
    uint64_t total = 0;
    for (const auto& [name, shape] : *update) {
      absl::StatusOr<uint64_t> elements = ElementsOf(shape);
      total += elements.value_or(kMaxPlanElements);
      if (!elements.ok() || total > kMaxPlanElements) {
        return Invalid("model.tensors", "have a second derivative of more than 2^30 numbers");
      }
    }
  }
  return absl::OkStatus();
}

absl::Status CheckStep(const Plan& plan) {
  const auto& step = plan.step();
  if (!(step.learning_rate() >= 0) || !std::isfinite(step.learning_rate())) {
    return Invalid("step.learningRate", "is a number of at least 0");
  }
  if (!(step.l2() >= 0) || !std::isfinite(step.l2())) {
    return Invalid("step.l2", "is a number of at least 0");
  }
  if (step.unregularised_size() > static_cast<int>(kMaxTensors)) {
    return Invalid("step.unregularised", "has too many names");
  }
  for (const std::string& name : step.unregularised()) {
    if (!plan.model().tensors().empty() && plan.model().tensors().count(name) == 0) {
      return Invalid("step.unregularised", "names a tensor that the model does not have");
    }
  }
  for (const auto& [name, bound] : plan.bounds()) {
    if (!(bound > 0) || !ScaleFor(bound).ok()) {
      return Invalid("bounds", "has a bound that is not a number above 0, or too large");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckCases(const Plan& plan) {
  const auto& inputs = plan.case_inputs();
  std::set<std::string> seen;
  for (const std::string& modality : inputs.modalities()) {
    if (!imaging::IsCaseModality(modality) || !seen.insert(modality).second) {
      return Invalid("caseInputs.modalities", "are CT, PT or MR, each once");
    }
  }
  if (inputs.roi().size() > imaging::kMaxRegionName)
    return Invalid("caseInputs.roi", "has at most 64 characters");
  if (inputs.spacing_size() != 0 && inputs.spacing_size() != 3) {
    return Invalid("caseInputs.spacing", "has three numbers, x y z in mm");
  }
  for (double length : inputs.spacing()) {
    if (!imaging::IsCaseSpacing(length)) {
      return Invalid("caseInputs.spacing", "is from 0.1 to 100 mm");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Plan> ParsePlan(absl::string_view json) {
  if (json.size() > kMaxPlanBytes) return Invalid("JSON", "is larger than 256 KiB");
  absl::StatusOr<nlohmann::json> value = crypto::ParseStrictJson(json);
  if (!value.ok())
    return Invalid("JSON", absl::StrCat("cannot be read: ", value.status().message()));
  if (!value->is_object()) return Invalid("JSON", "is not an object");
  auto strategy = value->find("strategy");
  if (strategy != value->end() && strategy->is_string() &&
      training::v1::Strategy_descriptor()->FindValueByName(
          absl::StrCat("STRATEGY_", strategy->get<std::string>())) != nullptr) {
    *strategy = absl::StrCat("STRATEGY_", strategy->get<std::string>());
  }
  Plan plan;
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = false;
  auto parsed = google::protobuf::util::JsonStringToMessage(value->dump(), &plan, options);
  if (!parsed.ok())
    return Invalid("JSON", absl::StrCat("does not fit: ", parsed.message().ToString()));
  RETURN_IF_ERROR(CheckPlan(plan));
  return plan;
}

absl::Status CheckPlan(const Plan& plan) {
  if (plan.ByteSizeLong() > kMaxPlanBytes) return Invalid("size", "is above 256 KiB");
  if (plan.name().size() > 200) return Invalid("name", "has at most 200 characters");
  if (plan.strategy() != training::v1::STRATEGY_FEDAVG &&
      plan.strategy() != training::v1::STRATEGY_GRADIENT &&
      plan.strategy() != training::v1::STRATEGY_NEWTON) {
    return Invalid("strategy", "is FEDAVG, GRADIENT or NEWTON");
  }
  const bool only_evaluates = plan.rounds() == 0 && plan.has_evaluate() &&
                              !plan.model().initial().empty() && !plan.has_statistics();
  if ((plan.rounds() < 1 && !only_evaluates) || plan.rounds() > 10'000) {
    return Invalid("rounds", "is from 1 to 10000 (or 0, to evaluate a model that exists)");
  }
  if (plan.datasets_size() < 1 || plan.datasets_size() > 100) {
    return Invalid("datasets", "are 1 to 100");
  }
  std::set<std::string> datasets;
  for (const std::string& dataset : plan.datasets()) {
    if (NodeOfDataset(dataset).empty()) {
      return Invalid("datasets", "have the form nodes/NODE/datasets/NAME/versions/NUMBER");
    }
    if (!datasets.insert(dataset).second) return Invalid("datasets", "stand once");
  }
  const int nodes = static_cast<int>(NodesOf(plan).size());
  if (plan.min_contributors() < 0 || plan.min_contributors() > nodes) {
    return Invalid("minContributors", absl::StrCat("is from 0 to the number of nodes, ", nodes));
  }
  if (plan.has_round_deadline()) {
    absl::Duration deadline = RoundDeadlineOf(plan);
    if (deadline < absl::Seconds(1) || deadline > absl::Hours(24 * 7)) {
      return Invalid("roundDeadline", "is from 1 s to 7 days, written as \"3600s\"");
    }
  }
  if (!Consists(plan.trainer().name(), 64, kNameCharacters)) {
    return Invalid("trainer.name", "has 1 to 64 characters of a-z, 0-9 and '-'");
  }
  if (!IsHexDigest(plan.trainer().digest())) {
    return Invalid("trainer.digest", "is a SHA-256 in 64 hexadecimal digits");
  }
  RETURN_IF_ERROR(CheckModel(plan));
  RETURN_IF_ERROR(CheckStep(plan));
  if (plan.hyperparameters().ByteSizeLong() > (16 << 10)) {
    return Invalid("hyperparameters", "are larger than 16 KiB");
  }
  for (const auto& [name, value] : plan.hyperparameters().fields()) {
    RETURN_IF_ERROR(CheckValue(value, 1));
  }
  if (plan.metrics_size() > 32) return Invalid("metrics", "are at most 32");
  std::set<std::string> metrics;
  for (const std::string& metric : plan.metrics()) {
    if (!Consists(metric, 64, kWordCharacters) || !metrics.insert(metric).second) {
      return Invalid("metrics", "are words of letters, digits and _.-, each once");
    }
  }
  if (plan.has_statistics()) {
    if (plan.statistics().tensors().empty()) return Invalid("statistics", "name their tensors");
    RETURN_IF_ERROR(CheckTensors("statistics.tensors", plan.statistics().tensors()));
  }
  if (plan.has_evaluate()) {
    if (!(plan.evaluate().held_out() >= 0) || !(plan.evaluate().held_out() <= 0.9)) {
      return Invalid("evaluate.heldOut", "is from 0 to 0.9");
    }
    if (plan.evaluate().salt().size() > 64) {
      return Invalid("evaluate.salt", "has at most 64 characters");
    }
  }
  return CheckCases(plan);
}

std::string CanonicalPlan(const Plan& plan) {
  std::string text;
  (void)google::protobuf::util::MessageToJsonString(plan, &text);
  // nlohmann::json keeps objects sorted by key and prints without spaces.
  return nlohmann::json::parse(text, nullptr, false).dump();
}

std::string PlanDigest(const Plan& plan) { return crypto::Sha256Hex(CanonicalPlan(plan)); }

std::vector<std::string> NodesOf(const Plan& plan) {
  std::set<std::string> nodes;
  for (const std::string& dataset : plan.datasets()) nodes.insert(NodeOfDataset(dataset));
  return {nodes.begin(), nodes.end()};
}

std::vector<std::string> DatasetsOf(const Plan& plan, absl::string_view node) {
  std::vector<std::string> out;
  for (const std::string& dataset : plan.datasets()) {
    if (NodeOfDataset(dataset) == node) out.push_back(dataset);
  }
  return out;
}

Strategy StrategyOf(const Plan& plan) {
  switch (plan.strategy()) {
    case training::v1::STRATEGY_GRADIENT:
      return Strategy::kGradient;
    case training::v1::STRATEGY_NEWTON:
      return Strategy::kNewton;
    default:
      return Strategy::kFedAvg;
  }
}

StepOptions StepOptionsOf(const Plan& plan) {
  StepOptions options;
  if (plan.step().learning_rate() > 0) options.learning_rate = plan.step().learning_rate();
  options.l2 = plan.step().l2();
  options.unregularised = {plan.step().unregularised().begin(), plan.step().unregularised().end()};
  return options;
}

int QuorumOf(const Plan& plan) {
  return plan.min_contributors() > 0 ? plan.min_contributors()
                                     : static_cast<int>(NodesOf(plan).size());
}

absl::Duration RoundDeadlineOf(const Plan& plan) {
  if (!plan.has_round_deadline()) return absl::Hours(1);
  return absl::Seconds(plan.round_deadline().seconds()) +
         absl::Nanoseconds(plan.round_deadline().nanos());
}

Template StatisticsTemplate(const Plan& plan) {
  Template expected;
  for (const auto& [name, tensor] : plan.statistics().tensors()) {
    expected[name] = {tensor.shape().begin(), tensor.shape().end()};
  }
  return expected;
}

std::vector<TensorSpec> TensorsOf(
    const google::protobuf::Map<std::string, training::v1::TensorShape>& shapes) {
  std::vector<TensorSpec> out;
  for (const auto& [name, tensor] : shapes) {
    Dtype dtype = tensor.dtype() == "F32" ? Dtype::kF32 : Dtype::kF64;
    out.push_back({name, dtype, {tensor.shape().begin(), tensor.shape().end()}});
  }
  std::sort(out.begin(), out.end(),
            [](const TensorSpec& a, const TensorSpec& b) { return a.name < b.name; });
  return out;
}

}  // namespace oncomesh::federated
