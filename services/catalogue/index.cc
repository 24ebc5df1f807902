// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/index.h"

#include <algorithm>
#include <utility>

namespace oncomesh::catalogue {

using query::Bound;
using terminology::Level;
using terminology::Variable;

void IndexBuilder::AddPatient(uint32_t number) {
  ClosePatient();
  // first_study_ gets an entry per number; a gap begins and ends where the next patient begins.
  auto begin = static_cast<uint32_t>(index_->patient_of_study_.size());
  index_->first_study_.resize(number + 1, begin);
  real_patients_.push_back(number);
  in_patient_ = true;
}

void IndexBuilder::AddStudy() {
  CloseStudy();
  index_->first_series_.push_back(static_cast<uint32_t>(index_->study_of_series_.size()));
  index_->patient_of_study_.push_back(static_cast<uint32_t>(index_->first_study_.size() - 1));
  real_studies_.push_back(index_->patient_of_study_.size() - 1);
  in_study_ = true;
}

void IndexBuilder::AddSeries(int64_t id) {
  index_->study_of_series_.push_back(static_cast<uint32_t>(index_->patient_of_study_.size() - 1));
  index_->series_ids_.push_back(id);
  real_series_.push_back(index_->study_of_series_.size() - 1);
}

void IndexBuilder::CloseStudy() {
  if (!in_study_) return;
  in_study_ = false;
  if (index_->first_series_.back() == index_->study_of_series_.size()) {
    AddSeries(-1);
    real_series_.pop_back();
  }
}

void IndexBuilder::ClosePatient() {
  CloseStudy();
  if (!in_patient_) return;
  in_patient_ = false;
  if (index_->first_study_.back() == index_->patient_of_study_.size()) {
    AddStudy();
    real_studies_.pop_back();
    CloseStudy();
  }
}

bool IndexBuilder::Set(const Variable& variable, absl::string_view text) {
  size_t row = 0;
  switch (variable.level) {
    case Level::kPatient:
      row = index_->first_study_.size();
      break;
    case Level::kStudy:
      row = index_->patient_of_study_.size();
      break;
    case Level::kSeries:
      row = index_->study_of_series_.size();
      break;
  }
  return columns_.try_emplace(&variable, variable).first->second.Set(row - 1, text);
}

std::shared_ptr<const Index> IndexBuilder::Build() && {
  ClosePatient();
  Index& index = *index_;
  size_t patients = index.first_study_.size();
  size_t studies = index.patient_of_study_.size();
  size_t series = index.study_of_series_.size();
  index.first_study_.push_back(static_cast<uint32_t>(studies));
  index.first_series_.push_back(static_cast<uint32_t>(series));
  for (uint32_t study : index.first_study_) {
    index.first_series_of_patient_.push_back(index.first_series_[study]);
  }
  for (uint32_t study : index.study_of_series_) {
    index.patient_of_series_.push_back(index.patient_of_study_[study]);
  }
  index.exists_ = {Bits(patients), Bits(studies), Bits(series)};
  for (size_t row : real_patients_) index.exists_[0].Set(row);
  for (size_t row : real_studies_) index.exists_[1].Set(row);
  for (size_t row : real_series_) index.exists_[2].Set(row);
  index.patients_ = real_patients_.size();
  index.studies_ = real_studies_.size();
  index.series_ = real_series_.size();
  for (auto& [variable, builder] : columns_) {
    Column column = std::move(builder).Build(index.RowCount(variable->level));
    if (column.known() == 0) continue;
    index.known_.emplace(variable, index.Patients({variable->level, column.Known()}));
    index.columns_.emplace(variable, std::move(column));
  }
  index.nobody_ = Bits(patients);
  return std::move(index_);
}

size_t Index::RowCount(Level level) const {
  switch (level) {
    case Level::kPatient:
      return first_study_.size() - 1;
    case Level::kStudy:
      return patient_of_study_.size();
    case Level::kSeries:
      return study_of_series_.size();
  }
  return 0;
}

const Column* Index::Find(const Variable& variable) const {
  auto found = columns_.find(&variable);
  return found == columns_.end() ? nullptr : &found->second;
}

const Bits& Index::Known(const Variable& variable) const {
  auto found = known_.find(&variable);
  return found == known_.end() ? nobody_ : found->second;
}

Bits Index::Expand(const Bits& rows, Level from, Level to) const {
  if (from == to) return rows;
  Bits out(RowCount(to));
  // Neighbouring rows have neighbouring children, so a run of rows is one range.
  size_t row = rows.Next(0);
  while (row < rows.size()) {
    size_t end = row + 1;
    while (end < rows.size() && rows.Test(end)) ++end;
    size_t first = row, last = end;
    if (from == Level::kPatient) {
      first = first_study_[first];
      last = first_study_[last];
    }
    if (to == Level::kSeries) {
      first = first_series_[first];
      last = first_series_[last];
    }
    out.SetRange(first, last);
    row = rows.Next(end);
  }
  return out;
}

Bits Index::Project(const Bits& rows, Level from, Level to) const {
  if (from == to) return rows;
  Bits out(RowCount(to));
  if (from == Level::kSeries && to == Level::kPatient) {
    for (size_t row = rows.Next(0); row < rows.size();) {
      size_t patient = patient_of_series_[row];
      out.Set(patient);
      row = rows.Next(first_series_of_patient_[patient + 1]);
    }
    return out;
  }
  // One row is enough for its parent: the search goes on behind the parent's last row.
  size_t row = rows.Next(0);
  while (row < rows.size()) {
    size_t parent = row;
    if (from == Level::kSeries) parent = study_of_series_[parent];
    if (to == Level::kPatient) parent = patient_of_study_[parent];
    out.Set(parent);
    size_t next = parent + 1;
    if (to == Level::kPatient) next = first_study_[next];
    if (from == Level::kSeries) next = first_series_[next];
    row = rows.Next(next);
  }
  return out;
}

Rows Index::Evaluate(const Bound& bound) const {
  switch (bound.kind) {
    case Bound::Kind::kAnd:
    case Bound::Kind::kOr:
      return Combine(bound);
    case Bound::Kind::kHas:
      return Has(bound);
    case Bound::Kind::kCondition: {
      const Column* column = Find(*bound.variable);
      return {bound.variable->level,
              column == nullptr ? Bits(RowCount(bound.variable->level)) : column->Select(bound)};
    }
    case Bound::Kind::kProblem:
      break;
  }
  return {Level::kPatient, Bits(RowCount(Level::kPatient))};
}

Rows Index::Combine(const Bound& bound) const {
  bool conjunction = bound.kind == Bound::Kind::kAnd;
  std::array<std::optional<Bits>, 3> by_level;
  for (const Bound& part : bound.parts) {
    Rows rows = Evaluate(part);
    std::optional<Bits>& so_far = by_level[static_cast<size_t>(rows.level)];
    if (!so_far.has_value()) {
      so_far = std::move(rows.bits);
    } else if (conjunction) {
      so_far->And(rows.bits);
    } else {
      so_far->Or(rows.bits);
    }
  }
  // Coarser levels are combined with finer ones on the finer one's rows.
  std::optional<Rows> out;
  for (Level level : {Level::kPatient, Level::kStudy, Level::kSeries}) {
    std::optional<Bits>& bits = by_level[static_cast<size_t>(level)];
    if (!bits.has_value()) continue;
    if (out.has_value()) {
      Bits coarser = Expand(out->bits, out->level, level);
      if (conjunction) {
        bits->And(coarser);
      } else {
        bits->Or(coarser);
      }
    }
    out = Rows{level, *std::move(bits)};
  }
  if (out.has_value()) return *std::move(out);
  return {Level::kPatient, conjunction ? exists_[0] : Bits(RowCount(Level::kPatient))};
}

Rows Index::Has(const Bound& bound) const {
  Level level = bound.has_level;
  Rows inner = Evaluate(bound.parts[0]);
  Level own = std::max(level, inner.level);
  Bits rows = Expand(inner.bits, inner.level, own);
  const Bits& real = exists_[static_cast<size_t>(own)];
  if (!bound.negated) {
    rows.And(real);
    return {level, Project(rows, own, level)};
  }
  // "No row but such for which the inner expression is false": what is left must have no row.
  Bits others = real;
  others.AndNot(rows);
  Bits out(RowCount(level));
  if (level == Level::kPatient) {
    out = exists_[0];  // a gap is no patient
  } else {
    out.SetAll();
  }
  out.AndNot(Project(others, own, level));
  return {level, std::move(out)};
}

Bits Index::Patients(const Rows& rows) const {
  return Project(rows.bits, rows.level, Level::kPatient);
}

Bits Index::Series(const Rows& rows) const {
  Bits out = Expand(rows.bits, rows.level, Level::kSeries);
  out.And(exists_[2]);
  return out;
}

std::optional<std::vector<PatientGroup>> Index::Split(const Rows& rows,
                                                      const std::vector<const Column*>& columns,
                                                      size_t limit) const {
  // Each column maps its values to consecutive slots; the last slot is "unknown".
  struct Axis {
    const Column* column;
    std::vector<uint32_t> slot_of_value;
    std::vector<GroupValue> names;
  };
  Level level = rows.level;
  std::vector<Axis> axes;
  size_t combinations = 1;
  for (const Column* column : columns) {
    const Variable& variable = column->variable();
    level = std::max(level, variable.level);
    Axis axis{column, std::vector<uint32_t>(column->values() + 1), {}};
    for (uint32_t v = 1; v <= column->values(); ++v) {
      std::optional<std::string> name;
      if (!variable.numeric()) {
        name = column->Name(v);
      } else if (int band = variable.BandOf(column->Number(v)); band >= 0) {
        name = variable.BandLabel(band);
      }
      // Values ascend, so equal bands stand together. Below the first band is "unknown".
      if (name.has_value() && (axis.names.empty() || axis.names.back() != name)) {
        axis.names.push_back(name);
      }
      axis.slot_of_value[v] =
          name.has_value() ? static_cast<uint32_t>(axis.names.size() - 1) : ~uint32_t{0};
    }
    axis.slot_of_value[0] = ~uint32_t{0};
    for (uint32_t& slot : axis.slot_of_value) {
      slot = std::min(slot, static_cast<uint32_t>(axis.names.size()));
    }
    axis.names.push_back(std::nullopt);
    combinations *= axis.names.size();
    if (combinations > limit) return std::nullopt;
    axes.push_back(std::move(axis));
  }
  std::vector<Bits> cells(combinations);
  Expand(rows.bits, rows.level, level).ForEach([&](size_t row) {
    size_t series = row, study = row, patient = row;
    if (level == Level::kSeries) study = study_of_series_[series];
    if (level >= Level::kStudy) patient = patient_of_study_[study];
    size_t cell = 0;
    for (const Axis& axis : axes) {
      Level of = axis.column->variable().level;
      size_t at = of == Level::kSeries ? series : of == Level::kStudy ? study : patient;
      cell = cell * axis.names.size() + axis.slot_of_value[axis.column->ValueOf(at)];
    }
    if (cells[cell].size() == 0) cells[cell] = Bits(RowCount(Level::kPatient));
    cells[cell].Set(patient);
  });
  std::vector<PatientGroup> out;
  for (size_t cell = 0; cell < cells.size(); ++cell) {
    if (cells[cell].size() == 0) continue;
    PatientGroup group{std::vector<GroupValue>(axes.size()), std::move(cells[cell])};
    size_t rest = cell;
    for (size_t a = axes.size(); a-- > 0;) {
      group.key[a] = axes[a].names[rest % axes[a].names.size()];
      rest /= axes[a].names.size();
    }
    out.push_back(std::move(group));
  }
  return out;
}

}  // namespace oncomesh::catalogue
