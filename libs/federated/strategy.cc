// SPDX-License-Identifier: Apache-2.0
#include "libs/federated/strategy.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"

namespace oncomesh::federated {
namespace {

absl::Status AppendFinite(TensorWriter& out, const TensorInfo& tensor,
                          absl::Span<const double> values) {
  for (double value : values) {
    // In the type of the tensor: a float64 beyond the range of float32 would become infinite.
    bool finite = tensor.dtype == Dtype::kF64 ? std::isfinite(value)
                                              : std::isfinite(static_cast<float>(value));
    if (!finite) {
      return base::Error(absl::StatusCode::kFailedPrecondition, "MODEL_NOT_FINITE",
                         "the next model would hold a NaN or an infinity; lower the learning rate",
                         {{"tensor", tensor.name}});
    }
  }
  return out.Append(tensor, values);
}

absl::StatusOr<std::vector<double>> ReadBlock(const TensorFile& model, const std::string& name,
                                              uint64_t first, size_t n) {
  const TensorInfo& tensor = *model.Find(name);
  std::vector<double> block(n);
  if (tensor.dtype == Dtype::kF64) {
    RETURN_IF_ERROR(model.Read(tensor, first, absl::MakeSpan(block)));
  } else {
    std::vector<float> narrow(n);
    RETURN_IF_ERROR(model.Read(tensor, first, absl::MakeSpan(narrow)));
    std::copy(narrow.begin(), narrow.end(), block.begin());
  }
  return block;
}

absl::Status Average(StreamingSum& sum, TensorWriter& out) {
  const auto total = static_cast<double>(sum.total_weight());
  std::vector<double> block;
  for (const TensorInfo& tensor : out.Order()) {
    RETURN_IF_ERROR(sum.ForEachBlock(tensor.name, [&](uint64_t, const FixedPointSum& part) {
      block = part.Values();
      for (double& value : block) value /= total;
      return AppendFinite(out, tensor, block);
    }));
  }
  return absl::OkStatus();
}

absl::Status Descend(const StepOptions& options, const TensorFile& model, int64_t examples,
                     StreamingSum& sum, TensorWriter& out) {
  const auto n = static_cast<double>(examples);
  for (const TensorInfo& tensor : out.Order()) {
    const double lambda = options.unregularised.count(tensor.name) != 0 ? 0.0 : options.l2;
    RETURN_IF_ERROR(sum.ForEachBlock(
        tensor.name, [&](uint64_t first, const FixedPointSum& part) -> absl::Status {
          std::vector<double> gradient = part.Values();
          ASSIGN_OR_RETURN(std::vector<double> w,
                           ReadBlock(model, tensor.name, first, gradient.size()));
          for (size_t i = 0; i < w.size(); ++i) {
            w[i] -= options.learning_rate * (gradient[i] / n + lambda * w[i]);
          }
          return AppendFinite(out, tensor, w);
        }));
  }
  return absl::OkStatus();
}

absl::Status Newton(const StepOptions& options, const TensorFile& model, int64_t examples,
                    StreamingSum& sum, TensorWriter& out) {
  const auto n = static_cast<double>(examples);
  ASSIGN_OR_RETURN(std::vector<double> hessian, sum.Whole(kHessian));
  for (double& value : hessian) value /= n;
  std::vector<double> weights, right;
  std::map<std::string, size_t> begins;
  for (const auto& [name, tensor] : model.header().tensors) {
    begins[name] = weights.size();
    ASSIGN_OR_RETURN(std::vector<double> w, model.ReadAll(tensor));
    ASSIGN_OR_RETURN(std::vector<double> gradient, sum.Whole(name));
    const double lambda = options.unregularised.count(name) != 0 ? 0.0 : options.l2;
    for (size_t i = 0; i < w.size(); ++i) right.push_back(gradient[i] / n + lambda * w[i]);
    weights.insert(weights.end(), w.begin(), w.end());
  }
  const size_t size = weights.size();
  if (hessian.size() != size * size) {
    return base::Error(absl::StatusCode::kInvalidArgument, "UPDATE_SHAPE",
                       "the Hessian does not fit the model");
  }
  for (const auto& [name, begin] : begins) {
    const double lambda = options.unregularised.count(name) != 0 ? 0.0 : options.l2;
    for (size_t i = 0; i < model.Find(name)->elements; ++i) {
      hessian[(begin + i) * size + begin + i] += lambda;
    }
  }
  RETURN_IF_ERROR(SolveSymmetric(std::move(hessian), right));
  for (size_t i = 0; i < size; ++i) weights[i] -= options.learning_rate * right[i];
  for (const TensorInfo& tensor : out.Order()) {
    RETURN_IF_ERROR(AppendFinite(
        out, tensor,
        absl::MakeConstSpan(weights).subspan(begins.at(tensor.name), tensor.elements)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Template> UpdateTemplate(Strategy strategy, const Header& model) {
  Template expected;
  uint64_t elements = 0;
  for (const auto& [name, tensor] : model.tensors) {
    expected[name] = tensor.shape;
    elements += tensor.elements;
  }
  if (strategy != Strategy::kNewton) return expected;
  if (elements > kMaxNewtonElements) {
    return base::Error(absl::StatusCode::kInvalidArgument, "MODEL_TOO_LARGE",
                       absl::StrCat("NEWTON solves for at most ", kMaxNewtonElements,
                                    " parameters; use GRADIENT or FEDAVG"));
  }
  auto side = static_cast<int64_t>(elements);
  if (!expected.emplace(kHessian, std::vector<int64_t>{side, side}).second) {
    return base::Error(absl::StatusCode::kInvalidArgument, "PLAN_INVALID",
                       "with NEWTON no model tensor can be called 'hessian'");
  }
  return expected;
}

absl::Status Step(Strategy strategy, const StepOptions& options, const TensorFile& model,
                  int64_t examples, StreamingSum& sum, TensorWriter& out) {
  switch (strategy) {
    case Strategy::kFedAvg:
      return Average(sum, out);
    case Strategy::kGradient:
      return Descend(options, model, examples, sum, out);
    case Strategy::kNewton:
      return Newton(options, model, examples, sum, out);
  }
  return absl::OkStatus();
}

absl::Status SolveSymmetric(std::vector<double> a, std::vector<double>& b) {
  const size_t n = b.size();
  // A = L Lᵀ, row by row; Golub and Van Loan, Matrix Computations, §4.2.
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      double rest = a[i * n + j];
      for (size_t k = 0; k < j; ++k) rest -= a[i * n + k] * a[j * n + k];
      if (i != j) {
        a[i * n + j] = rest / a[j * n + j];
        continue;
      }
      if (!(rest > 0) || !std::isfinite(rest)) {
        return base::Error(absl::StatusCode::kInvalidArgument, "HESSIAN_NOT_POSITIVE",
                           "the summed Hessian is not positive definite; set step.l2 above 0 or "
                           "drop features that depend on each other");
      }
      a[i * n + i] = std::sqrt(rest);
    }
  }
  for (size_t i = 0; i < n; ++i) {
    for (size_t k = 0; k < i; ++k) b[i] -= a[i * n + k] * b[k];
    b[i] /= a[i * n + i];
  }
  for (size_t i = n; i-- > 0;) {
    for (size_t k = i + 1; k < n; ++k) b[i] -= a[k * n + i] * b[k];
    b[i] /= a[i * n + i];
  }
  return absl::OkStatus();
}

}  // namespace oncomesh::federated
