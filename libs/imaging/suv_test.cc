// SPDX-License-Identifier: Apache-2.0
#include "libs/imaging/suv.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <functional>

#include "libs/testing/status_matchers.h"

namespace oncomesh::imaging {
namespace {

using dicom::PetHeader;

// 70 kg, 1.75 m, 400 MBq of fluorine-18 an hour before the scan.
PetHeader Header() {
  PetHeader pet;
  pet.units = std::string("BQML");
  pet.decay_correction = std::string("START");
  pet.corrections = {"DECY", "ATTN", "SCAT"};
  pet.series_date = pet.acquisition_date = std::string("20200310");
  pet.series_time = pet.acquisition_time = std::string("150000");
  pet.injection_time = std::string("140000.000000");
  pet.dose_bq = 4e8;
  pet.half_life_s = 6586.2;
  pet.weight_kg = 70;
  pet.height_m = 1.75;
  pet.sex = std::string("F");
  return pet;
}

const double kDecayed = 4e8 * std::pow(2.0, -3600 / 6586.2);

double Factor(const std::function<void(PetHeader&)>& change, SuvKind kind = SuvKind::kBodyWeight) {
  PetHeader pet = Header();
  change(pet);
  REQUIRE_VALUE(SuvFactor factor, ComputeSuvFactor(pet, kind));
  return factor.factor;
}

TEST_CASE("suv: dose decayed to the time of the scan, per gram of body") {
  REQUIRE(Factor([](auto&) {}) == Approx(70000 / kDecayed).epsilon(1e-12));
  REQUIRE(Factor([](auto& p) { p.decay_correction = std::string("ADMIN"); }) ==
          Approx(70000 / 4e8));
}

TEST_CASE("suv: lean mass and body surface by their formulas") {
  // James: 1.07 · 70 − 148 · (70/175)² = 51.22 kg; Du Bois: 1.8481 m².
  REQUIRE(Factor([](auto&) {}, SuvKind::kLeanBody) == Approx(51220 / kDecayed).epsilon(1e-9));
  REQUIRE(Factor([](auto& p) { p.sex = std::string("M"); }, SuvKind::kLeanBody) ==
          Approx(57800 / kDecayed).epsilon(1e-9));  // 1.10 · 70 − 120 · 0.16
  REQUIRE(Factor([](auto&) {}, SuvKind::kBodySurface) == Approx(18481 / kDecayed).epsilon(1e-4));
}

TEST_CASE("suv: injected before midnight, scanned after it") {
  double expected = 70000 / kDecayed;
  auto night = [](auto& p) {
    p.series_time = p.acquisition_time = std::string("003000");
    p.injection_time = std::string("233000");
  };
  REQUIRE(Factor(night) == Approx(expected));
  REQUIRE(Factor([&](auto& p) {
            night(p);
            p.injection_date_time = std::string("20200309233000.00");
          }) == Approx(expected));
}

TEST_CASE("suv: shifting all dates alike changes nothing") {
  double dated =
      Factor([](auto& p) { p.injection_date_time = std::string("20200310140000+0100"); });
  REQUIRE(dated == Approx(70000 / kDecayed));
  REQUIRE(Factor([](auto& p) {
            p.series_date = p.acquisition_date = std::string("20190101");
            p.injection_date_time = std::string("20190101140000");
          }) == dated);
}

TEST_CASE("suv: an injection by another clock than the scan's is put right or refused") {
  const double expected = 70000 / kDecayed;
  // 14:00 by the scan's clock, an hour ahead of UTC, in three spellings.
  for (const char* injection :
       {"20200310130000+0000", "20200310140000+0100", "20200310083000.00-0430"}) {
    // The time alone is by the scan's clock.
    REQUIRE(Factor([&](auto& p) { p.injection_date_time = std::string(injection); }) ==
            Approx(expected));
    auto alone = [&](auto& p) {
      p.injection_date_time = std::string(injection);
      p.injection_time = std::string("");
    };
    REQUIRE(Factor([&](auto& p) {
              alone(p);
              p.timezone = std::string("+0100");
            }) == Approx(expected));
    for (const char* zone : {"", "0100", "+01", "+1560", "+2500"}) {
      PetHeader pet = Header();
      alone(pet);
      pet.timezone = std::string(zone);
      REQUIRE_REASON(ComputeSuvFactor(pet, SuvKind::kBodyWeight),
                     absl::StatusCode::kFailedPrecondition, "SUV_TIME_IMPLAUSIBLE");
    }
  }
  // Over midnight of one clock only.
  REQUIRE(Factor([](auto& p) {
            p.series_time = p.acquisition_time = std::string("003000");
            p.injection_date_time = std::string("20200309223000+0000");
            p.injection_time = std::string("");
            p.timezone = std::string("+0100");
          }) == Approx(expected));
}

// 37 MBq of zirconium-89, half-life 78.4 h, four days and an hour before the scan.
void Zirconium(PetHeader& pet) {
  pet.dose_bq = 3.7e7;
  pet.half_life_s = 282240;
  pet.injection_time = std::string("140000");
}

TEST_CASE(
    "suv: a rounded half-life of the named radionuclide is taken, and one that is not known") {
  // 1.83 h and 110 min are what devices write for fluorine-18.
  for (double seconds : {6588.0, 6600.0}) {
    for (const char* code : {"77004003", "C-111A1", "", "99NEW"}) {
      REQUIRE(Factor([&](auto& p) {
                p.half_life_s = seconds;
                p.nuclide = std::string(code);
              }) == Approx(70000 / (4e8 * std::pow(2.0, -3600 / seconds))));
    }
  }
}

TEST_CASE("suv: a tracer that lives for days is decayed by its days") {
  // 97 h are 349,200 s; 2^(-349200/282240) = 0.42419. 70,000 g / (37 MBq · 0.42419) = 0.0044601.
  const double expected = 70000 / (3.7e7 * std::pow(2.0, -349200 / 282240.0));
  REQUIRE(expected == Approx(0.0044601).epsilon(1e-4));
  REQUIRE(Factor([](auto& p) {
            Zirconium(p);
            p.injection_date_time = std::string("20200306140000");
          }) == Approx(expected));
  // With an offset, the time alone beside it, and a scan that says what its clock is.
  REQUIRE(Factor([](auto& p) {
            Zirconium(p);
            p.injection_date_time = std::string("20200306140000+0100");
            p.timezone = std::string("+0100");
          }) == Approx(expected));
  REQUIRE(Factor([](auto& p) {
            Zirconium(p);
            p.injection_date_time = std::string("20200306080000-0500");
            p.timezone = std::string("+0100");
          }) == Approx(expected));
  // A scan that does not: 13:00 UTC was 14:00 by its clock on the same day.
  REQUIRE(Factor([](auto& p) {
            Zirconium(p);
            p.injection_date_time = std::string("20200306140000+0100");
          }) == Approx(expected));
  // 23:00 on the 5th by UTC was 09:00 on the 6th in Sydney; 349,200 s and 5 hours before.
  REQUIRE(Factor([](auto& p) {
            Zirconium(p);
            p.injection_time = std::string("090000");
            p.injection_date_time = std::string("20200305230000+0000");
          }) == Approx(70000 / (3.7e7 * std::pow(2.0, -(349200 + 18000) / 282240.0))));
  // A date without a time is that of the time alone.
  REQUIRE(Factor([](auto& p) {
            Zirconium(p);
            p.injection_date_time = std::string("20200306");
          }) == Approx(expected));
}

TEST_CASE("suv: a day that is not known is not guessed when the tracer lives that long") {
  auto refused = [](const char* reason, const std::function<void(PetHeader&)>& change) {
    PetHeader pet = Header();
    change(pet);
    REQUIRE_REASON(ComputeSuvFactor(pet, SuvKind::kBodyWeight),
                   absl::StatusCode::kFailedPrecondition, reason);
  };
  refused("SUV_TIME_AMBIGUOUS", Zirconium);
  // Copper-64, 12.7 h, half a minute after the series began: not the day before.
  auto copper = [](auto& p) {
    p.half_life_s = 45720;
    p.injection_time = std::string("150030");
  };
  refused("SUV_TIME_AMBIGUOUS", copper);
  refused("SUV_TIME_IMPLAUSIBLE", [&](auto& p) {
    copper(p);
    p.injection_date_time = std::string("20200310150030");
  });
  // A clock that is 11 hours behind UTC or 13 ahead of it: two days fit.
  refused("SUV_TIME_AMBIGUOUS", [](auto& p) {
    Zirconium(p);
    p.injection_date_time = std::string("20200306010000+0000");
  });
  // After the scan by any clock.
  refused("SUV_TIME_IMPLAUSIBLE", [](auto& p) {
    Zirconium(p);
    p.injection_date_time = std::string("20200312140000+0000");
  });
  // Scandium-44 lives 3.97 h: an hour or 25 hours ago.
  refused("SUV_TIME_AMBIGUOUS", [](auto& p) { p.half_life_s = 14292; });
  // Of fluorine-18 nothing is left after a day, and the day is clear.
  REQUIRE(Factor([](auto&) {}) == Approx(70000 / kDecayed));
  refused("SUV_TIME_IMPLAUSIBLE", [](auto& p) { p.injection_time = std::string("150030"); });
}

TEST_CASE("suv: a series time of a later processing is not the scan's") {
  auto processed = [](auto& p) {
    p.series_time = std::string("190000");
    p.acquisition_time = std::string("151500");
  };
  // The frame's mean activity falls 15 min and a bit after the start: the reference is 15:00.
  double lambda = std::log(2.0) / 6586.2, decay = lambda * 180;
  double mean = std::log(decay / (1 - std::exp(-decay))) / lambda;
  REQUIRE(Factor([&](auto& p) {
            processed(p);
            p.frame_reference_ms = (900 + mean) * 1000;
            p.frame_duration_ms = 180000;
          }) == Approx(70000 / kDecayed).epsilon(1e-9));
  // Without the frame's times the earliest acquisition is the start.
  REQUIRE(Factor([&](auto& p) {
            processed(p);
            p.acquisition_time = std::string("150000");
          }) == Approx(70000 / kDecayed));
}

TEST_CASE("suv: values that are uptake already, and counts with the vendor's factors") {
  REQUIRE(Factor([](auto& p) { p.units = std::string("GML"); }) == 1);
  REQUIRE(Factor([](auto& p) { p.units = std::string("GML"), p.suv_type = std::string("BW"); },
                 SuvKind::kLeanBody) == Approx(51.22 / 70));
  REQUIRE(Factor([](auto& p) { p.units = std::string("CNTS"), p.philips_suv_factor = 0.002; }) ==
          0.002);
  REQUIRE(Factor([](auto& p) { p.units = std::string("CNTS"), p.philips_activity_factor = 3; }) ==
          Approx(3 * 70000 / kDecayed));
}

TEST_CASE("suv: no number without everything it rests on") {
  struct Case {
    const char* reason;
    std::function<void(PetHeader&)> harm;
    SuvKind kind = SuvKind::kBodyWeight;
  };
  const Case cases[] = {
      {"SUV_UNITS_UNSUPPORTED", [](auto& p) { p.units = std::string("PROPCNTS"); }},
      {"SUV_UNITS_UNSUPPORTED", [](auto& p) { p.units = std::string("CNTS"); }},
      {"SUV_UNITS_UNSUPPORTED",
       [](auto& p) { p.units = std::string("GML"), p.suv_type = std::string("LBM"); }},
      {"SUV_NOT_CORRECTED", [](auto& p) { p.corrections = {"DECY"}; }},
      {"SUV_NOT_CORRECTED", [](auto& p) { p.corrections = {"ATTN"}; }},
      {"SUV_DECAY_UNKNOWN", [](auto& p) { p.decay_correction = std::string("NONE"); }},
      {"SUV_DOSE_MISSING", [](auto& p) { p.dose_bq.reset(); }},
      {"SUV_DOSE_IMPLAUSIBLE", [](auto& p) { p.dose_bq = 400; }},     // MBq
      {"SUV_DOSE_IMPLAUSIBLE", [](auto& p) { p.dose_bq = 370000; }},  // kBq
      {"SUV_DOSE_IMPLAUSIBLE", [](auto& p) { p.dose_bq = 4e11; }},
      {"SUV_DOSE_AMBIGUOUS", [](auto& p) { p.drugs = 2; }},
      {"SUV_HALF_LIFE_IMPLAUSIBLE", [](auto& p) { p.half_life_s = 1.83; }},  // hours
      {"SUV_HALF_LIFE_IMPLAUSIBLE", [](auto& p) { p.half_life_s = 1e8; }},
      // Fluorine-18 lives 109.77 minutes, which alone would pass for oxygen-15's 122 seconds.
      {"SUV_HALF_LIFE_IMPLAUSIBLE",
       [](auto& p) {
         p.half_life_s = 109.77;
         p.injection_time = std::string("145500");
         p.nuclide = std::string("77004003");
       }},
      {"SUV_HALF_LIFE_IMPLAUSIBLE",
       [](auto& p) {
         p.half_life_s = 6.586e6;  // ms
         p.nuclide = std::string("C-111A1");
       }},
      {"SUV_HALF_LIFE_MISSING", [](auto& p) { p.half_life_s.reset(); }},
      {"SUV_WEIGHT_MISSING", [](auto& p) { p.weight_kg = 0; }},
      {"SUV_TIME_MISSING", [](auto& p) { p.injection_time = std::string(""); }},
      {"SUV_TIME_MISSING", [](auto& p) { p.injection_time = std::string("2560"); }},
      {"SUV_TIME_MISSING",
       [](auto& p) { p.series_time = p.acquisition_time = p.acquisition_date = std::string(""); }},
      {"SUV_TIME_IMPLAUSIBLE",
       [](auto& p) { p.injection_date_time = std::string("20200310150001"); }},
      {"SUV_TIME_IMPLAUSIBLE",
       [](auto& p) { p.injection_date_time = std::string("20200309140000"); }},
      {"SUV_HEIGHT_MISSING", [](auto& p) { p.height_m = 175; }, SuvKind::kLeanBody},
      {"SUV_SEX_MISSING", [](auto& p) { p.sex = std::string("O"); }, SuvKind::kLeanBody},
  };
  for (const Case& one : cases) {
    PetHeader pet = Header();
    one.harm(pet);
    REQUIRE_REASON(ComputeSuvFactor(pet, one.kind), absl::StatusCode::kFailedPrecondition,
                   one.reason);
  }
}

}  // namespace
}  // namespace oncomesh::imaging
