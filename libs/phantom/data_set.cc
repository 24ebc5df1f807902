// SPDX-License-Identifier: Apache-2.0
#include "libs/phantom/data_set.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace oncomesh::phantom {
namespace {

// The implementation that wrote a file, which PS3.7 D.3.3.2 asks for: fixed, so that a new version
// of this program still writes the same bytes.
constexpr char kImplementationClassUid[] = "2.25.300823504555604335438637499814666420118";
constexpr char kImplementationVersion[] = "ONCOMESH_PHANTOM";
constexpr char kExplicitLittleEndian[] = "1.2.840.10008.1.2.1";

void Append16(size_t value, std::string& out) {
  out.push_back(static_cast<char>(value));
  out.push_back(static_cast<char>(value >> 8));
}

void Append32(size_t value, std::string& out) {
  Append16(value, out);
  Append16(value >> 16, out);
}

bool HasLongLength(const char* vr) {
  absl::string_view name(vr, 2);
  return name == "OB" || name == "OW" || name == "SQ" || name == "UN" || name == "UT";
}

}  // namespace

void DataSet::Set(Tag tag, const char* vr, std::string bytes) {
  elements_[tag] = Element{{vr[0], vr[1]}, std::move(bytes)};
}

DataSet& DataSet::Text(Tag tag, const char (&vr)[3], absl::string_view value) {
  std::string bytes(value);
  if (bytes.size() % 2 != 0) bytes.push_back(absl::string_view(vr) == "UI" ? '\0' : ' ');
  Set(tag, vr, std::move(bytes));
  return *this;
}

DataSet& DataSet::Decimals(Tag tag, const std::vector<double>& values) {
  std::string text;
  for (double value : values) {
    // Minus zero would be a second spelling of zero.
    absl::StrAppend(&text, text.empty() ? "" : "\\",
                    absl::StrFormat("%.9g", value == 0 ? 0.0 : value));
  }
  return Text(tag, "DS", text);
}

DataSet& DataSet::Integer(Tag tag, int64_t value) { return Text(tag, "IS", absl::StrCat(value)); }

DataSet& DataSet::Uint16(Tag tag, uint16_t value) {
  std::string bytes;
  Append16(value, bytes);
  Set(tag, "US", std::move(bytes));
  return *this;
}

DataSet& DataSet::Int16(Tag tag, int16_t value) {
  std::string bytes;
  Append16(static_cast<uint16_t>(value), bytes);
  Set(tag, "SS", std::move(bytes));
  return *this;
}

DataSet& DataSet::Bytes(Tag tag, std::string value) {
  if (value.size() % 2 != 0) value.push_back('\0');
  Set(tag, "OB", std::move(value));
  return *this;
}

DataSet& DataSet::Words(Tag tag, const std::vector<uint16_t>& values) {
  std::string bytes;
  bytes.reserve(values.size() * 2);
  for (uint16_t value : values) Append16(value, bytes);
  Set(tag, "OW", std::move(bytes));
  return *this;
}

DataSet& DataSet::Items(Tag tag, const std::vector<DataSet>& items) {
  std::string bytes;
  for (const DataSet& item : items) {
    std::string content = item.Encode();
    Append16(0xfffe, bytes);
    Append16(0xe000, bytes);
    Append32(content.size(), bytes);
    bytes += content;
  }
  Set(tag, "SQ", std::move(bytes));
  return *this;
}

DataSet& DataSet::Code(Tag tag, absl::string_view value, absl::string_view scheme,
                       absl::string_view meaning) {
  return Items(tag, {DataSet()
                         .Text(0x00080100, "SH", value)
                         .Text(0x00080102, "SH", scheme)
                         .Text(0x00080104, "LO", meaning)});
}

std::string DataSet::Encode() const {
  std::string out;
  for (const auto& [tag, element] : elements_) {
    Append16(tag >> 16, out);
    Append16(tag & 0xffff, out);
    out.append(element.vr, 2);
    if (HasLongLength(element.vr)) {
      Append16(0, out);
      Append32(element.bytes.size(), out);
    } else {
      Append16(element.bytes.size(), out);
    }
    out += element.bytes;
  }
  return out;
}

std::string DataSet::EncodeFile() const {
  auto value = [this](Tag tag) {
    auto found = elements_.find(tag);
    return found == elements_.end() ? std::string() : found->second.bytes;
  };
  DataSet meta;
  meta.Bytes(0x00020001, std::string("\0\1", 2));
  meta.Set(0x00020002, "UI", value(0x00080016));
  meta.Set(0x00020003, "UI", value(0x00080018));
  meta.Text(0x00020010, "UI", kExplicitLittleEndian);
  meta.Text(0x00020012, "UI", kImplementationClassUid);
  meta.Text(0x00020013, "SH", kImplementationVersion);
  std::string rest = meta.Encode();
  std::string out(128, '\0');
  out += "DICM";
  Append16(0x0002, out);
  Append16(0x0000, out);
  out += "UL";
  Append16(4, out);
  Append32(rest.size(), out);
  return absl::StrCat(out, rest, Encode());
}

}  // namespace oncomesh::phantom
