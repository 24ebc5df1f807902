// SPDX-License-Identifier: Apache-2.0
// Answers count questions at a node. It never answers a different question from the one asked: a
// part that cannot be answered is named; where the rest still gives a lower bound, that is told as
// such, else nothing is.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "libs/query/binding.h"
#include "libs/terminology/registry.h"
#include "oncomesh/catalogue/v1/catalogue.pb.h"
#include "oncomesh/catalogue/v1/node_catalogue.pb.h"
#include "services/catalogue/count_permits.h"
#include "services/catalogue/current_index.h"
#include "services/catalogue/dataset_index.h"
#include "services/catalogue/disclosure.h"
#include "services/catalogue/policy_source.h"

namespace oncomesh::catalogue {

// How much of an expression a node can evaluate.
enum class Answerable { kWhole, kPartly, kNot };

// Takes the parts out of `bound` that cannot be evaluated, adding to `problems` the variables that
// are not `held`. Only alternatives of an `or` can go: what is left is true for no row for which
// the whole is not. kNot leaves `bound` unusable.
Answerable Prune(query::Bound& bound, absl::FunctionRef<bool(const terminology::Variable&)> held,
                 std::vector<query::Problem>& problems);

// Any thread.
class NodeCount {
 public:
  // Splits into more combinations than this are refused.
  static constexpr size_t kMaxGroups = 1000;
  static constexpr int kMaxBy = 3;

  struct Deps {
    std::string node;  // id
    const terminology::Registry& registry;
    CurrentIndex& index;
    PolicySource& policy;
    AnswerMemory& memory;
    CountPermits& permits;
    DatasetIndex& datasets;
  };
  explicit NodeCount(Deps deps) : deps_(std::move(deps)) {}

  // `permit`: came with the call, or empty. A node whose counts are open ignores it; one whose
  // counts are closed counts within the datasets of its own that the permit names, and nowhere
  // else.
  // Errors: INVALID_ARGUMENT (EXPRESSION_INVALID) for an expression outside the bounds. Everything
  // else is an outcome.
  absl::StatusOr<v1::NodeCount> Count(const v1::CountAtNodeRequest& request,
                                      absl::string_view permit);

 private:
  // The index that a permit opens, or what is to be said instead.
  absl::StatusOr<std::shared_ptr<const Index>> Permitted(absl::string_view permit);
  // Whether a person may be told that the node holds values of a variable: when the number of the
  // patients who have one is a number that would be told. One patient more or less, the first one
  // included, does not show.
  bool Holds(const Index& index, const terminology::Variable& variable,
             const DisclosureRules& rules) {
    return held_.Answer(index.Known(variable), rules).has_value();
  }
  void AddGroups(const v1::CountAtNodeRequest& request, const Index& index, const Rows& rows,
                 const DisclosureRules& rules, v1::NodeCount& out);

  Deps deps_;
  // Apart from the answers to questions, which these populations would change.
  AnswerMemory held_;
};

}  // namespace oncomesh::catalogue
