// SPDX-License-Identifier: Apache-2.0
#include "libs/imaging/suv.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/civil_time.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"

namespace oncomesh::imaging {
namespace {

absl::Status Refused(absl::string_view reason, absl::string_view message) {
  return base::Error(absl::StatusCode::kFailedPrecondition, reason, message);
}

constexpr double kDay = 86400;
// Later than this the tracer is gone: the times are not of this scan.
constexpr double kMaxHalfLives = 10;
// Nobody is injected less than 1 MBq for a PET scan, nor more than 10 GBq.
constexpr double kLeastDose = 1e6;
constexpr double kMostDose = 1e10;
// Of the nuclides of PET (PS3.16 CID 4020) oxygen-14 lives 71 s and sodium-22, in phantoms, 2.6
// years.
constexpr double kLeastHalfLife = 60;
constexpr double kMostHalfLife = 3 * 365 * kDay;
// How much of the known half-life the one of a header may be off: devices have rounded ones.
constexpr double kHalfLifeTolerance = 0.05;
// How far behind or ahead of UTC clocks are.
constexpr double kMostBehind = -12 * 3600;
constexpr double kMostAhead = 14 * 3600;

std::optional<int> Digits(absl::string_view text) {
  int value = 0;
  for (char c : text) {
    if (!absl::ascii_isdigit(c)) return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return text.empty() ? std::nullopt : std::optional<int>(value);
}

// Seconds since midnight of a TM value: HH, HHMM, HHMMSS, HHMMSS.FFFFFF (PS3.5 6.2).
std::optional<double> SecondsOfDay(absl::string_view text) {
  size_t point = text.find('.');
  absl::string_view whole = text.substr(0, point);
  if (whole.size() != 2 && whole.size() != 4 && whole.size() != 6) return std::nullopt;
  double seconds = 0;
  const int limits[] = {23, 59, 60};  // a leap second is valid
  const double units[] = {3600, 60, 1};
  for (size_t i = 0; i < whole.size() / 2; ++i) {
    auto part = Digits(whole.substr(2 * i, 2));
    if (!part || *part > limits[i]) return std::nullopt;
    seconds += *part * units[i];
  }
  if (point == absl::string_view::npos) return seconds;
  absl::string_view digits = text.substr(point + 1);
  if (whole.size() != 6 || digits.size() > 6 || (!digits.empty() && !Digits(digits))) {
    return std::nullopt;
  }
  if (!digits.empty()) seconds += *Digits(digits) / std::pow(10.0, digits.size());
  return seconds;
}

// Days since 1970 of a DA value.
std::optional<double> DayNumber(absl::string_view text) {
  if (text.size() != 8) return std::nullopt;
  auto year = Digits(text.substr(0, 4)), month = Digits(text.substr(4, 2)),
       day = Digits(text.substr(6, 2));
  if (!year || !month || !day) return std::nullopt;
  absl::CivilDay civil(*year, *month, *day);
  if (civil.month() != *month || civil.day() != *day) return std::nullopt;
  return static_cast<double>(civil - absl::CivilDay());
}

std::optional<double> Moment(absl::string_view date, absl::string_view time) {
  auto day = DayNumber(date);
  auto seconds = SecondsOfDay(time);
  if (!day || !seconds) return std::nullopt;
  return *day * kDay + *seconds;
}

// Seconds by which the clock of an offset from UTC, "+HHMM" or "-HHMM" (PS3.5 6.2), is ahead.
std::optional<double> SecondsAhead(absl::string_view offset) {
  if (offset.size() != 5 || (offset[0] != '+' && offset[0] != '-')) return std::nullopt;
  auto hours = Digits(offset.substr(1, 2)), minutes = Digits(offset.substr(3, 2));
  if (!hours || !minutes || *hours > 14 || *minutes > 59) return std::nullopt;
  double seconds = *hours * 3600 + *minutes * 60;
  return offset[0] == '-' ? -seconds : seconds;
}

// The moment to which pixel values are decay-corrected when the correction is START.
absl::StatusOr<double> ReferenceMoment(const dicom::PetHeader& pet, double half_life) {
  auto series = Moment(pet.series_date, pet.series_time);
  auto acquisition = Moment(pet.acquisition_date, pet.acquisition_time);
  if (series && (!acquisition || *series <= *acquisition)) return *series;
  if (!acquisition) {
    return Refused("SUV_TIME_MISSING", "neither series nor acquisition time of the PET are known");
  }
  // A series time after the acquisition is that of a later processing. The reference follows from
  // the frame: its mean activity occurs Frame Reference Time after it.
  if (!pet.frame_reference_ms || !pet.frame_duration_ms || *pet.frame_reference_ms <= 0 ||
      *pet.frame_duration_ms <= 0) {
    return *acquisition;  // of the earliest frame, where the scan began
  }
  const double lambda = std::log(2.0) / half_life;
  const double decay = lambda * *pet.frame_duration_ms / 1000;
  const double mean = std::log(decay / -std::expm1(-decay)) / lambda;
  return *acquisition - *pet.frame_reference_ms / 1000 + mean;
}

// A DT value taken apart. Its time is empty when it has a date only, its zone when none is written.
struct DateTime {
  absl::string_view date, time, zone;
};

DateTime Split(absl::string_view text) {
  const size_t sign = std::min(text.find_first_of("+-"), text.size());
  absl::string_view whole = text.substr(0, sign);
  const size_t day = std::min<size_t>(whole.size(), 8);
  return {whole.substr(0, day), whole.substr(day), text.substr(sign)};
}

// The moments, by the scan's clock, at which the injection may have been as far as its header says,
// near enough to `reference` to be of this scan or not. Dates decide where they can be compared
// with those of the scan; a time alone leaves every day open.
absl::StatusOr<std::vector<double>> InjectionMoments(const dicom::PetHeader& pet, double reference,
                                                     double longest) {
  const DateTime written = Split(pet.injection_date_time);
  const auto time = SecondsOfDay(pet.injection_time);
  const auto ahead = SecondsAhead(written.zone), scan_ahead = SecondsAhead(pet.timezone);
  const auto day = DayNumber(written.date);
  const auto dated = Moment(written.date, written.time);
  // Without an offset it is by the scan's clock (PS3.5 6.2, DT).
  const bool same_clock = written.zone.empty() || (ahead && scan_ahead && *ahead == *scan_ahead);
  if (dated && same_clock) return std::vector<double>{*dated};
  if (dated && ahead && scan_ahead) return std::vector<double>{*dated - *ahead + *scan_ahead};
  if (day && written.time.empty() && same_clock && time) {
    return std::vector<double>{*day * kDay + *time};
  }
  if (!time) {
    if (!dated) {
      return Refused("SUV_TIME_MISSING", "the time of the injection is missing or no time");
    }
    return Refused("SUV_TIME_IMPLAUSIBLE",
                   "the injection has a time zone and the scan has none: their clocks cannot be "
                   "compared");
  }
  std::vector<double> out;
  if (dated && ahead) {
    // The time alone is by the scan's clock: it was then what it is where the scan's clock is one
    // of the world's.
    const double universal = *dated - *ahead;
    for (double of_day = std::floor(universal / kDay) - 1; of_day * kDay <= universal + kDay;
         ++of_day) {
      const double moment = of_day * kDay + *time;
      if (moment - universal >= kMostBehind && moment - universal <= kMostAhead) {
        out.push_back(moment);
      }
    }
    return out;
  }
  for (double of_day = std::floor(reference / kDay); of_day * kDay + *time >= reference - longest;
       --of_day) {
    // A date by a clock that cannot be compared is still within a day.
    if (day && std::abs(of_day - *day) > 1) continue;
    out.push_back(of_day * kDay + *time);
    if (out.size() > 2) break;  // more days than one are too many, however many they are
  }
  return out;
}

absl::StatusOr<double> InjectionMoment(const dicom::PetHeader& pet, double reference,
                                       double half_life) {
  const double longest = kMaxHalfLives * half_life;
  ASSIGN_OR_RETURN(std::vector<double> moments, InjectionMoments(pet, reference, longest));
  std::erase_if(moments,
                [&](double moment) { return moment > reference || moment < reference - longest; });
  if (moments.empty()) {
    return Refused("SUV_TIME_IMPLAUSIBLE",
                   "the injection is after the scan, or more than ten half-lives before it");
  }
  if (moments.size() > 1) {
    return Refused("SUV_TIME_AMBIGUOUS",
                   "the day of the injection is not known, and the tracer lives long enough for "
                   "more than one; Radiopharmaceutical Start DateTime would tell");
  }
  return moments[0];
}

// The half-life in seconds of a nuclide by its code, SNOMED CT or the older SNOMED RT (PS3.16
// CID 4020): those that patients are given.
std::optional<double> KnownHalfLife(absl::string_view code) {
  struct Nuclide {
    absl::string_view sct, srt;
    double half_life;
  };
  constexpr Nuclide kNuclides[] = {
      {"40565003", "C-105A1", 1221.8},   // carbon-11
      {"21576001", "C-107A1", 597.9},    // nitrogen-13
      {"129504001", "C-B1038", 122.24},  // oxygen-15
      {"77004003", "C-111A1", 6586.2},   // fluorine-18
      {"3932008", "C-127A2", 45721},     // copper-64
      {"35337001", "C-131A3", 4062.6},   // gallium-68
      {"79197006", "C-159A2", 76.4},     // rubidium-82
      {"63360001", "C-168A4", 282276},   // zirconium-89
      {"40937006", "C-114A5", 360806},   // iodine-124
  };
  for (const Nuclide& one : kNuclides) {
    if (code == one.sct || code == one.srt) return one.half_life;
  }
  return std::nullopt;
}

absl::StatusOr<double> HalfLife(const dicom::PetHeader& pet) {
  if (!pet.half_life_s || *pet.half_life_s <= 0) {
    return Refused("SUV_HALF_LIFE_MISSING", "the half-life of the radionuclide is missing");
  }
  if (*pet.half_life_s < kLeastHalfLife || *pet.half_life_s > kMostHalfLife) {
    return Refused("SUV_HALF_LIFE_IMPLAUSIBLE",
                   "the half-life is not one of a PET tracer in seconds, as the standard asks; is "
                   "it in minutes or hours?");
  }
  const auto known = KnownHalfLife(pet.nuclide);
  if (known && std::abs(*pet.half_life_s / *known - 1) > kHalfLifeTolerance) {
    return Refused("SUV_HALF_LIFE_IMPLAUSIBLE",
                   "the half-life is not that of the radionuclide the series names; is it in "
                   "seconds, as the standard asks?");
  }
  return *pet.half_life_s;
}

absl::StatusOr<double> Weight(const dicom::PetHeader& pet) {
  if (!pet.weight_kg || *pet.weight_kg <= 0 || *pet.weight_kg > 600) {
    return Refused("SUV_WEIGHT_MISSING",
                   "the patient's weight is missing or impossible; SUV cannot be computed");
  }
  return *pet.weight_kg;
}

// What a dose per gram is multiplied with for the kind, relative to body weight.
absl::StatusOr<double> BodyFactor(const dicom::PetHeader& pet, SuvKind kind) {
  if (kind == SuvKind::kBodyWeight) return 1;
  ASSIGN_OR_RETURN(double weight, Weight(pet));
  if (!pet.height_m || *pet.height_m < 0.3 || *pet.height_m > 2.6) {
    return Refused("SUV_HEIGHT_MISSING",
                   "the patient's size in metres is missing or impossible; use --suv bw");
  }
  const double height = *pet.height_m * 100;
  if (kind == SuvKind::kBodySurface) {
    double square_metres = std::pow(weight, 0.425) * std::pow(height, 0.725) * 0.007184;
    return square_metres * 1e4 / (weight * 1000);
  }
  if (pet.sex != "M" && pet.sex != "F") {
    return Refused("SUV_SEX_MISSING",
                   "lean body mass needs the patient's sex, M or F; use --suv bw");
  }
  double ratio = weight / height;
  double lean =
      pet.sex == "M" ? 1.10 * weight - 120 * ratio * ratio : 1.07 * weight - 148 * ratio * ratio;
  if (lean <= 0) {
    return Refused("SUV_HEIGHT_MISSING", "weight and size give no lean body mass; use --suv bw");
  }
  return lean / weight;
}

absl::Status CheckCorrections(const dicom::PetHeader& pet) {
  auto corrected = [&](absl::string_view what) {
    return std::find(pet.corrections.begin(), pet.corrections.end(), what) != pet.corrections.end();
  };
  if (!corrected("ATTN") || !corrected("DECY")) {
    return Refused("SUV_NOT_CORRECTED",
                   "the PET images are not corrected for attenuation and decay; use the corrected "
                   "reconstruction");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SuvFactor> ComputeSuvFactor(const dicom::PetHeader& pet, SuvKind kind) {
  SuvFactor out;
  out.source_units = pet.units;
  ASSIGN_OR_RETURN(double body, BodyFactor(pet, kind));
  if (pet.units == "GML") {
    // Already SUV; which one is said by the type, and without one it is by body weight.
    if (!pet.suv_type.empty() && pet.suv_type != "BW") {
      return Refused("SUV_UNITS_UNSUPPORTED",
                     "the series holds uptake values of another kind than by body weight");
    }
    out.decay_rule = "none needed";
    out.factor = body;
    return out;
  }
  double to_bqml = 1;
  if (pet.units == "CNTS") {
    RETURN_IF_ERROR(CheckCorrections(pet));
    if (pet.philips_suv_factor && *pet.philips_suv_factor > 0) {
      out.decay_rule = "none needed";
      out.factor = *pet.philips_suv_factor * body;
      return out;
    }
    if (!pet.philips_activity_factor || *pet.philips_activity_factor <= 0) {
      return Refused("SUV_UNITS_UNSUPPORTED",
                     "the series holds counts, and the vendor's factors that would turn them into "
                     "activity are not there");
    }
    to_bqml = *pet.philips_activity_factor;
  } else if (pet.units != "BQML") {
    return Refused("SUV_UNITS_UNSUPPORTED", "SUV can be computed from BQML, GML and CNTS only");
  }
  RETURN_IF_ERROR(CheckCorrections(pet));
  ASSIGN_OR_RETURN(double weight, Weight(pet));
  if (pet.drugs > 1) {
    return Refused(
        "SUV_DOSE_AMBIGUOUS",
        "the series names more than one radiopharmaceutical: the activity of each is not "
        "known");
  }
  if (!pet.dose_bq || *pet.dose_bq <= 0) {
    return Refused("SUV_DOSE_MISSING", "the injected dose is missing or not positive");
  }
  // Some devices write MBq or kBq in spite of the standard.
  if (*pet.dose_bq < kLeastDose || *pet.dose_bq > kMostDose) {
    return Refused("SUV_DOSE_IMPLAUSIBLE",
                   "the injected dose is not one of a PET scan in becquerel, as the standard asks; "
                   "is it in MBq, kBq or mCi?");
  }
  out.decayed_dose_bq = *pet.dose_bq;
  if (pet.decay_correction == "ADMIN") {
    out.decay_rule = "admin";
  } else if (pet.decay_correction == "START") {
    out.decay_rule = "start";
    ASSIGN_OR_RETURN(double half_life, HalfLife(pet));
    ASSIGN_OR_RETURN(double reference, ReferenceMoment(pet, half_life));
    ASSIGN_OR_RETURN(double injection, InjectionMoment(pet, reference, half_life));
    out.decay_time_s = reference - injection;
    out.decayed_dose_bq *= std::exp2(-out.decay_time_s / half_life);
  } else {
    return Refused("SUV_DECAY_UNKNOWN",
                   "it is not said to which moment the images are decay-corrected");
  }
  out.factor = to_bqml * weight * 1000 / out.decayed_dose_bq * body;
  return out;
}

void Scale(Volume& volume, double factor) {
  for (float& value : volume.voxels) {
    value = static_cast<float>(static_cast<double>(value) * factor);
  }
}

absl::StatusOr<SuvKind> ParseSuvKind(absl::string_view name) {
  for (SuvKind kind : {SuvKind::kBodyWeight, SuvKind::kLeanBody, SuvKind::kBodySurface}) {
    if (name == SuvKindName(kind)) return kind;
  }
  return base::Error(absl::StatusCode::kInvalidArgument, "SUV_KIND_UNKNOWN",
                     "SUV is bw, lbm or bsa");
}

const char* SuvKindName(SuvKind kind) {
  switch (kind) {
    case SuvKind::kLeanBody:
      return "lbm";
    case SuvKind::kBodySurface:
      return "bsa";
    default:
      return "bw";
  }
}

}  // namespace oncomesh::imaging
