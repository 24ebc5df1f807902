// SPDX-License-Identifier: Apache-2.0
#include "libs/dicom/file_meta.h"

namespace oncomesh::dicom {
namespace {

// Ours, made once at random (PS3.5 B.2).
constexpr char kImplementationClassUid[] = "2.25.149376206283015236391184270398166041213";
constexpr char kImplementationVersion[] = "ONCOMESH_1";

void Append16(std::string& out, uint16_t value) {
  out.push_back(static_cast<char>(value & 0xff));
  out.push_back(static_cast<char>(value >> 8));
}

void AppendElement(std::string& out, uint16_t element, absl::string_view vr,
                   absl::string_view value, char padding) {
  Append16(out, 0x0002);
  Append16(out, element);
  out.append(vr.data(), vr.size());
  Append16(out, static_cast<uint16_t>(value.size() + value.size() % 2));
  out.append(value.data(), value.size());
  if (value.size() % 2 != 0) out.push_back(padding);
}

// Whether the bytes at `offset` look like the start of a data set in `encoding`.
bool LooksLikeDataSet(absl::string_view bytes, size_t offset, Encoding encoding) {
  Element element;
  if (ReadElement(bytes, offset, encoding, element) != Step::kOk) return false;
  uint16_t group = Group(element.tag);
  if (group < 0x0008 || group > 0x0028 || IsPrivate(element.tag)) return false;
  // The first element of a data set is a short one.
  if (element.length > 1024 && element.vr != kSQ) return false;
  return encoding.explicit_vr || element.vr != kUN || IsGroupLength(element.tag);
}

Step GuessSyntax(absl::string_view bytes, size_t offset, bool complete, FileMeta& out) {
  if (bytes.size() < offset + 12) return complete ? Step::kMalformed : Step::kNeedMore;
  // Explicit first: two capital letters where a length would be astronomically large.
  for (absl::string_view uid : {kExplicitLittleEndian, kImplicitLittleEndian, kExplicitBigEndian}) {
    TransferSyntax syntax = TransferSyntaxOf(uid);
    if (LooksLikeDataSet(bytes, offset, syntax.encoding)) {
      out.syntax = syntax;
      out.data_set = offset;
      return Step::kOk;
    }
  }
  return Step::kMalformed;
}

}  // namespace

absl::string_view Trimmed(absl::string_view value) {
  while (!value.empty() && (value.back() == ' ' || value.back() == '\0')) value.remove_suffix(1);
  while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
  return value;
}

Step ReadFileMeta(absl::string_view bytes, bool complete, FileMeta& out) {
  if (bytes.size() < 132 && !complete) return Step::kNeedMore;
  bool preamble = bytes.size() >= 132 && bytes.substr(128, 4) == "DICM";
  size_t offset = preamble ? 132 : 0;
  const Encoding meta{.explicit_vr = true, .big_endian = false};
  bool found = false;
  std::string uid;
  for (;;) {
    Element element;
    Step step = ReadElement(bytes, offset, meta, element);
    if (step == Step::kNeedMore) {
      if (!complete) return step;
      break;
    }
    if (step != Step::kOk || Group(element.tag) != 0x0002) break;
    // Before its value is waited for: a length can say four gigabytes.
    if (element.undefined() || element.value > kMaxMetaBytes ||
        element.length > kMaxMetaBytes - element.value) {
      return Step::kMalformed;
    }
    size_t end = 0;
    step = FindEnd(bytes, element, meta, end);
    if (step != Step::kOk) return complete ? Step::kMalformed : step;
    absl::string_view value = Trimmed(bytes.substr(element.value, element.length));
    if (element.tag == 0x00020002) out.sop_class_uid = std::string(value);
    if (element.tag == 0x00020003) out.sop_instance_uid = std::string(value);
    if (element.tag == kTransferSyntaxUid) uid = std::string(value);
    found = true;
    offset = end;
  }
  if (!found || uid.empty()) return GuessSyntax(bytes, offset, complete, out);
  out.syntax = TransferSyntaxOf(uid);
  out.data_set = offset;
  return Step::kOk;
}

std::string MakeFileMeta(absl::string_view sop_class_uid, absl::string_view sop_instance_uid,
                         absl::string_view transfer_syntax_uid) {
  std::string group;
  Append16(group, 0x0002);
  Append16(group, 0x0001);
  group.append("OB\0\0\2\0\0\0\0\1", 10);
  AppendElement(group, 0x0002, "UI", sop_class_uid, '\0');
  AppendElement(group, 0x0003, "UI", sop_instance_uid, '\0');
  AppendElement(group, 0x0010, "UI", transfer_syntax_uid, '\0');
  AppendElement(group, 0x0012, "UI", kImplementationClassUid, '\0');
  AppendElement(group, 0x0013, "SH", kImplementationVersion, ' ');

  std::string out(128, '\0');
  out.append("DICM");
  uint32_t length = static_cast<uint32_t>(group.size());
  std::string bytes;
  Append16(bytes, static_cast<uint16_t>(length & 0xffff));
  Append16(bytes, static_cast<uint16_t>(length >> 16));
  AppendElement(out, 0x0000, "UL", bytes, '\0');
  out.append(group);
  return out;
}

}  // namespace oncomesh::dicom
