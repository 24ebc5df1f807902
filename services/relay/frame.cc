// SPDX-License-Identifier: Apache-2.0
#include "services/relay/frame.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "libs/base/error.h"
#include "oncomesh/relay/v1/lane.pb.h"

namespace oncomesh::relay {
namespace {

constexpr unsigned kCall = 0x01;
constexpr unsigned kInitial = 0x02;
constexpr unsigned kTrailer = 0x04;
constexpr unsigned kMessage = 0x08;
constexpr unsigned kEnd = 0x10;

constexpr int kMaxStatusCode = 16;  // UNAUTHENTICATED

absl::Status Invalid(absl::string_view what) {
  return base::Error(absl::StatusCode::kInvalidArgument, "FRAME_INVALID", what);
}

void AppendSection(const google::protobuf::MessageLite& header, std::string* out) {
  std::string bytes = header.SerializeAsString();
  auto size = static_cast<uint32_t>(bytes.size());
  for (int shift = 0; shift < 32; shift += 8) out->push_back(static_cast<char>(size >> shift));
  out->append(bytes);
}

absl::Status TakeSection(Message& frame, google::protobuf::MessageLite& header) {
  std::string bytes;
  if (!frame.Take(4, &bytes)) return Invalid("a frame ends within the length of a header");
  size_t size = 0;
  for (int i = 3; i >= 0; --i) size = size << 8 | static_cast<unsigned char>(bytes[i]);
  if (size > kMaxFrameHeaderBytes) return Invalid("a frame's header is larger than 128 KiB");
  if (!frame.Take(size, &bytes)) return Invalid("a frame ends within a header");
  if (!header.ParseFromString(bytes)) return Invalid("a frame's header cannot be read");
  return absl::OkStatus();
}

template <typename Header>
void PutMetadata(const Metadata& metadata, Header& header) {
  for (const auto& [key, value] : metadata) {
    auto* entry = header.add_metadata();
    entry->set_key(key);
    entry->set_value(value);
  }
}

template <typename Header>
absl::StatusOr<Metadata> GetMetadata(const Header& header) {
  Metadata metadata;
  metadata.reserve(static_cast<size_t>(header.metadata_size()));
  for (const auto& entry : header.metadata()) {
    if (!IsMetadatum(entry.key(), entry.value())) {
      return Invalid("a frame carries metadata that gRPC does not allow");
    }
    metadata.emplace_back(entry.key(), entry.value());
  }
  return metadata;
}

}  // namespace

bool IsMetadatum(absl::string_view key, absl::string_view value) {
  if (key.empty() || absl::StartsWith(key, "grpc-")) return false;
  for (char c : key) {
    if (!absl::ascii_islower(static_cast<unsigned char>(c)) &&
        !absl::ascii_isdigit(static_cast<unsigned char>(c)) && c != '-' && c != '_' && c != '.') {
      return false;
    }
  }
  if (absl::EndsWith(key, "-bin")) return true;
  return std::all_of(value.begin(), value.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}

bool IsMethod(absl::string_view method) {
  if (method.size() < 4 || method.size() > 512 || method[0] != '/') return false;
  size_t slash = method.rfind('/');
  if (slash == 0 || slash == 1 || slash + 1 == method.size()) return false;
  method.remove_prefix(1);
  return std::count(method.begin(), method.end(), '/') == 1 &&
         std::all_of(method.begin(), method.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' ||
                  c == '/';
         });
}

Message EncodeFrame(RequestFrame frame, absl::Time now) {
  unsigned flags = (frame.call ? kCall : 0u) | (frame.part.message ? kMessage : 0u) |
                   (frame.part.end ? kEnd : 0u);
  std::string prefix(1, static_cast<char>(flags));
  if (frame.call) {
    v1::CallHeader header;
    header.set_method(frame.call->method);
    PutMetadata(frame.call->metadata, header);
    absl::Duration left = std::max(frame.call->deadline - now, absl::Microseconds(1));
    header.set_timeout_us(absl::ToInt64Microseconds(left));
    header.set_unary(frame.call->unary);
    header.set_caller(frame.call->caller);
    AppendSection(header, &prefix);
  }
  Message out = Message::Copy(prefix);
  if (frame.part.message) out.Append(*std::move(frame.part.message));
  return out;
}

Message EncodeFrame(ResponsePart part) {
  unsigned flags = (part.initial ? kInitial : 0u) | (part.message ? kMessage : 0u) |
                   (part.trailer ? kTrailer : 0u);
  std::string prefix(1, static_cast<char>(flags));
  if (part.initial) {
    v1::InitialHeader header;
    PutMetadata(*part.initial, header);
    AppendSection(header, &prefix);
  }
  if (part.trailer) {
    v1::TrailerHeader header;
    header.set_code(part.trailer->code);
    header.set_message(part.trailer->message);
    header.set_details(part.trailer->details);
    PutMetadata(part.trailer->metadata, header);
    AppendSection(header, &prefix);
  }
  Message out = Message::Copy(prefix);
  if (part.message) out.Append(*std::move(part.message));
  return out;
}

absl::StatusOr<RequestFrame> ParseRequestFrame(Message frame, absl::Time now) {
  std::string byte;
  if (!frame.Take(1, &byte)) return Invalid("a frame is empty");
  unsigned flags = static_cast<unsigned char>(byte[0]);
  if (flags == 0 || (flags & ~(kCall | kMessage | kEnd)) != 0) {
    return Invalid("a frame has flags that the hub may not send");
  }
  RequestFrame out;
  if ((flags & kCall) != 0) {
    v1::CallHeader header;
    if (absl::Status status = TakeSection(frame, header); !status.ok()) return status;
    if (!IsMethod(header.method())) return Invalid("a call names no method");
    if (header.timeout_us() <= 0) return Invalid("a call has no deadline");
    absl::StatusOr<Metadata> metadata = GetMetadata(header);
    if (!metadata.ok()) return metadata.status();
    out.call.emplace();
    out.call->method = header.method();
    out.call->metadata = *std::move(metadata);
    out.call->deadline = now + absl::Microseconds(header.timeout_us());
    out.call->unary = header.unary();
    out.call->caller = header.caller();
  }
  out.part.end = (flags & kEnd) != 0;
  if ((flags & kMessage) != 0) {
    out.part.message = std::move(frame);
  } else if (frame.size() != 0) {
    return Invalid("a frame without a message has bytes behind its headers");
  }
  if (out.call && out.call->unary && !(out.part.message && out.part.end)) {
    return Invalid("a unary call comes without its message");
  }
  return out;
}

absl::StatusOr<ResponsePart> ParseResponseFrame(Message frame) {
  std::string byte;
  if (!frame.Take(1, &byte)) return Invalid("a frame is empty");
  unsigned flags = static_cast<unsigned char>(byte[0]);
  if (flags == 0 || (flags & ~(kInitial | kTrailer | kMessage)) != 0) {
    return Invalid("a frame has flags that a node may not send");
  }
  ResponsePart out;
  if ((flags & kInitial) != 0) {
    v1::InitialHeader header;
    if (absl::Status status = TakeSection(frame, header); !status.ok()) return status;
    absl::StatusOr<Metadata> metadata = GetMetadata(header);
    if (!metadata.ok()) return metadata.status();
    out.initial = *std::move(metadata);
  }
  if ((flags & kTrailer) != 0) {
    v1::TrailerHeader header;
    if (absl::Status status = TakeSection(frame, header); !status.ok()) return status;
    if (header.code() < 0 || header.code() > kMaxStatusCode) {
      return Invalid("a trailer has a status code that gRPC does not know");
    }
    absl::StatusOr<Metadata> metadata = GetMetadata(header);
    if (!metadata.ok()) return metadata.status();
    out.trailer.emplace();
    out.trailer->code = header.code();
    out.trailer->message = header.message();
    out.trailer->details = header.details();
    out.trailer->metadata = *std::move(metadata);
  }
  if ((flags & kMessage) != 0) {
    out.message = std::move(frame);
  } else if (frame.size() != 0) {
    return Invalid("a frame without a message has bytes behind its headers");
  }
  return out;
}

}  // namespace oncomesh::relay
