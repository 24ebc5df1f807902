// SPDX-License-Identifier: Apache-2.0
#include "libs/dicom/walker.h"

#include <algorithm>
#include <cstring>

namespace oncomesh::dicom {
namespace {

bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }

bool AllZero(absl::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) { return c == 0; });
}

Step FindEndOfItems(absl::string_view bytes, size_t offset, Encoding encoding, size_t& end,
                    int depth);

// The end of an item of undefined length, behind its delimiter.
Step FindEndOfItem(absl::string_view bytes, size_t offset, Encoding encoding, size_t& end,
                   int depth) {
  for (;;) {
    Element element;
    Step step = ReadElement(bytes, offset, encoding, element);
    if (step != Step::kOk) return step;
    if (element.tag == kItemDelimiter) {
      if (element.length != 0) return Step::kMalformed;
      end = element.value;
      return Step::kOk;
    }
    if (element.tag == kItem || element.tag == kSequenceDelimiter) return Step::kMalformed;
    step = FindEnd(bytes, element, encoding, offset, depth);
    if (step != Step::kOk) return step;
  }
}

Step FindEndOfItems(absl::string_view bytes, size_t offset, Encoding encoding, size_t& end,
                    int depth) {
  for (;;) {
    Element item;
    Step step = ReadElement(bytes, offset, encoding, item);
    if (step != Step::kOk) return step;
    if (item.tag == kSequenceDelimiter) {
      if (item.length != 0) return Step::kMalformed;
      end = item.value;
      return Step::kOk;
    }
    if (item.tag != kItem) return Step::kMalformed;
    if (!item.undefined()) {
      if (item.length > bytes.size() - item.value) return Step::kNeedMore;
      offset = item.end();
      continue;
    }
    step = FindEndOfItem(bytes, item.value, encoding, offset, depth);
    if (step != Step::kOk) return step;
  }
}

Step FindEndOfFragments(absl::string_view bytes, size_t offset, Encoding encoding, size_t& end) {
  for (;;) {
    Element item;
    Step step = ReadElement(bytes, offset, encoding, item);
    if (step != Step::kOk) return step;
    if (item.tag == kSequenceDelimiter) {
      if (item.length != 0) return Step::kMalformed;
      end = item.value;
      return Step::kOk;
    }
    if (item.tag != kItem || item.undefined()) return Step::kMalformed;
    if (item.length > bytes.size() - item.value) return Step::kNeedMore;
    offset = item.end();
  }
}

}  // namespace

uint16_t Load16(absl::string_view bytes, size_t offset, bool big_endian) {
  auto at = [&](size_t i) {
    return static_cast<uint16_t>(static_cast<unsigned char>(bytes[offset + i]));
  };
  return static_cast<uint16_t>(big_endian ? at(0) << 8 | at(1) : at(1) << 8 | at(0));
}

uint32_t Load32(absl::string_view bytes, size_t offset, bool big_endian) {
  uint32_t first = Load16(bytes, offset, big_endian);
  uint32_t second = Load16(bytes, offset + 2, big_endian);
  return big_endian ? first << 16 | second : second << 16 | first;
}

Step ReadElement(absl::string_view bytes, size_t offset, Encoding encoding, Element& out) {
  if (offset > bytes.size() || bytes.size() - offset < 8) return Step::kNeedMore;
  const bool big = encoding.big_endian;
  out.offset = offset;
  out.tag = static_cast<Tag>(Load16(bytes, offset, big)) << 16 | Load16(bytes, offset + 2, big);
  if (Group(out.tag) == 0xfffe) {
    out.vr = 0;
    out.length = Load32(bytes, offset + 4, big);
    out.value = offset + 8;
    return Step::kOk;
  }
  if (!encoding.explicit_vr) {
    out.length = Load32(bytes, offset + 4, big);
    out.value = offset + 8;
    out.vr = LookupVr(out.tag);
    return Step::kOk;
  }
  char first = bytes[offset + 4], second = bytes[offset + 5];
  if (!IsUpper(first) || !IsUpper(second)) return Step::kMalformed;
  out.vr = Code(first, second);
  if (HasShortLength(out.vr)) {
    out.length = Load16(bytes, offset + 6, big);
    out.value = offset + 8;
    return Step::kOk;
  }
  if (bytes.size() - offset < 12) return Step::kNeedMore;
  out.length = Load32(bytes, offset + 8, big);
  out.value = offset + 12;
  return Step::kOk;
}

bool IsItemSequence(const Element& element, Encoding encoding) {
  if (element.vr == kSQ || element.vr == kUN) return true;
  return !encoding.explicit_vr && !IsPixelData(element.tag);
}

Encoding EncodingInside(const Element& element, Encoding encoding) {
  if (element.vr == kUN) return {.explicit_vr = false, .big_endian = false};
  return encoding;
}

Step FindEnd(absl::string_view bytes, const Element& element, Encoding encoding, size_t& end,
             int depth) {
  if (!element.undefined()) {
    if (element.length > bytes.size() - element.value) return Step::kNeedMore;
    end = element.end();
    return Step::kOk;
  }
  if (depth >= kMaxDepth) return Step::kTooDeep;
  if (IsItemSequence(element, encoding)) {
    return FindEndOfItems(bytes, element.value, EncodingInside(element, encoding), end, depth + 1);
  }
  return FindEndOfFragments(bytes, element.value, encoding, end);
}

Step FindPixels(absl::string_view bytes, Encoding encoding, bool complete, size_t& resume,
                Tag& last_tag, HeaderEnd& out) {
  for (;;) {
    if (complete && resume == bytes.size()) {
      out.offset = resume;
      return Step::kOk;
    }
    Element element;
    Step step = ReadElement(bytes, resume, encoding, element);
    if (step == Step::kNeedMore && complete && AllZero(bytes.substr(resume))) {
      out.offset = resume;
      return Step::kOk;
    }
    if (step == Step::kMalformed || (step == Step::kOk && element.tag == 0)) {
      // Zero bytes behind the last element: padding of the medium.
      if (!AllZero(bytes.substr(resume))) return Step::kMalformed;
      if (!complete) return Step::kNeedMore;
      out.offset = resume;
      return Step::kOk;
    }
    if (step != Step::kOk) return step;
    if (Group(element.tag) == 0xfffe || element.tag <= last_tag) return Step::kMalformed;
    if (IsPixelData(element.tag)) {
      out.has_pixels = true;
      out.pixels = element;
      out.offset = element.offset;
      return Step::kOk;
    }
    size_t end = 0;
    step = FindEnd(bytes, element, encoding, end);
    if (step != Step::kOk) return step;
    last_tag = element.tag;
    resume = end;
  }
}

size_t FragmentSkipper::Feed(absl::string_view bytes, Step& step) {
  step = Step::kOk;
  size_t used = 0;
  while (!done_ && used < bytes.size()) {
    if (pending_ > 0) {
      size_t take = static_cast<size_t>(std::min<uint64_t>(pending_, bytes.size() - used));
      pending_ -= take;
      used += take;
      continue;
    }
    size_t take = std::min(sizeof(header_) - have_, bytes.size() - used);
    std::memcpy(header_ + have_, bytes.data() + used, take);
    have_ += take;
    used += take;
    if (have_ < sizeof(header_)) break;
    have_ = 0;
    absl::string_view header(header_, sizeof(header_));
    Tag tag =
        static_cast<Tag>(Load16(header, 0, big_endian_)) << 16 | Load16(header, 2, big_endian_);
    uint32_t length = Load32(header, 4, big_endian_);
    if (tag == kSequenceDelimiter && length == 0) {
      done_ = true;
    } else if (tag == kItem && length != kUndefinedLength) {
      pending_ = length;
    } else {
      step = Step::kMalformed;
      return used;
    }
  }
  return used;
}

}  // namespace oncomesh::dicom
