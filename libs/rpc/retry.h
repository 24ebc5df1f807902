// SPDX-License-Identifier: Apache-2.0
// Which calls a channel makes again by itself when nobody answered.
#pragma once

#include <string>

namespace oncomesh::rpc {

// The gRPC service config (JSON) of every channel of the mesh: a unary call that ended with
// UNAVAILABLE is made up to 3 times more, after about 0.1, 0.2 and 0.4 s (each time anything
// between nothing and that), within its deadline, when its proto says `idempotency_level`:
// NO_SIDE_EFFECTS or IDEMPOTENT. All others are made once, since a line that broke does not say
// whether the call was carried out. Streams have their own ways to go on. When too many calls fail,
// none is made again until others have succeeded. Knows the protos that are linked into the
// program.
const std::string& RetryServiceConfig();

}  // namespace oncomesh::rpc
