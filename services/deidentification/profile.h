// SPDX-License-Identifier: Apache-2.0
// What is done with each attribute: the basic profile of PS3.15 Annex E and the options that are
// taken. Three profiles are built in; a hospital may write its own as JSON on top of one.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/dicom/dictionary.h"
#include "services/deidentification/rule_table.h"

namespace oncomesh::deidentification {

struct Profile {
  std::string name;
  std::string description;

  // Options of PS3.15 E.3. Retaining UIDs or full dates is not offered: neither leaves a site.
  bool retain_device_identity = false;          // E.3.7
  bool retain_institution_identity = false;     // E.3.8
  bool retain_patient_characteristics = false;  // E.3.5, ages capped at 90
  bool shift_dates = false;                     // E.3.6, by whole weeks per patient
  bool clean_descriptors = false;               // E.3.4, word by word against a vocabulary
  bool clean_structured_content = false;        // E.3.3
  bool retain_safe_private = false;             // E.3.10

  // Model and software of the device stay, and serial number and station become codes, so that
  // images can be grouped by scanner without naming it.
  bool device_codes = false;
  // The accession number becomes a code instead of being emptied.
  bool accession_code = false;
  // Codes come from a key that is thrown away at the end of the run: nobody can link them, not even
  // the holder of the project key.
  bool throw_away_key = false;

  // The issuer of patient identifiers that is not written next to an identifier of the hospital's
  // own; identifiers of this issuer and identifiers without one are the same.
  std::string home_issuer;
  // Words that descriptors may keep beside the built-in ones. Upper case.
  std::vector<std::string> words;
  // SOP classes that are released beside the reviewed ones (sop_classes.h), private ones too: the
  // site has looked at what its objects of them hold, pixels included.
  std::vector<std::string> sop_classes;
  // Attributes with a decision of this profile's own.
  std::vector<dicom::Tag> keep;
  std::vector<dicom::Tag> remove;
  // Columns of clinical tables that stay as they are, beside those of the registry's variables; in
  // lower case.
  std::vector<std::string> table_columns;
};

// basic, research, anonymous.
const std::vector<Profile>& BuiltInProfiles();

// A built-in profile by its name, or the JSON file at that path.
// Errors: NOT_FOUND (PROFILE_NOT_FOUND), INVALID_ARGUMENT (PROFILE_INVALID) naming the field.
absl::StatusOr<Profile> LoadProfile(const std::string& name_or_path);
absl::StatusOr<Profile> ParseProfile(absl::string_view json);

// The profile with all its options, as ParseProfile reads it; keys in a fixed order.
nlohmann::json ProfileJson(const Profile& profile);

// CID 7050 codes of the methods the profile uses, ascending ("113100", …).
std::vector<std::string> MethodCodes(const Profile& profile);
// The meaning of a CID 7050 code; empty when it is none.
absl::string_view MethodMeaning(absl::string_view code);

// What the profile does with attributes that PS3.15 Table E.1-1 does not list, one sentence a kind.
std::vector<std::string> UnlistedRules(const Profile& profile);

// What happens to an attribute.
enum class Treatment : uint8_t {
  kKeep,
  kRemove,
  kEmpty,
  kDummy,
  kHashUid,
  kPatientCode,
  kAccessionCode,
  kDeviceCode,
  kDescend,
  kClean,
  kShiftDate,
  kCapAge,
};

struct Decision {
  Treatment treatment;
  // When the treatment cannot be done: a date that is none, a text of which nothing stays.
  Treatment fallback;
};

// A profile made quick. Immutable; any thread.
class Decisions {
 public:
  explicit Decisions(const Profile& profile);

  // For standard attributes. Every attribute has one: the table's, the profile's own, or, for what
  // the table does not list, the one of its role (unlisted_attributes.h); what the dictionary does
  // not know is removed.
  Decision For(dicom::Tag tag) const;

  bool retains_characteristics() const { return retain_characteristics_; }
  // Whether the profile lists this SOP class.
  bool ListsSopClass(absl::string_view uid) const { return sop_classes_.count(uid) > 0; }

  // For a private attribute whose creator is known; kRemove unless the profile retains safe ones.
  // `vr` gets the VR the attribute is known by.
  Decision ForPrivate(absl::string_view creator, dicom::Tag tag, dicom::Vr& vr) const;

 private:
  Decision Default(dicom::Tag tag) const;

  bool shift_dates_;
  bool clean_descriptors_;
  bool retain_characteristics_;
  bool retain_safe_private_;
  std::set<std::string, std::less<>> sop_classes_;
  std::unordered_map<dicom::Tag, Decision> by_tag_;
};

}  // namespace oncomesh::deidentification
