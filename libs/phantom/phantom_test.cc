// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "libs/base/files.h"
#include "libs/phantom/anatomy.h"
#include "libs/phantom/data_set.h"
#include "libs/phantom/generator.h"
#include "libs/phantom/patient.h"
#include "libs/phantom/series.h"
#include "libs/phantom/stream.h"
#include "libs/phantom/volume.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"

namespace oncomesh::phantom {
namespace {

// Every file below `root` with its content, by the path relative to it.
std::map<std::string, std::string> Tree(const std::string& root) {
  std::map<std::string, std::string> out;
  auto files = base::ListFiles(root);
  REQUIRE_OK(files);
  for (const std::string& path : *files) {
    auto content = base::ReadFile(path);
    REQUIRE_OK(content);
    out[path.substr(root.size() + 1)] = *std::move(content);
  }
  return out;
}

std::map<std::string, std::string> SiteTree(const Plan& plan, const std::string& site) {
  oncomesh::testing::TemporaryFolder folder;
  auto result = WriteSite(plan, site, folder / "site", [](uint64_t) { return true; });
  REQUIRE_OK(result);
  CHECK(result->files == CountFiles(plan, site));
  return Tree(folder / "site");
}

bool Installed(const std::string& program) {
  return std::system(absl::StrCat("command -v ", program, " >/dev/null 2>&1").c_str()) == 0;
}

// What a program says, both streams.
std::string OutputOf(const std::string& command) {
  FILE* pipe = popen(absl::StrCat(command, " 2>&1").c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string out;
  char buffer[4096];
  size_t got;
  while ((got = fread(buffer, 1, sizeof buffer, pipe)) > 0) out.append(buffer, got);
  pclose(pipe);
  return out;
}

constexpr Modality kAll[] = {Modality::kCt, Modality::kMr, Modality::kPt};

}  // namespace

TEST_CASE("stream: a key's numbers depend on the seed and every name of its path") {
  std::set<std::string> digests;
  for (uint64_t seed : {0u, 1u}) {
    Key key(seed);
    for (const Key& each : {key, key.Below("a"), key.Below("ab").Below("c"),
                            key.Below("a").Below("bc"), key.Below("a", 1), key.Below("a", 2)}) {
      digests.insert(each.Digest());
    }
  }
  CHECK(digests.size() == 12);
  CHECK(Stream(Key(1).Below("x")).Bits() == Stream(Key(1).Below("x")).Bits());
}

TEST_CASE("stream: numbers keep to their range and their mean") {
  Stream draw(Key(3).Below("test"));
  double sum = 0, square = 0;
  std::map<int, int> integers;
  for (int i = 0; i < 20000; ++i) {
    double normal = draw.Normal();
    sum += normal;
    square += normal * normal;
    double uniform = draw.Uniform(2, 3);
    REQUIRE((uniform >= 2 && uniform < 3));
    ++integers[draw.Integer(-1, 1)];
  }
  CHECK(std::abs(sum / 20000) < 0.03);
  CHECK(std::abs(square / 20000 - 1) < 0.05);
  REQUIRE(integers.size() == 3);
  for (const auto& [value, count] : integers) CHECK(std::abs(count - 6667) < 350);
  double weights[] = {0, 1, 0};
  CHECK(draw.Weighted(weights, 3) == 1);
}

TEST_CASE("stream: a UID is a UUID under 2.25 without a leading zero") {
  std::set<std::string> seen;
  for (int i = 0; i < 200; ++i) {
    std::string uid = Key(9).Below("uid", i).Uid();
    CHECK(absl::StartsWith(uid, "2.25."));
    CHECK(uid.size() <= 44);  // PS3.5 B.2
    CHECK(uid[5] != '0');
    CHECK(seen.insert(uid).second);
  }
}

TEST_CASE("data set: elements come in tag order with the lengths of PS3.5 7.1.2") {
  DataSet set;
  set.Text(0x00100010, "PN", "A^B").Uint16(0x00080001, 0x1234).Text(0x00080018, "UI", "1.2.3");
  set.Items(0x00081140, {DataSet().Text(0x00081155, "UI", "1.2")});
  const char expected[] =
      "\x08\x00\x01\x00US\x02\x00\x34\x12"
      "\x08\x00\x18\x00UI\x06\x00"
      "1.2.3\0"
      "\x08\x00\x40\x11SQ\0\0\x14\0\0\0\xfe\xff\x00\xe0\x0c\0\0\0\x08\x00\x55\x11UI\x04\x00"
      "1.2\0"
      "\x10\x00\x10\x00PN\x04\x00"
      "A^B ";
  CHECK(set.Encode() == std::string(expected, sizeof expected - 1));
}

TEST_CASE("phantom: the same seed gives the same bytes, whatever else is asked for") {
  Plan small{7, {"north"}, 1, {Modality::kCt}};
  Plan large{7, {"west", "north", "south"}, 2, {Modality::kPt, Modality::kMr, Modality::kCt}};
  auto one = SiteTree(small, "north");
  CHECK(one == SiteTree(small, "north"));
  auto more = SiteTree(large, "north");
  // Another site, a further patient, further modalities and their order change none of its objects.
  for (const auto& [path, content] : one) {
    if (path == "clinical.csv") {
      CHECK(absl::StartsWith(more[path], content));
    } else {
      INFO(path);
      CHECK(more[path] == content);
    }
  }
  Plan other = small;
  other.seed = 8;
  CHECK(one != SiteTree(other, "north"));
}

TEST_CASE("phantom: the bytes are the same with every compiler and in every release") {
  // A pin, not a proof of correctness: GCC 12 -O3 and clang 19 -O1 agree on it. It changes only
  // with the format's name in phantom.json.
  Plan plan{2024, {"north"}, 2, {Modality::kCt, Modality::kMr, Modality::kPt}};
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const auto& [path, content] : SiteTree(plan, "north")) {
    for (char c : path + content) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  }
  CHECK(hash == 0x00b442e6fd302c8eu);
}

TEST_CASE("phantom: every object passes dciodvfy without an error and all agree in dcentvfy") {
  if (!Installed("dciodvfy") || !Installed("dcentvfy")) {
    WARN("dicom3tools is not installed: conformance of the phantoms is not checked");
    return;
  }
  oncomesh::testing::TemporaryFolder folder;
  Plan plan{11, {"north", "south"}, 4, {Modality::kCt, Modality::kMr, Modality::kPt}};
  for (const std::string& site : plan.sites) {
    REQUIRE_OK(WriteSite(plan, site, folder / site, [](uint64_t) { return true; }));
  }
  // The objects of a series differ in position and pixels only: the first and the structure set.
  std::string list = absl::StrCat("find ", folder.path(), " -name 000000.dcm -o -name RS.dcm");
  std::string found = OutputOf(absl::StrCat("for f in $(", list, "); do dciodvfy -new $f; done"));
  for (absl::string_view line : absl::StrSplit(found, '\n')) {
    INFO(std::string(line));
    CHECK_FALSE(absl::StartsWith(line, "Error"));
  }
  for (absl::string_view iod : {"CTImage", "MRImage", "PETImage", "RTStructureSet"}) {
    CHECK(absl::StrContains(found, absl::StrCat(iod, "\n")));
  }
  CHECK(OutputOf(absl::StrCat("dcentvfy $(find ", folder.path(), " -name '*.dcm')")).empty());
}

TEST_CASE("phantom: contours enclose the tumour's volume, in slices and in solid") {
  Key root(5);
  for (const char* name : {"north", "south"}) {
    Site site = MakeSite(root, name);
    for (int number = 1; number <= 8; ++number) {
      Patient patient = MakePatient(root, site, number);
      Anatomy anatomy(patient, site);
      const Tumour& tumour = anatomy.tumour();
      // The voxels of a fine grid that are tumour, against polygons and the closed formula.
      constexpr double kStep = 1.0;
      double voxels = 0, polygons = 0;
      for (double z = tumour.lowest_z() + kStep / 2; z < tumour.highest_z(); z += kStep) {
        std::vector<Point2> outline = tumour.Outline(z, 72);
        REQUIRE(outline.size() == 72);
        double area = 0, left = 1e9, right = -1e9, front = 1e9, back = -1e9;
        for (size_t i = 0; i < outline.size(); ++i) {
          const Point2& a = outline[i];
          const Point2& b = outline[(i + 1) % outline.size()];
          area += (a.x * b.y - b.x * a.y) / 2;
          left = std::min(left, a.x), right = std::max(right, a.x);
          front = std::min(front, a.y), back = std::max(back, a.y);
          CHECK(std::abs(tumour.Depth(a.x, a.y, z) - 1) < 1e-9);
        }
        CHECK(area > 0);
        polygons += area * kStep;
        for (double y = front - 1; y <= back + 1; y += kStep) {
          for (double x = left - 1; x <= right + 1; x += kStep) {
            if (tumour.Contains(x, y, z)) voxels += kStep * kStep * kStep;
          }
        }
      }
      INFO(name << " " << number);
      CHECK(polygons == Approx(voxels).epsilon(0.01));
      CHECK(polygons == Approx(tumour.volume_mm3()).epsilon(0.01));
    }
  }
}

TEST_CASE("phantom: the tumour stands out against muscle on every modality") {
  Key root(21);
  Site site = MakeSite(root, "south");
  for (int number = 1; number <= 12; ++number) {
    Patient patient = MakePatient(root, site, number);
    Anatomy anatomy(patient, site);
    const Tumour& solid = anatomy.tumour();
    CHECK(solid.mean_radius_mm() > 10);
    for (Modality modality : kAll) {
      Grid grid = GridOf(site.ScannerFor(modality));
      std::vector<float> signal = Render(anatomy, site.ScannerFor(modality), modality, patient.key);
      double tumour = 0, muscle = 0;
      int tumour_count = 0, muscle_count = 0;
      size_t at = 0;
      for (int k = 0; k < grid.slices; ++k) {
        for (int j = 0; j < grid.rows; ++j) {
          for (int i = 0; i < grid.columns; ++i, ++at) {
            double x = grid.X(i), y = grid.Y(j), z = grid.Z(k);
            // Its living middle: away from the partial volume at the ends and the rim.
            bool middle = std::abs(z - (solid.lowest_z() + solid.highest_z()) / 2) <
                          0.25 * (solid.highest_z() - solid.lowest_z());
            if (middle && solid.Depth(x, y, z) < 0.55 && anatomy.At(x, y, z) == Tissue::kTumour)
              tumour += signal[at], ++tumour_count;
            if (anatomy.At(x, y, z) == Tissue::kMuscle) {
              muscle += signal[at], ++muscle_count;
            }
          }
        }
      }
      INFO(number << " " << std::string(ModalityName(modality)));
      REQUIRE(tumour_count > 8);
      REQUIRE(muscle_count > 1000);
      tumour /= tumour_count;
      muscle /= muscle_count;
      if (modality == Modality::kCt) {
        // A soft kernel mixes air into what lies in a lung.
        bool in_air = patient.topography->code == "C34.1" || patient.topography->code == "C49.3";
        CHECK(tumour > muscle + (in_air ? -20 : 15));
        CHECK(tumour < muscle + 110);
      } else {
        CHECK(tumour > (modality == Modality::kPt ? 2 : 1.15) * muscle);
      }
    }
  }
}

TEST_CASE("clinical table: rows parse, agree with the objects and vary") {
  Plan plan{7, {"north"}, 60, {Modality::kCt}};
  Key root(plan.seed);
  Site site = MakeSite(root, "north");
  std::vector<Patient> patients;
  for (int i = 1; i <= plan.patients; ++i) patients.push_back(MakePatient(root, site, i));
  std::string table = ClinicalTable(patients);
  std::vector<std::string> lines = absl::StrSplit(table, '\n', absl::SkipEmpty());
  REQUIRE(lines.size() == 61);
  CHECK(
      lines[0] ==
      "patient_id,sex,birth_date,diagnosis_date,age_at_diagnosis,topography,histology,stage,grade,"
      "free_text_note,last_follow_up,vital_status,issuer_of_patient_id");
  std::set<std::string> ids, topographies, stages, vital;
  for (size_t i = 1; i < lines.size(); ++i) {
    // The note is the one quoted field.
    size_t open = lines[i].find('"'), close = lines[i].rfind('"');
    REQUIRE(open != std::string::npos);
    std::vector<std::string> before = absl::StrSplit(lines[i].substr(0, open), ',');
    std::vector<std::string> after = absl::StrSplit(lines[i].substr(close + 1), ',');
    REQUIRE(before.size() == 10);
    REQUIRE(after.size() == 4);
    CHECK(before[0] == patients[i - 1].id);
    CHECK(after[3] == site.institution);
    CHECK(ids.insert(before[0]).second);
    CHECK((before[1] == "F" || before[1] == "M"));
    CHECK(before[2] < before[3]);
    CHECK(before[3] < after[1]);
    int age = 0;
    REQUIRE(absl::SimpleAtoi(before[4], &age));
    CHECK((age >= 19 && age <= 97));
    if (before[5] == "C50.4") CHECK(before[1] == "F");
    topographies.insert(before[5]);
    stages.insert(before[7]);
    vital.insert(after[2]);
    CHECK(absl::StrContains(lines[i], before[0]));
  }
  CHECK(topographies.size() == 6);
  CHECK(stages.size() == 4);
  CHECK(vital.size() == 2);
}

TEST_CASE("clinical table: an age is counted in completed years") {
  CHECK(YearsBetween(absl::CivilDay(1960, 6, 15), absl::CivilDay(2020, 6, 14)) == 59);
  CHECK(YearsBetween(absl::CivilDay(1960, 6, 15), absl::CivilDay(2020, 6, 15)) == 60);
  CHECK(YearsBetween(absl::CivilDay(1960, 2, 29), absl::CivilDay(2021, 2, 28)) == 60);
}

TEST_CASE("phantom: CT and PET share study and frame of reference, MR has its own") {
  Key root(2);
  Site site = MakeSite(root, "west");
  Patient patient = MakePatient(root, site, 1);
  Series ct = MakeSeries(patient, site, Modality::kCt);
  Series pt = MakeSeries(patient, site, Modality::kPt);
  Series mr = MakeSeries(patient, site, Modality::kMr);
  CHECK(ct.study_uid == pt.study_uid);
  CHECK(ct.frame_of_reference_uid == pt.frame_of_reference_uid);
  CHECK(std::equal(ct.origin, ct.origin + 3, pt.origin));
  CHECK(ct.series_uid != pt.series_uid);
  CHECK(mr.study_uid != ct.study_uid);
  CHECK(mr.frame_of_reference_uid != ct.frame_of_reference_uid);
}

TEST_CASE("phantom: a plan that makes no sense is refused with PLAN_INVALID") {
  const Plan good{1, {"a"}, 1, {Modality::kCt}};
  REQUIRE_OK(Check(good));
  std::vector<Plan> bad(8, good);
  bad[0].sites.clear();
  bad[1].sites = {"a", "A"};
  bad[2].sites = {"../a"};
  bad[3].sites = {std::string(25, 'a')};
  bad[4].patients = 0;
  bad[5].patients = 10000;
  bad[6].modalities.clear();
  bad[7].modalities = {Modality::kCt, Modality::kCt};
  for (const Plan& plan : bad) {
    REQUIRE_REASON(Check(plan), absl::StatusCode::kInvalidArgument, "PLAN_INVALID");
  }
}

TEST_CASE("phantom: a stopped run says INTERRUPTED") {
  oncomesh::testing::TemporaryFolder folder;
  Plan plan{1, {"a"}, 2, {Modality::kCt}};
  int left = 3;
  REQUIRE_REASON(WriteSite(plan, "a", folder / "a", [&](uint64_t) { return --left > 0; }),
                 absl::StatusCode::kCancelled, "INTERRUPTED");
  CHECK(left == 0);
}

}  // namespace oncomesh::phantom
