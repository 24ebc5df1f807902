// SPDX-License-Identifier: Apache-2.0
// How long work is ended before its result is there.
#pragma once

#include "libs/base/stop.h"

namespace oncomesh::imaging {

using base::CheckGoOn;
using base::GoOn;

}  // namespace oncomesh::imaging
