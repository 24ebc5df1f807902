// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/federated_count.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/log.h"
#include "libs/base/parallel.h"
#include "libs/base/status_macros.h"
#include "libs/query/binding.h"
#include "libs/query/text.h"

namespace oncomesh::catalogue {
namespace {

constexpr size_t kMaxReasons = 300;
constexpr size_t kMaxGroups = 1000;  // doc/formats/query.md
// Of all nodes together. With the expression, twice and at most half a MiB, an answer then fits a
// message (4 MiB), however many nodes there are.
constexpr size_t kMaxGroupBytes = 2 << 20;
constexpr size_t kMaxReasonBytes = 1 << 20;

absl::Status Invalid(absl::string_view reason, absl::string_view message,
                     absl::string_view subject) {
  // What is longer than a name says nothing to whoever sent it.
  if (subject.size() > terminology::Registry::kMaxNameBytes) subject = "";
  return base::Error(absl::StatusCode::kInvalidArgument, reason, message,
                     {{"subject", std::string(subject)}});
}

v1::NodeCount Outcome(const std::string& node, v1::NodeCount::State state, absl::string_view reason,
                      absl::string_view message) {
  v1::NodeCount out;
  out.set_node(node);
  out.set_state(state);
  v1::Reason* added = out.add_reasons();
  added->set_reason(std::string(reason));
  added->set_message(std::string(message));
  return out;
}

// What a node says is not believed beyond its shape: it speaks for itself, gives no negative
// numbers, and a number only with an outcome that has one.
bool IsSound(const v1::NodeCount& count) {
  bool answered = count.state() == v1::NodeCount::STATE_ANSWERED ||
                  count.state() == v1::NodeCount::STATE_PARTLY;
  bool refused = count.state() == v1::NodeCount::STATE_REFUSED;
  if (!answered && !(refused && !count.has_value() && count.groups().empty())) return false;
  constexpr int64_t kMost = int64_t{1} << 40;
  auto good = [&](bool has, int64_t value) { return !has || (value >= 0 && value <= kMost); };
  return good(count.has_value(), count.value()) &&
         static_cast<size_t>(count.reasons_size()) <= kMaxReasons &&
         static_cast<size_t>(count.groups_size()) <= kMaxGroups &&
         std::all_of(count.groups().begin(), count.groups().end(), [&](const v1::Group& group) {
           return good(group.has_value(), group.value());
         });
}

template <typename Parts>
size_t Bytes(const Parts& parts) {
  size_t bytes = 0;
  for (const auto& part : parts) bytes += part.ByteSizeLong() + 4;  // tag and length
  return bytes;
}

// Nodes that say more than their share are cut when all together say more than fits.
void FitOneMessage(v1::CountResponse& out) {
  size_t groups = 0, reasons = 0;
  for (const v1::NodeCount& node : out.nodes()) {
    groups += Bytes(node.groups());
    reasons += Bytes(node.reasons());
  }
  const size_t nodes = std::max<size_t>(out.nodes().size(), 1);
  for (v1::NodeCount& node : *out.mutable_nodes()) {
    while (reasons > kMaxReasonBytes && Bytes(node.reasons()) > kMaxReasonBytes / nodes) {
      node.mutable_reasons()->RemoveLast();
    }
    if (groups <= kMaxGroupBytes || Bytes(node.groups()) <= kMaxGroupBytes / nodes) continue;
    node.clear_groups();
    node.set_state(v1::NodeCount::STATE_PARTLY);
    v1::Reason* added = node.add_reasons();
    added->set_reason("GROUPS_TOO_MANY");
    added->set_message(absl::StrCat("too many combinations for an answer of ", nodes,
                                    " nodes; ask fewer nodes at a time, or split by fewer "
                                    "variables"));
  }
}

}  // namespace

void SumUp(v1::CountResponse& out) {
  out.clear_total();
  out.set_masked(false);
  for (const v1::NodeCount& node : out.nodes()) {
    if (node.has_value()) out.set_total(out.total() + node.value());
    if (!node.has_value() || node.state() != v1::NodeCount::STATE_ANSWERED) out.set_masked(true);
  }
}

v1::NodeCount FederatedCount::Ask(const MeshNode& node, const v1::CountAtNodeRequest& question,
                                  const std::string& permit, absl::Time deadline) {
  if (!node.connected) {
    return Outcome(node.name, v1::NodeCount::STATE_UNREACHABLE, "NODE_UNREACHABLE",
                   "the node is not connected");
  }
  absl::StatusOr<v1::NodeCount> answer = deps_.counter.Count(node.name, question, permit, deadline);
  if (answer.ok()) {
    answer->set_node(node.name);  // whoever it says it is
    if (IsSound(*answer)) return *std::move(answer);
    base::Log(base::Level::kWarning, "count.unsound", {{"node", node.name}});
    return Outcome(node.name, v1::NodeCount::STATE_UNREACHABLE, "NODE_FAILED",
                   "the node's answer is not one that can be");
  }
  const absl::Status& status = answer.status();
  if (absl::IsDeadlineExceeded(status)) {
    return Outcome(node.name, v1::NodeCount::STATE_UNREACHABLE, "NODE_TIMEOUT",
                   "the node did not answer in time");
  }
  if (absl::IsUnavailable(status)) {
    return Outcome(node.name, v1::NodeCount::STATE_UNREACHABLE, "NODE_UNREACHABLE",
                   "the node cannot be reached");
  }
  base::LogError("count.node_failed", status, {{"node", node.name}});
  if (absl::IsPermissionDenied(status) || absl::IsUnauthenticated(status) ||
      absl::IsInvalidArgument(status)) {
    return Outcome(node.name, v1::NodeCount::STATE_REFUSED, base::ReasonOf(status),
                   status.message());
  }
  return Outcome(node.name, v1::NodeCount::STATE_UNREACHABLE, "NODE_FAILED", "the node failed");
}

size_t FederatedCount::Reserve(size_t nodes) {
  size_t taken = threads_, given = 0;
  do {
    given = std::min(nodes - std::min<size_t>(nodes, 1), deps_.max_threads - taken);
  } while (!threads_.compare_exchange_weak(taken, taken + given));
  return given;
}

absl::StatusOr<v1::CountResponse> FederatedCount::Count(const v1::CountRequest& request,
                                                        const std::string& permit,
                                                        absl::Time deadline) {
  query::v1::Expression expression = request.expression();
  if (request.query_case() == v1::CountRequest::kText) {
    ASSIGN_OR_RETURN(expression, query::ParseText(request.text()));
  }
  RETURN_IF_ERROR(query::CheckShape(expression));
  RETURN_IF_ERROR(query::FirstProblem(query::Bind(expression, deps_.registry)));
  std::set<std::string> by;
  for (const std::string& name : request.by()) {
    const terminology::Variable* variable = deps_.registry.Find(name);
    if (variable == nullptr) {
      std::string nearest = deps_.registry.Nearest(name);
      return Invalid(
          "VARIABLE_UNKNOWN",
          absl::StrCat("there is no variable of this name",
                       nearest.empty() ? "" : absl::StrCat("; did you mean '", nearest, "'?")),
          name);
    }
    if (variable->numeric() && variable->bands.empty()) {
      return Invalid("GROUP_INVALID", "this variable has no bands to split by", name);
    }
    if (!by.insert(name).second || by.size() > 3) {
      return Invalid("GROUP_INVALID", "split by at most three variables, each once", name);
    }
  }
  ASSIGN_OR_RETURN(std::vector<MeshNode> nodes, deps_.nodes.Nodes());
  if (!request.nodes().empty()) {
    std::vector<MeshNode> chosen;
    std::set<std::string> wanted(request.nodes().begin(), request.nodes().end());
    for (const std::string& name : wanted) {
      auto found = std::find_if(nodes.begin(), nodes.end(),
                                [&](const MeshNode& node) { return node.name == name; });
      if (found == nodes.end()) {
        return Invalid("NODE_UNKNOWN", "no node of this name is a member of the mesh", name);
      }
      chosen.push_back(*found);
    }
    nodes = std::move(chosen);
  }
  v1::CountResponse out;
  *out.mutable_expression() = query::Canonical(expression, deps_.registry);
  out.set_text(query::PrintText(out.expression()));
  *out.mutable_by() = request.by();

  v1::CountAtNodeRequest question;
  *question.mutable_where() = out.expression();
  *question.mutable_by() = request.by();
  absl::Duration left = std::max(deadline - deps_.clock.Now(), absl::ZeroDuration());
  absl::Time node_deadline = deadline - std::min(left / 10, absl::Seconds(1));
  std::vector<v1::NodeCount> answers(nodes.size());
  const size_t others = Reserve(std::min(nodes.size(), kMaxParallel));
  base::ForEachInParallel(nodes.size(), others + 1, [&](size_t i) {
    answers[i] = Ask(nodes[i], question, permit, node_deadline);
  });
  threads_ -= others;
  for (v1::NodeCount& answer : answers) *out.add_nodes() = std::move(answer);
  FitOneMessage(out);
  SumUp(out);
  return out;
}

}  // namespace oncomesh::catalogue
