// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/deidentifier.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/dicom/rewriter.h"
#include "services/deidentification/deflate_stream.h"
#include "services/deidentification/object_header.h"
#include "services/deidentification/values.h"

namespace oncomesh::deidentification {
namespace {

using dicom::Step;

std::string MethodSequence(const std::vector<std::string>& codes, dicom::Encoding encoding) {
  std::string out;
  for (const std::string& code : codes) {
    std::string item;
    dicom::AppendElement(0x00080100, dicom::kSH, code, encoding, item);
    dicom::AppendElement(0x00080102, dicom::kSH, "DCM", encoding, item);
    dicom::AppendElement(0x00080104, dicom::kLO, MethodMeaning(code), encoding, item);
    dicom::AppendItem(item, encoding, out);
  }
  return out;
}

// The mark of an earlier pass with a built-in profile: "oncomesh research, PS3.15 2025b".
bool IsOurMethod(absl::string_view text) {
  for (const Profile& profile : BuiltInProfiles()) {
    std::string start = absl::StrCat("oncomesh ", profile.name, ", PS3.15 20");
    if (absl::StartsWith(text, start) && text.size() == start.size() + 3 &&
        absl::ascii_isdigit(static_cast<unsigned char>(text[start.size()])) &&
        absl::ascii_isdigit(static_cast<unsigned char>(text[start.size() + 1])) &&
        absl::ascii_islower(static_cast<unsigned char>(text.back()))) {
      return true;
    }
  }
  return false;
}

// The marks that tell what was done (PS3.15 E.1.1, PS3.3 C.7.1.1 and C.12.1.1).
std::vector<dicom::Insertion> Marks(const ObjectHeader& header, const Profile& profile,
                                    const Vocabulary& vocabulary, const ObjectContext& context,
                                    dicom::Encoding encoding) {
  std::vector<std::string> codes = MethodCodes(profile);
  for (const std::string& code : header.method_codes) {
    // What an earlier pass cleaned stays clean. What it retained is true only if we retain it too.
    bool cleaned = code >= "113100" && code <= "113105";
    if (cleaned && !MethodMeaning(code).empty()) codes.push_back(code);
  }
  std::sort(codes.begin(), codes.end());
  codes.erase(std::unique(codes.begin(), codes.end()), codes.end());

  std::string ours =
      absl::StrCat("oncomesh ", profile.name.substr(0, 32), ", PS3.15 ", RuleTableEdition());
  std::vector<std::string> texts;
  for (absl::string_view text : absl::StrSplit(header.method_text, '\\', absl::SkipWhitespace())) {
    text = dicom::Trimmed(text);
    // What others wrote is as free a text as any.
    std::string kept =
        IsOurMethod(text) ? std::string(text) : vocabulary.Clean(text, context.identifying);
    if (!kept.empty() && kept.size() <= 64 && kept != ours && texts.size() < 16) {
      texts.push_back(std::move(kept));
    }
  }
  texts.push_back(ours);
  return {{0x00120062, dicom::kCS, "YES"},
          {0x00120063, dicom::kLO, absl::StrJoin(texts, "\\")},
          {0x00120064, dicom::kSQ, MethodSequence(codes, encoding)},
          {0x00280303, dicom::kCS, profile.shift_dates ? "MODIFIED" : "REMOVED"}};
}

bool IsPixelVr(dicom::Vr vr) {
  return vr == dicom::kOB || vr == dicom::kOW || vr == dicom::kUN || vr == dicom::Code('O', 'F') ||
         vr == dicom::Code('O', 'D') || vr == dicom::Code('O', 'L') || vr == dicom::Code('O', 'V');
}

std::string PseudonymKey(const Profile& profile, absl::string_view project_key) {
  if (!profile.throw_away_key) return std::string(project_key);
  return base::SystemRandom::Get().Bytes(kProjectKeyBytes);
}

}  // namespace

Deidentifier::Deidentifier(const Profile& profile, absl::string_view project_key)
    : profile_(profile),
      project_keys_(project_key),
      pseudonym_keys_(PseudonymKey(profile, project_key)),
      decisions_(profile),
      vocabulary_(profile.words),
      profile_digest_(crypto::Sha256Hex(ProfileJson(profile).dump())) {}

std::string Deidentifier::PatientOf(absl::string_view patient_id, absl::string_view issuer) const {
  patient_id = dicom::Trimmed(patient_id);
  issuer = dicom::Trimmed(issuer);
  if (patient_id.empty()) return {};
  if (issuer == dicom::Trimmed(profile_.home_issuer)) issuer = absl::string_view();
  return Keys::Patient(patient_id, issuer);
}

class StreamDeidentifier::Object {
 public:
  Object(const Deidentifier& deidentifier, UidMemo& uids, std::string& buffer, std::string& header,
         ObjectSink* sink, bool pixels_checked)
      : deidentifier_(deidentifier),
        uids_(uids),
        buffer_(buffer),
        out_(header),
        sink_(sink),
        pixels_checked_(pixels_checked) {
    buffer_.clear();
  }

  absl::Status Feed(absl::string_view bytes) {
    outcome_.bytes_read += bytes.size();
    if (state_ == State::kFailed || !status_.ok()) return status_;
    if (state_ == State::kMeta) {
      buffer_.append(bytes.data(), bytes.size());
      TryMeta(/*complete=*/false);
    } else {
      FeedRaw(bytes);
    }
    return status_;
  }

  absl::StatusOr<Outcome> Finish() {
    if (status_.ok() && state_ == State::kMeta) TryMeta(/*complete=*/true);
    if (status_.ok() && inflater_ != nullptr && state_ != State::kFailed && !inflater_->ended()) {
      Quarantine("DATASET_TRUNCATED");
    }
    if (status_.ok() && state_ == State::kHeader) TryHeader(/*complete=*/true);
    if (status_.ok() && (state_ == State::kNative || state_ == State::kFragments)) {
      Quarantine("DATASET_TRUNCATED");
    }
    if (status_.ok() && state_ == State::kTail) FinishTail();
    if (status_.ok() && state_ == State::kTail && deflater_ != nullptr) {
      std::string last;
      deflater_->Feed({}, /*last=*/true, last);
      if ((last.size() % 2 != 0) != compressed_odd_) last.push_back('\0');
      EmitRaw(last);
    }
    if (!status_.ok()) return status_;
    outcome_.released = state_ == State::kTail;
    if (!outcome_.released) {
      Outcome out;
      out.reason = outcome_.reason;
      out.bytes_read = outcome_.bytes_read;
      return out;
    }
    outcome_.done = rules_->done();
    return outcome_;
  }

  bool quarantined() const { return state_ == State::kFailed; }

  uint64_t Passthrough() const {
    if (inflater_ != nullptr || !status_.ok()) return 0;
    if (state_ == State::kNative) return remaining_;
    if (state_ == State::kFragments) return skipper_->pending();
    return 0;
  }

  void Skip(uint64_t bytes) {
    outcome_.bytes_read += bytes;
    outcome_.bytes_written += bytes;
    if (state_ == State::kFragments) {
      skipper_->Skip(bytes);
    } else {
      remaining_ -= bytes;
      if (remaining_ == 0) state_ = State::kTail;
    }
  }

 private:
  enum class State { kMeta, kHeader, kNative, kFragments, kTail, kFailed };

  void Quarantine(absl::string_view reason) {
    state_ = State::kFailed;
    outcome_.reason = std::string(reason);
  }

  void QuarantineStep(Step step) {
    Quarantine(step == Step::kTooDeep    ? "DATASET_TOO_DEEP"
               : step == Step::kNeedMore ? "DATASET_TRUNCATED"
                                         : "DATASET_MALFORMED");
  }

  void TryMeta(bool complete) {
    Step step = dicom::ReadFileMeta(buffer_, complete, meta_);
    if (step == Step::kNeedMore && !complete) return;
    if (step != Step::kOk || !IsUid(meta_.syntax.uid)) return Quarantine("NOT_DICOM");
    state_ = State::kHeader;
    if (meta_.syntax.deflated) {
      inflater_ = std::make_unique<Inflater>();
      deflater_ = std::make_unique<Deflater>();
      std::string rest = buffer_.substr(meta_.data_set);
      buffer_.clear();
      begin_ = resume_ = 0;
      return FeedRaw(rest);
    }
    begin_ = resume_ = meta_.data_set;
    TryHeader(/*complete=*/false);
  }

  void FeedRaw(absl::string_view bytes) {
    if (inflater_ == nullptr) return FeedDataSet(bytes);
    bool fine = inflater_->Feed(bytes, [this](absl::string_view chunk) {
      FeedDataSet(chunk);
      return status_.ok() && state_ != State::kFailed;
    });
    if (!fine && status_.ok() && state_ != State::kFailed) Quarantine("DEFLATE_INVALID");
  }

  void FeedDataSet(absl::string_view bytes) {
    if (state_ == State::kHeader) {
      buffer_.append(bytes.data(), bytes.size());
      if (buffer_.size() >= next_try_) TryHeader(/*complete=*/false);
      return;
    }
    FeedPixels(bytes);
  }

  void FeedPixels(absl::string_view bytes) {
    if (state_ == State::kNative) {
      size_t take = static_cast<size_t>(std::min<uint64_t>(remaining_, bytes.size()));
      Emit(bytes.substr(0, take));
      remaining_ -= take;
      bytes.remove_prefix(take);
      if (remaining_ == 0) state_ = State::kTail;
    } else if (state_ == State::kFragments) {
      Step step;
      size_t used = skipper_->Feed(bytes, step);
      if (step != Step::kOk) return QuarantineStep(step);
      Emit(bytes.substr(0, used));
      bytes.remove_prefix(used);
      if (skipper_->done()) state_ = State::kTail;
    }
    if (state_ == State::kTail && !bytes.empty()) {
      if (tail_.size() + bytes.size() > kMaxTailBytes) return Quarantine("HEADER_TOO_LARGE");
      tail_.append(bytes.data(), bytes.size());
    }
  }

  void TryHeader(bool complete) {
    dicom::HeaderEnd end;
    Step step =
        dicom::FindPixels(buffer_, meta_.syntax.encoding, complete, resume_, last_tag_, end);
    if (step == Step::kNeedMore && !complete) {
      if (buffer_.size() > kMaxHeaderBytes) return Quarantine("HEADER_TOO_LARGE");
      // An element that is not whole is looked at again when what there is of it has doubled.
      next_try_ = buffer_.size() + std::max<size_t>(buffer_.size() - resume_, 1);
      return;
    }
    if (step != Step::kOk) return QuarantineStep(step);
    if (end.offset - begin_ > kMaxHeaderBytes) return Quarantine("HEADER_TOO_LARGE");
    if (end.has_pixels && !IsPixelVr(end.pixels.vr)) return Quarantine("DATASET_MALFORMED");
    if (!Rewrite(end.offset, end.has_pixels ? &end.pixels : nullptr)) return;
    if (!end.has_pixels) {
      state_ = State::kTail;
      return;
    }
    last_tag_ = end.pixels.tag;
    Emit(
        absl::string_view(buffer_).substr(end.pixels.offset, end.pixels.value - end.pixels.offset));
    if (end.pixels.undefined()) {
      state_ = State::kFragments;
      skipper_ = std::make_unique<dicom::FragmentSkipper>(meta_.syntax.encoding);
    } else {
      remaining_ = end.pixels.length;
      state_ = remaining_ == 0 ? State::kTail : State::kNative;
    }
    if (status_.ok()) FeedPixels(absl::string_view(buffer_).substr(end.pixels.value));
  }

  // Rewrites buffer_[begin_, end), which `pixels` follow if there are any, and gives it to the
  // sink. False when the object ends here.
  bool Rewrite(size_t end, const dicom::Element* pixels) {
    const dicom::Encoding encoding = meta_.syntax.encoding;
    ObjectHeader header = ReadObjectHeader(buffer_, begin_, end, encoding);
    absl::string_view reason = QuarantineReason(
        header, deidentifier_.decisions().ListsSopClass(header.sop_class_uid), pixels_checked_);
    if (reason.empty() && pixels != nullptr && !pixels->undefined() &&
        !PixelsFit(header, pixels->length)) {
      reason = "PIXELS_TOO_LONG";
    }
    if (!reason.empty()) {
      Quarantine(reason);
      return false;
    }
    const Keys& keys = deidentifier_.pseudonym_keys();
    context_.patient = deidentifier_.PatientOf(header.patient_id, header.issuer);
    context_.patient_id = std::string(header.patient_id);
    context_.patient_code = keys.PatientCode(context_.patient);
    context_.date_offset = keys.DateOffsetDays(context_.patient);
    context_.issuer = std::string(header.issuer);
    if (!CollectIdentifiers(header, deidentifier_.vocabulary(), context_)) {
      Quarantine("IDENTIFIERS_TOO_MANY");
      return false;
    }
    rules_ = std::make_unique<ObjectRules>(
        deidentifier_.decisions(), keys, deidentifier_.vocabulary(),
        dicom::Trimmed(deidentifier_.profile().home_issuer), context_, uids_);
    std::vector<dicom::Insertion> marks =
        Marks(header, deidentifier_.profile(), deidentifier_.vocabulary(), context_, encoding);
    if (!RewriteInto(buffer_, begin_, end, marks)) return false;

    outcome_.patient_code = context_.patient_code;
    outcome_.study_uid = uids_.Map(header.study_uid);
    outcome_.series_uid = uids_.Map(header.series_uid);
    outcome_.sop_instance_uid = uids_.Map(header.sop_instance_uid);
    outcome_.sop_class_uid = std::string(header.sop_class_uid);
    status_ = sink_->Begin(outcome_);
    if (!status_.ok()) return false;
    EmitRaw(
        dicom::MakeFileMeta(outcome_.sop_class_uid, outcome_.sop_instance_uid, meta_.syntax.uid));
    Emit(out_);
    return status_.ok();
  }

  // Fills out_. A second pass is made when an identifier of the object turns up in it.
  bool RewriteInto(absl::string_view bytes, size_t begin, size_t end,
                   const std::vector<dicom::Insertion>& insertions) {
    const DoneCounts before = rules_->done();
    for (bool searching : {false, true}) {
      out_.clear();
      rules_->Restart(before, searching);
      absl::Status status = dicom::RewriteDataSet(bytes, begin, end, meta_.syntax.encoding, *rules_,
                                                  insertions, out_);
      if (!status.ok()) {
        Quarantine(base::ReasonOf(status));
        return false;
      }
      if (context_.identifiers.Find(out_) == IdentifierSearch::kNoHit) break;
    }
    return true;
  }

  void FinishTail() {
    if (tail_.empty() || rules_ == nullptr) return;
    dicom::HeaderEnd end;
    size_t resume = 0;
    Step step =
        dicom::FindPixels(tail_, meta_.syntax.encoding, /*complete=*/true, resume, last_tag_, end);
    // What cannot be read cannot be filtered, and says that what was read before it may be wrong.
    if (step != Step::kOk) return QuarantineStep(step);
    if (end.has_pixels) return Quarantine("DATASET_MALFORMED");
    if (RewriteInto(tail_, 0, end.offset, {})) Emit(out_);
  }

  void EmitRaw(absl::string_view bytes) {
    if (!status_.ok() || bytes.empty()) return;
    outcome_.bytes_written += bytes.size();
    status_ = sink_->Append(bytes);
  }

  void Emit(absl::string_view bytes) {
    if (deflater_ == nullptr) return EmitRaw(bytes);
    std::string compressed;
    deflater_->Feed(bytes, /*last=*/false, compressed);
    if (compressed.size() % 2 != 0) compressed_odd_ = !compressed_odd_;
    EmitRaw(compressed);
  }

  const Deidentifier& deidentifier_;
  UidMemo& uids_;
  std::string& buffer_;
  std::string& out_;
  ObjectSink* sink_;
  const bool pixels_checked_;

  State state_ = State::kMeta;
  absl::Status status_;  // of the sink
  Outcome outcome_;
  dicom::FileMeta meta_;
  size_t begin_ = 0;   // of the data set in buffer_
  size_t resume_ = 0;  // where FindPixels goes on
  size_t next_try_ = 0;
  dicom::Tag last_tag_ = 0;
  uint64_t remaining_ = 0;  // of native pixels
  std::unique_ptr<dicom::FragmentSkipper> skipper_;
  std::string tail_;
  std::unique_ptr<Inflater> inflater_;
  std::unique_ptr<Deflater> deflater_;
  bool compressed_odd_ = false;
  ObjectContext context_;
  std::unique_ptr<ObjectRules> rules_;
};

StreamDeidentifier::StreamDeidentifier(const Deidentifier& deidentifier)
    : deidentifier_(deidentifier), uids_(deidentifier.pseudonym_keys()) {}

StreamDeidentifier::~StreamDeidentifier() = default;

void StreamDeidentifier::Start(ObjectSink* sink, bool release_unchecked_pixels) {
  // One huge header must not be paid for by every later object.
  if (buffer_.capacity() > (8u << 20)) buffer_ = std::string();
  if (header_.capacity() > (8u << 20)) header_ = std::string();
  object_ = std::make_unique<Object>(deidentifier_, uids_, buffer_, header_, sink,
                                     release_unchecked_pixels);
}

absl::Status StreamDeidentifier::Feed(absl::string_view bytes) { return object_->Feed(bytes); }
bool StreamDeidentifier::quarantined() const { return object_->quarantined(); }
uint64_t StreamDeidentifier::Passthrough() const { return object_->Passthrough(); }
void StreamDeidentifier::Skip(uint64_t bytes) { object_->Skip(bytes); }
absl::StatusOr<Outcome> StreamDeidentifier::Finish() { return object_->Finish(); }

}  // namespace oncomesh::deidentification
