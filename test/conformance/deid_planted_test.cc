// SPDX-License-Identifier: Apache-2.0
// One CT image with tokens planted wherever something about a patient can hide, written by DCMTK in
// every class of transfer syntax. None may be found in the output, byte for byte; what research
// needs must still be there, read by DCMTK.
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcostrmz.h>
#include <dcmtk/dcmdata/dcpixel.h>
#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>
#include <dcmtk/dcmdata/dcrledrg.h>
#include <dcmtk/dcmdata/dcrleerg.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmjpeg/djdecode.h>
#include <dcmtk/dcmjpeg/djencode.h>
#include <zlib.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "libs/base/child_process.h"
#include "libs/base/files.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "services/deidentification/file_deidentifier.h"
#include "services/deidentification/release_check.h"
#include "services/deidentification/values.h"

namespace oncomesh::deidentification {
namespace {

// The token planted under each name, and where.
const std::map<std::string, std::string>& Tokens() {
  static const auto* const kTokens = new std::map<std::string, std::string>{
      {"patient name", "Zqfamily"},
      {"given name", "Zqgiven"},
      {"patient id", "ZQID77123"},
      {"other ids", "ZQOTHER8"},
      {"address", "Zqstreet 12"},
      {"telephone", "+49-30-5550123"},
      {"mother's name", "Zqmother"},
      {"comments", "Zqcomment"},
      {"history", "Zqhistory"},
      {"birth date", "19310203"},
      {"study date", "20190514"},
      {"acquisition datetime", "20190514101112"},
      {"age", "095Y"},
      {"accession", "ZQACC5521"},
      {"referring physician", "Zqreferrer"},
      {"operator", "Zqoperator"},
      {"institution", "Zqhospital"},
      {"institution address", "Zqtown"},
      {"station", "ZQSTATION"},
      {"serial", "ZQSERIAL99"},
      {"study description", "Zqdescription"},
      {"series description", "Zqseries"},
      {"protocol", "Zqprotocol"},
      {"nested name depth 1", "Zqnestone"},
      {"nested id depth 1", "ZQNEST1ID"},
      {"nested operator depth 2", "Zqnesttwo"},
      {"nested text depth 3", "Zqnestthree"},
      {"private text", "Zqprivate"},
      {"private unknown", "Zqunknown"},
      {"private sequence", "Zqprivseq"},
      {"private in standard sequence", "Zqprivnest"},
      {"content item text", "Zqcontent"},
      {"content item name", "Zqobserver"},
      {"overlay comment", "Zqoverlay"},
      {"meta ae title", "ZQSOURCEAE"},
      {"meta private", "Zqmetapriv"},
      {"template version", "20020904"},
      {"subject's birth date", "19310204"},
      {"preamble", "Zqpreamble"},
      {"trailing padding", "Zqtrailing"},
      {"study uid", "1.2.276.0.99.7230010.1001"},
      {"series uid", "1.2.276.0.99.7230010.1002"},
      {"instance uid", "1.2.276.0.99.7230010.1003"},
      {"frame of reference uid", "1.2.276.0.99.7230010.1004"},
      {"referenced uid", "1.2.276.0.99.7230010.1005"},
  };
  return *kTokens;
}

const char* Token(const char* where) { return Tokens().at(where).c_str(); }

void Put(DcmItem& item, const DcmTag& tag, const std::string& value) {
  REQUIRE(item.putAndInsertOFStringArray(tag, value.c_str()).good());
}

DcmItem& Sequence(DcmItem& item, const DcmTag& tag) {
  DcmItem* out = nullptr;
  REQUIRE(item.findOrCreateSequenceItem(tag, out, -2).good());
  return *out;
}

void PutPrivate(DcmItem& item, uint16_t element, DcmEVR vr, const std::string& value) {
  DcmElement* made = nullptr;
  DcmTag tag(0x0029, element, DcmVR(vr));
  tag.setPrivateCreator("ZQ VENDOR HEADER");
  if (vr == EVR_UN) {
    made = new DcmOtherByteOtherWord(tag);
    REQUIRE(made->putUint8Array(reinterpret_cast<const Uint8*>(value.data()),
                                static_cast<unsigned long>(value.size() & ~size_t{1}))
                .good());
  } else {
    made = new DcmLongString(tag);
    REQUIRE(made->putOFStringArray(value.c_str()).good());
  }
  REQUIRE(item.insert(made, OFTrue).good());
}

constexpr unsigned kSide = 64;

std::vector<Uint16> Pixels() {
  std::vector<Uint16> out(kSide * kSide);
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<Uint16>((i * 37) % 4096);
  return out;
}

void Fill(DcmDataset& data) {
  Put(data, DCM_SpecificCharacterSet, "ISO_IR 100");
  Put(data, DCM_ImageType, "ORIGINAL\\PRIMARY\\AXIAL");
  Put(data, DCM_SOPClassUID, UID_CTImageStorage);
  Put(data, DCM_SOPInstanceUID, Token("instance uid"));
  Put(data, DCM_StudyDate, Token("study date"));
  Put(data, DCM_SeriesDate, "20190521");
  Put(data, DCM_AcquisitionDateTime, Token("acquisition datetime"));
  Put(data, DCM_StudyTime, "101112");
  Put(data, DCM_AccessionNumber, Token("accession"));
  Put(data, DCM_Modality, "CT");
  Put(data, DCM_Manufacturer, "SIEMENS");
  Put(data, DCM_ManufacturerModelName, "Sensation 64");
  Put(data, DCM_InstitutionName, Token("institution"));
  Put(data, DCM_InstitutionAddress, Token("institution address"));
  Put(data, DCM_ReferringPhysicianName, absl::StrCat(Token("referring physician"), "^A"));
  Put(data, DCM_StationName, Token("station"));
  Put(data, DCM_StudyDescription, absl::StrCat("CT CHEST ", Token("study description")));
  Put(data, DCM_SeriesDescription, absl::StrCat("AXIAL 5mm ", Token("series description")));
  Put(data, DCM_OperatorsName, Token("operator"));
  Put(data, DCM_PatientName, absl::StrCat(Token("patient name"), "^", Token("given name")));
  Put(data, DCM_PatientID, Token("patient id"));
  Put(data, DCM_PatientBirthDate, Token("birth date"));
  Put(data, DCM_PatientSex, "F");
  Put(data, DCM_RETIRED_OtherPatientIDs, Token("other ids"));
  Put(data, DCM_PatientAge, Token("age"));
  Put(data, DCM_PatientWeight, "61.5");
  Put(data, DCM_PatientAddress, Token("address"));
  Put(data, DCM_PatientTelephoneNumbers, Token("telephone"));
  Put(data, DCM_PatientMotherBirthName, Token("mother's name"));
  Put(data, DCM_AdditionalPatientHistory, Token("history"));
  Put(data, DCM_PatientComments, Token("comments"));
  Put(data, DCM_BodyPartExamined, "CHEST");
  Put(data, DCM_SliceThickness, "5");
  Put(data, DCM_KVP, "120");
  Put(data, DCM_DeviceSerialNumber, Token("serial"));
  Put(data, DCM_ProtocolName, absl::StrCat("Thorax ", Token("protocol")));
  Put(data, DCM_StudyInstanceUID, Token("study uid"));
  Put(data, DCM_SeriesInstanceUID, Token("series uid"));
  Put(data, DCM_FrameOfReferenceUID, Token("frame of reference uid"));
  Put(data, DCM_ImagePositionPatient, "-10.5\\20\\30.25");
  Put(data, DCM_ImageOrientationPatient, "1\\0\\0\\0\\1\\0");
  Put(data, DCM_PixelSpacing, "0.75\\0.75");
  Put(data, DCM_PhotometricInterpretation, "MONOCHROME2");
  REQUIRE(data.putAndInsertUint16(DCM_SamplesPerPixel, 1).good());
  REQUIRE(data.putAndInsertUint16(DCM_Rows, kSide).good());
  REQUIRE(data.putAndInsertUint16(DCM_Columns, kSide).good());
  REQUIRE(data.putAndInsertUint16(DCM_BitsAllocated, 16).good());
  REQUIRE(data.putAndInsertUint16(DCM_BitsStored, 12).good());
  REQUIRE(data.putAndInsertUint16(DCM_HighBit, 11).good());
  REQUIRE(data.putAndInsertUint16(DCM_PixelRepresentation, 0).good());

  // A sequence that stays, three levels deep.
  DcmItem& series = Sequence(data, DCM_ReferencedSeriesSequence);
  Put(series, DCM_SeriesInstanceUID, Token("referenced uid"));
  Put(series, DCM_PatientName, Token("nested name depth 1"));
  Put(series, DCM_PatientID, Token("nested id depth 1"));
  PutPrivate(series, 0x1003, EVR_LO, Token("private in standard sequence"));
  DcmItem& instance = Sequence(series, DCM_ReferencedInstanceSequence);
  Put(instance, DCM_ReferencedSOPClassUID, UID_CTImageStorage);
  Put(instance, DCM_ReferencedSOPInstanceUID, Token("referenced uid"));
  Put(instance, DCM_OperatorsName, Token("nested operator depth 2"));
  DcmItem& purpose = Sequence(instance, DCM_PurposeOfReferenceCodeSequence);
  Put(purpose, DCM_CodeValue, "121322");
  Put(purpose, DCM_CodingSchemeDesignator, "DCM");
  Put(purpose, DCM_PatientComments, Token("nested text depth 3"));
  // A content item, as reports have them.
  DcmItem& content = Sequence(data, DCM_ContentSequence);
  Put(content, DCM_ValueType, "TEXT");
  Put(content, DCM_TextValue, Token("content item text"));
  Put(content, DCM_PersonName, Token("content item name"));
  // The subject context of a report (TID 1007), and which template it is of.
  DcmItem* birth = nullptr;
  REQUIRE(data.findOrCreateSequenceItem(DCM_ContentSequence, birth, -2).good());
  Put(*birth, DCM_ValueType, "DATE");
  DcmItem& concept_name = Sequence(*birth, DCM_ConceptNameCodeSequence);
  Put(concept_name, DCM_CodeValue, "121031");
  Put(concept_name, DCM_CodingSchemeDesignator, "DCM");
  Put(concept_name, DCM_CodeMeaning, "Subject Birth Date");
  Put(*birth, DCM_Date, Token("subject's birth date"));
  DcmItem& report_template = Sequence(content, DCM_ContentTemplateSequence);
  Put(report_template, DCM_TemplateIdentifier, "1500");
  Put(report_template, DCM_RETIRED_TemplateVersion, Token("template version"));
  // Private elements of a creator that nobody lists.
  PutPrivate(data, 0x1001, EVR_LO, Token("private text"));
  PutPrivate(data, 0x1002, EVR_UN, absl::StrCat(Token("private unknown"), " "));
  DcmTag private_sequence(0x0029, 0x1010, DcmVR(EVR_SQ));
  private_sequence.setPrivateCreator("ZQ VENDOR HEADER");
  Put(Sequence(data, private_sequence), DCM_LongCodeValue, Token("private sequence"));
  REQUIRE(data.putAndInsertString(DcmTag(0x6000, 0x4000, DcmVR(EVR_LT)), Token("overlay comment"))
              .good());
  std::vector<Uint16> pixels = Pixels();
  REQUIRE(data.putAndInsertUint16Array(DCM_PixelData, pixels.data(),
                                       static_cast<unsigned long>(pixels.size()))
              .good());
  // Behind the pixels.
  REQUIRE(data.putAndInsertUint8Array(DcmTag(0xfffc, 0xfffc, DcmVR(EVR_OB)),
                                      reinterpret_cast<const Uint8*>(Token("trailing padding")), 10)
              .good());
}

void RegisterCodecs() {
  static const bool kOnce = [] {
    DcmRLEEncoderRegistration::registerCodecs();
    DcmRLEDecoderRegistration::registerCodecs();
    DJEncoderRegistration::registerCodecs();
    DJDecoderRegistration::registerCodecs();
    return true;
  }();
  (void)kOnce;
}

struct Written {
  std::string path;
  // The pixel data element's value as DCMTK wrote it (fragments joined).
  std::string pixels;
};

std::string EncodedPixels(DcmDataset& data) {
  DcmElement* element = nullptr;
  REQUIRE(data.findAndGetElement(DCM_PixelData, element).good());
  auto* pixel_data = dynamic_cast<DcmPixelData*>(element);
  REQUIRE(pixel_data != nullptr);
  std::string out;
  DcmXfer xfer(data.getOriginalXfer());
  if (!xfer.isEncapsulated()) {
    Uint16* values = nullptr;
    REQUIRE(pixel_data->getUint16Array(values).good());
    out.assign(reinterpret_cast<const char*>(values), pixel_data->getLength());
    return out;
  }
  DcmPixelSequence* fragments = nullptr;
  E_TransferSyntax type = EXS_Unknown;
  const DcmRepresentationParameter* parameter = nullptr;
  pixel_data->getOriginalRepresentationKey(type, parameter);
  REQUIRE(pixel_data->getEncapsulatedRepresentation(type, parameter, fragments).good());
  for (unsigned long i = 0; i < fragments->card(); ++i) {
    DcmPixelItem* item = nullptr;
    REQUIRE(fragments->getItem(item, i).good());
    Uint8* bytes = nullptr;
    REQUIRE(item->getUint8Array(bytes).good());
    if (bytes != nullptr) out.append(reinterpret_cast<const char*>(bytes), item->getLength());
    out.push_back('|');
  }
  return out;
}

std::string EncodedPixelsOf(const std::string& path) {
  DcmFileFormat file;
  REQUIRE(file.loadFile(path.c_str()).good());
  return EncodedPixels(*file.getDataset());
}

std::string WriteObject(const std::string& path, E_TransferSyntax syntax, E_EncodingType encoding) {
  RegisterCodecs();
  DcmFileFormat file;
  Fill(*file.getDataset());
  if (syntax == EXS_JPEGLSLossless) {
    // By DCMTK's program: its copy of CharLS cannot be in one process with the one of libs/dicom.
    REQUIRE(file.saveFile((path + ".plain").c_str(), EXS_LittleEndianExplicit).good());
    base::ChildCommand command;
    command.argv = {"dcmcjpls", path + ".plain", path + ".encoded"};
    command.environment = {"PATH=/usr/bin:/bin"};
    REQUIRE_VALUE(base::ChildResult encoded, base::RunChild(command));
    INFO(encoded.errors);
    REQUIRE(encoded.exit_status == 0);
    REQUIRE(file.loadFile((path + ".encoded").c_str()).good());
    REQUIRE(file.loadAllDataIntoMemory().good());
    REQUIRE(std::filesystem::remove(path + ".plain"));
    REQUIRE(std::filesystem::remove(path + ".encoded"));
  } else if (DcmXfer(syntax).isEncapsulated()) {
    REQUIRE(file.getDataset()->chooseRepresentation(syntax, nullptr).good());
  }
  DcmMetaInfo& meta = *file.getMetaInfo();
  REQUIRE(meta.putAndInsertString(DCM_SourceApplicationEntityTitle, Token("meta ae title")).good());
  REQUIRE(meta.putAndInsertString(DCM_PrivateInformationCreatorUID, "1.2.276.0.99.1").good());
  REQUIRE(meta.putAndInsertUint8Array(DCM_PrivateInformation,
                                      reinterpret_cast<const Uint8*>(Token("meta private")), 10)
              .good());
  REQUIRE(
      file.saveFile(path.c_str(), syntax, encoding, EGL_withGL, EPD_noChange, 0, 0, EWM_fileformat)
          .good());
  std::fstream preamble(path, std::ios::in | std::ios::out | std::ios::binary);
  preamble.write(Token("preamble"), static_cast<long>(std::strlen(Token("preamble"))));
  return path;
}

std::string Bytes(const std::string& path) {
  absl::StatusOr<std::string> content = base::ReadFile(path);
  REQUIRE_OK(content);
  return *content;
}

// The bytes with a deflated data set inflated by zlib itself.
std::string Inflated(const std::string& bytes) {
  size_t start = 132;
  uint32_t length = 0;
  std::memcpy(&length, bytes.data() + start + 8, 4);
  start += 12 + length;
  z_stream stream{};
  REQUIRE(inflateInit2(&stream, -MAX_WBITS) == Z_OK);
  std::string out(1 << 20, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data() + start));
  stream.avail_in = static_cast<uInt>(bytes.size() - start);
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(inflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  inflateEnd(&stream);
  return bytes.substr(0, start) + out;
}

std::vector<std::string> Survivors(const std::string& bytes) {
  std::vector<std::string> out;
  std::string lower = bytes;
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const auto& [where, token] : Tokens()) {
    std::string wanted = token;
    for (char& c : wanted) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (lower.find(wanted) != std::string::npos) out.push_back(where);
  }
  return out;
}

std::string Text(DcmItem& item, const DcmTag& tag) {
  OFString out;
  item.findAndGetOFStringArray(tag, out);
  return out.c_str();
}

struct Case {
  const char* name;
  E_TransferSyntax syntax;
  E_EncodingType encoding;
};
const Case kCases[] = {
    {"explicit little endian, defined lengths", EXS_LittleEndianExplicit, EET_ExplicitLength},
    {"explicit little endian, undefined lengths", EXS_LittleEndianExplicit, EET_UndefinedLength},
    {"implicit little endian, defined lengths", EXS_LittleEndianImplicit, EET_ExplicitLength},
    {"implicit little endian, undefined lengths", EXS_LittleEndianImplicit, EET_UndefinedLength},
    {"explicit big endian, defined lengths", EXS_BigEndianExplicit, EET_ExplicitLength},
    {"explicit big endian, undefined lengths", EXS_BigEndianExplicit, EET_UndefinedLength},
    {"deflated", EXS_DeflatedLittleEndianExplicit, EET_UndefinedLength},
    {"RLE", EXS_RLELossless, EET_ExplicitLength},
    {"JPEG lossless", EXS_JPEGProcess14SV1, EET_UndefinedLength},
    {"JPEG-LS", EXS_JPEGLSLossless, EET_ExplicitLength},
};

TEST_CASE("deid: no planted token survives in any transfer syntax, and the pixels are untouched",
          "[conformance]") {
  testing::TemporaryFolder folder;
  int number = 0;
  for (const char* profile_name : {"basic", "research", "anonymous"}) {
    absl::StatusOr<Profile> profile = LoadProfile(profile_name);
    REQUIRE_OK(profile);
    Deidentifier deidentifier(*profile, std::string(kProjectKeyBytes, 'k'));
    for (const Case& c : kCases) {
      INFO(profile_name << ", " << c.name);
      std::string source = WriteObject(folder / absl::StrCat(number, ".dcm"), c.syntax, c.encoding);
      std::string all = Bytes(source);
      if (c.syntax == EXS_DeflatedLittleEndianExplicit) all = Inflated(all);
      REQUIRE(Survivors(all).size() == Tokens().size());

      FileDeidentifier worker(deidentifier, folder / absl::StrCat("out", number++), {});
      REQUIRE_VALUE(FileOutcome outcome, worker.Run(source));
      REQUIRE(outcome.outcome.reason == "");
      std::string output = absl::StrCat(folder.path(), "/out", number - 1, "/", outcome.path);
      std::string bytes = Bytes(output);
      REQUIRE(Survivors(outcome.path).empty());
      if (c.syntax == EXS_DeflatedLittleEndianExplicit) bytes = Inflated(bytes);
      std::vector<std::string> survivors = Survivors(bytes);
      std::string list;
      for (const std::string& where : survivors) list += where + "; ";
      CHECK(list == "");

      // A strict reader opens it, and the pixels are the same bytes.
      DcmFileFormat file;
      REQUIRE(file.loadFile(output.c_str()).good());
      REQUIRE(file.loadAllDataIntoMemory().good());
      DcmDataset& data = *file.getDataset();
      CHECK(data.getOriginalXfer() == c.syntax);
      CHECK(EncodedPixels(data) == EncodedPixelsOf(source));
      CHECK(Text(data, DCM_PatientIdentityRemoved) == "YES");
      CHECK(Text(data, DCM_PatientID) == outcome.outcome.patient_code);
      CHECK(Text(data, DCM_PatientName) == outcome.outcome.patient_code);
      CHECK(Text(*file.getMetaInfo(), DCM_MediaStorageSOPInstanceUID) ==
            Text(data, DCM_SOPInstanceUID));
      CHECK(Text(data, DCM_SOPInstanceUID) == outcome.outcome.sop_instance_uid);
      CHECK(Text(data, DCM_PixelSpacing) == "0.75\\0.75");
      CHECK(Text(data, DCM_Modality) == "CT");
      DcmItem* item = nullptr;
      REQUIRE(data.findAndGetSequenceItem(DCM_ReferencedSeriesSequence, item).good());
      std::string reference = Text(*item, DCM_SeriesInstanceUID);
      REQUIRE(item->findAndGetSequenceItem(DCM_ReferencedInstanceSequence, item).good());
      // One source UID is one new UID wherever it stands.
      CHECK(Text(*item, DCM_ReferencedSOPInstanceUID) == reference);
      CHECK(Text(*item, DCM_ReferencedSOPClassUID) == UID_CTImageStorage);
    }
  }
}

TEST_CASE("deid: the research profile keeps what research needs", "[conformance]") {
  testing::TemporaryFolder folder;
  absl::StatusOr<Profile> profile = LoadProfile("research");
  REQUIRE_OK(profile);
  Deidentifier deidentifier(*profile, std::string(kProjectKeyBytes, 'k'));
  std::string source = WriteObject(folder / "a.dcm", EXS_LittleEndianExplicit, EET_ExplicitLength);
  FileDeidentifier worker(deidentifier, folder / "out", {});
  REQUIRE_VALUE(FileOutcome outcome, worker.Run(source));
  DcmFileFormat file;
  REQUIRE(file.loadFile((folder / "out/" + outcome.path).c_str()).good());
  DcmDataset& data = *file.getDataset();
  CHECK(Text(data, DCM_PatientSex) == "F");
  CHECK(Text(data, DCM_PatientAge) == "090Y");
  CHECK(Text(data, DCM_PatientWeight) == "61.5");
  CHECK(Text(data, DCM_PatientBirthDate) == "");
  CHECK(Text(data, DCM_Manufacturer) == "SIEMENS");
  CHECK(Text(data, DCM_ManufacturerModelName) == "Sensation 64");
  CHECK(Text(data, DCM_StudyDescription) == "CT CHEST");
  CHECK(Text(data, DCM_SeriesDescription) == "AXIAL 5mm");
  CHECK(Text(data, DCM_ProtocolName) == "Thorax");
  CHECK(Text(data, DCM_StudyTime) == "101112");
  CHECK(Text(data, DCM_LongitudinalTemporalInformationModified) == "MODIFIED");
  // Seven days lie between study and series, before and after, and the weekday is the same.
  std::string study = Text(data, DCM_StudyDate), series = Text(data, DCM_SeriesDate);
  OFDate from, to, original;
  REQUIRE(DcmDate::getOFDateFromString(study.c_str(), from).good());
  REQUIRE(DcmDate::getOFDateFromString(series.c_str(), to).good());
  auto day_number = [](const OFDate& d) {
    std::tm tm{};
    tm.tm_year = static_cast<int>(d.getYear()) - 1900;
    tm.tm_mon = static_cast<int>(d.getMonth()) - 1;
    tm.tm_mday = static_cast<int>(d.getDay());
    return timegm(&tm) / 86400;
  };
  CHECK(day_number(to) - day_number(from) == 7);
  original.setDate(2019, 5, 14);
  CHECK((day_number(original) - day_number(from)) % 7 == 0);
  CHECK(day_number(original) - day_number(from) >= 364);
  CHECK(Text(data, DCM_AcquisitionDateTime) == study + "101112");
  // Dates that would tell the offset, or the age, are not shifted with the others.
  const std::string bytes = Bytes(folder / "out/" + outcome.path);
  const int days = deidentifier.pseudonym_keys().DateOffsetDays(Token("patient id"));
  for (const char* where : {"template version", "subject's birth date"}) {
    INFO(where);
    CHECK(bytes.find(*ShiftDates(Token(where), days)) == std::string::npos);
  }
}

TEST_CASE("deid: the search over the released bytes finds what was left in on purpose",
          "[conformance]") {
  testing::TemporaryFolder folder;
  absl::StatusOr<Profile> profile = LoadProfile("research");
  REQUIRE_OK(profile);
  Deidentifier deidentifier(*profile, std::string(kProjectKeyBytes, 'k'));
  std::string source = WriteObject(folder / "a.dcm", EXS_LittleEndianExplicit, EET_ExplicitLength);
  FileDeidentifier worker(deidentifier, folder / "out", {});
  REQUIRE_VALUE(FileOutcome outcome, worker.Run(source));
  REQUIRE_VALUE(SourceIdentifiers identifiers, SourceIdentifiers::Read(source, deidentifier));
  std::string clean = folder / "out/" + outcome.path;
  REQUIRE_VALUE(std::vector<std::string> none, SearchFile(clean, identifiers));
  CHECK(none.empty());
  std::string bytes = Bytes(clean);
  for (const char* where : {"patient name", "patient id", "study uid", "birth date", "address",
                            "nested name depth 1", "content item text"}) {
    INFO(where);
    REQUIRE_OK(
        base::WriteFileAtomically(folder / "dirty.dcm", bytes + " " + Token(where) + " and more"));
    REQUIRE_VALUE(std::vector<std::string> found, SearchFile(folder / "dirty.dcm", identifiers));
    CHECK(found.size() == 1);
  }
}

}  // namespace
}  // namespace oncomesh::deidentification
