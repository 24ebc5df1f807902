// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/release_check.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <set>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "libs/dicom/file_meta.h"
#include "libs/dicom/rewriter.h"
#include "libs/dicom/uids.h"
#include "services/deidentification/deflate_stream.h"
#include "services/deidentification/file_deidentifier.h"
#include "services/deidentification/folder_run.h"
#include "services/deidentification/object_header.h"
#include "services/deidentification/values.h"

namespace oncomesh::deidentification {
namespace {

using dicom::Step;

constexpr dicom::Tag kMethodText = 0x00120063;
constexpr dicom::Tag kMethodCodes = 0x00120064;

absl::Status KeyNotOfManifest() {
  return base::Error(absl::StatusCode::kFailedPrecondition, "KEY_NOT_OF_MANIFEST",
                     "the key is not the one this manifest was made and signed with");
}

// Throws the bytes away and keeps the identity.
class IdentitySink final : public ObjectSink {
 public:
  absl::Status Begin(const Outcome& identity) override {
    identity_ = identity;
    return absl::OkStatus();
  }
  absl::Status Append(absl::string_view) override { return absl::OkStatus(); }
  const Outcome& identity() const { return identity_; }

 private:
  Outcome identity_;
};

bool HasHighBytes(absl::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) >= 0x80; });
}

// The Latin-1 reading of `text` in UTF-8.
std::string Latin1ToUtf8(absl::string_view text) {
  std::string out;
  for (char c : text) {
    auto u = static_cast<unsigned char>(c);
    if (u < 0x80) {
      out.push_back(c);
    } else {
      out.push_back(static_cast<char>(0xc0 | u >> 6));
      out.push_back(static_cast<char>(0x80 | (u & 0x3f)));
    }
  }
  return out;
}

// The reverse; empty when `text` is not UTF-8 of characters that Latin-1 has.
std::string Utf8ToLatin1(absl::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    auto u = static_cast<unsigned char>(text[i]);
    if (u < 0x80) {
      out.push_back(text[i]);
    } else if ((u & 0xfc) == 0xc0 && i + 1 < text.size() &&
               (static_cast<unsigned char>(text[i + 1]) & 0xc0) == 0x80) {
      out.push_back(static_cast<char>((u & 3) << 6 | (text[++i] & 0x3f)));
    } else {
      return {};
    }
  }
  return out;
}

std::string Utf16(absl::string_view ascii, bool big_endian) {
  std::string out;
  for (char c : ascii) {
    if (big_endian) out.push_back('\0');
    out.push_back(c);
    if (!big_endian) out.push_back('\0');
  }
  return out;
}

bool HasLetter(absl::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](unsigned char c) { return absl::ascii_isalpha(c) || c >= 0x80; });
}

// Visits every element of the source and collects what the profile would not keep.
class Collector final : public dicom::RewriteRules {
 public:
  Collector(const Deidentifier& deidentifier, SourceIdentifiers& out)
      : deidentifier_(deidentifier), out_(out) {}

  Action Decide(const dicom::Element& element, absl::string_view value, const Place& place,
                std::string&) override {
    // The codes of earlier methods are written anew, and what we wrote into the text stays.
    if (element.tag == kMethodCodes) return Action::kDrop;
    if (element.tag == kMethodText && absl::StartsWith(value, "oncomesh ")) return Action::kDrop;
    if (element.undefined() || element.vr == dicom::kSQ) return Action::kDescend;
    dicom::Vr vr = element.vr == dicom::kUN ? dicom::LookupVr(element.tag) : element.vr;
    Treatment treatment =
        dicom::IsPrivate(element.tag)
            ? deidentifier_.decisions().ForPrivate(place.creator, element.tag, vr).treatment
            : deidentifier_.decisions().For(element.tag).treatment;
    if (vr == dicom::kSQ) return Action::kDescend;
    for (absl::string_view text : absl::StrSplit(value, '\\')) {
      See(element.tag, vr, treatment, dicom::Trimmed(text));
    }
    return Action::kDrop;
  }

  // A text that goes here and stays there, as a maker's name in a description: it may be in the
  // output.
  void AddTexts() {
    // Comparing everything with everything has an end: of more than any real object has, nothing is
    // taken for explained, and the finding says so.
    constexpr size_t kMostComparisons = 1'000'000;
    const bool compare = texts_.size() * kept_.size() <= kMostComparisons;
    for (const std::string& text : texts_) {
      const std::string upper = absl::AsciiStrToUpper(text);
      bool explained =
          compare && std::any_of(kept_.begin(), kept_.end(), [&](const std::string& kept) {
            return absl::StrContains(kept, upper);
          });
      if (!explained) out_.Add(text, "text");
    }
  }

  // Dates that a shift of another date of the object gives: they may be in the output.
  void AddDates(int offset) {
    std::set<std::string> shifted;
    for (const std::string& date : dates_) shifted.insert(ShiftDates(date, offset).value_or(""));
    for (const std::string& date : dates_) {
      if (shifted.count(date) > 0 || date == "19000101") continue;
      for (const std::string& spelling : SpellingsOfDay(date)) out_.Add(spelling, "date");
    }
  }

 private:
  void See(dicom::Tag tag, dicom::Vr vr, Treatment treatment, absl::string_view text) {
    if (text.empty()) return;
    if (treatment == Treatment::kKeep) {
      if (dicom::IsText(vr)) kept_.insert(absl::AsciiStrToUpper(text));
      return;
    }
    switch (vr) {
      case dicom::kPN: {
        out_.Add(text, "name");
        std::string spaced(text);
        std::replace(spaced.begin(), spaced.end(), '^', ' ');
        out_.Add(dicom::Trimmed(spaced), "name");
        std::vector<absl::string_view> words =
            absl::StrSplit(text, absl::ByAnyChar("^= ,"), absl::SkipEmpty());
        if (words.size() >= 2) {
          out_.Add(absl::StrCat(words[1], " ", words[0]), "name");
          out_.Add(absl::StrCat(words[0], ", ", words[1]), "name");
        }
        for (absl::string_view word : words) {
          if (!deidentifier_.vocabulary().Knows(word)) out_.Add(word, "name");
        }
        return;
      }
      case dicom::kUI:
        if (dicom::StandardUidKind(text) == dicom::UidKind::kNone && text.size() >= 12) {
          out_.Add(text, "uid");
        }
        return;
      case dicom::kDA:
      case dicom::kDT:
        if (text.size() >= 8 && ShiftDates(text.substr(0, 8), 0)) {
          dates_.insert(std::string(text.substr(0, 8)));
        }
        return;
      case dicom::kLO:
      case dicom::kSH:
      case dicom::kST:
      case dicom::kLT:
      case dicom::kUT:
      case dicom::kUC:
        // What the vocabulary would leave as it is may be anywhere.
        if (deidentifier_.vocabulary().Clean(text, {}) == text) return;
        if (text.size() < (HasLetter(text) ? 4 : 6)) return;
        if (IsIdentifier(tag)) {
          out_.Add(text, "identifier");
        } else {
          texts_.insert(std::string(text));
        }
        return;
      default:
        return;
    }
  }

  const Deidentifier& deidentifier_;
  SourceIdentifiers& out_;
  std::set<std::string> dates_;
  std::set<std::string> texts_;  // that go
  std::set<std::string> kept_;   // that stay, in upper case
};

// A file's bytes in parts, with a deflated data set inflated: what a reader of the object sees.
class DataSetReader {
 public:
  explicit DataSetReader(const std::string& path)
      : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)), error_(errno) {}
  ~DataSetReader() {
    if (fd_ >= 0) close(fd_);
  }
  DataSetReader(const DataSetReader&) = delete;
  DataSetReader& operator=(const DataSetReader&) = delete;

  // Appends the next part to `out`; false at the end. Errors: those of the disk; INVALID_ARGUMENT
  // (DEFLATE_INVALID).
  absl::StatusOr<bool> Next(std::string& out) {
    if (fd_ < 0) return base::ErrnoStatus(error_, "open a file");
    part_.resize(kPart);
    ssize_t got = 0;
    do {
      got = read(fd_, part_.data(), part_.size());
    } while (got < 0 && errno == EINTR);
    if (got < 0) return base::ErrnoStatus(errno, "read a file");
    part_.resize(static_cast<size_t>(got));
    if (!meta_known_) {
      start_ += part_;
      dicom::FileMeta meta;
      Step step = dicom::ReadFileMeta(start_, got == 0, meta);
      if (step == Step::kNeedMore && got > 0 && start_.size() < kMaxHeaderBytes) return true;
      // What is no DICOM is read as it is.
      meta_known_ = true;
      size_t plain = start_.size();
      if (step == Step::kOk && meta.syntax.deflated) {
        inflater_ = std::make_unique<Inflater>();
        plain = std::min(plain, meta.data_set);
      }
      out.append(start_, 0, plain);
      part_ = start_.substr(plain);
      start_ = std::string();
    }
    if (inflater_ == nullptr) {
      out += part_;
    } else if (!inflater_->Feed(part_, [&](absl::string_view made) {
                 out.append(made.data(), made.size());
                 return true;
               })) {
      return base::Error(absl::StatusCode::kInvalidArgument, "DEFLATE_INVALID",
                         "a deflated file cannot be inflated");
    }
    return got > 0;
  }

 private:
  // Inflates to at most a thousand times its size.
  static constexpr size_t kPart = 64 << 10;
  const int fd_;
  const int error_;
  bool meta_known_ = false;
  std::string start_, part_;
  std::unique_ptr<Inflater> inflater_;
};

struct Header {
  std::string bytes;  // inflated
  dicom::FileMeta meta;
  dicom::HeaderEnd end;
};

// Everything before the pixels.
absl::StatusOr<Header> ReadHeader(const std::string& path) {
  Header out;
  DataSetReader reader(path);
  Step step = Step::kNeedMore;
  size_t next_try = 0;
  bool more = true;
  while (step == Step::kNeedMore && more && out.bytes.size() <= kMaxHeaderBytes * 2) {
    ASSIGN_OR_RETURN(more, reader.Next(out.bytes));
    if (more && out.bytes.size() < next_try) continue;
    next_try = out.bytes.size() * 2;
    step = dicom::ReadFileMeta(out.bytes, !more, out.meta);
    if (step == Step::kOk) {
      size_t resume = out.meta.data_set;
      dicom::Tag last = 0;
      step = dicom::FindPixels(out.bytes, out.meta.syntax.encoding, !more, resume, last, out.end);
    }
  }
  if (step != Step::kOk) {
    return base::Error(absl::StatusCode::kInvalidArgument, "NOT_DICOM",
                       "a source file is not DICOM");
  }
  return out;
}

// The new identity of a source; without a UID when it is none that could be released. Reads no
// further than the header. Errors: those of the disk.
absl::StatusOr<Outcome> IdentityOf(const std::string& source, StreamDeidentifier& stream) {
  IdentitySink sink;
  stream.Start(&sink, /*release_unchecked_pixels=*/true);
  int fd = open(source.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return base::ErrnoStatus(errno, "open a source file");
  std::string part(64 << 10, '\0');
  absl::Status status;
  while (status.ok() && sink.identity().sop_instance_uid.empty() && !stream.quarantined()) {
    ssize_t got = read(fd, part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) status = base::ErrnoStatus(errno, "read a source file");
    if (got <= 0) break;
    status = stream.Feed(absl::string_view(part.data(), static_cast<size_t>(got)));
  }
  close(fd);
  RETURN_IF_ERROR(status);
  absl::StatusOr<Outcome> ignored = stream.Finish();
  return sink.identity();
}

}  // namespace

const char* FindingName(ReleaseFinding::Kind kind) {
  switch (kind) {
    case ReleaseFinding::Kind::kMissing:
      return "MISSING";
    case ReleaseFinding::Kind::kChanged:
      return "CHANGED";
    case ReleaseFinding::Kind::kUnlisted:
      return "UNLISTED";
    case ReleaseFinding::Kind::kResidual:
      return "RESIDUAL_IDENTIFIER";
    case ReleaseFinding::Kind::kUnsearched:
      return "UNSEARCHED";
  }
  return "UNKNOWN";
}

void SourceIdentifiers::Add(absl::string_view text, const std::string& kind) {
  auto add = [&](absl::string_view spelling) {
    if (spelling.size() < IdentifierSearch::kShortest) return;
    search_.Add(spelling);
    kinds_.push_back(kind);
  };
  add(text);
  if (HasHighBytes(text)) {
    std::string other = Utf8ToLatin1(text);
    add(other.empty() ? Latin1ToUtf8(text) : other);
  } else {
    add(Utf16(text, false));
    add(Utf16(text, true));
  }
}

absl::StatusOr<SourceIdentifiers> SourceIdentifiers::Read(const std::string& path,
                                                          const Deidentifier& deidentifier) {
  ASSIGN_OR_RETURN(Header header, ReadHeader(path));
  SourceIdentifiers out;
  Collector collector(deidentifier, out);
  std::string ignored;
  RETURN_IF_ERROR(dicom::RewriteDataSet(header.bytes, header.meta.data_set, header.end.offset,
                                        header.meta.syntax.encoding, collector, {}, ignored));
  ObjectHeader object = ReadObjectHeader(header.bytes, header.meta.data_set, header.end.offset,
                                         header.meta.syntax.encoding);
  collector.AddDates(deidentifier.pseudonym_keys().DateOffsetDays(
      deidentifier.PatientOf(object.patient_id, object.issuer)));
  collector.AddTexts();
  out.Finish();
  return out;
}

absl::StatusOr<std::vector<std::string>> SearchFile(const std::string& path,
                                                    const SourceIdentifiers& identifiers) {
  constexpr size_t kShortestInPixels = 8;
  uint64_t pixels = ~uint64_t{0};
  absl::StatusOr<Header> header = ReadHeader(path);
  if (header.ok() && header->end.has_pixels) pixels = header->end.offset;
  std::set<std::string> kinds;
  const size_t overlap = identifiers.search().longest() + 1;
  DataSetReader reader(path);
  std::string buffer;
  uint64_t start = 0;  // of the buffer in what is read
  for (bool more = true; more;) {
    size_t kept = std::min(buffer.size(), overlap);
    start += buffer.size() - kept;
    buffer.erase(0, buffer.size() - kept);
    ASSIGN_OR_RETURN(more, reader.Next(buffer));
    size_t at = 0, which = 0;
    while ((at = identifiers.search().Find(buffer, at, IdentifierSearch::kShortest, &which)) !=
           IdentifierSearch::kNoHit) {
      size_t hit = at++;
      if (start + hit >= pixels &&
          identifiers.search().Find(absl::string_view(buffer).substr(0, hit + overlap), hit,
                                    kShortestInPixels, &which) != hit) {
        continue;
      }
      kinds.insert(identifiers.KindOf(which));
    }
  }
  return std::vector<std::string>(kinds.begin(), kinds.end());
}

absl::StatusOr<ReleaseReport> CheckRelease(const ReleaseCheckOptions& options) {
  ASSIGN_OR_RETURN(std::string text, base::ReadFile(options.manifest_path, kMaxManifestBytes));
  ASSIGN_OR_RETURN(ReadManifestResult read, ReadManifest(text));
  ReleaseReport report;
  report.project = read.manifest.project;
  report.profile = read.manifest.profile;
  report.key_id = read.manifest.key_id;
  report.public_key = read.public_key;
  if (!options.public_key.empty()) {
    report.signed_by_project = options.public_key == read.public_key;
    if (!report.signed_by_project) return KeyNotOfManifest();
  }
  if (options.deidentifier != nullptr) {
    const Keys& keys = options.deidentifier->project_keys();
    report.signed_by_project =
        keys.KeyId() == read.manifest.key_id && ManifestKey(keys).Public().Raw() == read.public_key;
    if (!report.signed_by_project) return KeyNotOfManifest();
    if (!options.source.empty() && options.deidentifier->profile().throw_away_key) {
      return base::Error(absl::StatusCode::kFailedPrecondition, "CODES_NOT_LINKABLE",
                         "the profile threw its key away, so that no source can be matched with "
                         "its output; check without --source");
    }
  }
  std::set<std::string> listed;
  for (const ManifestEntry& entry : read.manifest.entries) {
    listed.insert(entry.path);
    uint64_t bytes = 0;
    absl::StatusOr<std::string> digest =
        FileSha256(absl::StrCat(options.folder, "/", entry.path), &bytes);
    if (!digest.ok()) {
      if (digest.status().code() != absl::StatusCode::kNotFound) return digest.status();
      report.findings.push_back({ReleaseFinding::Kind::kMissing, entry.path, ""});
    } else if (absl::BytesToHexString(*digest) != entry.sha256 || bytes != entry.bytes) {
      report.findings.push_back({ReleaseFinding::Kind::kChanged, entry.path, ""});
    } else {
      ++report.objects;
    }
    if (options.progress) options.progress(1, bytes);
  }
  ASSIGN_OR_RETURN(std::vector<std::string> there, base::ListFiles(options.folder));
  for (const std::string& path : there) {
    std::string below = path.substr(std::min(path.size(), options.folder.size()));
    below = below.substr(std::min(below.size(), below.find_first_not_of('/')));
    std::error_code error;
    bool is_manifest = std::filesystem::equivalent(path, options.manifest_path, error);
    if (listed.count(below) == 0 && !is_manifest) {
      // A foreign file's name could tell anything; only ours are told.
      report.findings.push_back({ReleaseFinding::Kind::kUnlisted, "", ""});
    }
  }
  if (options.source.empty() || options.deidentifier == nullptr) return report;

  ASSIGN_OR_RETURN(std::vector<std::string> sources, ListInputs(options.source));
  StreamDeidentifier stream(*options.deidentifier);
  std::set<std::string> searched;
  for (const std::string& source : sources) {
    if (IsClinicalTable(source)) continue;
    ASSIGN_OR_RETURN(Outcome identity, IdentityOf(source, stream));
    if (identity.sop_instance_uid.empty()) continue;
    std::string path = absl::StrCat(identity.patient_code, "/", identity.study_uid, "/",
                                    identity.series_uid, "/", identity.sop_instance_uid, ".dcm");
    if (listed.count(path) == 0) continue;
    absl::StatusOr<SourceIdentifiers> identifiers =
        SourceIdentifiers::Read(source, *options.deidentifier);
    if (!identifiers.ok()) continue;  // told below
    absl::StatusOr<std::vector<std::string>> kinds =
        SearchFile(absl::StrCat(options.folder, "/", path), *identifiers);
    if (!kinds.ok()) continue;  // told below, or as missing above
    searched.insert(path);
    ++report.searched;
    report.identifiers += identifiers->size();
    for (const std::string& kind : *kinds) {
      report.findings.push_back({ReleaseFinding::Kind::kResidual, path, kind});
    }
    if (options.progress) options.progress(1, 0);
  }
  // What was not searched is not clean: no source leads there, or one of the two cannot be read.
  for (const std::string& path : listed) {
    if (absl::EndsWith(path, ".dcm") && searched.count(path) == 0) {
      report.findings.push_back({ReleaseFinding::Kind::kUnsearched, path, ""});
    }
  }
  return report;
}

}  // namespace oncomesh::deidentification
