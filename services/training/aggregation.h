// SPDX-License-Identifier: Apache-2.0
// From the updates of a round to what comes out of it. Reads files, writes one object, keeps
// nothing: run again after a crash it gives the same bytes.
#pragma once

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libs/federated/strategy.h"
#include "libs/objects/object_store.h"
#include "services/training/run_record.h"
#include "services/training/update_spool.h"

namespace oncomesh::training {

// Removes what an aggregation that was killed has left in `scratch`. Before anybody writes there.
absl::Status EmptyScratch(const std::string& scratch);

// The model of zeros with which a run starts, in `objects`; its SHA-256, which `named` is told
// before the object is put; its error ends it.
absl::StatusOr<std::string> StoreZeroModel(
    const v1::Plan& plan, objects::ObjectStore& objects, const std::string& scratch,
    absl::FunctionRef<absl::Status(const std::string& sha256)> named);

// What an update of the current round must look like. Errors: those of opening the input model.
absl::StatusOr<federated::Template> TemplateOf(const RunRecord& record,
                                               objects::ObjectStore& objects);
// What the examples of a contribution weigh in the sum of the record's round.
int64_t WeightOf(const RunRecord& record, int64_t examples);
// The largest file that fits the template.
int64_t MaxUpdateBytes(const federated::Template& expected);

// The outcome of the aggregating round; its model or sums are in `objects`. `scratch` is a folder
// on the file system of the objects. Each update is hashed before it is added, since the manifest
// vouches for its digest. Errors: INVALID_ARGUMENT (HESSIAN_NOT_POSITIVE), FAILED_PRECONDITION
// (MODEL_NOT_FINITE), DATA_LOSS (UPDATE_LOST) when an accepted update is not there or has other
// bytes, NOT_FOUND (OBJECT_NOT_FOUND) for the input model: the run cannot go on; others may pass.
absl::StatusOr<Closing> Aggregate(const RunRecord& record, UpdateSpool& spool,
                                  objects::ObjectStore& objects, const std::string& scratch);

}  // namespace oncomesh::training
