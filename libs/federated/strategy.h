// SPDX-License-Identifier: Apache-2.0
// How the sum of a round's updates becomes the next model. All arithmetic is float64 in a fixed
// order: the same model and the same updates give the same bytes.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libs/federated/streaming_sum.h"

namespace oncomesh::federated {

enum class Strategy {
  // Updates are models; the next one is their mean, weighted by the number of examples:
  // x⁺ = Σ n_k x_k / Σ n_k (McMahan et al. 2017, algorithm 1).
  kFedAvg,
  // Updates are gradients summed over the examples, g_k = Σ_i ∇ℓ_i(w). One full-batch step:
  // w⁺ = w − η (Σ g_k / Σ n_k + λ w).
  kGradient,
  // Updates are summed gradients and the summed Hessian in the tensor "hessian", (D, D) over all
  // model elements, tensors by name, row-major each. One Newton step:
  // w⁺ = w − η δ with (Σ H_k / n + Λ) δ = Σ g_k / n + Λ w, Λ = λ on regularised elements.
  kNewton,
};

inline constexpr char kHessian[] = "hessian";
// The most model elements of kNewton: the Hessian is solved in memory (8·D² bytes, D³/3 steps).
inline constexpr uint64_t kMaxNewtonElements = 4096;

struct StepOptions {
  double learning_rate = 1.0;           // η; not used by kFedAvg
  double l2 = 0.0;                      // λ of the mean objective (1/n) Σ ℓ_i + λ/2 ‖w‖²
  std::set<std::string> unregularised;  // tensors without λ, e.g. the intercept
};

// The tensors an update must have for this strategy and model.
// Errors: INVALID_ARGUMENT (MODEL_TOO_LARGE) for kNewton, PLAN_INVALID for a model tensor
// "hessian".
absl::StatusOr<Template> UpdateTemplate(Strategy strategy, const Header& model);

// Writes the next model, with the tensors and types of `model`, to `out`. For kFedAvg the summands'
// weights are the numbers of examples; for the others the weights are 1 and `examples` is Σ n_k.
// Errors: INVALID_ARGUMENT (HESSIAN_NOT_POSITIVE) when the system cannot be solved;
// FAILED_PRECONDITION (MODEL_NOT_FINITE) when the next model has a NaN or an infinity; those of
// reading and writing.
absl::Status Step(Strategy strategy, const StepOptions& options, const TensorFile& model,
                  int64_t examples, StreamingSum& sum, TensorWriter& out);

// Solves A x = b for symmetric positive definite A (n×n, row-major; the lower triangle is read) by
// Cholesky decomposition, in place of `b`. Errors: INVALID_ARGUMENT (HESSIAN_NOT_POSITIVE).
absl::Status SolveSymmetric(std::vector<double> a, std::vector<double>& b);

}  // namespace oncomesh::federated
