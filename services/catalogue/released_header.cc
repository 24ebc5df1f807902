// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/released_header.h"

#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "libs/dicom/file_meta.h"
#include "libs/dicom/walker.h"

namespace oncomesh::catalogue {
namespace {

using dicom::Element;
using dicom::Step;
using dicom::Tag;
using terminology::Variable;

constexpr Tag kTemporalInformationModified = 0x00280303;
// Most headers fit the first read; one with long sequences gets more, up to the last.
constexpr size_t kFirstRead = 64 << 10;
constexpr size_t kLargestHeader = 64 << 20;
// Nothing the index reads stands behind this group.
constexpr uint16_t kLastGroup = 0x0040;
constexpr uint32_t kLongestValue = 1024;

absl::Status Unreadable(absl::string_view what) {
  return base::Error(absl::StatusCode::kInvalidArgument, "OBJECT_UNREADABLE",
                     absl::StrCat("a released object ", what));
}

// Values of text elements by tag, of the data set that begins at `offset`. kNeedMore when `bytes`
// ends before the elements do.
Step WalkDataSet(absl::string_view bytes, size_t offset, const dicom::TransferSyntax& syntax,
                 bool complete, std::map<Tag, std::string>& out) {
  while (offset < bytes.size()) {
    Element element;
    Step step = dicom::ReadElement(bytes, offset, syntax.encoding, element);
    if (step != Step::kOk) return step;
    if (dicom::Group(element.tag) > kLastGroup) return Step::kOk;
    size_t end = 0;
    step = dicom::FindEnd(bytes, element, syntax.encoding, end);
    if (step != Step::kOk) return step;
    if (end > bytes.size()) return Step::kNeedMore;
    if (dicom::IsText(element.vr) && !element.undefined() && element.length <= kLongestValue) {
      out[element.tag] = std::string(dicom::Trimmed(bytes.substr(element.value, element.length)));
    }
    offset = end;
  }
  return complete ? Step::kOk : Step::kNeedMore;
}

// The same for a deflated data set (PS3.5 A.5), of which no more is inflated than is needed: what
// is behind the header may be large, or made to be.
Step WalkDeflated(absl::string_view deflated, const dicom::TransferSyntax& syntax, bool complete,
                  std::map<Tag, std::string>& out) {
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return Step::kMalformed;
  std::unique_ptr<z_stream, int (*)(z_stream*)> end(&stream, inflateEnd);
  // zlib does not write to its input.
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(deflated.data()));
  stream.avail_in = static_cast<uInt>(deflated.size());
  std::string inflated;
  for (size_t limit = kFirstRead; limit <= kLargestHeader; limit *= 4) {
    const size_t have = inflated.size();
    inflated.resize(limit);
    stream.next_out = reinterpret_cast<Bytef*>(inflated.data() + have);
    stream.avail_out = static_cast<uInt>(limit - have);
    const int result = inflate(&stream, Z_NO_FLUSH);
    inflated.resize(limit - stream.avail_out);
    const bool ended = result == Z_STREAM_END;
    if (!ended && result != Z_OK && result != Z_BUF_ERROR) return Step::kMalformed;
    out.clear();
    Step step = WalkDataSet(inflated, 0, syntax, ended, out);
    if (step != Step::kNeedMore || ended) return step;
    if (stream.avail_out > 0) return complete ? Step::kMalformed : Step::kNeedMore;
  }
  return Step::kMalformed;
}

// As WalkDataSet, of a file.
Step Walk(absl::string_view bytes, bool complete, std::map<Tag, std::string>& out) {
  dicom::FileMeta meta;
  Step step = dicom::ReadFileMeta(bytes, complete, meta);
  if (step != Step::kOk) return step;
  if (!meta.syntax.deflated) return WalkDataSet(bytes, meta.data_set, meta.syntax, complete, out);
  return WalkDeflated(bytes.substr(meta.data_set), meta.syntax, complete, out);
}

std::string ValueOf(const Variable& variable, const std::map<Tag, std::string>& elements) {
  unsigned tag = 0;
  if (!absl::SimpleHexAtoi(variable.source.dicom, &tag)) return "";
  auto found = elements.find(tag);
  if (found == elements.end()) return "";
  // Of several values the first counts.
  std::string text(
      dicom::Trimmed(absl::string_view(found->second).substr(0, found->second.find('\\'))));
  if (variable.source.rule == "age") {
    int years = AgeInYears(text);
    text = years < 0 ? "" : absl::StrCat(years);
  } else if (variable.source.rule == "unmodified_year") {
    // A shifted date has a year, but not that of the study.
    auto modified = elements.find(kTemporalInformationModified);
    bool as_it_was = modified != elements.end() && modified->second == "UNMODIFIED";
    text = as_it_was && text.size() == 8 ? text.substr(0, 4) : "";
  }
  if (text.empty()) return "";
  if (variable.numeric()) {
    absl::StatusOr<double> number = variable.ParseNumber(text);
    return number.ok() ? terminology::FormatNumber(*number) : "";
  }
  return variable.NormaliseCode(text).value_or("");
}

bool IsUid(absl::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isdigit(c) || c == '.';
  });
}

bool IsPatientCode(absl::string_view text) {
  return !text.empty() && text.size() <= 64 &&
         std::all_of(text.begin(), text.end(), [](char c) { return absl::ascii_isgraph(c) != 0; });
}

}  // namespace

int AgeInYears(absl::string_view age) {
  if (age.size() != 4) return -1;
  int number = 0;
  for (char c : age.substr(0, 3)) {
    if (!absl::ascii_isdigit(c)) return -1;
    number = number * 10 + (c - '0');
  }
  switch (age[3]) {
    case 'Y':
      return number;
    case 'M':
      return number / 12;
    case 'W':
      return number / 52;
    case 'D':
      return number / 365;
    default:
      return -1;
  }
}

absl::StatusOr<ReleasedHeader> ReadReleasedHeader(const std::string& path,
                                                  const terminology::Registry& registry) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (file == nullptr) return base::ErrnoStatus(errno, "open a released object");
  struct stat info{};
  if (fstat(fileno(file.get()), &info) != 0) {
    return base::ErrnoStatus(errno, "look at a released object");
  }
  std::string bytes;
  std::map<Tag, std::string> elements;
  for (size_t want = kFirstRead;; want *= 4) {
    size_t have = bytes.size();
    bytes.resize(std::min(want, kLargestHeader));
    size_t got = std::fread(bytes.data() + have, 1, bytes.size() - have, file.get());
    bytes.resize(have + got);
    if (std::ferror(file.get()) != 0) return base::ErrnoStatus(errno, "read a released object");
    bool complete = std::feof(file.get()) != 0;
    elements.clear();
    Step step = Walk(bytes, complete, elements);
    if (step == Step::kOk) break;
    if (step != Step::kNeedMore) return Unreadable("is not readable DICOM");
    if (complete) return Unreadable("ends in the middle of an element");
    if (want >= kLargestHeader) return Unreadable("has a header larger than 64 MiB");
  }
  ReleasedHeader out;
  out.bytes = static_cast<uint64_t>(info.st_size);
  out.patient_code = elements[dicom::kPatientId];
  out.study_uid = elements[dicom::kStudyInstanceUid];
  out.series_uid = elements[dicom::kSeriesInstanceUid];
  out.sop_instance_uid = elements[dicom::kSopInstanceUid];
  if (!IsPatientCode(out.patient_code) || !IsUid(out.study_uid) || !IsUid(out.series_uid) ||
      !IsUid(out.sop_instance_uid)) {
    return Unreadable("has no patient code or lacks a study, series or instance UID");
  }
  for (const auto& variable : registry.variables()) {
    if (variable->source.dicom.empty()) continue;
    std::string value = ValueOf(*variable, elements);
    if (!value.empty()) out.values[variable->level][variable->name] = value;
  }
  return out;
}

}  // namespace oncomesh::catalogue
