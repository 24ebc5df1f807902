// SPDX-License-Identifier: Apache-2.0
#include "libs/phantom/patient.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace oncomesh::phantom {
namespace {

constexpr absl::string_view kStages[] = {"I", "II", "III", "IV"};
constexpr double kDeathByStage[] = {0.08, 0.18, 0.4, 0.7};

// RFC 4180: quoted when it holds a comma, a quote or a line break, quotes doubled.
std::string Field(absl::string_view value) {
  if (value.find_first_of(",\"\r\n") == absl::string_view::npos) return std::string(value);
  return absl::StrCat("\"", absl::StrReplaceAll(value, {{"\"", "\"\""}}), "\"");
}

}  // namespace

int YearsBetween(absl::CivilDay from, absl::CivilDay to) {
  int years = static_cast<int>(to.year() - from.year());
  bool before_birthday =
      to.month() < from.month() || (to.month() == from.month() && to.day() < from.day());
  return before_birthday ? years - 1 : years;
}

std::string DicomDate(absl::CivilDay day) {
  return absl::StrFormat("%04d%02d%02d", day.year(), day.month(), day.day());
}

std::string IsoDate(absl::CivilDay day) {
  return absl::StrFormat("%04d-%02d-%02d", day.year(), day.month(), day.day());
}

Patient MakePatient(const Key& root, const Site& site, int number) {
  Patient out;
  out.key = root.Below("site").Below(site.name).Below("patient", number);
  out.number = number;
  Stream draw(out.key.Below("record"));
  std::string upper = absl::AsciiStrToUpper(site.name);

  // Steps of 37 with a part of 0..36 drawn: never twice the same within a site.
  out.id = absl::StrCat(upper, "-", 100000 + 37 * number + draw.Integer(0, 36));
  out.issuer = site.institution;
  out.name = absl::StrFormat("PHANTOM^%s%04d", upper, number);
  out.other_id = absl::StrFormat("SYN%09d", draw.Integer(0, 999999999));
  out.address = absl::StrCat(draw.Integer(1, 250), " Phantom Lane, Testville");
  out.telephone = absl::StrFormat("+00 555 01%02d", draw.Integer(0, 99));
  out.referring_physician = absl::StrCat("REFERRER^", upper, draw.Integer(1, 9), "^^Dr.");

  out.sex = draw.Chance(0.5) ? 'F' : 'M';
  std::vector<double> weights = site.case_mix;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (Topographies()[i].female_only && out.sex != 'F') weights[i] = 0;
  }
  out.topography = &Topographies()[draw.Weighted(weights.data(), static_cast<int>(weights.size()))];
  const auto& histologies = out.topography->histologies;
  out.histology =
      std::string(histologies[draw.Integer(0, static_cast<int>(histologies.size()) - 1)]);
  int stage = draw.Weighted({0.25, 0.35, 0.28, 0.12});
  out.stage = std::string(kStages[stage]);
  int grade = draw.Weighted({0.25, 0.35, 0.3, 0.1});
  out.grade = grade == 3 ? "" : absl::StrCat(grade + 1);
  out.left_side = draw.Chance(0.5);

  out.petct_day = absl::CivilDay(2018, 1, 1) + draw.Integer(0, 6 * 365);
  out.mr_day = out.petct_day + draw.Integer(-14, 14);
  out.diagnosis = std::min(out.petct_day, out.mr_day) - draw.Integer(3, 60);
  // Between 20 and 97 years, most about 60.
  int age_days = static_cast<int>((20 + 77 * (draw.Uniform() + draw.Uniform()) / 2) * 365.25);
  out.birth = out.diagnosis - age_days;
  out.age_at_diagnosis = YearsBetween(out.birth, out.diagnosis);
  out.last_follow_up = std::max(out.petct_day, out.mr_day) + draw.Integer(60, 1500);
  out.dead = draw.Chance(kDeathByStage[stage]);

  out.height_m = (out.sex == 'F' ? 1.64 : 1.77) + 0.06 * draw.Normal();
  out.weight_kg = std::max(18.0, 25 + 3.5 * draw.Normal()) * out.height_m * out.height_m;

  out.note = absl::StrCat("Seen by Dr. REFERRER (", upper, ") on ", IsoDate(out.diagnosis),
                          "; known as \"", out.name, "\", record ", out.id, ", phone ",
                          out.telephone, ", lives at ", out.address, ".");
  return out;
}

std::string ClinicalTable(const std::vector<Patient>& patients) {
  std::string out =
      "patient_id,sex,birth_date,diagnosis_date,age_at_diagnosis,topography,histology,stage,grade,"
      "free_text_note,last_follow_up,vital_status,issuer_of_patient_id\n";
  for (const Patient& patient : patients) {
    const std::string fields[] = {patient.id,
                                  std::string(1, patient.sex),
                                  IsoDate(patient.birth),
                                  IsoDate(patient.diagnosis),
                                  absl::StrCat(patient.age_at_diagnosis),
                                  std::string(patient.topography->code),
                                  patient.histology,
                                  patient.stage,
                                  patient.grade,
                                  patient.note,
                                  IsoDate(patient.last_follow_up),
                                  patient.dead ? "dead" : "alive",
                                  patient.issuer};
    absl::StrAppend(
        &out,
        absl::StrJoin(fields, ",",
                      [](std::string* to, const std::string& field) { to->append(Field(field)); }),
        "\n");
  }
  return out;
}

}  // namespace oncomesh::phantom
