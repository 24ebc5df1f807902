// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/profile.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "services/deidentification/unlisted_attributes.h"
#include "services/deidentification/values.h"

namespace oncomesh::deidentification {
namespace {

using dicom::Tag;
using nlohmann::json;

struct Option {
  const char* name;
  bool Profile::* field;
};
constexpr Option kOptions[] = {
    {"retainDeviceIdentity", &Profile::retain_device_identity},
    {"retainInstitutionIdentity", &Profile::retain_institution_identity},
    {"retainPatientCharacteristics", &Profile::retain_patient_characteristics},
    {"shiftDates", &Profile::shift_dates},
    {"cleanDescriptors", &Profile::clean_descriptors},
    {"cleanStructuredContent", &Profile::clean_structured_content},
    {"retainSafePrivate", &Profile::retain_safe_private},
    {"deviceCodes", &Profile::device_codes},
    {"accessionCode", &Profile::accession_code},
    {"throwAwayKey", &Profile::throw_away_key},
};

struct Method {
  absl::string_view code, meaning;
};
// PS3.16 CID 7050.
constexpr Method kMethods[] = {
    {"113100", "Basic Application Confidentiality Profile"},
    {"113101", "Clean Pixel Data Option"},
    {"113102", "Clean Recognizable Visual Features Option"},
    {"113103", "Clean Graphics Option"},
    {"113104", "Clean Structured Content Option"},
    {"113105", "Clean Descriptors Option"},
    {"113106", "Retain Longitudinal Temporal Information Full Dates Option"},
    {"113107", "Retain Longitudinal Temporal Information Modified Dates Option"},
    {"113108", "Retain Patient Characteristics Option"},
    {"113109", "Retain Device Identity Option"},
    {"113110", "Retain UIDs Option"},
    {"113111", "Retain Safe Private Option"},
    {"113112", "Retain Institution Identity Option"},
};

// Kept by device_codes: kinds of devices, not devices.
constexpr Tag kDeviceKinds[] = {0x00081090, 0x00181020, 0x00181250, 0x00181251};
// Names of single devices, which become codes.
constexpr Tag kDeviceNames[] = {0x00081010, 0x00181000};

constexpr Tag kPatientBirthDate = 0x00100030;
constexpr Tag kLengthToEnd = 0x00080001;
// Dates of publishers, makers and source certificates, which are public or on record elsewhere:
// shifted with the patient's they would tell the offset. Template (Local) Version, Product
// Expiration DateTime, Source Strength Reference Date.
constexpr Tag kPublicDates[] = {0x0040db06, 0x0040db07, 0x0044000b, 0x300a022c,
                                0x00120086, 0x00120087, 0x00686226, 0x00686270};
struct PrivateDate {
  absl::string_view creator;
  uint16_t group;
  uint8_t low;
};
// Private ones alike: of a release of software, the same in every object it ever made, and of
// calibrations of a device.
constexpr PrivateDate kPublicPrivateDates[] = {
    {"GEMS_ACQU_01", 0x0019, 0x9d},  // Pulse Sequence Date
    {"GEMS_GENIE_1", 0x0013, 0x23},  // Unif Date Time: of the uniformity calibration
    {"GEMS_PETD_01", 0x0017, 0x04},  // cal_datetime
    {"GEMS_PETD_01", 0x0019, 0x04},  // cal_datetime
};
constexpr Tag kTextValue = 0x0040a160;
// Selector AE Value to Selector Code Sequence Value and its kin, of hanging protocols.
constexpr Tag kFirstSelectorValue = 0x0072005e;
constexpr Tag kLastSelectorValue = 0x00720083;
// Ethnic group and the parameters on sex for clinical use.
constexpr Tag kSpecialCategories[] = {0x00100043, 0x00100046, 0x00100047,
                                      0x00102160, 0x00102161, 0x00102162};

bool IsDate(dicom::Vr vr) { return vr == dicom::kDA || vr == dicom::kDT; }

absl::Status Invalid(absl::string_view field, absl::string_view what) {
  return base::Error(absl::StatusCode::kInvalidArgument, "PROFILE_INVALID",
                     absl::StrCat("the profile's ", field, " ", what),
                     {{"field", std::string(field)}});
}

std::vector<Profile> MakeBuiltIn() {
  Profile basic;
  basic.name = "basic";
  basic.description =
      "PS3.15 Basic Application Level Confidentiality Profile without options: no dates, no "
      "descriptions, no private attributes; of the attributes that its table does not list, no "
      "text "
      "but that of equipment about itself";

  Profile research;
  research.name = "research";
  research.description =
      "for research across hospitals: dates shifted by whole weeks per patient, sex, size, weight "
      "and age (at most 90) kept, descriptions reduced to medical words, safe private attributes "
      "kept, scanners told apart by code";
  research.retain_patient_characteristics = true;
  research.shift_dates = true;
  research.clean_descriptors = true;
  research.clean_structured_content = true;
  research.retain_safe_private = true;
  research.device_codes = true;
  research.accession_code = true;

  Profile anonymous = basic;
  anonymous.name = "anonymous";
  anonymous.description =
      "as basic, with codes from a key that is thrown away: two runs cannot be linked";
  anonymous.throw_away_key = true;
  return {basic, research, anonymous};
}

absl::StatusOr<std::vector<Tag>> ReadTags(const json& list, absl::string_view field) {
  if (!list.is_array()) return Invalid(field, "is not a list");
  std::vector<Tag> out;
  for (const json& item : list) {
    std::string text = item.is_string() ? item.get<std::string>() : "";
    std::string digits;
    for (char c : text) {
      if (absl::ascii_isxdigit(static_cast<unsigned char>(c))) {
        digits.push_back(c);
      } else if (c != '(' && c != ')' && c != ',') {
        return Invalid(field, "has an entry that is not a tag like \"0008,1090\"");
      }
    }
    if (digits.size() != 8) {
      return Invalid(field, "has an entry that is not a tag like \"0008,1090\"");
    }
    Tag tag = static_cast<Tag>(std::stoul(digits, nullptr, 16));
    if (dicom::IsPrivate(tag)) return Invalid(field, "names a private attribute");
    out.push_back(tag);
  }
  std::sort(out.begin(), out.end());
  return out;
}

// What a profile cannot keep: a date as it is tells the offset of all the patient's others, a UID
// would differ from the file's own name for the object, and a name or the patient's identifier has
// a code that the output's place has too.
bool MayBeKept(Tag tag) {
  const dicom::DictionaryEntry* entry = dicom::FindEntry(tag);
  if (tag == dicom::kPatientId || dicom::IsPixelData(tag)) return false;
  if (entry == nullptr) return true;
  return !IsDate(entry->vr) && entry->vr != dicom::kPN && entry->vr != dicom::kAS &&
         (entry->vr != dicom::kUI || entry->names_class);
}

absl::StatusOr<std::vector<std::string>> ReadUids(const json& list, absl::string_view field) {
  if (!list.is_array()) return Invalid(field, "is not a list");
  std::vector<std::string> out;
  for (const json& item : list) {
    if (!item.is_string() || !IsUid(item.get<std::string>())) {
      return Invalid(field, "has an entry that is not a UID");
    }
    out.push_back(item.get<std::string>());
  }
  std::sort(out.begin(), out.end());
  return out;
}

absl::StatusOr<std::vector<std::string>> ReadWords(const json& list, absl::string_view field,
                                                   bool upper) {
  if (!list.is_array()) return Invalid(field, "is not a list");
  std::vector<std::string> out;
  for (const json& item : list) {
    if (!item.is_string()) return Invalid(field, "has an entry that is not a string");
    std::string word = item.get<std::string>();
    if (word.empty() || word.size() > 64) return Invalid(field, "has an empty or very long entry");
    out.push_back(upper ? absl::AsciiStrToUpper(word) : absl::AsciiStrToLower(word));
  }
  std::sort(out.begin(), out.end());
  return out;
}

json TagList(const std::vector<Tag>& tags) {
  json out = json::array();
  for (Tag tag : tags) {
    out.push_back(absl::StrFormat("%04x,%04x", dicom::Group(tag), dicom::ElementOf(tag)));
  }
  return out;
}

Treatment FromRow(RowAction action) {
  switch (action) {
    case RowAction::kNone:
    case RowAction::kRemove:
      return Treatment::kRemove;
    case RowAction::kKeep:
      return Treatment::kKeep;
    case RowAction::kEmpty:
      return Treatment::kEmpty;
    case RowAction::kDummy:
      return Treatment::kDummy;
    case RowAction::kHashUid:
      return Treatment::kHashUid;
    case RowAction::kPatientCode:
      return Treatment::kPatientCode;
    case RowAction::kDescend:
      return Treatment::kDescend;
    case RowAction::kClean:
      return Treatment::kClean;
    case RowAction::kShiftDate:
      return Treatment::kShiftDate;
    case RowAction::kCapAge:
      return Treatment::kCapAge;
  }
  return Treatment::kRemove;
}

// Long text is not cleaned but treated as by the basic profile: its words tell too much together.
// The one exception is the text of a content item, below.
bool IsShortText(dicom::Vr vr) { return vr == dicom::kLO || vr == dicom::kSH || vr == dicom::kCS; }

Decision DecideRow(const RuleRow& row, const Profile& profile) {
  Decision out{FromRow(row.actions[kBasicProfile]), FromRow(row.actions[kBasicProfile])};
  auto take = [&](bool wanted, Column column) {
    RowAction action = row.actions[column];
    if (!wanted || action == RowAction::kNone) return;
    Treatment treatment = FromRow(action);
    if (treatment == Treatment::kClean) {
      if (row.vr == dicom::kSQ) {
        treatment = Treatment::kDescend;
      } else if (!IsShortText(row.vr)) {
        return;
      }
    }
    out.treatment = treatment;
  };
  take(profile.clean_descriptors, kCleanDescriptors);
  take(profile.clean_structured_content, kCleanStructuredContent);
  // Dates of a device would give the patient's offset away, since a service report has them too.
  bool device_date = IsDate(row.vr) && row.actions[kRetainDeviceIdentity] == RowAction::kKeep;
  take(profile.shift_dates && !device_date, kRetainModifiedDates);
  take(profile.retain_patient_characteristics, kRetainPatientCharacteristics);
  take(profile.retain_institution_identity, kRetainInstitution);
  take(profile.retain_device_identity && !IsDate(row.vr), kRetainDeviceIdentity);
  return out;
}

}  // namespace

const std::vector<Profile>& BuiltInProfiles() {
  static const std::vector<Profile>* const kProfiles = new std::vector<Profile>(MakeBuiltIn());
  return *kProfiles;
}

absl::StatusOr<Profile> LoadProfile(const std::string& name_or_path) {
  for (const Profile& profile : BuiltInProfiles()) {
    if (profile.name == name_or_path) return profile;
  }
  absl::StatusOr<std::string> content = base::ReadFile(name_or_path, 1 << 20);
  if (!content.ok()) {
    return base::Error(absl::StatusCode::kNotFound, "PROFILE_NOT_FOUND",
                       "there is no built-in profile and no readable file of that name; `oncomesh "
                       "deid profiles` lists the built-in ones");
  }
  return ParseProfile(*content);
}

absl::StatusOr<Profile> ParseProfile(absl::string_view text) {
  json document = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) return Invalid("file", "is not a JSON object");
  std::string base = "basic";
  if (document.contains("base")) {
    if (!document["base"].is_string()) return Invalid("base", "is not a string");
    base = document["base"].get<std::string>();
  }
  const std::vector<Profile>& known = BuiltInProfiles();
  auto found = std::find_if(known.begin(), known.end(),
                            [&](const Profile& profile) { return profile.name == base; });
  if (found == known.end()) return Invalid("base", "is not a built-in profile");
  Profile out = *found;
  for (const auto& [key, value] : document.items()) {
    if (key == "base") continue;
    if (key == "name" || key == "description" || key == "homeIssuer") {
      if (!value.is_string() || value.get<std::string>().size() > 500) {
        return Invalid(key, "is not a string of at most 500 characters");
      }
      (key == "name"          ? out.name
       : key == "description" ? out.description
                              : out.home_issuer) = value.get<std::string>();
    } else if (key == "options") {
      if (!value.is_object()) return Invalid(key, "is not an object");
      for (const auto& [name, on] : value.items()) {
        auto option = std::find_if(std::begin(kOptions), std::end(kOptions),
                                   [&](const Option& o) { return name == o.name; });
        if (option == std::end(kOptions)) return Invalid("options", "name an unknown option");
        if (!on.is_boolean()) return Invalid("options", "have a value that is not true or false");
        out.*(option->field) = on.get<bool>();
      }
    } else if (key == "words") {
      ASSIGN_OR_RETURN(out.words, ReadWords(value, key, true));
    } else if (key == "tableColumns") {
      ASSIGN_OR_RETURN(out.table_columns, ReadWords(value, key, false));
    } else if (key == "keep") {
      ASSIGN_OR_RETURN(out.keep, ReadTags(value, key));
      if (!std::all_of(out.keep.begin(), out.keep.end(), MayBeKept)) {
        return Invalid(key,
                       "names a date, an age, a UID, a name or the patient's identifier, which "
                       "cannot be kept as they are; options shift, cap and code them");
      }
    } else if (key == "sopClasses") {
      ASSIGN_OR_RETURN(out.sop_classes, ReadUids(value, key));
    } else if (key == "remove") {
      ASSIGN_OR_RETURN(out.remove, ReadTags(value, key));
    } else {
      return base::Error(absl::StatusCode::kInvalidArgument, "PROFILE_INVALID",
                         "the profile has an unknown field");
    }
  }
  if (out.name.empty()) return Invalid("name", "is missing");
  if (!document.contains("name")) return Invalid("name", "is missing");
  for (const Profile& profile : known) {
    if (out.name == profile.name) return Invalid("name", "is that of a built-in profile");
  }
  return out;
}

json ProfileJson(const Profile& profile) {
  json options = json::object();
  for (const Option& option : kOptions) options[option.name] = profile.*(option.field);
  return json{{"name", profile.name},
              {"description", profile.description},
              {"options", options},
              {"homeIssuer", profile.home_issuer},
              {"words", profile.words},
              {"tableColumns", profile.table_columns},
              {"sopClasses", profile.sop_classes},
              {"keep", TagList(profile.keep)},
              {"remove", TagList(profile.remove)}};
}

std::vector<std::string> MethodCodes(const Profile& profile) {
  std::vector<std::string> out = {"113100"};
  if (profile.clean_structured_content) out.push_back("113104");
  if (profile.clean_descriptors) out.push_back("113105");
  if (profile.shift_dates) out.push_back("113107");
  if (profile.retain_patient_characteristics) out.push_back("113108");
  if (profile.retain_device_identity) out.push_back("113109");
  if (profile.retain_safe_private) out.push_back("113111");
  if (profile.retain_institution_identity) out.push_back("113112");
  return out;
}

absl::string_view MethodMeaning(absl::string_view code) {
  for (const Method& method : kMethods) {
    if (method.code == code) return method.meaning;
  }
  return {};
}

std::vector<std::string> UnlistedRules(const Profile& profile) {
  return {
      "kept: numbers, coded strings, sequences; text of equipment about equipment, code values",
      profile.clean_descriptors
          ? "cleaned word by word: other short text (LO, SH)"
          : "removed: other short text (LO, SH); replaced where a value is required",
      "removed: long text (ST, LT, UT, UC), opaque bytes (OB, UN), addresses, order numbers, "
      "device "
      "identifiers, selector values, encrypted attributes",
      absl::StrCat(profile.shift_dates ? "shifted: dates" : "removed: dates", "; ",
                   profile.retain_patient_characteristics ? "capped: ages" : "removed: ages",
                   "; emptied: names; replaced: UIDs"),
  };
}

Decisions::Decisions(const Profile& profile)
    : shift_dates_(profile.shift_dates),
      clean_descriptors_(profile.clean_descriptors),
      retain_characteristics_(profile.retain_patient_characteristics),
      retain_safe_private_(profile.retain_safe_private),
      sop_classes_(profile.sop_classes.begin(), profile.sop_classes.end()) {
  for (const RuleRow& row : RuleRows()) {
    if (row.mask == 0xffffffff) by_tag_[row.tag] = DecideRow(row, profile);
  }
  // The table allows a made-up date of birth; an empty one misleads nobody.
  by_tag_[kPatientBirthDate] = {Treatment::kEmpty, Treatment::kEmpty};
  for (Tag tag : kPublicDates) by_tag_[tag].treatment = by_tag_[tag].fallback;
  // Its number would be wrong.
  by_tag_[kLengthToEnd] = {Treatment::kRemove, Treatment::kRemove};
  // Retained by no option here: special categories of personal data (GDPR, article 9) that no
  // study of images needs by default. A profile can name them in `keep`.
  for (Tag tag : kSpecialCategories) by_tag_[tag] = {Treatment::kRemove, Treatment::kRemove};
  if (profile.device_codes) {
    for (Tag tag : kDeviceKinds) by_tag_[tag] = {Treatment::kKeep, Treatment::kRemove};
    for (Tag tag : kDeviceNames) {
      by_tag_[tag] = {Treatment::kDeviceCode, by_tag_[tag].fallback};
    }
  }
  if (profile.accession_code) {
    by_tag_[dicom::kAccessionNumber] = {Treatment::kAccessionCode, Treatment::kEmpty};
  }
  // The table keeps content sequences and says that their text must be looked at: the text of an
  // item is cleaned like a descriptor, or replaced.
  by_tag_[kTextValue] = {profile.clean_structured_content ? Treatment::kClean : Treatment::kDummy,
                         Treatment::kDummy};
  // Copies of any other attribute's value, whose own rule they would escape.
  for (const RuleRow& row : RuleRows()) {
    if (row.tag >= kFirstSelectorValue && row.tag <= kLastSelectorValue) {
      by_tag_[row.tag] = {Treatment::kRemove, Treatment::kRemove};
    }
  }
  for (Tag tag : profile.keep) by_tag_[tag] = {Treatment::kKeep, Treatment::kRemove};
  for (Tag tag : profile.remove) by_tag_[tag] = {Treatment::kRemove, Treatment::kRemove};
}

Decision Decisions::For(Tag tag) const {
  auto found = by_tag_.find(tag);
  if (found != by_tag_.end()) return found->second;
  return Default(tag);
}

Decision Decisions::Default(Tag tag) const {
  constexpr Decision kRemoved{Treatment::kRemove, Treatment::kRemove};
  const uint16_t group = dicom::Group(tag);
  // Commands, file meta information and media directories do not belong into a data set; curves
  // and overlays can show anything.
  if (group <= 0x0006 || (group & 0xff00) == 0x5000 || (group & 0xff00) == 0x6000) return kRemoved;
  if (dicom::IsPixelData(tag)) return {Treatment::kKeep, Treatment::kRemove};
  const dicom::DictionaryEntry* entry = dicom::FindEntry(tag);
  if (entry == nullptr) return kRemoved;
  switch (RoleOfUnlisted(*entry)) {
    case UnlistedRole::kTechnical:
      return {Treatment::kKeep, Treatment::kRemove};
    case UnlistedRole::kDescriptor:
      return {clean_descriptors_ ? Treatment::kClean : Treatment::kRemove, Treatment::kRemove};
    case UnlistedRole::kRequiredDescriptor:
      return {clean_descriptors_ ? Treatment::kClean : Treatment::kDummy, Treatment::kDummy};
    case UnlistedRole::kRemoved:
      return kRemoved;
    case UnlistedRole::kNoText:
      break;
  }
  switch (entry->vr) {
    case dicom::kSQ:
      return {Treatment::kDescend, Treatment::kRemove};
    case dicom::kPN:
      return {Treatment::kEmpty, Treatment::kEmpty};
    case dicom::kUI:
      if (entry->names_class) return {Treatment::kKeep, Treatment::kRemove};
      return {Treatment::kHashUid, Treatment::kRemove};
    case dicom::kDA:
    case dicom::kDT:
      return {shift_dates_ ? Treatment::kShiftDate : Treatment::kRemove, Treatment::kRemove};
    case dicom::kAS:
      return {retain_characteristics_ ? Treatment::kCapAge : Treatment::kRemove,
              Treatment::kRemove};
    default:
      return {Treatment::kKeep, Treatment::kRemove};
  }
}

Decision Decisions::ForPrivate(absl::string_view creator, Tag tag, dicom::Vr& vr) const {
  constexpr Decision kRemoved{Treatment::kRemove, Treatment::kRemove};
  if (!retain_safe_private_ || creator.empty()) return kRemoved;
  const PrivateRow* row =
      FindPrivateRow(creator, dicom::Group(tag), static_cast<uint8_t>(tag & 0xff));
  if (row == nullptr) return kRemoved;
  vr = row->vr;
  for (const PrivateDate& date : kPublicPrivateDates) {
    if (date.group == row->group && date.low == row->low && date.creator == row->creator) {
      return kRemoved;
    }
  }
  switch (row->action) {
    case RowAction::kHashUid:
      return {Treatment::kHashUid, Treatment::kRemove};
    case RowAction::kShiftDate:
      return {shift_dates_ ? Treatment::kShiftDate : Treatment::kRemove, Treatment::kRemove};
    case RowAction::kKeep:
      break;
    default:
      return kRemoved;
  }
  switch (row->vr) {
    case dicom::kSQ:
      return {Treatment::kDescend, Treatment::kRemove};
    case dicom::kUI:
      return {Treatment::kHashUid, Treatment::kRemove};
    case dicom::kDA:
    case dicom::kDT:
      return {shift_dates_ ? Treatment::kShiftDate : Treatment::kRemove, Treatment::kRemove};
    case dicom::kPN:
    case dicom::kAE:
      return kRemoved;
    case dicom::kLO:
    case dicom::kSH:
    case dicom::kST:
    case dicom::kLT:
    case dicom::kUT:
    case dicom::kOB:
    case dicom::kOW:
    case dicom::kUN:
      // Text and opaque bytes only on the standard's own word.
      return row->in_standard ? Decision{Treatment::kKeep, Treatment::kRemove} : kRemoved;
    default:
      return {Treatment::kKeep, Treatment::kRemove};
  }
}

}  // namespace oncomesh::deidentification
