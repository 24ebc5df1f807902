// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/object_header.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "libs/dicom/file_meta.h"
#include "libs/dicom/uids.h"
#include "services/deidentification/sop_classes.h"
#include "services/deidentification/values.h"

namespace oncomesh::deidentification {
namespace {

using dicom::Element;
using dicom::Step;
using dicom::Tag;

// CodeValue of each item of the de-identification method code sequence whose scheme is DCM.
std::vector<std::string> ReadMethodCodes(absl::string_view bytes, const Element& sequence,
                                         size_t end, dicom::Encoding encoding) {
  std::vector<std::string> out;
  encoding = dicom::EncodingInside(sequence, encoding);
  absl::string_view code, scheme;
  size_t offset = sequence.value;
  auto close = [&] {
    if (scheme == "DCM" && code.size() == 6 && absl::StartsWith(code, "1131")) {
      out.emplace_back(code);
    }
    code = scheme = absl::string_view();
  };
  while (offset < end && out.size() < 32) {
    Element element;
    if (dicom::ReadElement(bytes.substr(0, end), offset, encoding, element) != Step::kOk) break;
    // Items are entered, so that one flat loop sees their elements.
    if (element.tag == dicom::kItem || dicom::Group(element.tag) == 0xfffe) {
      close();
      offset = element.value;
      continue;
    }
    size_t value_end = 0;
    if (dicom::FindEnd(bytes.substr(0, end), element, encoding, value_end) != Step::kOk) break;
    if (!element.undefined()) {
      absl::string_view value = dicom::Trimmed(bytes.substr(element.value, element.length));
      if (element.tag == 0x00080100) code = value;
      if (element.tag == 0x00080102) scheme = value;
    }
    offset = value_end;
  }
  close();
  return out;
}

bool IsPersonName(Tag tag) {
  const dicom::DictionaryEntry* entry = dicom::FindEntry(tag);
  return entry != nullptr && entry->vr == dicom::kPN;
}

bool NamesClass(Tag tag) {
  const dicom::DictionaryEntry* entry = dicom::FindEntry(tag);
  return entry != nullptr && entry->names_class;
}

// A whole number in one of the binary VRs; 0 when it is none.
uint64_t BinaryNumber(absl::string_view raw, bool big_endian) {
  if (raw.size() == 2) return dicom::Load16(raw, 0, big_endian);
  return raw.size() == 4 ? dicom::Load32(raw, 0, big_endian) : 0;
}

// Where a binary number of the image is kept; nullptr for other attributes.
uint64_t* NumberOf(ObjectHeader& header, Tag tag) {
  switch (tag) {
    case 0x00280002:
      return &header.samples;
    case 0x00280010:
      return &header.rows;
    case 0x00280011:
      return &header.columns;
    case 0x00280100:
      return &header.bits_allocated;
    default:
      return nullptr;
  }
}

// Whether the pixels were made by a camera, a scanner or a screen.
bool IsCaptured(absl::string_view conversion) {
  for (absl::string_view kind : {"DV", "DI", "DF", "WSD", "SD", "SI", "DRW"}) {
    if (conversion == kind) return true;
  }
  return false;
}

// The day of the first date in `value`, when it is another than those that are there.
void AddDay(absl::string_view value, std::vector<absl::string_view>& days) {
  constexpr size_t kMostDays = 16;
  absl::string_view day = value.substr(0, 8);
  if (days.size() >= kMostDays || std::find(days.begin(), days.end(), day) != days.end()) return;
  if (day.size() == 8 && IsDay(day)) days.push_back(day);
}

// The groups of letters and digits in `text` that a kept technical text must not have: of two
// characters and more, and no terms. Of an address the house number is none, of an identifier that
// is nothing but a number it is.
void AddPatientWords(absl::string_view text, const Vocabulary& vocabulary, IdentifyingWords& out) {
  std::vector<std::string> groups = WordGroups(text);
  for (std::string& group : groups) {
    bool number = std::all_of(group.begin(), group.end(),
                              [](unsigned char c) { return absl::ascii_isdigit(c); });
    if (group.size() < 2 || (number && group.size() < 4 && groups.size() > 1)) continue;
    if (!vocabulary.Knows(group)) out.insert(std::move(group));
  }
}

}  // namespace

bool IsIdentifier(Tag tag) {
  switch (tag) {
    case 0x00080050:  // accession number
    case 0x00100020:  // patient ID
    case 0x00101000:  // other patient IDs
    case 0x00101040:  // address
    case 0x00101050:  // insurance plan
    case 0x00101090:  // medical record locator
    case 0x00102154:  // telephone numbers
    case 0x00380010:  // admission ID
    case 0x00401006:  // order numbers, retired
    case 0x00401007:
    case 0x00402006:
    case 0x00402007:
    case 0x00402016:  // placer order number
    case 0x00402017:  // filler order number
      return true;
    default:
      return false;
  }
}

ObjectHeader ReadObjectHeader(absl::string_view bytes, size_t begin, size_t end,
                              dicom::Encoding encoding) {
  ObjectHeader out;
  bytes = bytes.substr(0, end);
  bool overlay_data[128] = {}, overlay_bits[128] = {};
  size_t offset = begin;
  while (offset < end) {
    Element element;
    if (dicom::ReadElement(bytes, offset, encoding, element) != Step::kOk) break;
    size_t value_end = 0;
    if (dicom::FindEnd(bytes, element, encoding, value_end) != Step::kOk) break;
    offset = value_end;
    if (element.tag == 0x00120064) {
      out.method_codes = ReadMethodCodes(bytes, element, value_end, encoding);
      continue;
    }
    if (element.undefined()) continue;
    absl::string_view raw = bytes.substr(element.value, element.length);
    if ((dicom::Group(element.tag) & 0xff00) == 0x6000) {
      size_t index = (dicom::Group(element.tag) & 0xff) / 2;
      if (dicom::ElementOf(element.tag) == 0x3000) overlay_data[index] = true;
      if (dicom::ElementOf(element.tag) == 0x0102 && raw.size() >= 2) {
        const size_t low = encoding.big_endian ? raw.size() - 2 : 0;
        overlay_bits[index] =
            overlay_bits[index] || dicom::Load16(raw, low, encoding.big_endian) != 0;
      }
      // Bits Allocated of an overlay of its own is 1.
      if (dicom::ElementOf(element.tag) == 0x0100 && raw.size() >= 2) {
        const size_t low = encoding.big_endian ? raw.size() - 2 : 0;
        overlay_bits[index] =
            overlay_bits[index] || dicom::Load16(raw, low, encoding.big_endian) > 1;
      }
      continue;
    }
    // Before blanks are trimmed: 32 is one.
    if (uint64_t* number = NumberOf(out, element.tag); number != nullptr) {
      *number = BinaryNumber(raw, encoding.big_endian);
      continue;
    }
    absl::string_view value = dicom::Trimmed(raw);
    if (value.empty()) continue;
    if (element.vr == dicom::kUI && !NamesClass(element.tag) &&
        dicom::StandardUidKind(value) == dicom::UidKind::kNone) {
      out.uid_values.push_back(value);
    }
    if ((element.vr == dicom::kDA || element.vr == dicom::kDT) && !dicom::IsPrivate(element.tag)) {
      AddDay(value, out.days);
    }
    if (IsIdentifier(element.tag)) out.identifier_values.push_back(value);
    if (element.vr == dicom::kPN || IsPersonName(element.tag)) out.name_values.push_back(value);
    switch (element.tag) {
      case dicom::kSopClassUid:
        out.sop_class_uid = value;
        break;
      case dicom::kSopInstanceUid:
        out.sop_instance_uid = value;
        break;
      case dicom::kStudyInstanceUid:
        out.study_uid = value;
        break;
      case dicom::kSeriesInstanceUid:
        out.series_uid = value;
        break;
      case dicom::kModality:
        out.modality = value;
        break;
      case dicom::kImageType:
        out.image_type = value;
        break;
      case dicom::kPatientId:
        out.patient_id = value;
        break;
      case dicom::kIssuerOfPatientId:
        out.issuer = value;
        break;
      case 0x0008103e:
        out.series_description = value;
        break;
      case 0x00400310:
        out.dose_comments = value;
        break;
      case 0x00080064:
        out.conversion_type = value;
        break;
      case 0x00280004:
        out.chroma_halved = value == "YBR_FULL_422";
        break;
      case 0x00280008:
        // What is no number leaves no image.
        if (!absl::SimpleAtoi(value, &out.frames)) out.frames = 0;
        break;
      case 0x00280301:
        out.burned_in = value;
        break;
      case 0x00120063:
        out.method_text = value;
        break;
      default:
        break;
    }
  }
  for (size_t i = 0; i < 128; ++i) {
    if (overlay_bits[i] && !overlay_data[i]) out.overlay_in_pixels = true;
  }
  return out;
}

absl::string_view QuarantineReason(const ObjectHeader& header, bool listed, bool pixels_checked) {
  absl::string_view sop_class = header.sop_class_uid;
  if (sop_class.empty() || !IsUid(sop_class)) return "SOP_CLASS_MISSING";
  if (sop_class == "1.2.840.10008.1.3.10") return "MEDIA_DIRECTORY";
  if (!IsUid(header.sop_instance_uid)) return "SOP_INSTANCE_MISSING";
  if (!IsUid(header.study_uid) || !IsUid(header.series_uid)) return "STUDY_MISSING";
  if (header.patient_id.empty()) return "PATIENT_ID_MISSING";
  // PDF, CDA, STL, OBJ and MTL: content that no rule for elements reaches.
  if (absl::StartsWith(sop_class, "1.2.840.10008.5.1.4.1.1.104.")) return "ENCAPSULATED_DOCUMENT";
  // A voice is a biometric, and what it says is a free text.
  if (absl::StartsWith(sop_class, "1.2.840.10008.5.1.4.1.1.9.4.") || header.modality == "AU") {
    return "AUDIO";
  }
  const SopClassReview review = listed ? SopClassReview::kReviewed : ReviewOf(sop_class);
  if (review == SopClassReview::kNotReviewed) return "SOP_CLASS_NOT_REVIEWED";
  if (header.overlay_in_pixels) return "OVERLAY_IN_PIXELS";
  if (pixels_checked) return {};
  if (absl::EqualsIgnoreCase(header.burned_in, "YES")) return "BURNED_IN_TEXT";
  std::vector<absl::string_view> kinds = absl::StrSplit(header.image_type, '\\');
  for (absl::string_view kind : kinds) {
    kind = dicom::Trimmed(kind);
    if (kind == "LABEL" || kind == "OVERVIEW") return "SPECIMEN_LABEL";
  }
  // A scanned document is a text, whatever its maker says of its pixels.
  if (header.conversion_type == "SD") return "POSSIBLE_BURNED_IN_TEXT";
  if (absl::EqualsIgnoreCase(header.burned_in, "NO")) return {};
  if (review == SopClassReview::kMayShowText || IsCaptured(header.conversion_type)) {
    return "POSSIBLE_BURNED_IN_TEXT";
  }
  if (IsScreenPage(sop_class, header.image_type, header.series_description, header.dose_comments)) {
    return "POSSIBLE_BURNED_IN_TEXT";
  }
  for (absl::string_view kind : kinds) {
    if (absl::StrContains(absl::AsciiStrToUpper(kind), "SCREEN")) return "POSSIBLE_BURNED_IN_TEXT";
  }
  return {};
}

bool PixelsFit(const ObjectHeader& header, uint64_t length) {
  // 2^64 bits are two exabytes: a larger product is no image.
  uint64_t bits = 1;
  for (uint64_t factor : {header.rows, header.columns, header.samples == 0 ? 1 : header.samples,
                          header.frames, header.bits_allocated}) {
    if (__builtin_mul_overflow(bits, factor, &bits)) return false;
  }
  auto is = [length](uint64_t bytes) { return length <= bytes + bytes % 2; };
  const uint64_t bytes = bits / 8 + (bits % 8 != 0 ? 1 : 0);
  // Some writers halve the chroma in name only.
  if (header.chroma_halved && length < bytes) return is(bytes / 3 * 2);
  return is(bytes);
}

bool CollectIdentifiers(const ObjectHeader& header, const Vocabulary& vocabulary,
                        ObjectContext& context) {
  constexpr size_t kMostIdentifiers = 4096;
  for (absl::string_view value : header.name_values) {
    AddIdentifyingWords(value, context.identifying);
    AddPatientWords(value, vocabulary, context.patient_words);
    for (absl::string_view word : absl::StrSplit(value, absl::ByAnyChar("^=\\ ,"))) {
      word = dicom::Trimmed(word);
      if (!vocabulary.Knows(word)) context.identifiers.Add(word);
    }
  }
  for (absl::string_view value : header.identifier_values) {
    AddIdentifyingWords(value, context.identifying);
    AddPatientWords(value, vocabulary, context.patient_words);
    for (absl::string_view id : absl::StrSplit(value, '\\')) {
      id = dicom::Trimmed(id);
      bool letters =
          std::any_of(id.begin(), id.end(), [](unsigned char c) { return absl::ascii_isalpha(c); });
      // Short numbers are everywhere, in values that mean something else.
      if (id.size() >= (letters ? 4 : 6) && !vocabulary.Knows(id)) context.identifiers.Add(id);
    }
  }
  for (absl::string_view value : header.uid_values) {
    for (absl::string_view uid : absl::StrSplit(value, '\\')) {
      uid = dicom::Trimmed(uid);
      if (uid.size() >= 16) context.identifiers.Add(uid);
    }
  }
  // In the other spellings every date is telling (HasTellingNumbers); these may be a version.
  for (absl::string_view day : header.days) {
    context.identifiers.Add(day);
    context.identifiers.Add(
        absl::StrCat(day.substr(0, 4), ".", day.substr(4, 2), ".", day.substr(6)));
  }
  context.identifiers.Finish();
  return context.identifiers.size() <= kMostIdentifiers;
}

}  // namespace oncomesh::deidentification
