// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/object_rules.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "libs/dicom/file_meta.h"
#include "services/deidentification/value_forms.h"
#include "services/deidentification/values.h"

namespace oncomesh::deidentification {
namespace {

using dicom::Tag;
using dicom::Trimmed;
using dicom::Vr;

// Four letters turn up by chance in a large table of numbers; eight do not.
constexpr size_t kShortestInBinary = 8;

// A value that is valid for the VR and means nothing.
absl::string_view DummyText(Vr vr) {
  switch (vr) {
    case dicom::kDA:
      return "19000101";
    case dicom::kDT:
      return "19000101000000";
    case dicom::kTM:
      return "000000";
    case dicom::kDS:
    case dicom::kIS:
      return "0";
    case dicom::kAS:
      return "000Y";
    case dicom::kUR:
      return "about:blank";
    default:
      return "REMOVED";
  }
}

bool IsSequence(const dicom::Element& element, Vr vr) {
  return element.vr == dicom::kSQ || (element.vr == dicom::kUN && vr == dicom::kSQ) ||
         element.undefined();
}

// Whether a word of `text` is one of `words`: a group of letters and digits, or the letters in it.
bool HasWord(absl::string_view text, const IdentifyingWords& words) {
  if (words.empty()) return false;
  for (const std::string& group : WordGroups(text)) {
    if (words.count(group) > 0) return true;
    std::string letters;
    for (char c : group + "0") {
      if (!absl::ascii_isdigit(static_cast<unsigned char>(c))) {
        letters.push_back(c);
      } else if (!letters.empty()) {
        if (letters.size() >= 2 && words.count(letters) > 0) return true;
        letters.clear();
      }
    }
  }
  return false;
}

constexpr Tag kConceptName = 0x0040a043;
constexpr Tag kMeasuredValue = 0x0040a300;
constexpr Tag kMeasurementUnits = 0x004008ea;
constexpr Tag kCodeValue = 0x00080100;
constexpr Tag kLongCodeValue = 0x00080119;

bool IsOneOf(absl::string_view value, std::initializer_list<absl::string_view> wanted) {
  return std::find(wanted.begin(), wanted.end(), value) != wanted.end();
}

// Days of a UCUM unit of time that ages are told in; 0 for other units.
double DaysOf(absl::string_view unit) {
  if (IsOneOf(unit, {"a", "a_g", "a_j", "a_t"})) return 365.25;
  if (IsOneOf(unit, {"mo", "mo_g", "mo_j", "mo_s"})) return 365.25 / 12;
  if (unit == "wk") return 7;
  return unit == "d" ? 1 : 0;
}

// Whether a value written as `element.vr` is of the kind that the dictionary has for it.
bool IsOfKind(const dicom::Element& element, const dicom::DictionaryEntry& entry) {
  if (element.vr == dicom::kUN) return true;
  if (dicom::IsText(entry.vr) || dicom::IsText(element.vr)) {
    // A name is a name wherever it stands.
    return dicom::IsText(entry.vr) && dicom::IsText(element.vr) &&
           (element.vr != dicom::kPN || entry.vr == dicom::kPN);
  }
  const bool table = element.tag == 0x00283006 || element.tag == 0x00281200;  // US or OW
  if (dicom::NumberWidth(entry.vr) > 0 && !(table && element.vr == dicom::kOW)) {
    return dicom::NumberWidth(element.vr) > 0;
  }
  return true;
}

// Values of the item's elements behind the present one: identifier of a patient and its issuer.
struct ItemPatient {
  absl::string_view id, issuer;
};

ItemPatient ReadItemPatient(const dicom::RewriteRules::Place& place) {
  ItemPatient out;
  size_t offset = 0;
  dicom::Element element;
  while (offset < place.following.size() &&
         dicom::ReadElement(place.following, offset, place.encoding, element) == dicom::Step::kOk &&
         element.tag <= dicom::kIssuerOfPatientId) {
    size_t end = 0;
    if (dicom::FindEnd(place.following, element, place.encoding, end, place.depth) !=
        dicom::Step::kOk) {
      break;
    }
    if (!element.undefined()) {
      absl::string_view value = Trimmed(place.following.substr(element.value, element.length));
      if (element.tag == dicom::kPatientId) out.id = value;
      if (element.tag == dicom::kIssuerOfPatientId) out.issuer = value;
    }
    offset = end;
  }
  return out;
}

}  // namespace

const std::string& UidMemo::Map(absl::string_view uid) {
  key_.assign(uid.data(), uid.size());
  auto found = memo_.find(key_);
  if (found != memo_.end()) return found->second;
  if (memo_.size() >= kMost) memo_.clear();
  return memo_.emplace(key_, keys_.Uid(uid)).first->second;
}

dicom::RewriteRules::Action ObjectRules::Decide(const dicom::Element& element,
                                                absl::string_view value, const Place& place,
                                                std::string& replacement) {
  most_values_ = 0;
  if (dicom::IsPrivate(element.tag)) {
    Vr vr = dicom::kUN;
    Decision decision = decisions_.ForPrivate(place.creator, element.tag, vr);
    if (decision.treatment == Treatment::kRemove) {
      return Count(Done::kPrivateRemoved, Action::kDrop);
    }
    // A value that is not what the table says is not the value the table calls safe.
    if (element.vr != dicom::kUN && element.vr != vr) {
      bool numbers = vr == dicom::kDS || vr == dicom::kIS;
      if (dicom::IsText(element.vr) && !numbers && !dicom::IsText(vr)) {
        return Count(Done::kPrivateRemoved, Action::kDrop);
      }
      if (element.vr == dicom::kOB || element.vr == dicom::kOW || element.vr == dicom::kPN) {
        return Count(Done::kPrivateRemoved, Action::kDrop);
      }
    }
    if ((vr == dicom::kDS || vr == dicom::kIS) && !IsNumberText(value)) {
      return Count(Done::kPrivateRemoved, Action::kDrop);
    }
    if (element.vr != dicom::kUN && dicom::NumberWidth(element.vr) > 0) vr = element.vr;
    Action action = Apply(decision, element, vr, value, replacement);
    return action == Action::kDrop ? action : Count(Done::kPrivateKept, action);
  }
  // The pixels of an icon, or of nothing that is known to have any: nobody has looked at them.
  if (dicom::IsPixelData(element.tag) && place.depth > 0) {
    return Count(Done::kRemoved, Action::kDrop);
  }
  Vr vr = element.vr;
  if (vr == dicom::kUN) vr = dicom::LookupVr(element.tag);
  Decision decision = decisions_.For(element.tag);
  if (place.parent == kConceptName || place.parent == kMeasurementUnits) {
    ReadConcept(element, value, place);
  } else if (dicom::Group(element.tag) == 0x0040) {
    Action action = Action::kDrop;
    if (DecideSubjectValue(element, value, place, replacement, action)) return action;
  }
  // A decision for a text must not be undone by calling the text a sequence, or the reverse.
  const dicom::DictionaryEntry* entry = dicom::FindEntry(element.tag);
  if (entry != nullptr && (entry->vr == dicom::kSQ) != IsSequence(element, vr) &&
      decision.treatment != Treatment::kKeep) {
    return Count(Done::kRemoved, Action::kDrop);
  }
  if (decision.treatment == Treatment::kPatientCode && place.depth > 0) {
    return NestedPatient(element, value, place, replacement);
  }
  if (decision.treatment == Treatment::kKeep && entry != nullptr && entry->vr != dicom::kSQ) {
    // What stays because its kind is harmless must be of its kind: not a text where the dictionary
    // has a number.
    if (!IsOfKind(element, *entry)) return Count(Done::kRemoved, Action::kDrop);
    most_values_ = entry->most_values;
    if (dicom::NumberWidth(entry->vr) == 0 || element.vr == dicom::kUN) vr = entry->vr;
  }
  return Apply(decision, element, vr, value, replacement);
}

void ObjectRules::ReadConcept(const dicom::Element& element, absl::string_view value,
                              const Place& place) {
  // Code value, long code value, URN code value.
  if (element.tag != kCodeValue && element.tag != 0x00080119 && element.tag != 0x00080120) return;
  Item& item = items_[static_cast<size_t>(place.depth - 1)];
  absl::string_view code = Trimmed(value);
  if (place.parent == kMeasurementUnits) {
    item.unit_days = DaysOf(code);
    return;
  }
  // In DCM (PS3.16 TID 1007), LOINC and SNOMED CT.
  item.birth_date = item.birth_date || IsOneOf(code, {"121031", "21112-8", "184099003"});
  item.age = item.age || IsOneOf(code, {"121033", "30525-0", "21612-7", "397669002", "424144002"});
}

bool ObjectRules::DecideSubjectValue(const dicom::Element& element, absl::string_view value,
                                     const Place& place, std::string& replacement, Action& action) {
  Item& item = items_[static_cast<size_t>(place.depth)];
  switch (element.tag) {
    case kConceptName:
      // A profile that removes it takes away what could be known of the value.
      if (decisions_.For(element.tag).treatment == Treatment::kRemove) {
        item.birth_date = item.age = true;
      }
      return false;
    case 0x0040a120:  // date and time
    case 0x0040a121:  // date
    case 0x0040a13a:  // referenced date and time
      // Shifted like every other date it would tell the age to the day, next to that of the study.
      if (!item.birth_date) return false;
      action = Count(Done::kRemoved, Action::kDrop);
      return true;
    case 0x0040a161:  // floating point value, and rational numerator
    case 0x0040a162:
    case 0x0040a30a:  // numeric value
      break;
    default:
      return false;
  }
  const bool age = item.age || (place.parent == kMeasuredValue && place.depth > 0 &&
                                items_[static_cast<size_t>(place.depth - 1)].age);
  if (!age && item.unit_days == 0) return false;
  double number = 0;
  if (element.tag != 0x0040a30a || item.unit_days == 0 ||
      !absl::SimpleAtod(Trimmed(value), &number) || !std::isfinite(number) ||
      (age && !decisions_.retains_characteristics())) {
    action = Count(Done::kRemoved, Action::kDrop);
    return true;
  }
  // So many years are an age, whatever the item is called.
  const double cap = kAgeCap * 365.25 / item.unit_days;
  if (number < cap) return false;
  replacement = absl::StrCat(static_cast<int>(cap));
  action = Count(Done::kAgesCapped, Action::kReplace);
  return true;
}

dicom::RewriteRules::Action ObjectRules::NestedPatient(const dicom::Element& element,
                                                       absl::string_view value, const Place& place,
                                                       std::string& replacement) {
  absl::string_view text = Trimmed(value);
  if (text.empty()) return Action::kKeep;
  if (!dicom::IsText(element.vr == dicom::kUN ? dicom::LookupVr(element.tag) : element.vr)) {
    return Count(Done::kRemoved, Action::kDrop);
  }
  // A donor, a foetus, a phantom: several patients may stand in one object. An item that does not
  // say who issued its identifier has it from where the object has its own.
  ItemPatient item = ReadItemPatient(place);
  const bool is_id = element.tag == dicom::kPatientId;
  absl::string_view id = is_id ? text : item.id;
  absl::string_view issuer = item.issuer.empty() ? absl::string_view(context_.issuer) : item.issuer;
  if (issuer == home_issuer_) issuer = absl::string_view();
  if (!id.empty() && Keys::Patient(id, issuer) == context_.patient) {
    replacement = context_.patient_code;
  } else if (is_id) {
    replacement = keys_.PatientCode(Keys::Patient(id, issuer));
  } else {
    replacement = "REMOVED";
  }
  return Count(Done::kReplaced, Action::kReplace);
}

dicom::RewriteRules::Action ObjectRules::Apply(Decision decision, const dicom::Element& element,
                                               Vr vr, absl::string_view value,
                                               std::string& replacement) {
  auto again = [&] {
    Decision fallback{decision.fallback, Treatment::kRemove};
    return Apply(fallback, element, vr, value, replacement);
  };
  const bool sequence = IsSequence(element, vr);
  switch (decision.treatment) {
    case Treatment::kKeep:
      if (sequence) return Action::kDescend;
      return KeepUnlessIdentifying(element, vr, value, replacement);
    case Treatment::kDescend:
      return sequence ? Action::kDescend : Count(Done::kRemoved, Action::kDrop);
    case Treatment::kRemove:
      return Count(Done::kRemoved, Action::kDrop);
    case Treatment::kEmpty:
      if (value.empty() && !element.undefined()) return Action::kKeep;
      replacement.clear();
      return Count(Done::kEmptied, Action::kReplace);
    case Treatment::kDummy:
      return Dummy(element, vr, value, replacement);
    case Treatment::kHashUid: {
      if (sequence || !dicom::IsText(vr)) return Count(Done::kRemoved, Action::kDrop);
      replacement.clear();
      bool first = true;
      for (absl::string_view uid : absl::StrSplit(value, '\\')) {
        if (!first) replacement.push_back('\\');
        first = false;
        uid = Trimmed(uid);
        if (uid.empty() || KeepsUid(element.tag, uid)) {
          replacement.append(uid.data(), uid.size());
        } else {
          replacement += uids_.Map(uid);
        }
      }
      if (Trimmed(value).empty()) return Action::kKeep;
      return Count(Done::kUidsReplaced, Action::kReplace);
    }
    case Treatment::kPatientCode:
    case Treatment::kAccessionCode:
    case Treatment::kDeviceCode: {
      if (sequence || !dicom::IsText(vr)) return Count(Done::kRemoved, Action::kDrop);
      absl::string_view text = Trimmed(value);
      if (text.empty()) {
        replacement.clear();
        return value.empty() ? Action::kKeep : Action::kReplace;
      }
      replacement = decision.treatment == Treatment::kPatientCode  ? context_.patient_code
                    : decision.treatment == Treatment::kDeviceCode ? keys_.DeviceCode(text)
                                                                   : keys_.AccessionCode(text);
      return Count(Done::kReplaced, Action::kReplace);
    }
    case Treatment::kClean: {
      if (sequence) return Action::kDescend;
      if (!dicom::IsText(vr)) return again();
      replacement = vocabulary_.Clean(Trimmed(value), context_.identifying);
      if (replacement.empty()) {
        if (Trimmed(value).empty()) return Action::kKeep;
        return again();
      }
      if (replacement == Trimmed(value)) return Action::kKeep;
      return Count(Done::kTextsCleaned, Action::kReplace);
    }
    case Treatment::kShiftDate: {
      if (sequence) return Count(Done::kRemoved, Action::kDrop);
      if (value.empty()) return Action::kKeep;
      // A table of options names the VR wrongly now and then; the written one decides, and a text
      // that is neither form of date is none.
      std::optional<std::string> shifted = vr == dicom::kDT
                                               ? ShiftDateTimes(value, context_.date_offset)
                                               : ShiftDates(value, context_.date_offset);
      if (!shifted) return again();
      replacement = *std::move(shifted);
      return Count(Done::kDatesShifted, Action::kReplace);
    }
    case Treatment::kCapAge: {
      std::optional<std::string> capped = CapAges(value);
      if (!capped) return Count(Done::kRemoved, Action::kDrop);
      if (*capped == Trimmed(value)) return Action::kKeep;
      replacement = *std::move(capped);
      return Count(Done::kAgesCapped, Action::kReplace);
    }
  }
  return Count(Done::kRemoved, Action::kDrop);
}

dicom::RewriteRules::Action ObjectRules::KeepUnlessIdentifying(const dicom::Element& element, Vr vr,
                                                               absl::string_view value,
                                                               std::string& replacement) {
  auto drop = [&] { return Count(Done::kRemoved, Action::kDrop); };
  const size_t width = dicom::NumberWidth(vr);
  if (width > 0 && !IsNumbers(value, width, most_values_)) return drop();
  switch (vr) {
    case dicom::kDS:
    case dicom::kIS:
      // Numbers by the dictionary and by their form mean what they mean.
      return IsNumberText(value) ? Action::kKeep : drop();
    case dicom::kTM:
      return IsTimeText(value) ? Action::kKeep : drop();
    case dicom::kDA:
      return ShiftDates(value, 0) ? Action::kKeep : drop();
    case dicom::kDT:
      return ShiftDateTimes(value, 0) ? Action::kKeep : drop();
    case dicom::kUI:
      return KeepClassUids(value, replacement);
    case dicom::kCS:
      for (absl::string_view one : absl::StrSplit(value, '\\')) {
        if (!IsCodeString(element.tag, one, vocabulary_) || HasWord(one, context_.patient_words)) {
          return TakeWordsOut(element.tag, vr, value, replacement);
        }
      }
      break;
    case dicom::kLO:
    case dicom::kSH:
    case dicom::kST:
    case dicom::kLT:
    case dicom::kUT:
    case dicom::kUC:
      // A code has no spaces, and no technical text a telephone number; some codes are numbers as
      // long as one.
      if (!HasWord(value, context_.patient_words) &&
          (!HasTellingNumbers(value) ||
           ((element.tag == kCodeValue || element.tag == kLongCodeValue) && IsSnomedId(value))) &&
          (element.tag != kCodeValue || !absl::StrContains(Trimmed(value), ' '))) {
        break;
      }
      return TakeWordsOut(element.tag, vr, value, replacement);
    default:
      if (!dicom::IsText(vr) && ReadsAsText(value)) return drop();
      break;
  }
  if (!searching_) return Action::kKeep;
  size_t shortest = dicom::IsText(element.vr) ? IdentifierSearch::kShortest : kShortestInBinary;
  if (context_.identifiers.Find(value, 0, shortest) == IdentifierSearch::kNoHit) {
    return Action::kKeep;
  }
  if (vr == dicom::kCS) return drop();
  return TakeWordsOut(element.tag, vr, value, replacement);
}

dicom::RewriteRules::Action ObjectRules::KeepClassUids(absl::string_view value,
                                                       std::string& replacement) {
  replacement.clear();
  bool changed = false, first = true;
  for (absl::string_view uid : absl::StrSplit(value, '\\')) {
    if (!first) replacement.push_back('\\');
    first = false;
    uid = Trimmed(uid);
    if (uid.empty() || IsPublicClassUid(uid) || decisions_.ListsSopClass(uid)) {
      replacement.append(uid.data(), uid.size());
      continue;
    }
    if (!IsUid(uid)) return Count(Done::kRemoved, Action::kDrop);
    replacement += uids_.Map(uid);
    changed = true;
  }
  return changed ? Count(Done::kUidsReplaced, Action::kReplace) : Action::kKeep;
}

dicom::RewriteRules::Action ObjectRules::TakeWordsOut(Tag tag, Vr vr, absl::string_view value,
                                                      std::string& replacement) {
  if (vr == dicom::kLO || vr == dicom::kSH) {
    replacement = vocabulary_.Clean(Trimmed(value), context_.identifying);
    return Count(Done::kTextsCleaned, Action::kReplace);
  }
  if (vr != dicom::kCS) return Count(Done::kRemoved, Action::kDrop);
  // The other values of an image type keep their places.
  replacement.clear();
  bool first = true;
  for (absl::string_view one : absl::StrSplit(value, '\\')) {
    if (!first) replacement.push_back('\\');
    first = false;
    if (IsCodeString(tag, one, vocabulary_)) {
      if (HasWord(one, context_.patient_words)) continue;
      replacement.append(one.data(), one.size());
    } else {
      replacement += vocabulary_.Clean(Trimmed(one), context_.identifying);
    }
  }
  if (replacement == value) return Action::kKeep;
  return Count(Done::kTextsCleaned, Action::kReplace);
}

dicom::RewriteRules::Action ObjectRules::Dummy(const dicom::Element& element, Vr vr,
                                               absl::string_view value, std::string& replacement) {
  if (IsSequence(element, vr)) return Action::kDescend;
  if (Trimmed(value).empty()) {
    replacement.clear();
    return value.empty() ? Action::kKeep : Action::kReplace;
  }
  if (vr == dicom::kUI) {
    return Apply({Treatment::kHashUid, Treatment::kRemove}, element, vr, value, replacement);
  }
  if (dicom::IsText(vr)) {
    absl::string_view text = DummyText(vr);
    replacement.assign(text.data(), text.size());
  } else if (value.size() <= 64 && vr != dicom::kUN) {
    replacement.assign(value.size(), '\0');
  } else {
    return Count(Done::kRemoved, Action::kDrop);
  }
  return Count(Done::kReplaced, Action::kReplace);
}

}  // namespace oncomesh::deidentification
