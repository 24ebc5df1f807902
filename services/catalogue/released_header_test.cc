// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/released_header.h"

#include <zlib.h>

#include <catch2/catch.hpp>

#include "libs/base/files.h"
#include "libs/dicom/file_meta.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "services/catalogue/testing_objects.h"

namespace oncomesh::catalogue {
namespace {

using terminology::Level;
using terminology::Registry;

absl::StatusOr<ReleasedHeader> Read(const std::string& bytes) {
  testing::TemporaryFolder folder;
  REQUIRE_OK(base::WriteFileAtomically(folder / "object.dcm", bytes));
  return ReadReleasedHeader(folder / "object.dcm", Registry::Builtin());
}

// The same object in Deflated Explicit VR Little Endian: a raw deflate stream (PS3.5 A.5).
std::string Deflated(const std::string& object, const std::string& instance) {
  std::string plain =
      dicom::MakeFileMeta("1.2.840.10008.5.1.4.1.1.2", instance, dicom::kExplicitLittleEndian);
  std::string data_set = object.substr(plain.size());
  std::string out = dicom::MakeFileMeta("1.2.840.10008.5.1.4.1.1.2", instance,
                                        dicom::kDeflatedExplicitLittleEndian);
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string deflated(deflateBound(&stream, data_set.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(data_set.data());
  stream.avail_in = static_cast<uInt>(data_set.size());
  stream.next_out = reinterpret_cast<Bytef*>(deflated.data());
  stream.avail_out = static_cast<uInt>(deflated.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  deflated.resize(stream.total_out);
  deflateEnd(&stream);
  return out + deflated;
}

std::string Object(std::map<uint32_t, std::pair<std::string, std::string>> extra = {}) {
  extra[0x00080060] = {"CS", "MR"};
  extra[0x00101010] = {"AS", "057Y"};
  return MakeObject(extra, "PATIENTA", "2.25.1", "2.25.2", "2.25.3");
}

TEST_CASE("released header: a deflated object is read as a plain one") {
  REQUIRE_VALUE(ReleasedHeader plain, Read(Object()));
  REQUIRE_VALUE(ReleasedHeader deflated, Read(Deflated(Object(), "2.25.3")));
  CHECK(deflated.patient_code == "PATIENTA");
  CHECK(deflated.study_uid == "2.25.1");
  CHECK(deflated.series_uid == "2.25.2");
  CHECK(deflated.sop_instance_uid == "2.25.3");
  CHECK(deflated.values == plain.values);
  CHECK(deflated.values[Level::kSeries]["modality"] == "MR");
  CHECK(deflated.bytes < plain.bytes);
}

TEST_CASE("released header: a deflated header may be long, and no more is inflated than it needs") {
  // Noise in front of the patient, so that the file is longer than the first read as well.
  std::string noise;
  uint32_t state = 1;
  for (int i = 0; i < 400'000; ++i) {
    state = state * 1664525 + 1013904223;
    noise.push_back(static_cast<char>(state >> 24));
  }
  REQUIRE_VALUE(ReleasedHeader noisy,
                Read(Deflated(Object({{0x00091010, {"OW", noise}}}), "2.25.3")));
  CHECK(noisy.patient_code == "PATIENTA");
  // Two hundred megabytes of nothing behind the header take some kilobytes of file; they are not
  // looked at, in front of it they are too much.
  std::string nothing(200 << 20, '\0');
  REQUIRE_VALUE(ReleasedHeader behind,
                Read(Deflated(Object({{0x00450010, {"OW", nothing}}}), "2.25.3")));
  CHECK(behind.patient_code == "PATIENTA");
  REQUIRE_REASON(Read(Deflated(Object({{0x00091010, {"OW", nothing}}}), "2.25.3")),
                 absl::StatusCode::kInvalidArgument, "OBJECT_UNREADABLE");
}

TEST_CASE("released header: a deflated object that is cut short or damaged is refused") {
  const std::string whole = Deflated(Object(), "2.25.3");
  const size_t begin = whole.size() - 80;
  for (size_t size = begin; size < begin + 40; ++size) {
    absl::StatusOr<ReleasedHeader> header = Read(whole.substr(0, size));
    // What was read before the cut may be all that is needed.
    if (header.ok()) CHECK(header->patient_code == "PATIENTA");
    if (!header.ok()) CHECK(absl::IsInvalidArgument(header.status()));
  }
  REQUIRE_REASON(Read(whole.substr(0, begin - 80)), absl::StatusCode::kInvalidArgument,
                 "OBJECT_UNREADABLE");
  std::string damaged = whole;
  for (size_t i = begin - 60; i < begin; ++i) damaged[i] = static_cast<char>(0xff);
  CHECK_FALSE(Read(damaged).ok());
}

}  // namespace
}  // namespace oncomesh::catalogue
