// SPDX-License-Identifier: Apache-2.0
#include "libs/ledger/event_log.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "libs/ledger/bytes.h"
#include "libs/ledger/event.h"

namespace oncomesh::ledger {
namespace {

using namespace audit::v1;  // NOLINT: the messages of this one proto

constexpr int kMaxEvents = 1000;
constexpr uint64_t kIdempotencyDepth = 100'000;
constexpr uint64_t kScanPerPage = 20'000;
constexpr int kDefaultPage = 50, kMaxPage = 500, kMaxHashes = 10'000;

uint64_t TagOf(absl::string_view event_id) { return ReadU64(crypto::Sha256Bytes(event_id)); }

// The id of an entry from its bytes, without reading all of it: the member stands in every leaf,
// and an id needs no escapes.
uint64_t TagOfLeaf(absl::string_view leaf) {
  constexpr absl::string_view kMember = "},\"event_id\":\"";
  const size_t at = leaf.find(kMember);
  if (at == absl::string_view::npos) return 0;
  const absl::string_view rest = leaf.substr(at + kMember.size());
  return TagOf(rest.substr(0, rest.find('"')));
}

absl::Status NoEvent() {
  return base::Error(absl::StatusCode::kNotFound, "EVENT_NOT_FOUND",
                     "the audit log of this site has no such event");
}

absl::Status OutOfRange() {
  return base::Error(absl::StatusCode::kInvalidArgument, "INDEX_OUT_OF_RANGE",
                     "the audit log is not of this size");
}

bool Wanted(const Event& event, const ListRequest& request) {
  return (request.actor().empty() || event.actor() == request.actor()) &&
         absl::StartsWith(event.type(), request.type_prefix()) &&
         (request.object().empty() || event.object() == request.object()) &&
         (request.permit_sha256().empty() || event.permit_sha256() == request.permit_sha256());
}

void FillProof(const Proof& proof, google::protobuf::RepeatedPtrField<std::string>& out) {
  for (const Hash& hash : proof) *out.Add() = std::string(View(hash));
}

}  // namespace

std::string EventLog::Origin(const std::string& trust_domain, const std::string& site) {
  return absl::StrCat(trust_domain, "/audit/", site);
}

absl::StatusOr<std::unique_ptr<EventLog>> EventLog::Open(Options options) {
  ASSIGN_OR_RETURN(std::unique_ptr<Log> log,
                   Log::Open(Log::Options{.folder = options.folder,
                                          .origin = Origin(options.trust_domain, options.site),
                                          .key = options.key,
                                          .tag = TagOfLeaf}));
  const uint64_t size = log->size(), first = size - std::min(size, kIdempotencyDepth);
  ASSIGN_OR_RETURN(std::vector<uint64_t> tags, log->Tags(first, size - first));
  std::unique_ptr<EventLog> out(new EventLog(std::move(options), std::move(log)));
  for (size_t i = 0; i < tags.size(); ++i) out->Remember(tags[i], first + i);
  return out;
}

void EventLog::Remember(uint64_t tag, uint64_t index) {
  base::MutexLock lock(mutex_);
  // Two ids with one tag (a chance of 2^-64 each) only cost the second its idempotency.
  if (!recent_.emplace(tag, index).second) return;
  order_.push_back(tag);
  if (order_.size() > kIdempotencyDepth) {
    recent_.erase(order_.front());
    order_.pop_front();
  }
}

absl::StatusOr<std::optional<Entry>> EventLog::FindRecent(const std::string& event_id) {
  Entry entry;
  {
    base::MutexLock lock(mutex_);
    auto found = recent_.find(TagOf(event_id));
    if (found == recent_.end()) return std::nullopt;
    entry.index = found->second;
  }
  ASSIGN_OR_RETURN(entry.leaf, log_->Read(entry.index));
  ASSIGN_OR_RETURN(Event event, ParseEvent(entry.leaf));
  if (event.event_id() != event_id) return std::nullopt;
  return entry;
}

absl::StatusOr<Entry> EventLog::FindEvent(const std::string& event_id) const {
  absl::StatusOr<Entry> entry =
      log_->Find(TagOf(event_id), log_->size(), [&](absl::string_view leaf) {
        absl::StatusOr<Event> event = ParseEvent(leaf);
        return event.ok() && event->event_id() == event_id;
      });
  if (absl::IsNotFound(entry.status())) return NoEvent();
  return entry;
}

EventLog::Claim::Claim(EventLog& log, std::vector<uint64_t> tags)
    : log_(log), tags_(std::move(tags)) {
  base::MutexLock lock(log_.mutex_);
  // All at once, so that two calls never wait for each other.
  while (std::any_of(tags_.begin(), tags_.end(),
                     [this](uint64_t tag) { return log_.claimed_.contains(tag); })) {
    log_.released_.Wait(log_.mutex_);
  }
  log_.claimed_.insert(tags_.begin(), tags_.end());
}

EventLog::Claim::~Claim() {
  base::MutexLock lock(log_.mutex_);
  for (uint64_t tag : tags_) log_.claimed_.erase(tag);
  if (!tags_.empty()) log_.released_.SignalAll();
}

absl::StatusOr<LoggedEvent> EventLog::Record(Event event) {
  AppendRequest request;
  *request.add_events() = std::move(event);
  ASSIGN_OR_RETURN(AppendResponse response, Append(request));
  return std::move(*response.mutable_events(0));
}

absl::StatusOr<AppendResponse> EventLog::Append(const AppendRequest& request) {
  if (request.events().empty() || request.events_size() > kMaxEvents) {
    return base::Error(absl::StatusCode::kInvalidArgument, "EVENT_INVALID",
                       "1 to 1,000 events can be written together", {{"field", "events"}});
  }
  AppendResponse out;
  std::vector<std::string> leaves;
  std::vector<LoggedEvent*> written;
  std::set<std::string> ids;
  std::vector<uint64_t> tags;
  for (const Event& wish : request.events()) {
    if (!wish.event_id().empty()) tags.push_back(TagOf(wish.event_id()));
  }
  const Claim claim(*this, std::move(tags));
  for (const Event& wish : request.events()) {
    LoggedEvent* logged = out.add_events();
    *logged->mutable_event() = wish;
    Event& event = *logged->mutable_event();
    event.set_site(options_.site);
    if (event.event_id().empty()) {
      event.set_event_id(base::NewId("ev-", *options_.random));
    } else {
      if (!ids.insert(event.event_id()).second) {
        return base::Error(absl::StatusCode::kInvalidArgument, "EVENT_INVALID",
                           "two events of one call have the same event_id",
                           {{"field", "event_id"}});
      }
      // A repeated call finds what the first one wrote.
      ASSIGN_OR_RETURN(std::optional<Entry> before, FindRecent(event.event_id()));
      if (before.has_value()) {
        ASSIGN_OR_RETURN(event, ParseEvent(before->leaf));
        logged->set_index(static_cast<int64_t>(before->index));
        continue;
      }
    }
    if (!event.has_time()) {
      const int64_t micros = absl::ToUnixMicros(options_.clock->Now());
      event.mutable_time()->set_seconds(micros / 1'000'000);
      event.mutable_time()->set_nanos(static_cast<int32_t>(micros % 1'000'000 * 1000));
    }
    event.mutable_time()->set_nanos(event.time().nanos() / 1000 * 1000);
    ASSIGN_OR_RETURN(std::string leaf, CanonicalEvent(event));
    leaves.push_back(std::move(leaf));
    written.push_back(logged);
  }
  if (leaves.empty()) return out;
  ASSIGN_OR_RETURN(uint64_t first, log_->Append(leaves));
  for (LoggedEvent* logged : written) {
    Remember(TagOf(logged->event().event_id()), first);
    logged->set_index(static_cast<int64_t>(first++));
  }
  return out;
}

absl::StatusOr<ListResponse> EventLog::List(const ListRequest& request) const {
  const int wanted =
      request.page_size() <= 0 ? kDefaultPage : std::min(request.page_size(), kMaxPage);
  uint64_t end = log_->size();
  if (!request.page_token().empty()) {
    uint64_t token = 0;
    if (!absl::SimpleAtoi(request.page_token(), &token) || token == 0 || token > end) {
      return base::Error(absl::StatusCode::kInvalidArgument, "PAGE_TOKEN_INVALID",
                         "the page token is not one of this list; begin anew without one");
    }
    end = token;
  }
  ListResponse out;
  for (uint64_t looked = 0; end > 0 && looked < kScanPerPage; ++looked) {
    ASSIGN_OR_RETURN(std::string leaf, log_->Read(end - 1));
    ASSIGN_OR_RETURN(Event event, ParseEvent(leaf));
    --end;
    if (!Wanted(event, request)) continue;
    LoggedEvent* logged = out.add_events();
    *logged->mutable_event() = std::move(event);
    logged->set_index(static_cast<int64_t>(end));
    if (out.events_size() == wanted) break;
  }
  if (end > 0) out.set_next_page_token(absl::StrCat(end));
  return out;
}

absl::StatusOr<audit::v1::ListLeafHashesResponse> EventLog::ListLeafHashes(
    const audit::v1::ListLeafHashesRequest& request) const {
  const uint64_t size = log_->size();
  if (request.first() < 0 || static_cast<uint64_t>(request.first()) > size) return OutOfRange();
  const uint64_t first = static_cast<uint64_t>(request.first());
  const uint64_t wanted = request.count() <= 0 || request.count() > kMaxHashes
                              ? kMaxHashes
                              : static_cast<uint64_t>(request.count());
  audit::v1::ListLeafHashesResponse out;
  ASSIGN_OR_RETURN(*out.mutable_hashes(), log_->LeafHashes(first, std::min(wanted, size - first)));
  return out;
}

absl::StatusOr<ProveResponse> EventLog::Prove(const ProveRequest& request) {
  // The checkpoint first: the log it speaks of holds every event that can be asked for now.
  ASSIGN_OR_RETURN(std::string note, log_->SignedCheckpoint());
  ASSIGN_OR_RETURN(Checkpoint checkpoint, VerifyCheckpoint(note, log_->verifier_key()));
  Entry entry;
  if (request.entry_case() == ProveRequest::kIndex) {
    if (request.index() < 0 || static_cast<uint64_t>(request.index()) >= checkpoint.size) {
      return NoEvent();
    }
    entry.index = static_cast<uint64_t>(request.index());
    ASSIGN_OR_RETURN(entry.leaf, log_->Read(entry.index));
  } else {
    ASSIGN_OR_RETURN(entry, FindEvent(request.event_id()));
  }
  uint64_t size = checkpoint.size;
  if (request.size() != 0) {
    if (request.size() < 0 || static_cast<uint64_t>(request.size()) > size) return OutOfRange();
    size = static_cast<uint64_t>(request.size());
  }
  if (entry.index >= size) return OutOfRange();
  ProveResponse out;
  ASSIGN_OR_RETURN(*out.mutable_event()->mutable_event(), ParseEvent(entry.leaf));
  out.mutable_event()->set_index(static_cast<int64_t>(entry.index));
  ASSIGN_OR_RETURN(Proof proof, log_->Inclusion(entry.index, size));
  ASSIGN_OR_RETURN(Hash root, log_->Root(size));
  out.set_leaf(std::move(entry.leaf));
  FillProof(proof, *out.mutable_proof());
  out.set_size(static_cast<int64_t>(size));
  out.set_root(std::string(View(root)));
  out.set_checkpoint(std::move(note));
  return out;
}

absl::StatusOr<GetCheckpointResponse> EventLog::GetCheckpoint() {
  GetCheckpointResponse out;
  const absl::Time now = options_.clock->Now();
  bool fresh = false;
  {
    base::MutexLock lock(mutex_);
    // A clock that was set back does not stop checkpoints.
    fresh = now < checkpoint_made_ || now >= checkpoint_made_ + kCheckpointInterval;
    if (fresh) checkpoint_made_ = now;
  }
  if (!fresh) out.set_checkpoint(log_->LastCheckpoint());
  if (out.checkpoint().empty()) {
    ASSIGN_OR_RETURN(*out.mutable_checkpoint(), log_->SignedCheckpoint());
  }
  out.set_verifier_key(log_->verifier_key().Print());
  return out;
}

absl::StatusOr<ConsistencyResponse> EventLog::Consistency(const ConsistencyRequest& request) const {
  if (request.size1() < 0 || request.size2() < 0) return OutOfRange();
  const uint64_t size2 =
      request.size2() == 0 ? log_->size() : static_cast<uint64_t>(request.size2());
  ASSIGN_OR_RETURN(Proof proof, log_->Consistency(static_cast<uint64_t>(request.size1()), size2));
  ASSIGN_OR_RETURN(Hash root2, log_->Root(size2));
  ConsistencyResponse out;
  out.set_size2(static_cast<int64_t>(size2));
  out.set_root2(std::string(View(root2)));
  FillProof(proof, *out.mutable_proof());
  return out;
}

}  // namespace oncomesh::ledger
