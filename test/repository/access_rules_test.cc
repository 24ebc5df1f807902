// SPDX-License-Identifier: Apache-2.0
// Every RPC of the product has an access rule, and its comment ends with the errors it can give.
#include <google/protobuf/descriptor.pb.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "libs/base/files.h"
#include "libs/testing/status_matchers.h"
#include "oncomesh/options/v1/options.pb.h"

namespace oncomesh {
namespace {

using google::protobuf::FileDescriptorProto;
using google::protobuf::FileDescriptorSet;

FileDescriptorSet Api() {
  const char* build = std::getenv("ONCOMESH_BINARY_DIR");
  REQUIRE_VALUE(std::string bytes,
                base::ReadFile(std::string(build != nullptr ? build : "build/release") +
                               "/protos/api.binpb"));
  FileDescriptorSet out;
  REQUIRE(out.ParseFromString(bytes));
  return out;
}

// The comment in front of method `m` of service `s`.
std::string Comment(const FileDescriptorProto& file, int s, int m) {
  for (const auto& location : file.source_code_info().location()) {
    const std::vector<int> path(location.path().begin(), location.path().end());
    if (path == std::vector<int>{FileDescriptorProto::kServiceFieldNumber, s,
                                 google::protobuf::ServiceDescriptorProto::kMethodFieldNumber, m}) {
      return location.leading_comments();
    }
  }
  return "";
}

TEST_CASE("api: every RPC has an access rule that lets somebody in, and says its errors") {
  const std::set<std::string> kPeople = {"anyone",    "researcher", "holder",
                                         "committee", "auditor",    "operator"};
  int methods = 0;
  const FileDescriptorSet api = Api();
  for (const FileDescriptorProto& file : api.file()) {
    if (file.package().rfind("oncomesh.", 0) != 0) continue;
    for (int s = 0; s < file.service_size(); ++s) {
      for (int m = 0; m < file.service(s).method_size(); ++m) {
        const auto& method = file.service(s).method(m);
        INFO(file.package() << "." << file.service(s).name() << "/" << method.name());
        ++methods;
        REQUIRE(method.options().HasExtension(options::v1::access));
        const auto& rule = method.options().GetExtension(options::v1::access);
        CHECK((rule.public_() || rule.roles_size() + rule.services_size() > 0));
        for (const std::string& role : rule.roles()) CHECK(kPeople.count(role) == 1);
        for (const std::string& service : rule.services()) {
          CHECK((service.rfind("hub/", 0) == 0 || service.rfind("node/*/", 0) == 0 ||
                 service.rfind("local/", 0) == 0));
        }
        CHECK(Comment(file, s, m).find("Errors:") != std::string::npos);
      }
    }
  }
  CHECK(methods >= 40);  // the check itself would be empty if it found none
}

TEST_CASE(
    "api: what an audit event takes from a request is there, and is no free text; a stream "
    "is on record before it begins") {
  const FileDescriptorSet api = Api();
  google::protobuf::DescriptorPool pool;
  for (const FileDescriptorProto& file : api.file()) REQUIRE(pool.BuildFile(file) != nullptr);
  const std::set<std::string> kFreeText = {"reason_text",  "title",  "description", "text",
                                           "answers_json", "secret", "lease_token"};
  int named = 0, streams = 0;
  for (const FileDescriptorProto& file : api.file()) {
    for (const auto& service : file.service()) {
      for (const auto& method : service.method()) {
        INFO(service.name() << "/" << method.name());
        const auto& rule = method.options().GetExtension(options::v1::access);
        std::vector<std::string> fields(rule.audit_attributes().begin(),
                                        rule.audit_attributes().end());
        if (!rule.audit_object().empty()) fields.push_back(rule.audit_object());
        if (!fields.empty() || rule.audit_first()) CHECK(rule.audit());
        // A stream is with the caller before an event of its end could be refused.
        if (method.server_streaming() && !method.client_streaming() && rule.audit()) {
          ++streams;
          CHECK(rule.audit_first());
        }
        const auto* request = pool.FindMessageTypeByName(method.input_type().substr(1));
        REQUIRE(request != nullptr);
        for (const std::string& name : fields) {
          INFO(name);
          ++named;
          CHECK(kFreeText.count(name) == 0);
          const auto* field = request->FindFieldByName(name);
          REQUIRE(field != nullptr);
          CHECK(!field->is_repeated());
          const auto sensitivity = field->options().GetExtension(options::v1::sensitivity);
          CHECK(sensitivity != options::v1::SENSITIVITY_IDENTIFYING);
          CHECK(sensitivity != options::v1::SENSITIVITY_SECRET);
        }
      }
    }
  }
  CHECK(named >= 15);
  CHECK(streams >= 2);
}

TEST_CASE("api: no request to a service of the hub can carry identifying data") {
  // What only a node serves may take it; everything a hub service takes may not.
  std::map<std::string, const google::protobuf::DescriptorProto*> messages;
  FileDescriptorSet api = Api();
  for (const FileDescriptorProto& file : api.file()) {
    for (const auto& message : file.message_type())
      messages["." + file.package() + "." + message.name()] = &message;
  }
  const std::set<std::string> kNodeOnly = {"DeidentificationService"};
  for (const FileDescriptorProto& file : api.file()) {
    if (file.package().rfind("oncomesh.", 0) != 0) continue;
    for (const auto& service : file.service()) {
      if (kNodeOnly.count(service.name()) > 0) continue;
      for (const auto& method : service.method()) {
        std::vector<std::string> todo = {method.input_type()};
        std::set<std::string> seen;
        while (!todo.empty()) {
          const std::string name = todo.back();
          todo.pop_back();
          if (messages.count(name) == 0 || !seen.insert(name).second) continue;
          for (const auto& field : messages[name]->field()) {
            INFO(service.name() << "." << method.name() << ": " << name << "." << field.name());
            CHECK(field.options().GetExtension(options::v1::sensitivity) !=
                  options::v1::SENSITIVITY_IDENTIFYING);
            if (!field.type_name().empty()) todo.push_back(field.type_name());
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace oncomesh
