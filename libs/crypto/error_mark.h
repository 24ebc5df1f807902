// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/err.h>

namespace oncomesh::crypto {

// Leaves OpenSSL's error queue of this thread as it was. gRPC runs TLS with the same library on the
// same threads, and an old error in the queue makes a healthy connection look broken.
class ErrorMark {
 public:
  ErrorMark() { ERR_set_mark(); }
  ~ErrorMark() { ERR_pop_to_mark(); }
  ErrorMark(const ErrorMark&) = delete;
  ErrorMark& operator=(const ErrorMark&) = delete;
};

}  // namespace oncomesh::crypto
