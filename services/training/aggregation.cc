// SPDX-License-Identifier: Apache-2.0
#include "services/training/aggregation.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/random.h"
#include "libs/base/status_macros.h"
#include "libs/federated/plan.h"
#include "services/training/file_hash.h"

namespace oncomesh::training {
namespace {

using federated::TensorFile;
using federated::TensorInfo;
using federated::TensorSpec;
using federated::TensorWriter;

// Writes a tensor file with `fill` and moves it into the store.
absl::StatusOr<std::string> StoreTensors(
    const std::vector<TensorSpec>& tensors, const std::map<std::string, std::string>& metadata,
    objects::ObjectStore& objects, const std::string& scratch,
    absl::FunctionRef<absl::Status(TensorWriter&)> fill,
    absl::FunctionRef<absl::Status(const std::string&)> named = [](const std::string&) {
      return absl::OkStatus();
    }) {
  RETURN_IF_ERROR(base::MakeDirectories(scratch, 0700));
  // A name of its own: runs are submitted while rounds are closed.
  const std::string path = absl::StrCat(scratch, "/", base::NewId("model-"));
  std::string sha256;
  {
    ASSIGN_OR_RETURN(base::AtomicFile file, base::AtomicFile::Create(path, 0600));
    ASSIGN_OR_RETURN(TensorWriter writer, TensorWriter::Create(file.fd(), tensors, metadata));
    RETURN_IF_ERROR(fill(writer));
    ASSIGN_OR_RETURN(sha256, writer.Finish());
    RETURN_IF_ERROR(named(sha256));
    RETURN_IF_ERROR(file.Commit(true, false));  // the store makes it durable
  }
  return objects.PutFile(path, sha256);
}

std::vector<TensorSpec> SpecsOf(const federated::Header& header) {
  std::vector<TensorSpec> specs;
  for (const auto& [name, tensor] : header.tensors) {
    specs.push_back({name, tensor.dtype, tensor.shape});
  }
  return specs;
}

absl::StatusOr<TensorFile> OpenInput(const RunRecord& record, objects::ObjectStore& objects) {
  ASSIGN_OR_RETURN(std::string path, objects.LocalPath(record.round.input_sha256()));
  return TensorFile::Open(path);
}

absl::Status UpdateLost() {
  return base::Error(absl::StatusCode::kDataLoss, "UPDATE_LOST",
                     "an update that was accepted is no longer at the hub as it came; look at the "
                     "hub's disk and submit the run again");
}

// OK when the file has the digest under which it was accepted.
absl::Status CheckUnchanged(const std::string& path, const std::string& sha256) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return UpdateLost();
  if (fd < 0) return base::ErrnoStatus(errno, "open an update");
  absl::StatusOr<FileDigest> digest = HashWhole(fd);
  close(fd);
  RETURN_IF_ERROR(digest.status());
  return digest->sha256 == sha256 ? absl::OkStatus() : UpdateLost();
}

// Mean of each metric over the contributors that have it, weighted by examples, in the order of the
// nodes.
std::map<std::string, double> MeanMetrics(const RunRecord& record) {
  std::map<std::string, double> sums, weights;
  for (const TaskRecord& task : record.tasks) {
    if (task.contribution.state() != v1::Contribution::STATE_DONE) continue;
    const auto weight = static_cast<double>(task.contribution.examples());
    const auto& metrics = task.contribution.metrics();
    for (const auto& [name, value] :
         std::map<std::string, double>(metrics.begin(), metrics.end())) {
      sums[name] += weight * value;
      weights[name] += weight;
    }
  }
  for (auto& [name, sum] : sums) sum /= weights.at(name);
  return sums;
}

}  // namespace

absl::Status EmptyScratch(const std::string& scratch) {
  std::error_code error;
  std::filesystem::remove_all(scratch, error);
  if (error) return base::ErrnoStatus(error.value(), "remove what an aggregation left");
  return absl::OkStatus();
}

absl::StatusOr<std::string> StoreZeroModel(
    const v1::Plan& plan, objects::ObjectStore& objects, const std::string& scratch,
    absl::FunctionRef<absl::Status(const std::string&)> named) {
  return StoreTensors(
      federated::TensorsOf(plan.model().tensors()), {}, objects, scratch,
      [](TensorWriter& writer) -> absl::Status {
        const std::vector<double> zeros(64 << 10, 0.0);
        for (const TensorInfo& tensor : writer.Order()) {
          for (uint64_t at = 0; at < tensor.elements; at += zeros.size()) {
            size_t n = std::min<uint64_t>(zeros.size(), tensor.elements - at);
            RETURN_IF_ERROR(writer.Append(tensor, absl::MakeConstSpan(zeros).subspan(0, n)));
          }
        }
        return absl::OkStatus();
      },
      named);
}

absl::StatusOr<federated::Template> TemplateOf(const RunRecord& record,
                                               objects::ObjectStore& objects) {
  if (record.round.kind() == v1::Round::KIND_STATISTICS) {
    return federated::StatisticsTemplate(record.run.plan());
  }
  ASSIGN_OR_RETURN(TensorFile model, OpenInput(record, objects));
  return federated::UpdateTemplate(federated::StrategyOf(record.run.plan()), model.header());
}

int64_t WeightOf(const RunRecord& record, int64_t examples) {
  const bool average = record.round.kind() == v1::Round::KIND_TRAIN &&
                       record.run.plan().strategy() == v1::STRATEGY_FEDAVG;
  return average ? examples : 1;
}

int64_t MaxUpdateBytes(const federated::Template& expected) {
  uint64_t bytes = 8 + federated::kMaxHeaderBytes;
  for (const auto& [name, shape] : expected) {
    bytes += 8 * federated::ElementsOf(shape).value_or(0);
  }
  return static_cast<int64_t>(bytes);
}

absl::StatusOr<Closing> Aggregate(const RunRecord& record, UpdateSpool& spool,
                                  objects::ObjectStore& objects, const std::string& scratch) {
  const v1::Plan& plan = record.run.plan();
  Closing closing;
  closing.metrics = MeanMetrics(record);
  std::vector<federated::Summand> summands;
  for (const TaskRecord& task : record.tasks) {
    const v1::Contribution& contribution = task.contribution;
    if (contribution.state() != v1::Contribution::STATE_DONE) continue;
    closing.examples += contribution.examples();
    if (record.round.kind() == v1::Round::KIND_EVALUATE) continue;
    const std::string path = spool.PathOf(task.name, contribution.update_sha256());
    RETURN_IF_ERROR(CheckUnchanged(path, contribution.update_sha256()));
    summands.push_back({path, WeightOf(record, contribution.examples()), task.maxima});
  }
  if (record.round.kind() == v1::Round::KIND_EVALUATE) return closing;

  std::map<std::string, double> bounds(plan.bounds().begin(), plan.bounds().end());
  ASSIGN_OR_RETURN(federated::StreamingSum sum,
                   federated::StreamingSum::Open(std::move(summands), bounds));
  if (record.round.kind() == v1::Round::KIND_STATISTICS) {
    std::vector<TensorSpec> specs = federated::TensorsOf(plan.statistics().tensors());
    for (TensorSpec& spec : specs) spec.dtype = federated::Dtype::kF64;
    ASSIGN_OR_RETURN(
        closing.model_sha256,
        StoreTensors(specs, {{"examples", absl::StrCat(closing.examples)}}, objects, scratch,
                     [&](TensorWriter& writer) -> absl::Status {
                       for (const TensorInfo& tensor : writer.Order()) {
                         RETURN_IF_ERROR(sum.ForEachBlock(
                             tensor.name, [&](uint64_t, const federated::FixedPointSum& part) {
                               return writer.Append(tensor, part.Values());
                             }));
                       }
                       return absl::OkStatus();
                     }));
  } else {
    ASSIGN_OR_RETURN(TensorFile model, OpenInput(record, objects));
    ASSIGN_OR_RETURN(
        closing.model_sha256,
        StoreTensors(SpecsOf(model.header()), {}, objects, scratch, [&](TensorWriter& writer) {
          return federated::Step(federated::StrategyOf(plan), federated::StepOptionsOf(plan), model,
                                 closing.examples, sum, writer);
        }));
  }
  closing.grids = sum.grids();
  return closing;
}

}  // namespace oncomesh::training
