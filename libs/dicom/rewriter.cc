// SPDX-License-Identifier: Apache-2.0
#include "libs/dicom/rewriter.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/dicom/file_meta.h"

namespace oncomesh::dicom {
namespace {

absl::Status Malformed() {
  return base::Error(absl::StatusCode::kInvalidArgument, "DATASET_MALFORMED",
                     "the data set's structure cannot be read");
}

absl::Status TooLong() {
  return base::Error(absl::StatusCode::kInvalidArgument, "VALUE_TOO_LONG",
                     "a replaced value does not fit its length field");
}

absl::Status StepStatus(Step step) {
  if (step == Step::kTooDeep) {
    return base::Error(absl::StatusCode::kInvalidArgument, "DATASET_TOO_DEEP",
                       absl::StrCat("sequences are nested deeper than ", kMaxDepth, " levels"));
  }
  return Malformed();
}

void Append16(uint16_t value, bool big, std::string& out) {
  char low = static_cast<char>(value & 0xff), high = static_cast<char>(value >> 8);
  out.push_back(big ? high : low);
  out.push_back(big ? low : high);
}

void Append32(uint32_t value, bool big, std::string& out) {
  uint16_t low = static_cast<uint16_t>(value & 0xffff), high = static_cast<uint16_t>(value >> 16);
  Append16(big ? high : low, big, out);
  Append16(big ? low : high, big, out);
}

void Patch32(size_t at, uint32_t value, bool big, std::string& out) {
  std::string bytes;
  Append32(value, big, bytes);
  out.replace(at, 4, bytes);
}

void AppendTag(Tag tag, bool big, std::string& out) {
  Append16(Group(tag), big, out);
  Append16(ElementOf(tag), big, out);
}

// Tag, VR and length. False when `length` does not fit.
bool AppendHeader(Tag tag, Vr vr, uint32_t length, Encoding encoding, std::string& out) {
  const bool big = encoding.big_endian;
  AppendTag(tag, big, out);
  if (encoding.explicit_vr) {
    out.push_back(static_cast<char>(vr >> 8));
    out.push_back(static_cast<char>(vr & 0xff));
    if (HasShortLength(vr)) {
      if (length > 0xfffe) return false;
      Append16(static_cast<uint16_t>(length), big, out);
      return true;
    }
    out.append(2, '\0');
  }
  Append32(length, big, out);
  return true;
}

// The private blocks of one item (PS3.5 7.8.1). Elements ascend, so that all creators of a group
// come before its data; a creator is written when the first element of its block is kept.
class PrivateBlocks {
 public:
  // False when the block is reserved already: nobody can say whose its elements are then.
  bool Add(Tag creator_tag, absl::string_view name, absl::string_view element,
           size_t out_position) {
    if (blocks_.empty() || Group(blocks_.begin()->second.tag) != Group(creator_tag)) {
      group_start_ = out_position;
      blocks_.clear();
    }
    return blocks_.insert({ElementOf(creator_tag), Block{creator_tag, name, element, false}})
        .second;
  }

  // The owner of the block `tag` is in; empty when nobody reserved it.
  absl::string_view CreatorOf(Tag tag) const {
    auto found = Find(tag);
    return found == blocks_.end() ? absl::string_view() : found->second.name;
  }

  // Writes the creator of `tag`'s block where the group's creators stand, once.
  void Keep(Tag tag, std::string& out) {
    auto found = blocks_.find(static_cast<uint16_t>(ElementOf(tag) >> 8));
    if (found == blocks_.end() || Group(found->second.tag) != Group(tag) || found->second.written) {
      return;
    }
    size_t position = group_start_;
    for (auto before = blocks_.begin(); before != found; ++before) {
      if (before->second.written) position += before->second.element.size();
    }
    out.insert(position, found->second.element.data(), found->second.element.size());
    found->second.written = true;
  }

 private:
  struct Block {
    Tag tag;
    absl::string_view name;
    absl::string_view element;  // whole, as in the source
    bool written;
  };
  // By element number, 0010 to 00FF: at most 240.
  using Blocks = std::map<uint16_t, Block>;

  Blocks::const_iterator Find(Tag tag) const {
    auto found = blocks_.find(static_cast<uint16_t>(ElementOf(tag) >> 8));
    return found != blocks_.end() && Group(found->second.tag) == Group(tag) ? found : blocks_.end();
  }

  Blocks blocks_;
  size_t group_start_ = 0;
};

class Rewriter {
 public:
  Rewriter(absl::string_view bytes, RewriteRules& rules, std::string& out)
      : bytes_(bytes), rules_(rules), out_(out) {}

  // Rewrites elements from `offset` to `end` (defined), or to an item delimiter when `delimited`.
  // Sets `offset` behind what was read.
  absl::Status Elements(size_t& offset, size_t end, bool delimited, Encoding encoding,
                        RewriteRules::Place place, const std::vector<Insertion>* insertions);

 private:
  absl::Status Sequence(const Element& element, size_t value_end, Encoding encoding,
                        const RewriteRules::Place& place);

  absl::string_view bytes_;
  RewriteRules& rules_;
  std::string& out_;
};

absl::Status Rewriter::Elements(size_t& offset, size_t end, bool delimited, Encoding encoding,
                                RewriteRules::Place place,
                                const std::vector<Insertion>* insertions) {
  const absl::string_view bytes = bytes_.substr(0, end);
  PrivateBlocks blocks;
  std::string replacement;
  size_t next_insertion = 0;
  int64_t last_tag = -1;
  size_t run = offset;  // kept but not yet copied
  auto flush = [&](size_t to) {
    out_.append(bytes.data() + run, to - run);
    run = to;
  };
  // Adds the insertions that come before `tag`; true when one takes its place.
  auto insert_before = [&](Tag tag) -> absl::StatusOr<bool> {
    if (insertions == nullptr) return false;
    while (next_insertion < insertions->size() && (*insertions)[next_insertion].tag <= tag) {
      const Insertion& insertion = (*insertions)[next_insertion++];
      flush(offset);
      if (!AppendElement(insertion.tag, insertion.vr, insertion.value, encoding, out_)) {
        return TooLong();
      }
      if (insertion.tag == tag) return true;
    }
    return false;
  };

  while (delimited || offset < end) {
    Element element;
    Step step = ReadElement(bytes, offset, encoding, element);
    if (step != Step::kOk) return StepStatus(step);
    if (delimited && element.tag == kItemDelimiter) {
      flush(offset);
      offset = element.value;
      return absl::OkStatus();
    }
    if (Group(element.tag) == 0xfffe || element.tag <= last_tag) return Malformed();
    last_tag = element.tag;
    size_t value_end = 0;
    step = FindEnd(bytes, element, encoding, value_end, place.depth);
    if (step != Step::kOk) return StepStatus(step);
    ASSIGN_OR_RETURN(bool taken, insert_before(element.tag));

    absl::string_view value;
    if (!element.undefined()) value = bytes.substr(element.value, element.length);
    RewriteRules::Action action = RewriteRules::Action::kDrop;
    place.creator = absl::string_view();
    if (!taken && !IsGroupLength(element.tag)) {
      if (IsPrivateCreator(element.tag)) {
        flush(element.offset);
        if (!element.undefined()) {
          if (!blocks.Add(element.tag, Trimmed(value),
                          bytes.substr(element.offset, value_end - element.offset), out_.size())) {
            return Malformed();
          }
        }
      } else {
        if (IsPrivate(element.tag)) place.creator = blocks.CreatorOf(element.tag);
        place.following = bytes.substr(value_end);
        place.encoding = encoding;
        action = rules_.Decide(element, value, place, replacement);
      }
    }
    if (action == RewriteRules::Action::kKeep && !IsPrivate(element.tag)) {
      offset = value_end;
      continue;
    }
    flush(element.offset);
    run = value_end;
    size_t before = out_.size();
    switch (action) {
      case RewriteRules::Action::kKeep:
        out_.append(bytes.data() + element.offset, value_end - element.offset);
        break;
      case RewriteRules::Action::kDrop:
        break;
      case RewriteRules::Action::kReplace:
        if (!AppendElement(element.tag, element.vr, replacement, encoding, out_)) return TooLong();
        break;
      case RewriteRules::Action::kDescend: {
        absl::Status status = Sequence(element, value_end, encoding, place);
        if (!status.ok()) {
          // A value that was taken for a sequence only by its name is dropped, not believed.
          if (element.vr == kSQ || element.undefined()) return status;
          out_.resize(before);
        }
        break;
      }
    }
    // The creator goes in front, so it is known by now whether anything of its block stayed.
    if (IsPrivate(element.tag) && out_.size() > before) blocks.Keep(element.tag, out_);
    offset = value_end;
  }
  flush(end);
  return insert_before(0xffffffff).status();
}

absl::Status Rewriter::Sequence(const Element& element, size_t value_end, Encoding encoding,
                                const RewriteRules::Place& place) {
  if (place.depth + 1 > kMaxDepth) return StepStatus(Step::kTooDeep);
  const bool big = encoding.big_endian;
  AppendHeader(element.tag, element.vr, element.length, encoding, out_);
  const size_t value_start = out_.size();
  const Encoding inside = EncodingInside(element, encoding);
  size_t offset = element.value;
  RewriteRules::Place below;
  below.depth = place.depth + 1;
  below.parent = element.tag;
  while (offset < value_end) {
    Element item;
    Step step = ReadElement(bytes_.substr(0, value_end), offset, inside, item);
    if (step != Step::kOk) return StepStatus(step);
    if (element.undefined() && item.tag == kSequenceDelimiter) break;
    if (item.tag != kItem) return Malformed();
    AppendTag(kItem, inside.big_endian, out_);
    Append32(item.length, inside.big_endian, out_);
    const size_t item_start = out_.size();
    offset = item.value;
    rules_.BeginItem(below.depth);
    if (item.undefined()) {
      RETURN_IF_ERROR(Elements(offset, value_end, /*delimited=*/true, inside, below, nullptr));
      AppendTag(kItemDelimiter, inside.big_endian, out_);
      Append32(0, inside.big_endian, out_);
    } else {
      if (item.length > value_end - item.value) return Malformed();
      RETURN_IF_ERROR(Elements(offset, item.end(), /*delimited=*/false, inside, below, nullptr));
      Patch32(item_start - 4, static_cast<uint32_t>(out_.size() - item_start), inside.big_endian,
              out_);
    }
  }
  if (element.undefined()) {
    AppendTag(kSequenceDelimiter, inside.big_endian, out_);
    Append32(0, inside.big_endian, out_);
    return absl::OkStatus();
  }
  size_t length = out_.size() - value_start;
  if (encoding.explicit_vr && HasShortLength(element.vr)) return Malformed();
  if (length >= kUndefinedLength) return TooLong();
  Patch32(value_start - 4, static_cast<uint32_t>(length), big, out_);
  return absl::OkStatus();
}

}  // namespace

absl::Status RewriteDataSet(absl::string_view bytes, size_t begin, size_t end, Encoding encoding,
                            RewriteRules& rules, const std::vector<Insertion>& insertions,
                            std::string& out) {
  Rewriter rewriter(bytes, rules, out);
  size_t offset = begin;
  return rewriter.Elements(offset, end, /*delimited=*/false, encoding, {}, &insertions);
}

bool AppendElement(Tag tag, Vr vr, absl::string_view value, Encoding encoding, std::string& out) {
  size_t padded = value.size() + value.size() % 2;
  if (padded >= kUndefinedLength ||
      !AppendHeader(tag, vr, static_cast<uint32_t>(padded), encoding, out)) {
    return false;
  }
  out.append(value.data(), value.size());
  if (padded != value.size()) {
    Vr meant = vr == kUN ? LookupVr(tag) : vr;
    out.push_back(IsText(meant) && meant != kUI ? ' ' : '\0');
  }
  return true;
}

void AppendItem(absl::string_view elements, Encoding encoding, std::string& out) {
  AppendTag(kItem, encoding.big_endian, out);
  Append32(static_cast<uint32_t>(elements.size()), encoding.big_endian, out);
  out.append(elements.data(), elements.size());
}

}  // namespace oncomesh::dicom
