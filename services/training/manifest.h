// SPDX-License-Identifier: Apache-2.0
// The signed record of a closed round: what went in, who contributed with which weight, who was
// dropped and why, by which code and permit, what came out. Compact JWS (EdDSA) over canonical
// JSON, chained by the digest of the record before. doc/formats/round-manifest.md is the format.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/crypto/jws.h"
#include "libs/crypto/keys.h"
#include "services/training/run_record.h"

namespace oncomesh::training {

inline constexpr char kManifestType[] = "oncomesh-round-manifest+jws";
inline constexpr char kManifestFormat[] = "oncomesh-round-manifest/1";

// The payload for the aggregating round of `record`, with what the aggregation produced.
// `software` names the program and its version. Objects have sorted keys, there are no spaces, and
// numbers are whole: the form of RFC 8785.
std::string ManifestPayload(const RunRecord& record, const Closing& closing,
                            absl::string_view software);

std::string SignManifest(const crypto::PrivateKey& key, absl::string_view payload);

// The payload of a genuine manifest. Errors: INVALID_ARGUMENT (MANIFEST_MALFORMED), UNAUTHENTICATED
// (MANIFEST_KEY_UNKNOWN, MANIFEST_SIGNATURE_INVALID).
absl::StatusOr<std::string> VerifyManifest(absl::string_view jws, const crypto::KeySet& keys);

}  // namespace oncomesh::training
