// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "oncomesh/catalogue/v1/catalogue.pb.h"

namespace oncomesh::cli {

// A dataset record for programs and for people. Hidden numbers are null, and "-".
nlohmann::json DatasetJson(const catalogue::v1::DatasetRecord& record);
std::string DatasetText(const catalogue::v1::DatasetRecord& record);

// "FROZEN", "PUBLISHED" or "WITHDRAWN".
std::string DatasetState(const catalogue::v1::DatasetRecord& record);
// A number of the record's statistics, "-" when hidden.
std::string PatientsText(const catalogue::v1::DatasetRecord& record);

}  // namespace oncomesh::cli
