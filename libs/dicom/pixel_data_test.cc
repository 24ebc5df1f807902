// SPDX-License-Identifier: Apache-2.0
#include "libs/dicom/pixel_data.h"

#include <dcmtk/config/osconfig.h>
// After osconfig.h.
#include <dcmtk/dcmdata/dcostrmb.h>
#include <dcmtk/dcmdata/dcrleerg.h>
#include <dcmtk/dcmdata/dcrlerp.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmjpeg/djencode.h>
#include <dcmtk/dcmjpeg/djrplol.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "libs/base/files.h"
#include "libs/dicom/file_meta.h"
#include "libs/dicom/pixel_rle.h"
#include "libs/dicom/segmentation.h"
#include "libs/dicom/series_image.h"
#include "libs/dicom/structure_set.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/test_data.h"

namespace oncomesh::dicom {
namespace {

constexpr int kRows = 12, kColumns = 10;

// 12-bit values, signed ones in two's complement.
std::vector<Uint16> Pattern(bool is_signed) {
  std::vector<Uint16> stored;
  for (int i = 0; i < kRows * kColumns; ++i) {
    stored.push_back(static_cast<Uint16>((i * 30 - (is_signed ? 1800 : 0)) & 0x0fff));
  }
  return stored;
}

double Expected(size_t i, bool is_signed) {
  return (static_cast<int>(i) * 30 - (is_signed ? 1800 : 0)) * 0.5 - 10;
}

void Fill(DcmDataset& data, bool is_signed = true) {
  data.putAndInsertString(DCM_SOPClassUID, UID_CTImageStorage);
  data.putAndInsertString(DCM_SOPInstanceUID, "2.25.1");
  data.putAndInsertString(DCM_SeriesInstanceUID, "2.25.2");
  data.putAndInsertString(DCM_Modality, "CT");
  data.putAndInsertString(DCM_ImagePositionPatient, "-10.5\\20\\30.25");
  data.putAndInsertString(DCM_ImageOrientationPatient, "1\\0\\0\\0\\1\\0");
  data.putAndInsertString(DCM_PixelSpacing, "0.75\\0.5");
  data.putAndInsertString(DCM_RescaleSlope, "0.5");
  data.putAndInsertString(DCM_RescaleIntercept, "-10");
  data.putAndInsertString(DCM_PhotometricInterpretation, "MONOCHROME2");
  data.putAndInsertUint16(DCM_SamplesPerPixel, 1);
  data.putAndInsertUint16(DCM_Rows, kRows);
  data.putAndInsertUint16(DCM_Columns, kColumns);
  data.putAndInsertUint16(DCM_BitsAllocated, 16);
  data.putAndInsertUint16(DCM_BitsStored, 12);
  data.putAndInsertUint16(DCM_HighBit, 11);
  data.putAndInsertUint16(DCM_PixelRepresentation, is_signed ? 1 : 0);
  std::vector<Uint16> stored = Pattern(is_signed);
  data.putAndInsertUint16Array(DCM_PixelData, stored.data(), stored.size());
}

std::string Encode(DcmFileFormat& file, E_TransferSyntax syntax) {
  std::string out(1 << 16, '\0');
  DcmOutputBufferStream stream(out.data(), out.size());
  file.transferInit();
  REQUIRE(file.write(stream, syntax, EET_UndefinedLength, nullptr).good());
  file.transferEnd();
  stream.flush();  // what deflate holds back
  void* buffer = nullptr;
  offile_off_t length = 0;
  stream.flushBuffer(buffer, length);
  out.resize(static_cast<size_t>(length));
  return out;
}

std::string Image(E_TransferSyntax syntax, const DcmRepresentationParameter* parameter = nullptr,
                  bool is_signed = true) {
  DcmFileFormat file;
  Fill(*file.getDataset(), is_signed);
  REQUIRE(file.getDataset()->chooseRepresentation(syntax, parameter).good());
  return Encode(file, syntax);
}

void RequirePattern(const std::string& bytes, bool is_signed = true) {
  REQUIRE_VALUE(ImageObject image, ReadImage(bytes));
  REQUIRE(image.slices.size() == 1);
  const Slice& slice = image.slices[0];
  REQUIRE(slice.values.size() == kRows * kColumns);
  for (size_t i = 0; i < slice.values.size(); ++i) {
    REQUIRE(static_cast<double>(slice.values[i]) == Expected(i, is_signed));
  }
  REQUIRE(slice.position == std::array<double, 3>{-10.5, 20, 30.25});
  REQUIRE(slice.row_spacing == 0.75);
  REQUIRE(slice.column_spacing == 0.5);
}

TEST_CASE("pixels: every encoding of an image gives the same values") {
  DJEncoderRegistration::registerCodecs();
  DcmRLEEncoderRegistration::registerCodecs();
  DcmRLERepresentationParameter rle;
  DJ_RPLossless jpeg;
  RequirePattern(Image(EXS_LittleEndianExplicit));
  RequirePattern(Image(EXS_LittleEndianImplicit));
  RequirePattern(Image(EXS_BigEndianExplicit));
  RequirePattern(Image(EXS_DeflatedLittleEndianExplicit));
  RequirePattern(Image(EXS_RLELossless, &rle));
  RequirePattern(Image(EXS_JPEGProcess14SV1, &jpeg));
  // Not JPEG-LS: DCMTK's encoder stops the program at sign-extended 12-bit values. Decoding it is
  // tested on files that others wrote.
}

TEST_CASE("pixels: padding is no tissue") {
  // Stored values are 30 i - 1800, signed, or 30 i.
  struct Case {
    bool is_signed;
    int value;
    std::optional<int> limit;
    int first, last;  // stored values that are padded
  };
  const Case cases[] = {{true, -1800, {}, -1800, -1800},
                        {true, -1800, -1500, -1800, -1500},
                        {true, -1500, -1800, -1800, -1500},
                        {true, 30, {}, 30, 30},
                        {false, 0, {}, 0, 0},
                        {false, 3570, 3480, 3480, 3570},
                        {true, 7, {}, 1, 0}};  // no pixel has it
  for (const Case& one : cases) {
    for (bool right_vr : {true, false}) {
      for (const char* modality : {"CT", "MR"}) {
        DcmFileFormat file;
        DcmDataset& data = *file.getDataset();
        Fill(data, one.is_signed);
        data.putAndInsertString(DCM_Modality, modality);
        // Devices write a signed value as US, too; the bits are meant.
        auto put = [&](const DcmTagKey& tag, int value) {
          if (one.is_signed == right_vr) {
            auto* element = new DcmSignedShort(DcmTag(tag, EVR_SS));
            REQUIRE(element->putSint16(static_cast<Sint16>(value), 0).good());
            REQUIRE(data.insert(element).good());
          } else {
            auto* element = new DcmUnsignedShort(DcmTag(tag, EVR_US));
            REQUIRE(element->putUint16(static_cast<Uint16>(value), 0).good());
            REQUIRE(data.insert(element).good());
          }
        };
        put(DCM_PixelPaddingValue, one.value);
        if (one.limit) put(DCM_PixelPaddingRangeLimit, *one.limit);
        REQUIRE_VALUE(ImageObject image, ReadImage(Encode(file, EXS_LittleEndianExplicit)));
        for (size_t i = 0; i < image.slices[0].values.size(); ++i) {
          const int stored = static_cast<int>(i) * 30 - (one.is_signed ? 1800 : 0);
          const bool padded = stored >= one.first && stored <= one.last;
          const double outside = modality == std::string("CT") ? -1000 : 0;
          REQUIRE(static_cast<double>(image.slices[0].values[i]) ==
                  (padded ? outside : Expected(i, one.is_signed)));
        }
      }
    }
  }
}

TEST_CASE("pixels: RLE as PS3.5 Annex G describes it, and nothing beyond its fragment") {
  // Two 16-bit samples repeated, then two as they are: high bytes, then low bytes.
  auto header = [](uint32_t segments, uint32_t first, uint32_t second) {
    std::string out(64, '\0');
    uint32_t values[] = {segments, first, second};
    std::memcpy(out.data(), values, sizeof(values));
    return out;
  };
  const std::string segments =
      std::string("\xff\x01\x01\x02\x03", 5) + '\0' + std::string("\x80\x03\x0a\x0b\x0c\x0d", 6);
  std::vector<uint16_t> out(4);
  auto decode = [&](const std::string& fragment) {
    return DecodeRleFrame(fragment, 4, 2, reinterpret_cast<uint8_t*>(out.data()));
  };
  REQUIRE(decode(header(2, 64, 70) + segments));
  REQUIRE(out == std::vector<uint16_t>{0x010a, 0x010b, 0x020c, 0x030d});
  REQUIRE_FALSE(decode(header(1, 64, 70) + segments));
  REQUIRE_FALSE(decode(header(2, 64, 4000000000u) + segments));
  REQUIRE_FALSE(decode(header(2, 4000000000u, 70) + segments));
  REQUIRE_FALSE(decode(header(2, 0, 70) + segments));
  REQUIRE_FALSE(decode(header(2, 72, 70) + segments));
  for (size_t cut = 0; cut < segments.size(); ++cut) {
    REQUIRE_FALSE(decode(header(2, 64, 70) + segments.substr(0, cut)));
  }
  REQUIRE_FALSE(decode(""));
}

TEST_CASE("pixels: what does not hold together has a reason") {
  auto with = [](auto change) {
    DcmFileFormat file;
    Fill(*file.getDataset());
    change(*file.getDataset());
    return ReadImage(Encode(file, EXS_LittleEndianExplicit)).status();
  };
  const auto invalid = absl::StatusCode::kInvalidArgument;
  REQUIRE_REASON(with([](DcmDataset& d) { d.putAndInsertUint16(DCM_Rows, kRows + 1); }), invalid,
                 "PIXELS_TRUNCATED");
  REQUIRE_REASON(with([](DcmDataset& d) { d.putAndInsertUint16(DCM_Rows, 60000); }), invalid,
                 "PIXELS_FORMAT");
  REQUIRE_REASON(with([](DcmDataset& d) { d.putAndInsertUint16(DCM_BitsStored, 17); }), invalid,
                 "PIXELS_FORMAT");
  REQUIRE_REASON(
      with([](DcmDataset& d) { d.putAndInsertString(DCM_NumberOfFrames, "2000000000"); }), invalid,
      "PIXELS_FORMAT");
  REQUIRE_REASON(with([](DcmDataset& d) { d.putAndInsertString(DCM_NumberOfFrames, "2"); }),
                 invalid, "IMAGE_NO_PLACE");
  REQUIRE_REASON(with([](DcmDataset& d) { d.findAndDeleteElement(DCM_PixelData); }), invalid,
                 "PIXELS_MISSING");
  REQUIRE_REASON(with([](DcmDataset& d) { d.findAndDeleteElement(DCM_Rows); }), invalid,
                 "PIXELS_MISSING");
  REQUIRE_REASON(with([](DcmDataset& d) { d.putAndInsertUint16(DCM_SamplesPerPixel, 3); }),
                 absl::StatusCode::kUnimplemented, "PIXELS_COLOUR");
  REQUIRE_REASON(with([](DcmDataset& d) { d.findAndDeleteElement(DCM_ImagePositionPatient); }),
                 invalid, "IMAGE_NO_PLACE");
  REQUIRE_REASON(
      with([](DcmDataset& d) { d.putAndInsertString(DCM_ImagePositionPatient, "1\\2"); }), invalid,
      "IMAGE_NO_PLACE");
  REQUIRE_REASON(with([](DcmDataset& d) {
                   d.putAndInsertString(DCM_ImageOrientationPatient, "1\\0\\0\\0.5\\0.8\\0");
                 }),
                 invalid, "IMAGE_NO_PLACE");
  REQUIRE_REASON(with([](DcmDataset& d) { d.putAndInsertString(DCM_PixelSpacing, "0\\1"); }),
                 invalid, "IMAGE_NO_PLACE");
  REQUIRE_REASON(with([](DcmDataset& d) { d.putAndInsertString(DCM_RescaleSlope, "0"); }), invalid,
                 "RESCALE_INVALID");
}

TEST_CASE("pixels: an object cut off anywhere is an error, never a crash and never an image") {
  const std::string whole = Image(EXS_LittleEndianExplicit);
  for (size_t length = 0; length < whole.size(); length += 7) {
    CHECK_FALSE(ReadImage(absl::string_view(whole).substr(0, length)).ok());
  }
}

TEST_CASE("pixels: sequences nested without end are refused, of whatever length they say to be") {
  const std::string preamble = std::string(128, '\0') + "DICM";
  // (0008,1140) SQ of undefined length, and an item of undefined length, over and over.
  std::string undefined = preamble;
  for (int i = 0; i < 100000; ++i) {
    undefined +=
        std::string("\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff", 20);
  }
  REQUIRE_REASON(ReadImage(undefined), absl::StatusCode::kInvalidArgument, "DICOM_UNREADABLE");
  // The same with defined lengths, all of them right, in SQ and in a private element of UN.
  for (const char* vr : {"SQ", "UN"}) {
    auto length = [](size_t n) {
      std::string out;
      for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(n >> shift);
      return out;
    };
    constexpr size_t kLevels = 5000;
    std::string defined = preamble;
    for (size_t i = kLevels; i-- > 0;) {
      defined += std::string("\x09\x00\x40\x11", 4) + vr + std::string(2, '\0') +
                 length(20 * i + 8) + std::string("\xfe\xff\x00\xe0", 4) + length(20 * i);
    }
    REQUIRE_REASON(ReadImage(defined), absl::StatusCode::kInvalidArgument, "DICOM_UNREADABLE");
  }
}

TEST_CASE("pixels: real odd files decode as others decode them, or say why not") {
  const std::string zoo = testing::TestData("dicom-zoo");
  if (zoo.empty()) {
    WARN("no shared test data: skipped");
    return;
  }
  auto read = [&](const std::string& name) { return *base::ReadFile(zoo + "/" + name); };
  auto mean = [](const std::vector<float>& values) {
    double sum = 0;
    for (float value : values) sum += static_cast<double>(value);
    return sum / static_cast<double>(values.size());
  };
  // Means as pydicom and numpy compute them.
  REQUIRE_VALUE(auto ct, ReadImage(read("693_UNCR.dcm")));
  // A fifth of this one is padding, -2000, which stands for air and not for -3024 HU.
  REQUIRE(mean(ct.slices[0].values) == Approx(-604.9503440856934).epsilon(1e-7));
  for (const char* name : {"emri_small.dcm", "emri_small_big_endian.dcm"}) {
    REQUIRE_VALUE(auto file, ParseObject(read(name)));
    REQUIRE_VALUE(PixelFormat format, ReadPixelFormat(*file));
    REQUIRE(format.frames == 10);
    REQUIRE_VALUE(auto frames, DecodeFrames(*file, format));
    double sum = 0;
    for (const auto& frame : frames) sum += mean(frame) / 10;
    REQUIRE(sum == Approx(109.69912109375).epsilon(1e-7));
  }
  REQUIRE_VALUE(auto map_file, ParseObject(read("parametric_map_float.dcm")));
  REQUIRE_VALUE(PixelFormat map_format, ReadPixelFormat(*map_file));
  REQUIRE_VALUE(auto map, DecodeFrames(*map_file, map_format));
  REQUIRE(mean(map[0]) == Approx(0.586980307681106).epsilon(1e-5));
  REQUIRE_REASON(ReadImage(read("693_J2KR.dcm")), absl::StatusCode::kUnimplemented,
                 "TRANSFER_SYNTAX_UNSUPPORTED");
  REQUIRE_REASON(ReadImage(read("SC_rgb.dcm")), absl::StatusCode::kUnimplemented, "PIXELS_COLOUR");
  // Whatever they are: an answer or a reason, also when they break off.
  for (const auto& entry : std::filesystem::directory_iterator(zoo)) {
    std::string bytes = *base::ReadFile(entry.path().string());
    for (size_t part : {bytes.size(), bytes.size() / 2, bytes.size() * 9 / 10}) {
      absl::string_view some = absl::string_view(bytes).substr(0, part);
      for (const absl::Status& status :
           {ReadImage(some).status(), ReadStructureSet(some).status(),
            ReadSegmentation(some).status(), Summarise(some).status()}) {
        if (!status.ok()) CHECK_FALSE(base::ErrorInfoOf(status).reason.empty());
      }
    }
  }
}

TEST_CASE("structure set: real contours are read as they are written") {
  const std::string sts = testing::TestData("sts/node-a/STS_012/CT/mask/RS.dcm");
  if (sts.empty()) {
    WARN("no shared test data: skipped");
    return;
  }
  REQUIRE_VALUE(StructureSet set, ReadStructureSet(*base::ReadFile(sts)));
  REQUIRE(set.regions.size() == 1);
  REQUIRE(set.referenced_series.size() == 1);
  const RegionOfInterest& region = set.regions[0];
  REQUIRE(region.name == "GTV_Mass_CT");
  REQUIRE(region.contours.size() == 22);
  for (const Contour& contour : region.contours) {
    CHECK(contour.type == Contour::Type::kClosedPlanar);
    CHECK(contour.points.size() >= 3);
  }
  REQUIRE_REASON(ReadStructureSet(Image(EXS_LittleEndianExplicit)),
                 absl::StatusCode::kInvalidArgument, "STRUCTURE_SET_INVALID");
}

TEST_CASE("segmentation: frames are found with their place and segment") {
  // Two segments on two planes, 3 rows of 5 single bits: frames are not aligned to bytes.
  DcmFileFormat file;
  DcmDataset& data = *file.getDataset();
  data.putAndInsertString(DCM_SOPClassUID, "1.2.840.10008.5.1.4.1.1.66.4");
  data.putAndInsertString(DCM_SOPInstanceUID, "2.25.9");
  data.putAndInsertString(DCM_Modality, "SEG");
  data.putAndInsertString(DCM_FrameOfReferenceUID, "2.25.3");
  data.putAndInsertString(DCM_SegmentationType, "BINARY");
  data.putAndInsertString(DCM_NumberOfFrames, "2");
  data.putAndInsertString(DCM_PhotometricInterpretation, "MONOCHROME2");
  data.putAndInsertUint16(DCM_SamplesPerPixel, 1);
  data.putAndInsertUint16(DCM_Rows, 3);
  data.putAndInsertUint16(DCM_Columns, 5);
  data.putAndInsertUint16(DCM_BitsAllocated, 1);
  data.putAndInsertUint16(DCM_BitsStored, 1);
  data.putAndInsertUint16(DCM_HighBit, 0);
  data.putAndInsertUint16(DCM_PixelRepresentation, 0);
  for (signed long i = 0; i < 2; ++i) {
    DcmItem* item = nullptr;
    data.findOrCreateSequenceItem(DCM_SegmentSequence, item, i);
    item->putAndInsertUint16(DCM_SegmentNumber, static_cast<Uint16>(i + 1));
    item->putAndInsertString(DCM_SegmentLabel, i == 0 ? "Tumour" : "Node");
    DcmItem *frame = nullptr, *group = nullptr;
    data.findOrCreateSequenceItem(DCM_PerFrameFunctionalGroupsSequence, frame, i);
    frame->findOrCreateSequenceItem(DCM_SegmentIdentificationSequence, group, 0);
    group->putAndInsertUint16(DCM_ReferencedSegmentNumber, static_cast<Uint16>(i + 1));
    frame->findOrCreateSequenceItem(DCM_PlanePositionSequence, group, 0);
    group->putAndInsertString(DCM_ImagePositionPatient, i == 0 ? "0\\0\\5" : "0\\0\\8");
  }
  DcmItem *shared = nullptr, *group = nullptr;
  data.findOrCreateSequenceItem(DCM_SharedFunctionalGroupsSequence, shared, 0);
  shared->findOrCreateSequenceItem(DCM_PlaneOrientationSequence, group, 0);
  group->putAndInsertString(DCM_ImageOrientationPatient, "1\\0\\0\\0\\1\\0");
  shared->findOrCreateSequenceItem(DCM_PixelMeasuresSequence, group, 0);
  group->putAndInsertString(DCM_PixelSpacing, "1\\1");
  // Frame 1: bits 0 and 14; frame 2: bit 15 + 7.
  const Uint8 bits[4] = {0x01, 0x40, 0x40, 0x00};
  data.putAndInsertUint8Array(DCM_PixelData, bits, 4);

  REQUIRE_VALUE(Segmentation read, ReadSegmentation(Encode(file, EXS_LittleEndianExplicit)));
  REQUIRE(read.frame_of_reference_uid == "2.25.3");
  REQUIRE(read.segments.size() == 2);
  REQUIRE(read.segments[1].label == "Node");
  REQUIRE(read.segments[0].slices.size() == 1);
  REQUIRE(read.segments[0].slices[0].position[2] == 5);
  std::vector<float> first(15, 0.0f), second(15, 0.0f);
  first[0] = first[14] = second[7] = 1;
  REQUIRE(read.segments[0].slices[0].values == first);
  REQUIRE(read.segments[1].slices[0].values == second);
}

// Bytes of a data set written by hand: what DCMTK would take minutes to put together.
std::string Le16(size_t value) {
  return {static_cast<char>(value & 0xff), static_cast<char>(value >> 8 & 0xff)};
}
std::string Le32(size_t value) { return Le16(value & 0xffff) + Le16(value >> 16); }
std::string TagOf(uint32_t tag) { return Le16(tag >> 16) + Le16(tag & 0xffff); }
// In implicit little endian.
std::string Implicit(uint32_t tag, std::string value) {
  if (value.size() % 2 != 0) value += ' ';
  return TagOf(tag) + Le32(value.size()) + value;
}
std::string Item(const std::string& elements) {
  return TagOf(0xfffee000) + Le32(elements.size()) + elements;
}
std::string Repeat(const std::string& text, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}

// A BINARY Segmentation of frames of eight by one pixels whose sequences are given.
std::string HandMadeSegmentation(size_t frames, const std::string& referenced,
                                 const std::string& segments, const std::string& shared,
                                 const std::string& per_frame) {
  return MakeFileMeta("1.2.840.10008.5.1.4.1.1.66.4", "2.25.9", "1.2.840.10008.1.2") +
         Implicit(0x00080016, "1.2.840.10008.5.1.4.1.1.66.4") + Implicit(0x00080018, "2.25.9") +
         Implicit(0x00080060, "SEG") + Implicit(0x00081115, referenced) +
         Implicit(0x00280002, Le16(1)) + Implicit(0x00280004, "MONOCHROME2") +
         Implicit(0x00280008, std::to_string(frames)) + Implicit(0x00280010, Le16(1)) +
         Implicit(0x00280011, Le16(8)) + Implicit(0x00280100, Le16(1)) +
         Implicit(0x00280101, Le16(1)) + Implicit(0x00280102, Le16(0)) +
         Implicit(0x00280103, Le16(0)) + Implicit(0x00620001, "BINARY") +
         Implicit(0x00620002, segments) + Implicit(0x52009229, Item(shared)) +
         Implicit(0x52009230, per_frame) + Implicit(0x7fe00010, std::string(frames, '\x01'));
}

std::string SegmentItem(size_t number) { return Item(Implicit(0x00620004, Le16(number))); }
std::string PlaneGroups() {
  return Implicit(0x00209116, Item(Implicit(0x00200037, "1\\0\\0\\0\\1\\0"))) +
         Implicit(0x00289110, Item(Implicit(0x00280030, "1\\1")));
}
std::string FrameItem(size_t number, size_t segment) {
  return Item(Implicit(0x00209113, Item(Implicit(0x00200032, "0\\0\\" + std::to_string(number)))) +
              Implicit(0x0062000a, Item(Implicit(0x0062000b, Le16(segment)))));
}

// Programs that a sanitizer watches are several times slower.
#if defined(__has_feature)
#define ONCOMESH_WATCHED __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#else
#define ONCOMESH_WATCHED 0
#endif
#if ONCOMESH_WATCHED
constexpr double kSlower = 10;
#else
constexpr double kSlower = 1;
#endif

// Seconds of this process, whatever else the machine does.
class CpuClock {
 public:
  double seconds() const {
    return static_cast<double>(std::clock() - begin_) / CLOCKS_PER_SEC / kSlower;
  }

 private:
  const std::clock_t begin_ = std::clock();
};

TEST_CASE("pixels: many fragments take no longer than their bytes") {
  // A frame of one pixel, and 200,000 fragments of two bytes behind it.
  std::string rle(64, '\0');
  const uint32_t header[] = {1, 64};
  std::memcpy(rle.data(), header, sizeof(header));
  rle += std::string("\x00\x2a", 2);
  auto object = [&](const char* syntax, const std::string& first, size_t more) {
    return MakeFileMeta(UID_CTImageStorage, "2.25.1", syntax) +
           [&] {
             DcmFileFormat file;
             Fill(*file.getDataset());
             DcmDataset& data = *file.getDataset();
             data.putAndInsertUint16(DCM_Rows, 1);
             data.putAndInsertUint16(DCM_Columns, 1);
             data.putAndInsertUint16(DCM_BitsAllocated, 8);
             data.putAndInsertUint16(DCM_BitsStored, 8);
             data.putAndInsertUint16(DCM_HighBit, 7);
             data.putAndInsertUint16(DCM_PixelRepresentation, 0);
             data.findAndDeleteElement(DCM_PixelData);
             std::string whole = Encode(file, EXS_LittleEndianExplicit);
             FileMeta meta;
             REQUIRE(ReadFileMeta(whole, true, meta) == Step::kOk);
             return whole.substr(meta.data_set);
           }() +
           TagOf(0x7fe00010) + std::string("OB\0\0\xff\xff\xff\xff", 8) + Item("") + Item(first) +
           Repeat(Item(std::string(2, '\0')), more) + TagOf(0xfffee0dd) + Le32(0);
  };
  CpuClock clock;
  REQUIRE_VALUE(ImageObject image, ReadImage(object("1.2.840.10008.1.2.5", rle, 200'000)));
  CHECK(image.slices[0].values == std::vector<float>{42 * 0.5f - 10});
  CHECK(clock.seconds() < 5);
  // JPEG and JPEG-LS that never end.
  for (const char* syntax : {"1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80"}) {
    CpuClock each;
    CHECK_FALSE(ReadImage(object(syntax, "\xff\xd8\xff\xe0", 200'000)).ok());
    CHECK(each.seconds() < 5);
  }
}

TEST_CASE("pixels: frames of JPEG are found whether they are one fragment or several") {
  DJEncoderRegistration::registerCodecs();
  DJ_RPLossless jpeg;
  constexpr int kFrames = 3;
  for (Uint32 fragment_kb : {0u, 1u}) {
    DcmFileFormat file;
    DcmDataset& data = *file.getDataset();
    Fill(data, false);
    data.putAndInsertString(DCM_NumberOfFrames, "3");
    constexpr int kSide = 64;
    data.putAndInsertUint16(DCM_Rows, kSide);
    data.putAndInsertUint16(DCM_Columns, kSide);
    std::vector<Uint16> stored;
    for (int i = 0; i < kFrames * kSide * kSide; ++i) {
      stored.push_back(static_cast<Uint16>((i * 2654435761u >> 16) & 0x0fff));  // hard to compress
    }
    data.putAndInsertUint16Array(DCM_PixelData, stored.data(), stored.size());
    for (signed long i = 0; i < kFrames; ++i) {
      DcmItem *frame = nullptr, *group = nullptr;
      data.findOrCreateSequenceItem(DCM_PerFrameFunctionalGroupsSequence, frame, i);
      frame->findOrCreateSequenceItem(DCM_PlanePositionSequence, group, 0);
      group->putAndInsertString(DCM_ImagePositionPatient, i == 0 ? "0\\0\\0" : "0\\0\\1");
    }
    DcmItem *shared = nullptr, *group = nullptr;
    data.findOrCreateSequenceItem(DCM_SharedFunctionalGroupsSequence, shared, 0);
    shared->findOrCreateSequenceItem(DCM_PlaneOrientationSequence, group, 0);
    group->putAndInsertString(DCM_ImageOrientationPatient, "1\\0\\0\\0\\1\\0");
    shared->findOrCreateSequenceItem(DCM_PixelMeasuresSequence, group, 0);
    group->putAndInsertString(DCM_PixelSpacing, "1\\1");
    DJEncoderRegistration::cleanup();
    DJEncoderRegistration::registerCodecs(ECC_lossyYCbCr, EUC_default, OFFalse, 0, 0, fragment_kb);
    REQUIRE(data.chooseRepresentation(EXS_JPEGProcess14SV1, &jpeg).good());
    std::string bytes(1 << 18, '\0');
    DcmOutputBufferStream stream(bytes.data(), bytes.size());
    file.transferInit();
    REQUIRE(file.write(stream, EXS_JPEGProcess14SV1, EET_UndefinedLength, nullptr).good());
    file.transferEnd();
    void* buffer = nullptr;
    offile_off_t length = 0;
    stream.flushBuffer(buffer, length);
    bytes.resize(static_cast<size_t>(length));
    REQUIRE_VALUE(ImageObject image, ReadImage(bytes));
    REQUIRE(image.slices.size() == kFrames);
    size_t at = 0;
    for (const Slice& slice : image.slices) {
      REQUIRE(slice.values.size() == kSide * kSide);
      for (float value : slice.values) REQUIRE(value == static_cast<float>(stored[at++]));
    }
    // Work that nobody waits for ends between two frames.
    int asked = 0;
    REQUIRE_REASON(ReadImage(bytes, true, [&] { return asked++ < kFrames + 1; }).status(),
                   absl::StatusCode::kAborted, "STOPPED");
  }
  DJEncoderRegistration::cleanup();
  DJEncoderRegistration::registerCodecs();
}

TEST_CASE("segmentation: many frames, segments and references take no longer than their bytes") {
  constexpr size_t kFrames = 60'000;
  std::string segments, frames;
  for (size_t i = 0; i < kFrames; ++i) {
    segments += SegmentItem(i + 1);
    frames += FrameItem(i, i + 1);
  }
  const std::string one = SegmentItem(1), first = FrameItem(0, 1);
  CpuClock clock;
  REQUIRE_VALUE(Segmentation read, ReadSegmentation(HandMadeSegmentation(kFrames, "", segments,
                                                                         PlaneGroups(), frames)));
  CHECK(read.segments.size() == kFrames);
  CHECK(read.segments.back().slices.size() == 1);
  CHECK(read.segments.back().slices[0].position[2] == kFrames - 1);
  CHECK(clock.seconds() < 10);

  // A list without end of what one study has few of.
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  CpuClock lists;
  REQUIRE_REASON(ReadSegmentation(
                     HandMadeSegmentation(1, Repeat(Item(""), 200'000), one, PlaneGroups(), first)),
                 kInvalid, "SEGMENTATION_INVALID");
  REQUIRE_REASON(
      ReadSegmentation(HandMadeSegmentation(1, "", Repeat(one, 200'000), PlaneGroups(), first)),
      kInvalid, "SEGMENTATION_INVALID");
  REQUIRE_VALUE(Segmentation more,
                ReadSegmentation(HandMadeSegmentation(1, "", one, PlaneGroups(),
                                                      first + Repeat(Item(""), 200'000))));
  CHECK(more.segments[0].slices.size() == 1);
  CHECK(lists.seconds() < 10);

  // What all frames share is large: it is looked at once.
  std::string padding;
  for (uint32_t i = 0; i < 20'000; ++i) padding += Implicit(0x00200100 + (i << 16), "");
  CpuClock shared;
  const std::string large =
      Implicit(0x00209116, Item(padding.substr(0, 8) + Implicit(0x00200037, "1\\0\\0\\0\\1\\0") +
                                padding.substr(8))) +
      Implicit(0x00289110, Item(Implicit(0x00280030, "1\\1") + padding.substr(8 * 9)));
  REQUIRE_VALUE(Segmentation wide,
                ReadSegmentation(HandMadeSegmentation(kFrames, "", segments, large, frames)));
  CHECK(wide.segments.back().slices.size() == 1);
  CHECK(shared.seconds() < 10);

  int asked = 0;
  REQUIRE_REASON(
      ReadSegmentation(HandMadeSegmentation(kFrames, "", segments, PlaneGroups(), frames),
                       [&] { return asked++ < 5; }),
      absl::StatusCode::kAborted, "STOPPED");
  CHECK(asked == 6);
}

TEST_CASE("objects: elements out of order, and private ones, cost a bounded time") {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  // In an item, where order is not looked at by anybody before: 200,000 elements from the last to
  // the first, and as many private ones of thousands of creators.
  std::string backwards, creators;
  for (uint32_t i = 200'000; i > 0; --i) backwards += Implicit(0x00100000 + i * 2, "");
  for (uint32_t group = 0x2001; group < 0x3001; group += 2) {
    for (uint32_t block = 0x10; block < 0x20; ++block) {
      creators += Implicit(group << 16 | block, "C");
    }
    for (uint32_t block = 0x1000; block < 0x1010; ++block) {
      creators += Implicit(group << 16 | block, "");
    }
  }
  for (const std::string& elements : {backwards, creators}) {
    CpuClock clock;
    REQUIRE_REASON(ReadSegmentation(HandMadeSegmentation(1, Item(elements), SegmentItem(1),
                                                         PlaneGroups(), FrameItem(0, 1))),
                   kInvalid, "DICOM_UNREADABLE");
    CHECK(clock.seconds() < 10);
  }
  // A few out of order are what some devices write.
  std::string few;
  for (uint32_t i = 2'000; i > 0; --i) few += Implicit(0x00100000 + i * 2, "");
  REQUIRE_OK(ReadSegmentation(
      HandMadeSegmentation(1, Item(few), SegmentItem(1), PlaneGroups(), FrameItem(0, 1))));
}

}  // namespace
}  // namespace oncomesh::dicom
