// SPDX-License-Identifier: Apache-2.0
// For tests: released DICOM objects written by hand, and a feed that lists them.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/mutex.h"
#include "libs/dicom/file_meta.h"
#include "services/catalogue/released_feed.h"

namespace oncomesh::catalogue {

// An Explicit VR Little Endian file of these elements (tag → VR and value) and a few bytes of
// pixels.
inline std::string MakeObject(const std::map<uint32_t, std::pair<std::string, std::string>>& extra,
                              const std::string& patient, const std::string& study,
                              const std::string& series, const std::string& instance) {
  auto elements = extra;
  elements[0x00080016] = {"UI", "1.2.840.10008.5.1.4.1.1.2"};
  elements[0x00080018] = {"UI", instance};
  elements[0x00100020] = {"LO", patient};
  elements[0x0020000d] = {"UI", study};
  elements[0x0020000e] = {"UI", series};
  elements[0x7fe00010] = {"OW", std::string(512, '\1')};
  std::string out =
      dicom::MakeFileMeta("1.2.840.10008.5.1.4.1.1.2", instance, dicom::kExplicitLittleEndian);
  auto number = [&](uint32_t n, int bytes) {
    for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(n >> (8 * i)));
  };
  for (const auto& [tag, element] : elements) {
    std::string value = element.second;
    if (value.size() % 2 == 1) value.push_back(element.first == "UI" ? '\0' : ' ');
    number(tag >> 16, 2);
    number(tag & 0xffff, 2);
    out += element.first;
    if (element.first == "OW" || element.first == "SQ") {
      number(0, 2);
      number(static_cast<uint32_t>(value.size()), 4);
    } else {
      number(static_cast<uint32_t>(value.size()), 2);
    }
    out += value;
  }
  return out;
}

// Lists what was added. Can be made to fail. Any thread.
class FakeFeed final : public ReleasedFeed {
 public:
  void Add(Released event) {
    base::MutexLock lock(mutex_);
    event.sequence = static_cast<int64_t>(events_.size()) + 1;
    events_.push_back(std::move(event));
  }
  void Fail(bool fail) {
    base::MutexLock lock(mutex_);
    fail_ = fail;
  }
  // Called in front of every List, in the thread of it.
  std::function<void()> before_list = [] {};
  absl::StatusOr<std::vector<Released>> List(int64_t after, int limit) override {
    before_list();
    base::MutexLock lock(mutex_);
    if (fail_) {
      return base::Error(absl::StatusCode::kUnavailable, "RELEASED_FEED", "the feed is away");
    }
    auto begin = events_.begin() + std::min<int64_t>(after, static_cast<int64_t>(events_.size()));
    auto end = begin + std::min<std::ptrdiff_t>(limit, events_.end() - begin);
    return std::vector<Released>(begin, end);
  }

 private:
  base::Mutex mutex_;
  std::vector<Released> events_ ABSL_GUARDED_BY(mutex_);
  bool fail_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace oncomesh::catalogue
