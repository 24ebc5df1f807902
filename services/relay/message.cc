// SPDX-License-Identifier: Apache-2.0
#include "services/relay/message.h"

#include <algorithm>
#include <utility>

namespace oncomesh::relay {

Message Message::Copy(absl::string_view bytes) {
  Message message;
  auto owner = std::make_shared<const std::string>(bytes);
  message.Append({owner, *owner});
  return message;
}

void Message::Append(Piece piece) {
  if (piece.bytes.empty()) return;
  size_ += piece.bytes.size();
  pieces_.push_back(std::move(piece));
}

void Message::Append(Message other) {
  if (pieces_.empty()) {
    *this = std::move(other);
    return;
  }
  for (Piece& piece : other.pieces_) Append(std::move(piece));
}

std::string Message::ToString() const {
  std::string out;
  out.reserve(size_);
  for (const Piece& piece : pieces_) out.append(piece.bytes.data(), piece.bytes.size());
  return out;
}

bool Message::Take(size_t n, std::string* out) {
  if (n > size_) return false;
  out->clear();
  out->reserve(n);
  size_t whole = 0;
  while (out->size() < n) {
    Piece& piece = pieces_[whole];
    size_t part = std::min(n - out->size(), piece.bytes.size());
    out->append(piece.bytes.data(), part);
    piece.bytes.remove_prefix(part);
    if (piece.bytes.empty()) ++whole;
  }
  pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<std::ptrdiff_t>(whole));
  size_ -= n;
  return true;
}

}  // namespace oncomesh::relay
