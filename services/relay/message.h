// SPDX-License-Identifier: Apache-2.0
// The bytes of one gRPC message on their way through a relay. They are passed on as they came, in
// the pieces they came in, and never copied or looked at.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "absl/container/inlined_vector.h"
#include "absl/strings/string_view.h"

namespace oncomesh::relay {

// Cheap to copy: copies share the bytes, which nobody changes. Not for two threads at once.
class Message {
 public:
  struct Piece {
    std::shared_ptr<const void> owner;  // keeps `bytes` alive
    absl::string_view bytes;
  };
  using Pieces = absl::InlinedVector<Piece, 2>;

  Message() = default;
  // A message with a copy of `bytes`.
  static Message Copy(absl::string_view bytes);

  void Append(Piece piece);
  void Append(Message other);

  size_t size() const { return size_; }
  const Pieces& pieces() const { return pieces_; }
  std::string ToString() const;

  // Moves the first `n` bytes into `out`. False, and nothing moved, when there are fewer.
  bool Take(size_t n, std::string* out);

 private:
  Pieces pieces_;
  size_t size_ = 0;
};

}  // namespace oncomesh::relay
