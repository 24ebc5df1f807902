// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/record_text.h"

#include <google/protobuf/util/json_util.h>

#include "libs/base/error.h"

namespace oncomesh::catalogue {

std::string RecordText(const v1::DatasetRecord& record) {
  std::string out;
  // Cannot fail: the record has no field of type Any.
  (void)google::protobuf::util::MessageToJsonString(record, &out);
  return out;
}

absl::StatusOr<v1::DatasetRecord> RecordOf(const std::string& text) {
  v1::DatasetRecord out;
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  if (!google::protobuf::util::JsonStringToMessage(text, &out, options).ok()) {
    return base::Error(absl::StatusCode::kDataLoss, "RECORD_CORRUPT",
                       "a stored dataset record cannot be read");
  }
  return out;
}

}  // namespace oncomesh::catalogue
