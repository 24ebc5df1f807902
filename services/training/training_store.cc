// SPDX-License-Identifier: Apache-2.0
#include "services/training/training_store.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"

namespace oncomesh::training {
namespace {

// A run of many rounds and nodes has more to tell than one message carries, and so has a list of
// runs whose plans are large.
constexpr size_t kMaxPartBytes = 1 << 20;

using soci::into;
using soci::use;

const std::vector<store::Migration> kMigrations = {
    {"create training",
     {"CREATE TABLE runs (name TEXT PRIMARY KEY, number BIGINT NOT NULL UNIQUE, "
      "owner TEXT NOT NULL, request_id TEXT NOT NULL, running BIGINT NOT NULL, "
      "round BIGINT NOT NULL, body TEXT NOT NULL, permit TEXT NOT NULL, left_nodes TEXT NOT NULL, "
      "UNIQUE (owner, request_id))",
      "CREATE INDEX runs_running ON runs (running)",
      "CREATE TABLE rounds (run TEXT NOT NULL, number BIGINT NOT NULL, body TEXT NOT NULL, "
      "manifest TEXT NOT NULL, PRIMARY KEY (run, number))",
      "CREATE TABLE tasks (name TEXT PRIMARY KEY, run TEXT NOT NULL, round BIGINT NOT NULL, "
      "node TEXT NOT NULL, waiting BIGINT NOT NULL, body TEXT NOT NULL, lease TEXT NOT NULL)",
      "CREATE INDEX tasks_round ON tasks (run, round)",
      "CREATE INDEX tasks_node ON tasks (node, waiting)",
      "CREATE TABLE models (number BIGINT PRIMARY KEY, sha256 TEXT NOT NULL, owner TEXT NOT NULL, "
      "run TEXT NOT NULL, round BIGINT NOT NULL, final BIGINT NOT NULL, body TEXT NOT NULL, "
      "UNIQUE (run, round))",
      "CREATE INDEX models_sha256 ON models (sha256)"}},
    {"create starting models", {"CREATE TABLE starting_models (sha256 TEXT PRIMARY KEY)"}}};

// Messages are kept as base64 of their bytes: both engines store it alike, and fields can be added.
template <typename Message>
std::string Encode(const Message& message) {
  return absl::Base64Escape(message.SerializeAsString());
}

absl::Status Corrupt() {
  return base::Error(absl::StatusCode::kDataLoss, "ROW_CORRUPT",
                     "a row of the training database cannot be read; restore it from a backup");
}

template <typename Message>
absl::StatusOr<Message> Decode(const std::string& text) {
  std::string bytes;
  Message message;
  if (!absl::Base64Unescape(text, &bytes) || !message.ParseFromString(bytes)) return Corrupt();
  return message;
}

absl::Status NotFound(absl::string_view reason, absl::string_view what) {
  return base::Error(absl::StatusCode::kNotFound, reason,
                     absl::StrCat("there is no such ", what, ", or it is not yours to see"));
}

int64_t Nanos(absl::Time time) {
  return time == absl::InfinitePast() ? 0 : absl::ToUnixNanos(time);
}
absl::Time FromNanos(int64_t nanos) {
  return nanos == 0 ? absl::InfinitePast() : absl::FromUnixNanos(nanos);
}

// The hub's own part of a task. Numbers of the maxima are kept exactly: nlohmann prints the
// shortest text that reads back as the same float64.
std::string EncodeLease(const TaskRecord& task) {
  return nlohmann::json{{"session", task.session},      {"token", task.lease_token},
                        {"end", Nanos(task.lease_end)}, {"notBefore", Nanos(task.not_before)},
                        {"attempts", task.attempts},    {"maxima", task.maxima}}
      .dump();
}

absl::Status DecodeLease(const std::string& text, TaskRecord& task) {
  nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return Corrupt();
  try {
    task.session = json.value("session", "");
    task.lease_token = json.value("token", "");
    task.lease_end = FromNanos(json.value("end", int64_t{0}));
    task.not_before = FromNanos(json.value("notBefore", int64_t{0}));
    task.attempts = json.value("attempts", 0);
    task.maxima = json.value("maxima", federated::Maxima());
  } catch (const nlohmann::json::exception&) {  // a value of another type
    return Corrupt();
  }
  return absl::OkStatus();
}

// What a query without parameters gives in its one column.
std::vector<std::string> Names(soci::session& sql, const char* query) {
  std::vector<std::string> out;
  std::string name;
  soci::statement statement = (sql.prepare << query, into(name));
  statement.execute();
  while (statement.fetch()) out.push_back(name);
  return out;
}

absl::StatusOr<TaskRecord> DecodeTask(const std::string& name, const std::string& body,
                                      const std::string& lease) {
  TaskRecord task;
  task.name = name;
  ASSIGN_OR_RETURN(task.contribution, Decode<v1::Contribution>(body));
  RETURN_IF_ERROR(DecodeLease(lease, task));
  return task;
}

absl::Status TaskNotFound() {
  return base::Error(absl::StatusCode::kNotFound, "TASK_NOT_FOUND",
                     "there is no such task for this node; ask for the next one");
}

absl::StatusOr<std::vector<TaskRecord>> ReadTasks(soci::session& sql, const std::string& run,
                                                  int round) {
  std::vector<TaskRecord> tasks;
  std::string name, body, lease;
  soci::statement statement =
      (sql.prepare << "SELECT name, body, lease FROM tasks WHERE run = :r AND round = :n "
                      "ORDER BY node",
       use(run), use(round), into(name), into(body), into(lease));
  statement.execute();
  while (statement.fetch()) {
    ASSIGN_OR_RETURN(TaskRecord task, DecodeTask(name, body, lease));
    tasks.push_back(std::move(task));
  }
  return tasks;
}

absl::StatusOr<RunRecord> ReadRecord(soci::session& sql, const std::string& name) {
  RunRecord record;
  std::string body, left, round_body;
  int round = 0;
  sql << "SELECT body, permit, left_nodes, round FROM runs WHERE name = :n", use(name), into(body),
      into(record.permit_jws), into(left), into(round);
  if (!sql.got_data()) return NotFound("RUN_NOT_FOUND", "run");
  ASSIGN_OR_RETURN(record.run, Decode<v1::Run>(body));
  nlohmann::json left_json = nlohmann::json::parse(left, nullptr, false);
  if (!left_json.is_object()) return Corrupt();
  for (const auto& [node, reason] : left_json.items()) {
    if (!reason.is_string()) return Corrupt();
    record.left[node] = reason.get<std::string>();
  }
  sql << "SELECT body FROM rounds WHERE run = :r AND number = :n", use(name), use(round),
      into(round_body);
  if (!sql.got_data()) return Corrupt();
  ASSIGN_OR_RETURN(record.round, Decode<v1::Round>(round_body));
  ASSIGN_OR_RETURN(record.tasks, ReadTasks(sql, name, round));
  return record;
}

void WriteRound(soci::session& sql, const std::string& run, const v1::Round& round,
                const std::string& manifest) {
  std::string body = Encode(round);
  int number = round.number();
  sql << "INSERT INTO rounds (run, number, body, manifest) VALUES (:r, :n, :b, :m) "
         "ON CONFLICT (run, number) DO UPDATE SET body = excluded.body, manifest = "
         "excluded.manifest",
      use(run), use(number), use(body), use(manifest);
}

// Writes the tasks that are new or changed.
void WriteTasks(soci::session& sql, const std::string& run, int round, bool open,
                const std::vector<TaskRecord>& tasks, const std::vector<TaskRecord>& before) {
  for (const TaskRecord& task : tasks) {
    std::string body = Encode(task.contribution);
    std::string lease = EncodeLease(task);
    int waiting = open && !task.ended() ? 1 : 0;
    auto old = std::find_if(before.begin(), before.end(),
                            [&](const TaskRecord& t) { return t.name == task.name; });
    if (open && old != before.end() && Encode(old->contribution) == body &&
        EncodeLease(*old) == lease) {
      continue;
    }
    sql << "INSERT INTO tasks (name, run, round, node, waiting, body, lease) "
           "VALUES (:i, :r, :n, :o, :w, :b, :l) ON CONFLICT (name) DO UPDATE SET "
           "waiting = excluded.waiting, body = excluded.body, lease = excluded.lease",
        use(task.name), use(run), use(round), use(task.contribution.node()), use(waiting),
        use(body), use(lease);
  }
}

// The owner's run of this request.
absl::StatusOr<std::optional<v1::Run>> Already(soci::session& sql, const std::string& owner,
                                               const std::string& request_id,
                                               const std::string& plan_sha256) {
  std::string body;
  sql << "SELECT body FROM runs WHERE owner = :o AND request_id = :r", use(owner), use(request_id),
      into(body);
  if (!sql.got_data()) return std::optional<v1::Run>();
  ASSIGN_OR_RETURN(v1::Run run, Decode<v1::Run>(body));
  if (run.plan_sha256() != plan_sha256) {
    return base::Error(absl::StatusCode::kAlreadyExists, "REQUEST_ID_REUSED",
                       "a run with another plan was submitted under this request_id; take a new "
                       "one for each run",
                       {{"run", run.name()}});
  }
  return std::optional<v1::Run>(std::move(run));
}

absl::Status CheckRunning(soci::session& sql, const std::string& owner, int max_running) {
  long long running = 0;
  sql << "SELECT COUNT(*) FROM runs WHERE owner = :o AND running = 1", use(owner), into(running);
  if (running >= max_running) {
    return base::Error(
        absl::StatusCode::kResourceExhausted, "TOO_MANY_RUNS",
        absl::StrCat("you have ", running, " runs going; wait for one to end or cancel it"));
  }
  return absl::OkStatus();
}

void AddModel(soci::session& sql, const v1::Model& model) {
  long long number = 0;
  sql << "SELECT COALESCE(MAX(number), 0) + 1 FROM models", into(number);
  std::string body = Encode(model);
  int round = model.round();
  sql << "INSERT INTO models (number, sha256, owner, run, round, final, body) "
         "VALUES (:n, :s, :o, :r, :k, 0, :b) ON CONFLICT (run, round) DO NOTHING",
      use(number), use(model.sha256()), use(model.owner()), use(model.run()), use(round), use(body);
}

}  // namespace

absl::StatusOr<std::unique_ptr<TrainingStore>> TrainingStore::Open(
    const std::string& url, const std::string& password_file) {
  ASSIGN_OR_RETURN(auto database, store::Database::Open(url, kMigrations, password_file));
  return std::unique_ptr<TrainingStore>(new TrainingStore(std::move(database)));
}

absl::StatusOr<std::optional<v1::Run>> TrainingStore::RunAlready(const std::string& owner,
                                                                 const std::string& request_id,
                                                                 const std::string& plan_sha256) {
  std::optional<v1::Run> out;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(out, Already(sql, owner, request_id, plan_sha256));
    return absl::OkStatus();
  }));
  return out;
}

absl::Status TrainingStore::MayRunMore(const std::string& owner, int max_running) {
  return database_->Read([&](soci::session& sql) { return CheckRunning(sql, owner, max_running); });
}

absl::StatusOr<v1::Run> TrainingStore::AddRun(const RunRecord& record,
                                              const std::string& request_id, int max_running) {
  v1::Run out;
  RETURN_IF_ERROR(database_->Transact([&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(std::optional<v1::Run> already,
                     Already(sql, record.run.owner(), request_id, record.run.plan_sha256()));
    if (already.has_value()) {
      out = *std::move(already);
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(CheckRunning(sql, record.run.owner(), max_running));
    long long number = 0;
    sql << "SELECT COALESCE(MAX(number), 0) + 1 FROM runs", into(number);
    std::string body = Encode(record.run);
    std::string left = nlohmann::json(record.left).dump();
    if (record.left.empty()) left = "{}";
    int round = record.round.number();
    sql << "INSERT INTO runs (name, number, owner, request_id, running, round, body, permit, "
           "left_nodes) VALUES (:n, :k, :o, :r, 1, :c, :b, :p, :l)",
        use(record.run.name()), use(number), use(record.run.owner()), use(request_id), use(round),
        use(body), use(record.permit_jws), use(left);
    WriteRound(sql, record.run.name(), record.round, "");
    WriteTasks(sql, record.run.name(), round, true, record.tasks, {});
    out = record.run;
    return absl::OkStatus();
  }));
  return out;
}

absl::Status TrainingStore::ChangeRun(
    const std::string& name, const std::function<absl::Status(RunRecord&, Additions&)>& change) {
  return database_->Transact([&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(const RunRecord before, ReadRecord(sql, name));
    RunRecord record = before;
    Additions additions;
    RETURN_IF_ERROR(change(record, additions));
    if (additions.closed.has_value()) {
      WriteRound(sql, name, *additions.closed, additions.manifest_jws);
      WriteTasks(sql, name, additions.closed->number(), false, additions.closed_tasks, {});
    }
    const int round = record.round.number();
    const bool open = record.running() && record.round.state() == v1::Round::STATE_OPEN;
    if (!additions.closed.has_value() || additions.closed->number() != round) {
      std::string body = Encode(record.round);
      if (additions.closed.has_value() || body != Encode(before.round)) {
        WriteRound(sql, name, record.round, "");
      }
      const bool was_open = before.running() && before.round.state() == v1::Round::STATE_OPEN;
      const bool same = round == before.round.number() && open == was_open;
      WriteTasks(sql, name, round, open, record.tasks,
                 same ? before.tasks : std::vector<TaskRecord>());
    }
    std::string body = Encode(record.run);
    if (body != Encode(before.run) || record.left != before.left ||
        round != before.round.number()) {
      std::string left = nlohmann::json(record.left).dump();
      if (record.left.empty()) left = "{}";
      int running = record.running() ? 1 : 0;
      sql << "UPDATE runs SET running = :u, round = :c, body = :b, left_nodes = :l WHERE name = :n",
          use(running), use(round), use(body), use(left), use(name);
    }
    if (additions.model.has_value()) AddModel(sql, *additions.model);
    if (additions.mark_final) {
      sql << "UPDATE models SET final = 1 WHERE run = :r AND round = "
             "(SELECT MAX(round) FROM models WHERE run = :s)",
          use(name), use(name);
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<RunRecord> TrainingStore::ReadRun(const std::string& name) {
  RunRecord record;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(record, ReadRecord(sql, name));
    return absl::OkStatus();
  }));
  return record;
}

absl::StatusOr<v1::Run> TrainingStore::GetRun(const std::string& name, int from_round, int& next) {
  v1::Run run;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) -> absl::Status {
    next = 0;
    std::string body;
    sql << "SELECT body FROM runs WHERE name = :n", use(name), into(body);
    if (!sql.got_data()) return NotFound("RUN_NOT_FOUND", "run");
    ASSIGN_OR_RETURN(run, Decode<v1::Run>(body));
    size_t bytes = 0;
    // One by one: a run can have hundreds of megabytes of rounds, of which a message takes few.
    for (int from = from_round;;) {
      sql << "SELECT body FROM rounds WHERE run = :r AND number >= :f ORDER BY number LIMIT 1",
          use(name), use(from), into(body);
      if (!sql.got_data()) break;
      ASSIGN_OR_RETURN(v1::Round round, Decode<v1::Round>(body));
      from = round.number() + 1;
      ASSIGN_OR_RETURN(std::vector<TaskRecord> tasks, ReadTasks(sql, name, round.number()));
      for (TaskRecord& task : tasks) *round.add_contributions() = std::move(task.contribution);
      bytes += round.ByteSizeLong();
      if (bytes > kMaxPartBytes && run.rounds_size() > 0) {
        next = round.number();
        break;
      }
      *run.add_rounds() = std::move(round);
    }
    return absl::OkStatus();
  }));
  return run;
}

absl::StatusOr<std::vector<v1::Run>> TrainingStore::ListRuns(const std::string& owner,
                                                             const std::string& after, int limit,
                                                             bool& more) {
  std::vector<v1::Run> out;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) -> absl::Status {
    out.clear();
    more = false;
    const int one_more = limit + 1;
    size_t bytes = 0;
    long long below = std::numeric_limits<int64_t>::max();
    if (!after.empty()) {
      sql << "SELECT number FROM runs WHERE name = :n", use(after), into(below);
      if (!sql.got_data()) {
        return base::Error(absl::StatusCode::kInvalidArgument, "PAGE_TOKEN_INVALID",
                           "the page token is not one of ours; start from the first page");
      }
    }
    std::string body;
    soci::statement statement =
        (sql.prepare << "SELECT body FROM runs WHERE number < :b AND (owner = :o OR :p = '') "
                        "ORDER BY number DESC LIMIT :l",
         use(below), use(owner), use(owner), use(one_more), into(body));
    statement.execute();
    while (statement.fetch()) {
      ASSIGN_OR_RETURN(v1::Run run, Decode<v1::Run>(body));
      bytes += run.ByteSizeLong();
      more = static_cast<int>(out.size()) == limit || (bytes > kMaxPartBytes && !out.empty());
      if (more) break;
      out.push_back(std::move(run));
    }
    return absl::OkStatus();
  }));
  return out;
}

absl::StatusOr<std::vector<std::string>> TrainingStore::RunningRuns() {
  std::vector<std::string> out;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) {
    out = Names(sql, "SELECT name FROM runs WHERE running = 1 ORDER BY number");
    return absl::OkStatus();
  }));
  return out;
}

absl::StatusOr<std::vector<std::string>> TrainingStore::RunsWaitingFor(const std::string& node) {
  std::vector<std::string> out;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) {
    out.clear();
    std::string name;
    soci::statement statement =
        (sql.prepare << "SELECT runs.name FROM tasks JOIN runs ON runs.name = tasks.run "
                        "WHERE tasks.node = :n AND tasks.waiting = 1 AND runs.running = 1 "
                        "ORDER BY runs.number",
         use(node), into(name));
    statement.execute();
    while (statement.fetch()) out.push_back(name);
    return absl::OkStatus();
  }));
  return out;
}

absl::StatusOr<std::string> TrainingStore::RunOfTask(const std::string& task) {
  std::string run;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) -> absl::Status {
    sql << "SELECT run FROM tasks WHERE name = :n", use(task), into(run);
    return sql.got_data() ? absl::OkStatus() : TaskNotFound();
  }));
  return run;
}

absl::StatusOr<TaskRecord> TrainingStore::ReadTask(const std::string& name) {
  TaskRecord task;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) -> absl::Status {
    std::string body, lease;
    sql << "SELECT body, lease FROM tasks WHERE name = :n", use(name), into(body), into(lease);
    if (!sql.got_data()) return TaskNotFound();
    ASSIGN_OR_RETURN(task, DecodeTask(name, body, lease));
    return absl::OkStatus();
  }));
  return task;
}

absl::Status TrainingStore::NoteStartingModel(const std::string& sha256) {
  return database_->Transact([&](soci::session& sql) {
    sql << "INSERT INTO starting_models (sha256) VALUES (:s) ON CONFLICT (sha256) DO NOTHING",
        use(sha256);
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<TrainingStore::StartingModel>> TrainingStore::UnneededStartingModels() {
  std::vector<StartingModel> out;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) -> absl::Status {
    out.clear();
    std::vector<std::string> noted = Names(sql, "SELECT sha256 FROM starting_models");
    if (noted.empty()) return absl::OkStatus();
    std::set<std::string> needed;
    for (const std::string& run : Names(sql, "SELECT name FROM runs WHERE running = 1")) {
      ASSIGN_OR_RETURN(RunRecord record, ReadRecord(sql, run));
      needed.insert(record.run.model_sha256());
      needed.insert(record.round.input_sha256());
    }
    for (std::string& sha256 : noted) {
      if (needed.count(sha256) > 0) continue;
      long long models = 0;
      sql << "SELECT COUNT(*) FROM models WHERE sha256 = :s", use(sha256), into(models);
      out.push_back({std::move(sha256), models > 0});
    }
    return absl::OkStatus();
  }));
  return out;
}

absl::Status TrainingStore::ForgetStartingModel(const std::string& sha256) {
  return database_->Transact([&](soci::session& sql) {
    sql << "DELETE FROM starting_models WHERE sha256 = :s", use(sha256);
    return absl::OkStatus();
  });
}

absl::StatusOr<std::string> TrainingStore::Manifest(const std::string& run, int round) {
  std::string manifest;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) -> absl::Status {
    sql << "SELECT manifest FROM rounds WHERE run = :r AND number = :n", use(run), use(round),
        into(manifest);
    if (!sql.got_data() || manifest.empty()) return NotFound("ROUND_NOT_FOUND", "closed round");
    return absl::OkStatus();
  }));
  return manifest;
}

absl::StatusOr<v1::Model> TrainingStore::GetModel(const std::string& sha256,
                                                  const std::string& owner) {
  v1::Model model;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) -> absl::Status {
    std::string body;
    int final = 0;
    sql << "SELECT body, final FROM models WHERE sha256 = :s AND (owner = :o OR :p = '') "
           "ORDER BY number DESC LIMIT 1",
        use(sha256), use(owner), use(owner), into(body), into(final);
    if (!sql.got_data()) return NotFound("MODEL_NOT_FOUND", "model");
    ASSIGN_OR_RETURN(model, Decode<v1::Model>(body));
    model.set_final(final != 0);
    return absl::OkStatus();
  }));
  return model;
}

absl::StatusOr<std::vector<v1::Model>> TrainingStore::ListModels(const std::string& owner,
                                                                 const std::string& run,
                                                                 bool final_only, int64_t after,
                                                                 int limit, int64_t& next) {
  std::vector<v1::Model> out;
  next = 0;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) -> absl::Status {
    out.clear();
    long long below = after > 0 ? after : std::numeric_limits<int64_t>::max();
    long long number = 0;
    int wanted = final_only ? 1 : 0, final = 0, more = limit + 1;
    std::string body;
    soci::statement statement =
        (sql.prepare << "SELECT number, final, body FROM models WHERE number < :b "
                        "AND (owner = :o OR :p = '') AND (run = :r OR :q = '') AND final >= :f "
                        "ORDER BY number DESC LIMIT :l",
         use(below), use(owner), use(owner), use(run), use(run), use(wanted), use(more),
         into(number), into(final), into(body));
    statement.execute();
    long long last = 0;
    while (statement.fetch()) {
      if (static_cast<int>(out.size()) == limit) {
        next = last;
        break;
      }
      ASSIGN_OR_RETURN(v1::Model model, Decode<v1::Model>(body));
      model.set_final(final != 0);
      out.push_back(std::move(model));
      last = number;
    }
    return absl::OkStatus();
  }));
  return out;
}

}  // namespace oncomesh::training
