// link: oncomesh::deidentification_service
// SPDX-License-Identifier: Apache-2.0
// Any bytes as a DICOM object, in parts of any size: it ends released or quarantined.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "services/deidentification/deidentifier.h"

namespace {

class NullSink final : public oncomesh::deidentification::ObjectSink {
 public:
  absl::Status Begin(const oncomesh::deidentification::Outcome&) override {
    return absl::OkStatus();
  }
  absl::Status Append(absl::string_view) override { return absl::OkStatus(); }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace oncomesh::deidentification;  // NOLINT
  static const Deidentifier& deidentifier =
      *new Deidentifier(*LoadProfile("research"), std::string(kProjectKeyBytes, 'k'));
  static StreamDeidentifier& stream = *new StreamDeidentifier(deidentifier);
  if (size == 0) return 0;
  // The first byte chooses the size of the parts.
  size_t part = size_t{1} << (data[0] % 16);
  absl::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  NullSink sink;
  stream.Start(&sink, /*release_unchecked_pixels=*/(data[0] & 0x80) != 0);
  for (size_t at = 0; at < bytes.size(); at += part) {
    if (!stream.Feed(bytes.substr(at, part)).ok()) std::abort();
  }
  absl::StatusOr<Outcome> outcome = stream.Finish();
  if (!outcome.ok() || outcome->released == !outcome->reason.empty()) std::abort();
  return 0;
}
