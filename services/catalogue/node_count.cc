// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/node_count.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/query/text.h"

namespace oncomesh::catalogue {
namespace {

using query::Bound;
using query::Problem;
using terminology::Variable;

void AddReason(absl::string_view reason, absl::string_view part, absl::string_view message,
               v1::NodeCount& out) {
  v1::Reason* added = out.add_reasons();
  added->set_reason(std::string(reason));
  added->set_part(std::string(part));
  added->set_message(std::string(message));
}

// The values of a variable that everybody knows to exist, in order, unknown last; nothing for an
// open list of codes.
std::vector<GroupValue> KnownValues(const Variable& variable) {
  std::vector<GroupValue> out;
  if (variable.numeric()) {
    for (size_t i = 0; i < variable.bands.size(); ++i) {
      out.push_back(variable.BandLabel(static_cast<int>(i)));
    }
  } else if (variable.closed) {
    for (const terminology::Value& value : variable.values) out.push_back(value.code);
    std::sort(out.begin(), out.end());
  } else {
    return {};
  }
  out.push_back(std::nullopt);
  return out;
}

}  // namespace

Answerable Prune(Bound& bound, absl::FunctionRef<bool(const Variable&)> held,
                 std::vector<Problem>& problems) {
  switch (bound.kind) {
    case Bound::Kind::kProblem:
      return Answerable::kNot;
    case Bound::Kind::kCondition: {
      const Variable& variable = *bound.variable;
      if (held(variable)) return Answerable::kWhole;
      bool named = std::any_of(problems.begin(), problems.end(), [&](const Problem& problem) {
        return problem.reason == "VARIABLE_NOT_HELD" && problem.part == variable.name;
      });
      if (!named) {
        problems.push_back({"VARIABLE_NOT_HELD", variable.name,
                            absl::StrCat("this node holds no value of '", variable.name,
                                         "', or of too few patients to say so")});
      }
      return Answerable::kNot;
    }
    case Bound::Kind::kHas:
      return Prune(bound.parts[0], held, problems);
    case Bound::Kind::kAnd: {
      Answerable out = Answerable::kWhole;
      // Every part is visited, so that every problem is named.
      for (Bound& part : bound.parts) out = std::max(out, Prune(part, held, problems));
      return out;
    }
    case Bound::Kind::kOr: {
      std::vector<Bound> kept;
      bool whole = true;
      for (Bound& part : bound.parts) {
        Answerable answerable = Prune(part, held, problems);
        whole = whole && answerable == Answerable::kWhole;
        if (answerable != Answerable::kNot) kept.push_back(std::move(part));
      }
      if (kept.empty() && !bound.parts.empty()) return Answerable::kNot;
      bound.parts = std::move(kept);
      return whole ? Answerable::kWhole : Answerable::kPartly;
    }
  }
  return Answerable::kNot;
}

absl::StatusOr<std::shared_ptr<const Index>> NodeCount::Permitted(absl::string_view permit) {
  if (permit.empty()) {
    return absl::PermissionDeniedError("this node counts only for holders of a permit");
  }
  ASSIGN_OR_RETURN(std::vector<std::string> names, deps_.permits.Datasets(permit));
  ASSIGN_OR_RETURN(std::shared_ptr<const Index> index, deps_.datasets.Of(names));
  if (index == nullptr) {
    return absl::PermissionDeniedError(
        "this node counts only within datasets that a permit names, and this permit names none of "
        "this node");
  }
  return index;
}

absl::StatusOr<v1::NodeCount> NodeCount::Count(const v1::CountAtNodeRequest& request,
                                               absl::string_view permit) {
  RETURN_IF_ERROR(query::CheckShape(request.where()));
  v1::NodeCount out;
  out.set_node(deps_.node);
  absl::StatusOr<CountPolicy> policy = deps_.policy.Get();
  if (!policy.ok()) {
    out.set_state(v1::NodeCount::STATE_REFUSED);
    AddReason("POLICY_REFUSES", "", "the node's policy cannot be read, so nothing is told", out);
    return out;
  }
  out.set_min_cell(policy->rules.min_cell);
  out.set_rounding(policy->rules.rounding);
  std::shared_ptr<const Index> index = deps_.index.Get();
  if (!policy->open_counts) {
    absl::StatusOr<std::shared_ptr<const Index>> permitted = Permitted(permit);
    if (!permitted.ok()) {
      out.set_state(v1::NodeCount::STATE_REFUSED);
      AddReason("POLICY_REFUSES", "", permitted.status().message(), out);
      return out;
    }
    index = *std::move(permitted);
  }
  query::Binding binding = query::Bind(request.where(), deps_.registry);
  Answerable answerable = Prune(
      binding.root,
      [&](const Variable& variable) { return Holds(*index, variable, policy->rules); },
      binding.problems);
  for (const Problem& problem : binding.problems) {
    AddReason(problem.reason, problem.part, problem.message, out);
  }
  if (answerable == Answerable::kNot) {
    out.set_state(v1::NodeCount::STATE_REFUSED);
    return out;
  }
  out.set_state(answerable == Answerable::kWhole ? v1::NodeCount::STATE_ANSWERED
                                                 : v1::NodeCount::STATE_PARTLY);
  Rows rows = index->Evaluate(binding.root);
  std::optional<int64_t> told = deps_.memory.Answer(index->Patients(rows), policy->rules);
  if (told.has_value()) {
    out.set_value(*told);
  } else {
    AddReason("COUNT_HIDDEN", "",
              absl::StrCat("at most ", policy->rules.most_hidden(),
                           " patients, perhaps none: not told by the node's policy"),
              out);
  }
  if (!request.by().empty()) AddGroups(request, *index, rows, policy->rules, out);
  return out;
}

void NodeCount::AddGroups(const v1::CountAtNodeRequest& request, const Index& index,
                          const Rows& rows, const DisclosureRules& rules, v1::NodeCount& out) {
  auto refuse = [&](absl::string_view reason, absl::string_view part, absl::string_view message) {
    out.set_state(v1::NodeCount::STATE_PARTLY);
    AddReason(reason, part, message, out);
  };
  if (request.by_size() > kMaxBy) {
    return refuse("GROUP_INVALID", "", absl::StrCat("at most ", kMaxBy, " variables"));
  }
  std::vector<const Column*> columns;
  // Per variable every value that is listed, known or found, and whether all are known.
  std::vector<std::vector<GroupValue>> listed;
  bool all_known = true;
  for (const std::string& name : request.by()) {
    const Variable* variable = deps_.registry.Find(name);
    if (variable == nullptr) return refuse("VARIABLE_UNKNOWN", name, "no such variable");
    if (variable->numeric() && variable->bands.empty()) {
      return refuse("GROUP_INVALID", name, "this variable has no bands to split by");
    }
    const Column* column = index.Find(*variable);
    if (column == nullptr || !Holds(index, *variable, rules)) {
      return refuse("VARIABLE_NOT_HELD", name,
                    "this node holds no value of this variable, or of too few patients to say so");
    }
    if (std::find(columns.begin(), columns.end(), column) != columns.end()) {
      return refuse("GROUP_INVALID", name, "this variable stands twice");
    }
    columns.push_back(column);
    listed.push_back(KnownValues(*variable));
    all_known = all_known && !listed.back().empty();
  }
  std::optional<std::vector<PatientGroup>> groups = index.Split(rows, columns, kMaxGroups);
  size_t combinations = 1;
  for (const auto& values : listed) combinations *= std::max<size_t>(values.size(), 1);
  if (!groups.has_value() || combinations > kMaxGroups) {
    return refuse(
        "GROUPS_TOO_MANY", "",
        absl::StrCat("more than ", kMaxGroups, " combinations; split by fewer variables"));
  }
  // Cells are placed by the values' ranks, which only have to differ.
  std::vector<std::map<GroupValue, size_t>> ranks(columns.size());
  std::vector<Cell> cells;
  std::map<std::vector<GroupValue>, size_t> by_key;
  for (const PatientGroup& group : *groups) {
    Cell cell;
    for (size_t i = 0; i < group.key.size(); ++i) {
      cell.place.push_back(ranks[i].emplace(group.key[i], ranks[i].size()).first->second);
    }
    cell.patients = static_cast<int64_t>(group.patients.Count());
    by_key[group.key] = cells.size();
    cells.push_back(std::move(cell));
  }
  Suppress(cells, rules);
  auto add = [&](const std::vector<GroupValue>& key, std::optional<int64_t> value) {
    v1::Group* group = out.add_groups();
    for (size_t i = 0; i < key.size(); ++i) {
      v1::GroupKey* part = group->add_key();
      part->set_variable(columns[i]->variable().name);
      if (key[i].has_value()) part->set_value(*key[i]);
    }
    if (value.has_value()) group->set_value(*value);
  };
  auto told = [&](size_t cell) -> std::optional<int64_t> {
    if (!cells[cell].shown) return std::nullopt;
    return deps_.memory.Tell((*groups)[cell].patients, rules, AnswerMemory::Asked::kGroup).number;
  };
  if (!all_known) {
    // To list a hidden value of an open list would say that somebody has it.
    for (size_t cell = 0; cell < cells.size(); ++cell) {
      if (std::optional<int64_t> value = told(cell)) add((*groups)[cell].key, value);
    }
    return;
  }
  std::vector<GroupValue> key(columns.size());
  for (size_t n = 0; n < combinations; ++n) {
    size_t rest = n;
    for (size_t i = columns.size(); i-- > 0;) {
      key[i] = listed[i][rest % listed[i].size()];
      rest /= listed[i].size();
    }
    auto found = by_key.find(key);
    add(key, found == by_key.end() ? std::nullopt : told(found->second));
  }
}

}  // namespace oncomesh::catalogue
