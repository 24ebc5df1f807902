// SPDX-License-Identifier: Apache-2.0
// Cases from the services beside: the catalogue says which objects a dataset has, harmonisation
// makes volumes of them. What was prepared once is kept and used again in every round.
#pragma once

#include <memory>
#include <string>

#include "libs/base/clock.h"
#include "libs/objects/object_store.h"
#include "services/training/case_provider.h"
#include "services/training/site_services.h"

namespace oncomesh::training {

// `prepared` is the object store of harmonisation; in `cases_dir` one folder per list of objects
// and way of preparing keeps the cases' folders. Each use sets the time of that folder, so that one
// not used for long can be removed: it is made again. One thread, but for Stop.
//
// A case with a fault of its own (a gap between slices, no such contour) is left out and counted in
// the log. It is tried again when the service starts and a day later: another version may read it.
// Any other error, as a store that is away or one object that is missing, is that of Prepare: no
// case is left out because of a bad minute. A case whose patient code cannot be the name of a
// folder is left out too.
std::unique_ptr<CaseProvider> MakeSiteCaseProvider(std::unique_ptr<SiteServices> services,
                                                   std::unique_ptr<objects::ObjectStore> prepared,
                                                   const std::string& cases_dir,
                                                   base::Clock& clock);

}  // namespace oncomesh::training
