// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/rule_table.h"

#include <algorithm>
#include <iterator>
#include <tuple>

namespace oncomesh::deidentification {
namespace {

using dicom::Code;

#include "private.inc"
#include "rules.inc"

auto Key(const PrivateRow& row) { return std::make_tuple(row.creator, row.group, row.low); }

}  // namespace

Rows<RuleRow> RuleRows() { return {std::begin(kRuleRows), std::end(kRuleRows)}; }

Rows<PrivateRow> PrivateRows() { return {std::begin(kPrivateRows), std::end(kPrivateRows)}; }

const PrivateRow* FindPrivateRow(absl::string_view creator, uint16_t group, uint8_t low) {
  auto wanted = std::make_tuple(creator, group, low);
  const PrivateRow* found =
      std::lower_bound(std::begin(kPrivateRows), std::end(kPrivateRows), wanted,
                       [](const PrivateRow& row, const auto& key) { return Key(row) < key; });
  return found != std::end(kPrivateRows) && Key(*found) == wanted ? found : nullptr;
}

absl::string_view RuleTableEdition() { return kRuleTableEdition; }
absl::string_view RuleTableSha256() { return kRuleTableSha256; }
absl::string_view SafePrivateSha256() { return kSafePrivateSha256; }

}  // namespace oncomesh::deidentification
