// SPDX-License-Identifier: Apache-2.0
#include "services/access/access_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"

namespace oncomesh::access {
namespace {

using soci::into;
using soci::use;

const std::vector<store::Migration> kMigrations = {
    {"create access",
     {"CREATE TABLE counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL)",
      "INSERT INTO counters (name, value) VALUES ('epoch', 1)",
      "CREATE TABLE invitations (secret_sha256 TEXT PRIMARY KEY, node TEXT NOT NULL, "
      "expires BIGINT NOT NULL, used BIGINT NOT NULL)",
      "CREATE TABLE nodes (name TEXT PRIMARY KEY, state BIGINT NOT NULL, reason TEXT NOT NULL, "
      "certificate_expires BIGINT NOT NULL)",
      "CREATE TABLE requests (id TEXT PRIMARY KEY, number BIGINT NOT NULL UNIQUE, "
      "applicant TEXT NOT NULL, request_id TEXT NOT NULL, body TEXT NOT NULL, "
      "UNIQUE (applicant, request_id))",
      "CREATE TABLE permits (id TEXT PRIMARY KEY, revoked BIGINT NOT NULL, "
      "expires BIGINT NOT NULL, body TEXT NOT NULL, jws TEXT NOT NULL)"}},
    {"what an invitation was used for",
     {"ALTER TABLE invitations ADD COLUMN requests_sha256 TEXT NOT NULL DEFAULT ''"}},
    {"from when a node's certificates count",
     {"ALTER TABLE nodes ADD COLUMN certificates_from BIGINT NOT NULL DEFAULT 0"}}};

// Messages are kept as base64 of their bytes: both engines store it alike, and fields can be added.
template <typename Message>
std::string Encode(const Message& message) {
  return absl::Base64Escape(message.SerializeAsString());
}

template <typename Message>
absl::StatusOr<Message> Decode(const std::string& text) {
  std::string bytes;
  Message message;
  if (!absl::Base64Unescape(text, &bytes) || !message.ParseFromString(bytes)) {
    return base::Error(absl::StatusCode::kDataLoss, "ROW_CORRUPT",
                       "a row of the access database cannot be read; restore it from a backup");
  }
  return message;
}

absl::Status NotFound(absl::string_view reason, absl::string_view what, const std::string& id) {
  return base::Error(absl::StatusCode::kNotFound, reason,
                     absl::StrCat("there is no ", what, " of this name, or it is not yours to see"),
                     {{"name", id}});
}

absl::StatusOr<v1::Request> ReadRequest(soci::session& sql, const std::string& id) {
  std::string body;
  sql << "SELECT body FROM requests WHERE id = :id", use(id), into(body);
  if (!sql.got_data()) return NotFound("REQUEST_NOT_FOUND", "request", id);
  return Decode<v1::Request>(body);
}

absl::StatusOr<std::optional<v1::Request>> ReadRequestOf(soci::session& sql,
                                                         const std::string& applicant,
                                                         const std::string& request_id) {
  std::string body;
  sql << "SELECT body FROM requests WHERE applicant = :a AND request_id = :r", use(applicant),
      use(request_id), into(body);
  if (!sql.got_data()) return std::nullopt;
  ASSIGN_OR_RETURN(v1::Request request, Decode<v1::Request>(body));
  return request;
}

void AddPermitRow(soci::session& sql, const PermitRow& row) {
  std::string body = Encode(row.permit);
  long long expires = row.permit.expire_time().seconds();
  sql << "INSERT INTO permits (id, revoked, expires, body, jws) VALUES (:id, 0, :e, :b, :j)",
      use(row.permit.id()), use(expires), use(body), use(row.jws);
}

// Whether the secret lets `node` in with these signing requests. kAgain: it did so before.
enum class Use { kFirst, kAgain };
absl::StatusOr<Use> JudgeInvitation(soci::session& sql, const InvitationUse& use_of,
                                    absl::Time now) {
  std::string invited, requests;
  long long expires = 0, used = 0, state = 0;
  sql << "SELECT i.node, i.expires, i.used, i.requests_sha256, n.state FROM invitations i "
         "JOIN nodes n ON n.name = i.node WHERE i.secret_sha256 = :s",
      use(use_of.secret_sha256), into(invited), into(expires), into(used), into(requests),
      into(state);
  if (!sql.got_data() || invited != use_of.node) {
    return base::Error(absl::StatusCode::kUnauthenticated, "INVITATION_INVALID",
                       "this token invites no node of this name; ask the hub's operator for one");
  }
  const bool expired = absl::ToUnixSeconds(now) >= expires;
  if (used != 0) {
    // Certificates for the same keys are of use to nobody else.
    if (!expired && state == v1::Node::STATE_MEMBER && requests == use_of.requests_sha256) {
      return Use::kAgain;
    }
    return base::Error(absl::StatusCode::kUnauthenticated, "INVITATION_USED",
                       "this token was used before; if it was not you, tell the hub's operator, "
                       "who can remove the node and invite it anew");
  }
  if (expired) {
    return base::Error(absl::StatusCode::kUnauthenticated, "INVITATION_EXPIRED",
                       "this token has expired; ask the hub's operator for a new one");
  }
  if (state != v1::Node::STATE_INVITED) {
    return base::Error(absl::StatusCode::kUnauthenticated, "INVITATION_INVALID",
                       "the node is not invited any more; ask the hub's operator for a new token");
  }
  return Use::kFirst;
}

long long Raise(soci::session& sql) {
  long long epoch = 0;
  sql << "UPDATE counters SET value = value + 1 WHERE name = 'epoch'";
  sql << "SELECT value FROM counters WHERE name = 'epoch'", into(epoch);
  return epoch;
}

}  // namespace

absl::StatusOr<std::unique_ptr<AccessStore>> AccessStore::Open(const std::string& url,
                                                               const std::string& password_file) {
  ASSIGN_OR_RETURN(auto database, store::Database::Open(url, kMigrations, password_file));
  return std::unique_ptr<AccessStore>(new AccessStore(std::move(database)));
}

absl::Status AccessStore::AddInvitation(const Invitation& invitation) {
  return database_->Transact([&](soci::session& sql) -> absl::Status {
    long long state = 0;
    sql << "SELECT state FROM nodes WHERE name = :n", use(invitation.node), into(state);
    bool known = sql.got_data();
    if (known && (state == v1::Node::STATE_MEMBER || state == v1::Node::STATE_SUSPENDED)) {
      return base::Error(absl::StatusCode::kAlreadyExists, "NODE_EXISTS",
                         "a node of this name is a member; remove it first to invite it anew",
                         {{"node", invitation.node}});
    }
    long long invited = v1::Node::STATE_INVITED, none = 0;
    long long expires = absl::ToUnixSeconds(invitation.expires);
    sql << "INSERT INTO nodes (name, state, reason, certificate_expires) VALUES (:n, :s, '', :e) "
           "ON CONFLICT (name) DO UPDATE SET state = excluded.state, reason = ''",
        use(invitation.node), use(invited), use(none);
    // A newer invitation replaces the ones that were not used.
    sql << "DELETE FROM invitations WHERE node = :n AND used = 0", use(invitation.node);
    sql << "INSERT INTO invitations (secret_sha256, node, expires, used) VALUES (:s, :n, :e, 0)",
        use(invitation.secret_sha256), use(invitation.node), use(expires);
    return absl::OkStatus();
  });
}

absl::Status AccessStore::CheckInvitation(const InvitationUse& use_of, absl::Time now) {
  return database_->Read(
      [&](soci::session& sql) { return JudgeInvitation(sql, use_of, now).status(); });
}

absl::Status AccessStore::UseInvitation(const InvitationUse& use_of, absl::Time now) {
  return database_->Transact([&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(Use which, JudgeInvitation(sql, use_of, now));
    if (which == Use::kAgain) return absl::OkStatus();
    long long member = v1::Node::STATE_MEMBER;
    long long from = absl::ToUnixSeconds(use_of.certificates_from);
    sql << "UPDATE invitations SET used = 1, requests_sha256 = :r WHERE secret_sha256 = :s",
        use(use_of.requests_sha256), use(use_of.secret_sha256);
    sql << "UPDATE nodes SET state = :s, reason = '', certificates_from = :e WHERE name = :n",
        use(member), use(from), use(use_of.node);
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<NodeRow>> AccessStore::Nodes() {
  std::vector<NodeRow> out;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) {
    out.clear();
    NodeRow row;
    long long state = 0, expires = 0, from = 0;
    soci::statement statement =
        (sql.prepare << "SELECT name, state, reason, certificate_expires, certificates_from "
                        "FROM nodes ORDER BY name",
         into(row.name), into(state), into(row.reason), into(expires), into(from));
    statement.execute();
    while (statement.fetch()) {
      row.state = static_cast<v1::Node::State>(state);
      row.certificate_expires =
          expires == 0 ? absl::InfinitePast() : absl::FromUnixSeconds(expires);
      row.certificates_from = from == 0 ? absl::InfinitePast() : absl::FromUnixSeconds(from);
      out.push_back(row);
    }
    return absl::OkStatus();
  }));
  return out;
}

absl::StatusOr<NodeRow> AccessStore::Node(const std::string& name) {
  ASSIGN_OR_RETURN(std::vector<NodeRow> rows, Nodes());
  for (NodeRow& row : rows) {
    if (row.name == name) return std::move(row);
  }
  return NotFound("NODE_NOT_FOUND", "node", name);
}

absl::Status AccessStore::SetNodeState(const std::string& name,
                                       const std::vector<v1::Node::State>& from, v1::Node::State to,
                                       const std::string& reason) {
  return database_->Transact([&](soci::session& sql) -> absl::Status {
    long long state = 0;
    sql << "SELECT state FROM nodes WHERE name = :n", use(name), into(state);
    if (!sql.got_data()) return NotFound("NODE_NOT_FOUND", "node", name);
    if (std::find(from.begin(), from.end(), static_cast<v1::Node::State>(state)) == from.end()) {
      return base::Error(
          absl::StatusCode::kFailedPrecondition, "NODE_STATE",
          absl::StrCat("the node is ", v1::Node::State_Name(static_cast<v1::Node::State>(state)),
                       ", so this cannot be done"));
    }
    long long next = to;
    sql << "UPDATE nodes SET state = :s, reason = :r WHERE name = :n", use(next), use(reason),
        use(name);
    // Neither a token that was not used yet nor the repeat of one lets a removed node in again.
    if (to == v1::Node::STATE_REMOVED) {
      sql << "DELETE FROM invitations WHERE node = :n", use(name);
    }
    Raise(sql);
    return absl::OkStatus();
  });
}

absl::Status AccessStore::SetCertificateExpiry(const std::string& name, absl::Time expires) {
  return database_->Transact([&](soci::session& sql) {
    long long seconds = absl::ToUnixSeconds(expires);
    sql << "UPDATE nodes SET certificate_expires = :e WHERE name = :n", use(seconds), use(name);
    return absl::OkStatus();
  });
}

absl::StatusOr<std::optional<v1::Request>> AccessStore::FindRequest(const std::string& applicant,
                                                                    const std::string& request_id) {
  std::optional<v1::Request> out;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(out, ReadRequestOf(sql, applicant, request_id));
    return absl::OkStatus();
  }));
  return out;
}

absl::StatusOr<v1::Request> AccessStore::AddRequest(const v1::Request& request,
                                                    const std::string& request_id) {
  v1::Request out;
  RETURN_IF_ERROR(database_->Transact([&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(std::optional<v1::Request> made,
                     ReadRequestOf(sql, request.applicant(), request_id));
    if (made.has_value()) {
      out = *std::move(made);
      return absl::OkStatus();
    }
    long long number = 0;
    sql << "SELECT COUNT(*) FROM requests WHERE applicant = :a", use(request.applicant()),
        into(number);
    if (number >= kMostRequests) {
      return base::Error(absl::StatusCode::kResourceExhausted, "REQUESTS_TOO_MANY",
                         absl::StrCat("you have made ", number,
                                      " requests, which is the most; talk to the committee"));
    }
    sql << "SELECT COALESCE(MAX(number), 0) + 1 FROM requests", into(number);
    const std::string body = Encode(request);
    sql << "INSERT INTO requests (id, number, applicant, request_id, body) "
           "VALUES (:i, :n, :a, :r, :b)",
        use(request.id()), use(number), use(request.applicant()), use(request_id), use(body);
    out = request;
    return absl::OkStatus();
  }));
  return out;
}

absl::StatusOr<v1::Request> AccessStore::GetRequest(const std::string& id) {
  v1::Request out;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(out, ReadRequest(sql, id));
    return absl::OkStatus();
  }));
  return out;
}

absl::StatusOr<v1::Request> AccessStore::ChangeRequest(
    const std::string& id,
    const std::function<absl::Status(v1::Request&, std::optional<PermitRow>&)>& change) {
  v1::Request out;
  RETURN_IF_ERROR(database_->Transact([&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(out, ReadRequest(sql, id));
    std::optional<PermitRow> permit;
    RETURN_IF_ERROR(change(out, permit));
    if (permit.has_value()) AddPermitRow(sql, *permit);
    std::string body = Encode(out);
    sql << "UPDATE requests SET body = :b WHERE id = :i", use(body), use(id);
    return absl::OkStatus();
  }));
  return out;
}

absl::StatusOr<std::vector<v1::Request>> AccessStore::ListRequests(const std::string& after,
                                                                   int limit,
                                                                   const std::string& applicant) {
  std::vector<v1::Request> out;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) -> absl::Status {
    out.clear();
    long long below = 0;
    if (!after.empty()) {
      sql << "SELECT number FROM requests WHERE id = :i", use(after), into(below);
      if (!sql.got_data()) {
        return base::Error(absl::StatusCode::kInvalidArgument, "PAGE_TOKEN_INVALID",
                           "the page token is not one of ours; start from the first page");
      }
    } else {
      sql << "SELECT COALESCE(MAX(number), 0) + 1 FROM requests", into(below);
    }
    std::string body;
    long long most = limit;
    soci::statement statement =
        (sql.prepare << "SELECT body FROM requests WHERE number < :n AND (:a = '' OR applicant = "
                        ":b) ORDER BY number DESC LIMIT :l",
         use(below), use(applicant), use(applicant), use(most), into(body));
    statement.execute();
    while (statement.fetch()) {
      ASSIGN_OR_RETURN(v1::Request request, Decode<v1::Request>(body));
      out.push_back(std::move(request));
    }
    return absl::OkStatus();
  }));
  return out;
}

absl::StatusOr<PermitRow> AccessStore::GetPermit(const std::string& id) {
  PermitRow row;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) -> absl::Status {
    std::string body;
    sql << "SELECT body, jws FROM permits WHERE id = :i", use(id), into(body), into(row.jws);
    if (!sql.got_data()) return NotFound("PERMIT_NOT_FOUND", "permit", id);
    ASSIGN_OR_RETURN(row.permit, Decode<v1::Permit>(body));
    return absl::OkStatus();
  }));
  return row;
}

absl::StatusOr<int64_t> AccessStore::RevokePermit(const std::string& id,
                                                  const std::string& reason) {
  long long epoch = 0;
  RETURN_IF_ERROR(database_->Transact([&](soci::session& sql) -> absl::Status {
    std::string body;
    long long revoked = 0;
    sql << "SELECT body, revoked FROM permits WHERE id = :i", use(id), into(body), into(revoked);
    if (!sql.got_data()) return NotFound("PERMIT_NOT_FOUND", "permit", id);
    if (revoked != 0) {
      sql << "SELECT value FROM counters WHERE name = 'epoch'", into(epoch);
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(v1::Permit permit, Decode<v1::Permit>(body));
    permit.set_state(v1::Permit::STATE_REVOKED);
    permit.set_revoke_reason(reason);
    body = Encode(permit);
    sql << "UPDATE permits SET revoked = 1, body = :b WHERE id = :i", use(body), use(id);
    epoch = Raise(sql);
    return absl::OkStatus();
  }));
  return epoch;
}

absl::StatusOr<std::vector<std::string>> AccessStore::RevokedPermits(absl::Time now) {
  std::vector<std::string> out;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) {
    out.clear();
    long long seconds = absl::ToUnixSeconds(now - kRevokedKept);
    std::string id;
    soci::statement statement =
        (sql.prepare << "SELECT id FROM permits WHERE revoked = 1 AND expires > :n ORDER BY id",
         use(seconds), into(id));
    statement.execute();
    while (statement.fetch()) out.push_back(id);
    return absl::OkStatus();
  }));
  return out;
}

absl::StatusOr<int64_t> AccessStore::Epoch() {
  long long epoch = 0;
  RETURN_IF_ERROR(database_->Read([&](soci::session& sql) {
    sql << "SELECT value FROM counters WHERE name = 'epoch'", into(epoch);
    return absl::OkStatus();
  }));
  return epoch;
}

absl::Status AccessStore::RaiseEpochTo(int64_t least) {
  return database_->Transact([&](soci::session& sql) {
    long long value = least;
    sql << "UPDATE counters SET value = :v WHERE name = 'epoch' AND value < :w", use(value),
        use(value);
    return absl::OkStatus();
  });
}

}  // namespace oncomesh::access
