// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/quarantine_advice.h"

#include "absl/strings/match.h"

namespace oncomesh::cli {
namespace {

constexpr char kExportAgain[] =
    "export the object again from its source and send that; then delete this one";
constexpr char kLook[] =
    "look at the pixels; when they show no text about a patient: oncomesh quarantine release ID "
    "--pixels-checked, else delete it";
constexpr char kDelete[] = "it cannot be released; delete it";
constexpr char kCorrectTable[] = "correct the table and send it again; then delete this one";

struct Row {
  absl::string_view reason, meaning, way_out;
};

constexpr Row kRows[] = {
    {"NOT_DICOM", "the file is not a DICOM object", kDelete},
    {"FILE_EMPTY", "the file has no byte", kExportAgain},
    {"DIGEST_WRONG", "other bytes arrived than were sent", "send it again; then delete this one"},
    {"DATASET_MALFORMED", "its structure cannot be read", kExportAgain},
    {"DATASET_TRUNCATED", "it ends in the middle", kExportAgain},
    {"DATASET_TOO_DEEP", "its sequences are nested deeper than any standard object", kExportAgain},
    {"VALUE_TOO_LONG", "a value is longer than its kind may be", kExportAgain},
    {"HEADER_TOO_LARGE", "what is not pixels is larger than 64 MiB", kDelete},
    {"DEFLATE_INVALID", "its compressed data set cannot be unpacked", kExportAgain},
    {"TRANSFER_SYNTAX_UNSUPPORTED", "its transfer syntax is not known", kExportAgain},
    {"SOP_CLASS_MISSING", "it does not say what kind of object it is", kExportAgain},
    {"SOP_INSTANCE_MISSING", "it has no identifier of its own", kExportAgain},
    {"STUDY_MISSING", "it belongs to no study", kExportAgain},
    {"PATIENT_ID_MISSING", "it names no patient, so no pseudonym can be made", kExportAgain},
    {"MEDIA_DIRECTORY", "it is the table of contents of a medium, not an object", kDelete},
    {"ENCAPSULATED_DOCUMENT", "it holds a document whose text is not searched", kDelete},
    {"AUDIO", "it holds a voice", kDelete},
    {"SOP_CLASS_NOT_REVIEWED", "nobody has reviewed what objects of its kind hold",
     "review them and list the kind in the profile's sopClasses, then try it again: oncomesh "
     "quarantine release ID; else delete it"},
    {"PIXELS_TOO_LONG", "behind the image its pixel data hold bytes that no viewer shows",
     kExportAgain},
    {"IDENTIFIERS_TOO_MANY", "it names more people and orders than any standard object", kDelete},
    {"UNLISTED", "it was in quarantine when the service started, but not in its list",
     "oncomesh quarantine release ID tries it again"},
    {"BURNED_IN_TEXT", "it says that its pixels show text", kLook},
    {"POSSIBLE_BURNED_IN_TEXT", "images of its kind often show text in their pixels", kLook},
    {"SPECIMEN_LABEL", "it shows the label of a specimen", kLook},
    {"OVERLAY_IN_PIXELS", "unused bits of its pixels hold an overlay",
     "export it again without the overlay, or with the overlay in an element of its own"},
    {"DUPLICATE_INSTANCE", "another object with the same identifier has other content",
     "find out which of the two is right; delete the other"},
    {"RESIDUAL_IDENTIFIER", "a value of the source was still in the result",
     "do not release it; tell the maintainers of the profile"},
    {"ROWS_QUARANTINED", "some rows of the table were not released, the others were",
     kCorrectTable},
    {"TABLE_TOO_LARGE", "the table has more than 64 MiB", kCorrectTable},
    {"TABLE_WITHOUT_ROWS", "no row of the table could be released", kCorrectTable},
    {"TABLE_EMPTY", "the table has no rows", kCorrectTable},
};

}  // namespace

QuarantineAdvice AdviceFor(absl::string_view reason) {
  for (const Row& row : kRows) {
    if (row.reason == reason) return {std::string(row.meaning), std::string(row.way_out)};
  }
  if (absl::StartsWith(reason, "TABLE_") || absl::StartsWith(reason, "ROW_")) {
    return {"the clinical table cannot be read as it is", kCorrectTable};
  }
  return {"this program does not know the reason",
          "see the service's README, or update this program"};
}

}  // namespace oncomesh::cli
