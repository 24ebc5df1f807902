// SPDX-License-Identifier: Apache-2.0
// What a node's catalogue asks of others: de-identification for what was released, access for the
// policy, the hub's catalogue to take its records.
#pragma once

#include <memory>

#include "libs/site/site_access.h"
#include "services/catalogue/config.pb.h"
#include "services/catalogue/count_permits.h"
#include "services/catalogue/datasets.h"
#include "services/catalogue/policy_source.h"
#include "services/catalogue/released_feed.h"

namespace oncomesh::catalogue {

std::unique_ptr<ReleasedFeed> MakeReleasedFeed(const config::v1::CatalogueConfig& config);

// The policy that the node's access service keeps. `site` must outlive it.
std::unique_ptr<PolicySource> MakePolicySource(site::SiteAccess& site);

// Permits judged by what the node's access service knows. `site` and `clock` must outlive it.
std::unique_ptr<CountPermits> MakeCountPermits(site::SiteAccess& site, const base::Clock& clock);

// The hub's catalogue through the node's relay.
std::unique_ptr<RecordPublisher> MakeRecordPublisher(
    const oncomesh::config::v1::ServiceConfig& config);

}  // namespace oncomesh::catalogue
