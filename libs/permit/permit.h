// SPDX-License-Identifier: Apache-2.0
// The permit: one signed token that says who may do what with which data, for what purpose and
// until when. Any site can judge it offline with the issuer's keys and the revocation epoch. The
// format is doc/formats/permit.md.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "libs/crypto/jws.h"
#include "libs/crypto/keys.h"

namespace oncomesh::permit {

inline constexpr char kPermitType[] = "oncomesh-permit+jwt";

struct Permit {
  std::string id;                       // "permit-…"
  std::string issuer;                   // the trust domain
  std::vector<std::string> people;      // subjects, at least one
  std::vector<std::string> datasets;    // "nodes/<node>/datasets/<name>/versions/<n>", at least one
  std::string purpose;                  // DUO code
  std::vector<std::string> operations;  // of "count", "train", "evaluate"
  int32_t max_rounds = 0;               // per training run; 0: as the node's policy allows
  absl::Time not_before;
  absl::Time expires;
  int64_t epoch = 0;    // the revocation epoch when it was issued
  std::string request;  // the access request it came from
};

// What a service of a site has learned of permits it keeps for at most this long before it asks its
// access service again. A revocation is in force at a site this long after the site was told.
inline constexpr absl::Duration kTrustKept = absl::Milliseconds(250);

// What a site knows of the issuer, and since when.
struct TrustState {
  std::string issuer;
  crypto::KeySet keys;
  std::set<std::string> revoked;
  int64_t epoch = 0;
  absl::Time fetched;      // when the site last heard from the issuer
  absl::Duration max_age;  // how old that may be
};

// One use of a permit.
struct Use {
  std::string person;     // empty: any person of the permit (a node running a task of a run)
  std::string operation;  // "train"
  std::vector<std::string> datasets;  // those touched; may be empty for a check of the permit alone
  std::string node;                   // every dataset must be one of this node; empty: not checked
  absl::Time now;
};

// The permit as compact JWS, EdDSA. Times are kept in whole seconds. Nothing is signed that Verify
// would refuse for its form. Errors: INVALID_ARGUMENT (PERMIT_TOO_LARGE) when it would have more
// than crypto::kMaxJwsBytes, (PERMIT_MALFORMED).
absl::StatusOr<std::string> Sign(const Permit& permit, const crypto::PrivateKey& key,
                                 absl::string_view kid);

// Signature and form. Errors: INVALID_ARGUMENT (PERMIT_MALFORMED); UNAUTHENTICATED (PERMIT_FOREIGN)
// for another issuer or an unknown key, (PERMIT_SIGNATURE_INVALID).
absl::StatusOr<Permit> Verify(absl::string_view compact, const TrustState& trust);

// Verify, and whether this use is allowed. Errors, in this order: those of Verify; UNAVAILABLE
// (EPOCH_TOO_OLD) when the site has not heard from the issuer for too long, its clock was set back
// since, or the permit is of an epoch the site has not seen; PERMISSION_DENIED (PERMIT_REVOKED),
// (PERMIT_NOT_YET_VALID) more than a minute before not_before, since the site's clock may be late,
// (PERMIT_EXPIRED), (PERMIT_NOT_FOR_PERSON),
// (PERMIT_OPERATION_NOT_ALLOWED), (PERMIT_WRONG_DATASET), (PERMIT_WRONG_NODE).
absl::StatusOr<Permit> Check(absl::string_view compact, const TrustState& trust, const Use& use);

// Verify, and whether the permit is in force now, whatever it is used for.
// Errors: those of Check up to PERMIT_EXPIRED.
absl::StatusOr<Permit> CheckInForce(absl::string_view compact, const TrustState& trust,
                                    absl::Time now);

// Hex SHA-256 of the compact form: what audit events and manifests call the permit by.
std::string Digest(absl::string_view compact);

// The node in "nodes/<node>/datasets/…"; empty for another form.
std::string NodeOf(absl::string_view dataset);

}  // namespace oncomesh::permit
