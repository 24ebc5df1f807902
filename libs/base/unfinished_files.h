// SPDX-License-Identifier: Apache-2.0
// For a program that a signal may end in the middle of a write.
#pragma once

namespace oncomesh::base {

// Removes what AtomicFiles have written and not yet named, for a handler of a signal that ends the
// program: async-signal-safe. At most 64 unfinished files are known at a time; a service, which
// ends in order, has no need of it.
void RemoveUnfinishedFiles();

}  // namespace oncomesh::base
