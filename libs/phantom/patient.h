// SPDX-License-Identifier: Apache-2.0
// The people of a phantom site: who they are, what they have, when they were imaged.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/civil_time.h"
#include "libs/phantom/site.h"
#include "libs/phantom/stream.h"

namespace oncomesh::phantom {

struct Patient {
  Key key{0};  // everything about this patient is drawn below it
  int number = 0;
  std::string id;      // equals (0010,0020) and the clinical table's patient_id
  std::string issuer;  // of id: (0010,0021) and the table's issuer_of_patient_id
  std::string name;    // PN, obviously nobody's: "PHANTOM^NORTH0001"
  std::string other_id;
  std::string address;
  std::string telephone;
  char sex = 'F';
  absl::CivilDay birth;
  absl::CivilDay diagnosis;
  absl::CivilDay petct_day;  // CT and PET are one study
  absl::CivilDay mr_day;
  absl::CivilDay last_follow_up;
  int age_at_diagnosis = 0;  // completed years
  double weight_kg = 0;
  double height_m = 0;
  const Topography* topography = nullptr;
  std::string histology;
  std::string stage;
  std::string grade;  // empty when not recorded
  bool dead = false;
  bool left_side = false;
  std::string referring_physician;  // PN
  std::string note;                 // free text full of identifiers
};

// Patient `number` (from 1) of `site`. Does not depend on how many patients there are.
Patient MakePatient(const Key& root, const Site& site, int number);

// Completed years between two days.
int YearsBetween(absl::CivilDay from, absl::CivilDay to);

// "20210304", "2021-03-04".
std::string DicomDate(absl::CivilDay day);
std::string IsoDate(absl::CivilDay day);

// The table as RFC 4180 with line feeds; the first row names the columns. Dates are ISO 8601.
std::string ClinicalTable(const std::vector<Patient>& patients);

}  // namespace oncomesh::phantom
