// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/unlisted_attributes.h"

#include <algorithm>
#include <iterator>

namespace oncomesh::deidentification {
namespace {

using dicom::Tag;

// Ascending.
constexpr Tag kTechnical[] = {
    0x00080070,  // Manufacturer
    0x00080100,  // Code Value
    0x00080102,  // Coding Scheme Designator
    0x00080103,  // Coding Scheme Version
    0x00081090,  // Manufacturer's Model Name
    0x00180024,  // Sequence Name
    0x00180030,  // Radionuclide
    0x00180031,  // Radiopharmaceutical
    0x00180085,  // Imaged Nucleus
    0x00181016,  // Secondary Capture Device Manufacturer
    0x00181018,  // Secondary Capture Device Manufacturer's Model Name
    0x00181019,  // Secondary Capture Device Software Versions
    0x00181020,  // Software Versions
    0x00181022,  // Video Image Format Acquired
    0x00181023,  // Digital Image Format Acquired
    0x00181061,  // Trigger Source or Type
    0x00181064,  // Cardiac Framing Type
    0x00181085,  // PVC Rejection
    0x00181160,  // Filter Type
    0x00181161,  // Type of Filters
    0x00181180,  // Collimator/grid Name
    0x001811b0,  // Acquisition Mode
    0x001811b1,  // Dose Mode Name
    0x00181210,  // Convolution Kernel
    0x00181250,  // Receive Coil Name
    0x00181251,  // Transmit Coil Name
    0x00181260,  // Plate Type
    0x00181261,  // Phosphor Type
    0x00181401,  // Acquisition Device Processing Code
    0x00185010,  // Transducer Data
    0x00185020,  // Processing Function
    0x0018702a,  // Detector Manufacturer Name
    0x0018702b,  // Detector Manufacturer's Model Name
    0x00189005,  // Pulse Sequence Name
    0x00189041,  // Receive Coil Manufacturer Name
    0x00189047,  // Multi-Coil Element Name
    0x00189050,  // Transmit Coil Manufacturer Name
    0x00189320,  // Image Filter
    0x00189524,  // Application Name
    0x00189525,  // Application Version
    0x00189526,  // Application Manufacturer
    0x00209056,  // Stack ID
    0x00209213,  // Dimension Index Private Creator
    0x00209238,  // Functional Group Private Creator
    0x00281054,  // Rescale Type
    0x00282000,  // ICC Profile
    0x00283004,  // Modality LUT Type
    0x00409210,  // LUT Label
    0x00480106,  // Optical Path Identifier
    0x00540018,  // Energy Window Name
    0x00541101,  // Attenuation Correction Method
    0x00541103,  // Reconstruction Method
    0x00541104,  // Detector Lines of Response Used
    0x00541105,  // Scatter Correction Method
    0x00620009,  // Segment Algorithm Name
    0x00660031,  // Algorithm Version
    0x00660036,  // Algorithm Name
    0x006a000e,  // Referenced Optical Path Identifier
    0x300a0226,  // Source Isotope Name
};

// Ascending.
constexpr Tag kRequired[] = {
    0x00080104,  // Code Meaning
    0x00620005,  // Segment Label
    0x30020002,  // RT Image Label
};

// Short texts and numbers of which not even medical words or digits may stay. Ascending.
constexpr Tag kIdentifying[] = {
    0x00080112,  // Coding Scheme Registry
    0x00100033,  // Patient's Birth Date in Alternative Calendar
    0x00100034,  // Patient's Death Date in Alternative Calendar
    0x00102295,  // Breed Registration Number
    0x00140100,  // Component Welder IDs
    0x00181003,  // Device ID
    0x00181006,  // Grid ID
    0x00181801,  // Time Source
    0x00181803,  // NTP Source Address
    0x00380016,  // Route of Admissions
    0x00380102,  // Resource Description
    0x00401006,  // Placer Order Number / Procedure (retired)
    0x00401007,  // Filler Order Number / Procedure (retired)
    0x00402006,  // Placer Order Number / Imaging Service Request (retired)
    0x00402007,  // Filler Order Number / Imaging Service Request (retired)
    0x0044000a,  // Product Lot Identifier
    0x00440012,  // Substance Administration Device ID
    0x00540400,  // Image ID
    0x00720008,  // Hanging Protocol Creator
    0x00720010,  // Hanging Protocol User Group Name
    0x0074100c,  // Contact Display Name
    0x00820016,  // Assessment Set ID
    0x00880130,  // Storage Media File-set ID
    0x01000426,  // Authorization Equipment Certification Number
    0x04000500,  // Encrypted Attributes Sequence
    0x21000010,  // Print Job ID (retired)
    0x21000160,  // Owner ID
    0x21100030,  // Printer Name
    0x21100099,  // Print Queue ID (retired)
    0x30020020,  // Radiation Machine Name
    0x40080103,  // Reference to Recorded Sound (retired)
};

static_assert(std::is_sorted(std::begin(kTechnical), std::end(kTechnical)));
static_assert(std::is_sorted(std::begin(kRequired), std::end(kRequired)));
static_assert(std::is_sorted(std::begin(kIdentifying), std::end(kIdentifying)));

template <size_t N>
bool Contains(const Tag (&tags)[N], Tag tag) {
  return std::binary_search(std::begin(tags), std::end(tags), tag);
}

}  // namespace

UnlistedRole RoleOfUnlisted(const dicom::DictionaryEntry& entry) {
  const Tag tag = entry.tag;
  if (Contains(kTechnical, tag)) return UnlistedRole::kTechnical;
  if (Contains(kIdentifying, tag)) return UnlistedRole::kRemoved;
  // Values of any attribute of any object, as hanging protocols select by (0072,005E-0083), and
  // what airport security knows of travellers (group 4010).
  if (tag >= 0x0072005e && tag <= 0x00720083) return UnlistedRole::kRemoved;
  if (dicom::Group(tag) == 0x4010) return UnlistedRole::kRemoved;
  switch (entry.vr) {
    case dicom::kLO:
    case dicom::kSH:
      return Contains(kRequired, tag) ? UnlistedRole::kRequiredDescriptor
                                      : UnlistedRole::kDescriptor;
    case dicom::kST:
    case dicom::kLT:
    case dicom::kUT:
    case dicom::kUC:
    case dicom::kUR:
    case dicom::kAE:
    case dicom::kOB:
    case dicom::kUN:
      return UnlistedRole::kRemoved;
    default:
      return UnlistedRole::kNoText;
  }
}

}  // namespace oncomesh::deidentification
