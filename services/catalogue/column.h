// SPDX-License-Identifier: Apache-2.0
// The values of one variable for all rows of its level, as codes into a sorted dictionary.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "libs/query/binding.h"
#include "libs/terminology/registry.h"
#include "services/catalogue/bits.h"

namespace oncomesh::catalogue {

class Column {
 public:
  const terminology::Variable& variable() const { return *variable_; }

  // Rows whose value is known.
  size_t known() const { return known_; }
  // Distinct values. Value `v` (1 ≤ v ≤ values()) is Name(v) or Number(v); 0 means unknown. Values
  // ascend.
  size_t values() const { return variable_->numeric() ? numbers_.size() : names_.size(); }
  const std::string& Name(uint32_t value) const { return names_[value - 1]; }
  double Number(uint32_t value) const { return numbers_[value - 1]; }
  uint32_t ValueOf(size_t row) const { return codes_[row]; }

  // The rows whose value is known.
  Bits Known() const;
  // The rows for which `condition` (of this variable) is true. A row whose value is unknown is
  // never among them, negated or not.
  Bits Select(const query::Bound& condition) const;

 private:
  friend class ColumnBuilder;

  // The rows of one value: a bit for each row, or a list when they are few.
  struct Posting {
    Bits dense;
    std::vector<uint32_t> list;
  };

  std::vector<char> Accepted(const query::Bound& condition) const;

  const terminology::Variable* variable_ = nullptr;
  size_t known_ = 0;
  std::vector<std::string> names_;
  std::vector<double> numbers_;
  std::vector<uint32_t> codes_;    // per row
  std::vector<uint32_t> counts_;   // per value, from 1
  std::vector<Posting> postings_;  // per value, from 1
};

class ColumnBuilder {
 public:
  explicit ColumnBuilder(const terminology::Variable& variable) : variable_(variable) {}

  // Sets the value of `row`; rows ascend, rows left out are unknown. A text that is no value of the
  // variable leaves the row unknown and returns false.
  bool Set(size_t row, absl::string_view text);

  Column Build(size_t rows) &&;

 private:
  static constexpr uint32_t kInvalid = ~uint32_t{0};

  const terminology::Variable& variable_;
  absl::flat_hash_map<std::string, uint32_t> by_text_;  // as given → preliminary code
  absl::flat_hash_map<std::string, uint32_t> by_name_;  // normalised → preliminary code
  std::vector<std::string> names_;
  std::vector<double> numbers_;
  std::vector<uint32_t> codes_;
};

}  // namespace oncomesh::catalogue
