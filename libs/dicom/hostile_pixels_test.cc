// SPDX-License-Identifier: Apache-2.0
// Compressed pixels that lie. Each damaged object is read in a process of its own: whatever a
// decoder does to it, an abort or a fault shows as its end, and a loop as its time limit.
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <ctime>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "libs/base/child_process.h"
#include "libs/base/files.h"
#include "libs/dicom/pixel_jpegls.h"
#include "libs/dicom/series_image.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "libs/testing/test_data.h"

namespace oncomesh::dicom {
namespace {

// Runs a program of the DCMTK package; false when it is not there.
bool Dcmtk(std::vector<std::string> argv) {
  base::ChildCommand command;
  command.argv = std::move(argv);
  command.environment = {"PATH=/usr/bin:/bin"};
  command.deadline = absl::Seconds(60);
  absl::StatusOr<base::ChildResult> result = base::RunChild(command);
  if (!result.ok()) return false;
  INFO(result->errors);
  REQUIRE(result->exit_status == 0);
  return true;
}

struct Sample {
  std::string name;
  std::string bytes;
};

// One real slice in every compression, by other people's encoders; and the files of the zoo.
std::vector<Sample> Samples(const testing::TemporaryFolder& folder) {
  std::vector<Sample> out;
  const std::string zoo = testing::TestData("dicom-zoo");
  if (zoo.empty()) return out;
  for (const char* name : {"JLSL_16_15_1_1F.dcm", "OBXXXX1A_rle.dcm", "emri_small.dcm"}) {
    absl::StatusOr<std::string> bytes = base::ReadFile(zoo + "/" + name);
    if (bytes.ok()) out.push_back({name, *std::move(bytes)});
  }
  // Near-lossless JPEG-LS is for unsigned pixels only.
  const std::string slice = zoo + "/693_UNCR.dcm",
                    unsigned_slice = zoo + "/MR-SIEMENS-DICOM-WithOverlays.dcm";
  const std::vector<std::pair<std::vector<std::string>, std::string>> encoders = {
      {{"dcmcjpls", "+el"}, slice},
      {{"dcmcjpls", "+en", "+md", "3"}, unsigned_slice},
      {{"dcmcjpls", "+el"}, unsigned_slice},
      {{"dcmcjpeg", "+e1"}, slice},
      {{"dcmcjpeg", "+el"}, slice},
      {{"dcmcjpeg", "+ee"}, unsigned_slice},
      {{"dcmcrle"}, slice}};
  for (const auto& [encoder, source] : encoders) {
    std::vector<std::string> argv = encoder;
    const std::string path = folder / "encoded.dcm";
    argv.push_back(source);
    argv.push_back(path);
    if (!Dcmtk(argv)) {
      WARN(encoder[0] << " is not installed");
      continue;
    }
    REQUIRE_VALUE(std::string bytes, base::ReadFile(path));
    out.push_back({encoder[0] + " " + (encoder.size() > 1 ? encoder[1] : ""), std::move(bytes)});
  }
  return out;
}

// Reads it in a child; the status as waitpid gives it.
int ReadInChild(const std::string& bytes) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    // Catch2's handlers would report the death of a child as the test's.
    for (int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) ::signal(signal, SIG_DFL);
    rlimit none{0, 0}, seconds{20, 20};
    setrlimit(RLIMIT_CORE, &none);
    setrlimit(RLIMIT_CPU, &seconds);
    absl::StatusOr<ImageObject> image = ReadImage(bytes);
    bool whole = true;
    if (image.ok()) {
      for (const Slice& slice : image->slices) {
        whole = whole && slice.values.size() == static_cast<size_t>(image->rows) * image->columns;
      }
    }
    _exit(whole ? 0 : 3);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return status;
}

// Where the compressed stream begins: behind the item of the offset table.
size_t PixelsAt(const std::string& bytes) {
  const size_t element = bytes.rfind(std::string("\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff", 12));
  return element == std::string::npos ? bytes.size() / 2 : element + 12;
}

TEST_CASE("pixels: no damaged stream of any compression ends the process") {
  testing::TemporaryFolder folder;
  const std::vector<Sample> samples = Samples(folder);
  if (samples.empty()) {
    WARN("no shared data: nothing to damage");
    return;
  }
  const char* asked = std::getenv("ONCOMESH_TEST_DAMAGES");
  const int damages = asked == nullptr ? 40 : std::atoi(asked);
  std::mt19937 random(20261124);
  for (const Sample& sample : samples) {
    INFO(sample.name);
    REQUIRE(ReadInChild(sample.bytes) == 0);
    const size_t pixels = PixelsAt(sample.bytes);
    for (int i = 0; i < damages; ++i) {
      std::string damaged = sample.bytes;
      auto somewhere = [&](size_t from, size_t to) { return from + random() % (to - from); };
      // The first bytes hold the headers of the coding, where a lie does most.
      const size_t end = i % 2 == 0 ? std::min(pixels + 120, damaged.size()) : damaged.size();
      const int bytes = 1 + static_cast<int>(random() % 4);
      for (int b = 0; b < bytes; ++b) {
        damaged[somewhere(pixels, end)] = static_cast<char>(random());
      }
      if (i % 8 == 7) damaged.resize(somewhere(pixels, damaged.size()));
      INFO("damage " << i);
      REQUIRE(ReadInChild(damaged) == 0);
    }
  }
}

TEST_CASE("pixels: JPEG-LS gives what DCMTK's own decoder gives") {
  testing::TemporaryFolder folder;
  int compared = 0;
  for (const Sample& sample : Samples(folder)) {
    const bool jpeg_ls = sample.name.find("JLSL") == 0 || sample.name.find("dcmcjpls") == 0;
    if (!jpeg_ls) continue;
    INFO(sample.name);
    REQUIRE_OK(base::WriteFileAtomically(folder / "in.dcm", sample.bytes));
    if (!Dcmtk({"dcmdjpls", folder / "in.dcm", folder / "out.dcm"})) continue;
    REQUIRE_VALUE(std::string plain, base::ReadFile(folder / "out.dcm"));
    absl::StatusOr<ImageObject> ours = ReadImage(sample.bytes);
    absl::StatusOr<ImageObject> theirs = ReadImage(plain);
    REQUIRE(ours.status().code() == theirs.status().code());
    if (!ours.ok()) continue;
    REQUIRE(ours->slices.size() == theirs->slices.size());
    for (size_t i = 0; i < ours->slices.size(); ++i) {
      REQUIRE(ours->slices[i].values == theirs->slices[i].values);
    }
    ++compared;
  }
  if (compared == 0) WARN("nothing to compare: no shared data, or no DCMTK programs");
}

TEST_CASE("JPEG-LS: fragments are joined to frames by their first marker") {
  const std::string a = "\xff\xd8 a", b = "\xff\xd8 b", rest = "rest";
  using Frames = std::vector<std::string>;
  CHECK(JpegFrames({a, b}, 2) == Frames{a, b});
  CHECK(JpegFrames({a, rest, b}, 2) == Frames{a + rest, b});
  CHECK(JpegFrames({a, rest, rest}, 1) == Frames{a + rest + rest});
  CHECK(JpegFrames({a, rest, rest, b}, 3).empty());
  CHECK(JpegFrames({rest, a, b}, 2).empty());
  CHECK(JpegFrames({}, 1).empty());
}

TEST_CASE("JPEG-LS: the example of ISO/IEC 14495-1 Annex H.3") {
  // Four by four samples of 8 bits and the bit stream, as the standard prints them.
  const std::string stream(
      "\xff\xd8"
      "\xff\xf7\x00\x0b\x08\x00\x04\x00\x04\x01\x01\x11\x00"
      "\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00"
      "\xc0\x00\x00\x6c\x80\x20\x8e\x01\xc0\x00\x00\x57\x40\x00\x00\x6e\xe6\x00\x00\x01\xbc\x18\x00"
      "\x00\x05\xd8\x00\x00\x91\x60"
      "\xff\xd9",
      57);
  const std::vector<uint8_t> samples = {0,  0,   90,  74,  68,  50,  43,  205,
                                        64, 145, 145, 145, 100, 145, 145, 145};
  std::vector<uint8_t> out(16);
  REQUIRE(DecodeJpegLsFrame(stream, 4, 4, 1, out.data()));
  CHECK(out == samples);
  // Samples of 8 bits in cells of 16.
  std::vector<uint8_t> wide(32);
  REQUIRE(DecodeJpegLsFrame(stream, 4, 4, 2, wide.data()));
  for (size_t i = 0; i < samples.size(); ++i) {
    CHECK(wide[2 * i] == samples[i]);
    CHECK(wide[2 * i + 1] == 0);
  }
  // Another size than the data set's, or no stream at all.
  CHECK_FALSE(DecodeJpegLsFrame(stream, 4, 5, 1, out.data()));
  CHECK_FALSE(DecodeJpegLsFrame(stream, 2, 4, 1, out.data()));
  CHECK_FALSE(DecodeJpegLsFrame("", 4, 4, 1, out.data()));
  CHECK_FALSE(DecodeJpegLsFrame(absl::string_view(stream).substr(0, 30), 4, 4, 1, out.data()));
  // Cut off anywhere it ends at once: a thousand frames of a few bytes each are soon written.
  const std::clock_t begin = std::clock();
  for (size_t cut = 0; cut < stream.size(); ++cut) {
    const bool decoded =
        DecodeJpegLsFrame(absl::string_view(stream).substr(0, cut), 4, 4, 1, out.data());
    if (cut < 50) CHECK_FALSE(decoded);
    if (decoded) CHECK(out == samples);
  }
  CHECK(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC < 2);
}

}  // namespace
}  // namespace oncomesh::dicom
