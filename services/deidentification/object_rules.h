// SPDX-License-Identifier: Apache-2.0
// What happens to each element of one object: the profile's decisions, carried out with the keys.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>

#include "absl/strings/string_view.h"
#include "libs/dicom/rewriter.h"
#include "services/deidentification/identifier_search.h"
#include "services/deidentification/keys.h"
#include "services/deidentification/profile.h"
#include "services/deidentification/vocabulary.h"

namespace oncomesh::deidentification {

// Pseudonyms of UIDs seen before: an RTSTRUCT refers thousands of times to the same few hundred.
// One thread; bounded.
class UidMemo {
 public:
  explicit UidMemo(const Keys& keys) : keys_(keys) {}
  const std::string& Map(absl::string_view uid);

 private:
  static constexpr size_t kMost = 4096;
  const Keys& keys_;
  std::unordered_map<std::string, std::string> memo_;
  std::string key_;
};

// What was done, for the manifest. Counts elements.
enum class Done : uint8_t {
  kRemoved,
  kEmptied,
  kReplaced,
  kUidsReplaced,
  kDatesShifted,
  kTextsCleaned,
  kAgesCapped,
  kPrivateKept,
  kPrivateRemoved,
  kCount,
};
inline constexpr const char* kDoneNames[] = {"removed",      "emptied",      "replaced",
                                             "uidsReplaced", "datesShifted", "textsCleaned",
                                             "agesCapped",   "privateKept",  "privateRemoved"};
using DoneCounts = std::array<uint32_t, static_cast<size_t>(Done::kCount)>;

// What is known of the object before it is rewritten.
struct ObjectContext {
  std::string patient;       // Keys::Patient of its patient
  std::string patient_id;    // as written, trimmed
  std::string issuer;        // the same
  std::string patient_code;  // its pseudonym
  int date_offset = 0;       // days
  // Words and numbers that a cleaned text must not have, and those that no kept text may have.
  IdentifyingWords identifying;
  IdentifyingWords patient_words;
  // Strings that may not be anywhere in the output.
  IdentifierSearch identifiers;
};

// One object, one thread. The collaborators outlive it.
class ObjectRules final : public dicom::RewriteRules {
 public:
  ObjectRules(const Decisions& decisions, const Keys& keys, const Vocabulary& vocabulary,
              absl::string_view home_issuer, const ObjectContext& context, UidMemo& uids)
      : decisions_(decisions),
        keys_(keys),
        vocabulary_(vocabulary),
        home_issuer_(home_issuer),
        context_(context),
        uids_(uids) {}

  Action Decide(const dicom::Element& element, absl::string_view value, const Place& place,
                std::string& replacement) override;
  void BeginItem(int depth) override { items_[static_cast<size_t>(depth)] = Item(); }

  // Counts on from `done`. With `searching` every value that would be kept is searched for the
  // object's identifiers, and goes when it has one.
  void Restart(const DoneCounts& done, bool searching) {
    done_ = done;
    searching_ = searching;
    items_[0] = Item();
  }
  const DoneCounts& done() const { return done_; }

 private:
  // What the elements so far of an item say about its value (content items, PS3.3 C.17.3).
  struct Item {
    bool birth_date = false;  // its concept is the subject's date of birth
    bool age = false;         // its concept is the subject's age
    double unit_days = 0;     // of its measurement unit; 0: not of time
  };

  void ReadConcept(const dicom::Element& element, absl::string_view value, const Place& place);
  // Of a value whose item makes it an age or a date of birth: true when `action` is what is done.
  bool DecideSubjectValue(const dicom::Element& element, absl::string_view value,
                          const Place& place, std::string& replacement, Action& action);
  Action Apply(Decision decision, const dicom::Element& element, dicom::Vr vr,
               absl::string_view value, std::string& replacement);
  // Of a name or identifier of a patient inside an item, which may be another one's.
  Action NestedPatient(const dicom::Element& element, absl::string_view value, const Place& place,
                       std::string& replacement);
  Action KeepUnlessIdentifying(const dicom::Element& element, dicom::Vr vr, absl::string_view value,
                               std::string& replacement);
  // Of an attribute that names classes: what is not public may be an instance of anything.
  Action KeepClassUids(absl::string_view value, std::string& replacement);
  // For a text that has a word of the patient's, or is not of the form its kind has.
  Action TakeWordsOut(dicom::Tag tag, dicom::Vr vr, absl::string_view value,
                      std::string& replacement);
  Action Dummy(const dicom::Element& element, dicom::Vr vr, absl::string_view value,
               std::string& replacement);
  Action Count(Done what, Action action) {
    ++done_[static_cast<size_t>(what)];
    return action;
  }

  const Decisions& decisions_;
  const Keys& keys_;
  const Vocabulary& vocabulary_;
  const absl::string_view home_issuer_;
  const ObjectContext& context_;
  UidMemo& uids_;
  bool searching_ = false;
  size_t most_values_ = 0;  // of the present element
  // Of the items around the present element, by depth.
  std::array<Item, dicom::kMaxDepth + 1> items_{};
  DoneCounts done_{};
};

}  // namespace oncomesh::deidentification
