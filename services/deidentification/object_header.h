// SPDX-License-Identifier: Apache-2.0
// What must be known of a header before it is rewritten: whose object it is, whether it may be
// released at all, and which strings must not survive.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "libs/dicom/walker.h"
#include "services/deidentification/object_rules.h"

namespace oncomesh::deidentification {

// Views into the header; trimmed.
struct ObjectHeader {
  absl::string_view sop_class_uid, sop_instance_uid, study_uid, series_uid;
  absl::string_view modality, image_type, burned_in, conversion_type;
  absl::string_view series_description, dose_comments;
  absl::string_view patient_id, issuer;
  // An overlay that lives in unused bits of the pixels.
  bool overlay_in_pixels = false;
  // Of the image; 0 where the header does not say.
  uint64_t rows = 0, columns = 0, samples = 0, bits_allocated = 0, frames = 1;
  bool chroma_halved = false;  // YBR_FULL_422: two samples of three are stored
  // CID 7050 codes of earlier de-identification, and its free texts.
  std::vector<std::string> method_codes;
  absl::string_view method_text;
  std::vector<absl::string_view> name_values;        // of people
  std::vector<absl::string_view> identifier_values;  // of patient, visit and order
  std::vector<absl::string_view> uid_values;         // of instances, top level
  std::vector<absl::string_view> days;  // YYYYMMDD, different ones of its dates, birth included
};

// Reads the top level of bytes[begin, end), a data set whose structure FindPixels has walked.
ObjectHeader ReadObjectHeader(absl::string_view bytes, size_t begin, size_t end,
                              dicom::Encoding encoding);

// True for identifiers of the patient, the visit and the order, for addresses and for numbers one
// is reached by.
bool IsIdentifier(dicom::Tag tag);

// The reason for which the object must not be released, or empty. `pixels_checked`: see
// StreamDeidentifier::Start. `listed`: the profile lists the SOP class.
absl::string_view QuarantineReason(const ObjectHeader& header, bool listed, bool pixels_checked);

// Whether native pixel data of `length` bytes are no more than the image that the header describes:
// what stands behind an image no viewer shows and no person has looked at.
bool PixelsFit(const ObjectHeader& header, uint64_t length);

// Fills the words and strings that point at the patient. Words that `vocabulary` knows are not
// searched for in the output: a patient called Bone would empty every bone window. False when there
// are more than any real object has.
bool CollectIdentifiers(const ObjectHeader& header, const Vocabulary& vocabulary,
                        ObjectContext& context);

}  // namespace oncomesh::deidentification
