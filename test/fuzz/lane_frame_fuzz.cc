// link: oncomesh::relay_service
// SPDX-License-Identifier: Apache-2.0
// Frames of a lane, from either end. What parses is encoded and parsed to the same again.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "services/relay/frame.h"

namespace {

namespace relay = oncomesh::relay;

// In pieces, as they come from the network; the first byte says of what size.
relay::Message Pieces(const uint8_t* data, size_t size, size_t piece) {
  relay::Message message;
  for (size_t at = 0; at < size; at += piece) {
    message.Append(relay::Message::Copy(
        absl::string_view(reinterpret_cast<const char*>(data) + at, std::min(piece, size - at))));
  }
  return message;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  size_t piece = 1 + data[0] % 16;
  const absl::Time now = absl::FromUnixSeconds(1'800'000'000);
  auto request = relay::ParseRequestFrame(Pieces(data + 1, size - 1, piece), now);
  if (request.ok()) {
    std::string bytes = relay::EncodeFrame(*request, now).ToString();
    auto again = relay::ParseRequestFrame(relay::Message::Copy(bytes), now);
    if (!again.ok() || relay::EncodeFrame(*again, now).ToString() != bytes) std::abort();
  }
  auto response = relay::ParseResponseFrame(Pieces(data + 1, size - 1, piece));
  if (response.ok()) {
    std::string bytes = relay::EncodeFrame(*response).ToString();
    auto again = relay::ParseResponseFrame(relay::Message::Copy(bytes));
    if (!again.ok() || relay::EncodeFrame(*again).ToString() != bytes) std::abort();
  }
  return 0;
}
