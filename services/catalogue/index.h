// SPDX-License-Identifier: Apache-2.0
// The node's searchable picture of what it holds: three tables of rows (patients, their studies,
// their series) and a column for each variable. It is derived from the store and never written to
// disk; a new one replaces it as a whole when something was indexed.
//
// A patient without studies has one hollow study, and a study without series one hollow series, in
// which every variable is unknown: so the tables together are the left outer join that
// doc/formats/query.md describes.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "libs/query/binding.h"
#include "libs/terminology/registry.h"
#include "services/catalogue/bits.h"
#include "services/catalogue/column.h"

namespace oncomesh::catalogue {

// Some rows of one table.
struct Rows {
  terminology::Level level = terminology::Level::kPatient;
  Bits bits;
};

// One value of a variable by which a count is split: a code or a band; unset: unknown.
using GroupValue = std::optional<std::string>;

struct PatientGroup {
  std::vector<GroupValue> key;  // one per variable
  Bits patients;                // numbered as in the patient table; never empty of rows
};

// Immutable; any thread may read it. Row numbers of patients stay the same in every index made from
// the same store.
class Index {
 public:
  // The rows of the finest level `bound` speaks of for which it is true. `bound` has no problem and
  // every variable in it has a column.
  Rows Evaluate(const query::Bound& bound) const;

  // The patients with at least one of `rows`.
  Bits Patients(const Rows& rows) const;
  // The real series (no hollow ones) in `rows`, or below them.
  Bits Series(const Rows& rows) const;

  // For each combination of values of `columns` the patients with one of `rows` that has it; in
  // ascending order, unknown last. Bands stand for numbers.
  // Returns nothing when there would be more than `limit` combinations.
  std::optional<std::vector<PatientGroup>> Split(const Rows& rows,
                                                 const std::vector<const Column*>& columns,
                                                 size_t limit) const;

  // nullptr when no row has a value of the variable.
  const Column* Find(const terminology::Variable& variable) const;
  // The patients with a row that has a value of the variable.
  const Bits& Known(const terminology::Variable& variable) const;

  size_t patients() const { return patients_; }
  size_t studies() const { return studies_; }
  size_t series() const { return series_; }

  // What the store calls a series row. -1 for hollow rows.
  int64_t SeriesId(size_t row) const { return series_ids_[row]; }

 private:
  friend class IndexBuilder;

  size_t RowCount(terminology::Level level) const;
  Bits Expand(const Bits& rows, terminology::Level from, terminology::Level to) const;
  Bits Project(const Bits& rows, terminology::Level from, terminology::Level to) const;
  Rows Combine(const query::Bound& bound) const;
  Rows Has(const query::Bound& bound) const;

  size_t patients_ = 0, studies_ = 0, series_ = 0;  // real ones
  // exists_[level]: the rows that are real. A patient's number without a patient is a gap: it has
  // no studies and no series, not even hollow ones.
  std::array<Bits, 3> exists_;
  // first_study_[p] … first_study_[p + 1] are the studies of patient p; likewise for series.
  std::vector<uint32_t> first_study_, first_series_;
  std::vector<uint32_t> patient_of_study_, study_of_series_;
  // The same from patients to series at once, which every count needs.
  std::vector<uint32_t> first_series_of_patient_, patient_of_series_;
  std::vector<int64_t> series_ids_;
  std::map<const terminology::Variable*, Column> columns_;
  std::map<const terminology::Variable*, Bits> known_;  // of each column
  Bits nobody_;
};

// Rows come in order: a patient, then its first study, then that study's series, and so on.
class IndexBuilder {
 public:
  // `number` ascends; numbers left out are gaps.
  void AddPatient(uint32_t number);
  void AddStudy();
  void AddSeries(int64_t id);
  // Sets a value of the last row of the variable's level. False when the text is no value of it.
  bool Set(const terminology::Variable& variable, absl::string_view text);

  std::shared_ptr<const Index> Build() &&;

 private:
  void CloseStudy();
  void ClosePatient();

  std::shared_ptr<Index> index_ = std::make_shared<Index>();
  std::map<const terminology::Variable*, ColumnBuilder> columns_;
  std::vector<size_t> real_studies_, real_series_, real_patients_;
  bool in_patient_ = false, in_study_ = false;
};

}  // namespace oncomesh::catalogue
