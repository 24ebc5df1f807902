// SPDX-License-Identifier: Apache-2.0
// DICOM PS3.15 Table E.1-1 and the private attributes known to be safe, compiled from the vendored
// tables of tools/codegen/data. Facts only; a Profile makes decisions of them.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "libs/dicom/dictionary.h"

namespace oncomesh::deidentification {

// What a cell of the table asks for.
enum class RowAction : uint8_t {
  kNone,         // the option says nothing about the attribute
  kKeep,         // K
  kRemove,       // X
  kEmpty,        // Z
  kDummy,        // D
  kHashUid,      // U
  kPatientCode,  // Z/D of the patient's name and identifier
  kDescend,      // keep the sequence, treat what is inside
  kClean,        // C
  kShiftDate,    // C of a date
  kCapAge,       // C of an age
};

// Columns of the table.
enum Column {
  kBasicProfile,
  kRetainUids,
  kRetainDeviceIdentity,
  kRetainInstitution,
  kRetainPatientCharacteristics,
  kRetainFullDates,
  kRetainModifiedDates,
  kCleanDescriptors,
  kCleanStructuredContent,
  kCleanGraphics,
  kColumns,
};

// One attribute; matches a tag t when (t & mask) == tag.
struct RuleRow {
  dicom::Tag tag;
  uint32_t mask;
  dicom::Vr vr;  // 0 where the table names a range
  RowAction actions[kColumns];
};

// A private attribute: (group, xx`low`) of the block that `creator` reserved.
struct PrivateRow {
  absl::string_view creator;
  uint16_t group;
  uint8_t low;
  dicom::Vr vr;
  RowAction action;
  bool in_standard;  // of Table E.3.10-1; the others are of the TCIA knowledge base only
};

template <typename Row>
struct Rows {
  const Row* begin_;
  const Row* end_;
  const Row* begin() const { return begin_; }
  const Row* end() const { return end_; }
  size_t size() const { return static_cast<size_t>(end_ - begin_); }
};

// Ascending by tag.
Rows<RuleRow> RuleRows();
// Ascending by creator, group, low byte.
Rows<PrivateRow> PrivateRows();
// nullptr when the attribute is not known to be safe.
const PrivateRow* FindPrivateRow(absl::string_view creator, uint16_t group, uint8_t low);

absl::string_view RuleTableEdition();  // "2025b"
absl::string_view RuleTableSha256();   // of the vendored file
absl::string_view SafePrivateSha256();

}  // namespace oncomesh::deidentification
