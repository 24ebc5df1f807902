// SPDX-License-Identifier: Apache-2.0
#include "libs/federated/safetensors.h"

#include <catch2/catch.hpp>
#include <cstring>

#include "absl/strings/escaping.h"
#include "libs/base/files.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"

namespace oncomesh::federated {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

// Written by the reference implementation (safetensors 0.8.0, Python): "w" F32 (1,3), "hess" F64
// (2,2), "b" F64 scalar, metadata round = 3.
constexpr char kReference[] =
    "c8000000000000007b225f5f6d657461646174615f5f223a7b22726f756e64223a2233227d2c2262223a7b22647479"
    "7065223a22463634222c227368617065223a5b5d2c22646174615f6f666673657473223a5b302c385d7d2c22686573"
    "73223a7b226474797065223a22463634222c227368617065223a5b322c325d2c22646174615f6f666673657473223a"
    "5b382c34305d7d2c2277223a7b226474797065223a22463332222c227368617065223a5b312c335d2c22646174615f"
    "6f666673657473223a5b34302c35325d7d7d2020000000000000d03f000000000000f03f9a9999999999b93f9a9999"
    "999999b93f00000000000000400000c03f000010c000004040";

std::string File(const std::string& header, size_t data_bytes) {
  uint64_t length = header.size();
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out + header + std::string(data_bytes, '\0');
}

TEST_CASE("safetensors: a file of the reference implementation is read") {
  testing::TemporaryFolder folder;
  REQUIRE_OK(base::WriteFileAtomically(folder / "m", absl::HexStringToBytes(kReference)));
  REQUIRE_VALUE(TensorFile file, TensorFile::Open(folder / "m"));
  CHECK(file.header().metadata.at("round") == "3");
  REQUIRE(file.header().tensors.size() == 3);
  CHECK(file.Find("w")->shape == std::vector<int64_t>{1, 3});
  REQUIRE_VALUE(auto w, file.ReadAll(*file.Find("w")));
  CHECK(w == std::vector<double>{1.5, -2.25, 3.0});
  REQUIRE_VALUE(auto hess, file.ReadAll(*file.Find("hess")));
  CHECK(hess == std::vector<double>{1.0, 0.1, 0.1, 2.0});
  REQUIRE_VALUE(auto b, file.ReadAll(*file.Find("b")));
  CHECK(b == std::vector<double>{0.25});
  CHECK(file.Find("absent") == nullptr);
}

TEST_CASE("safetensors: what we write is byte for byte what the reference implementation writes") {
  std::vector<Tensor> tensors = {{{"w", Dtype::kF32, {1, 3}}, {1.5, -2.25, 3.0}},
                                 {{"hess", Dtype::kF64, {2, 2}}, {1.0, 0.1, 0.1, 2.0}},
                                 {{"b", Dtype::kF64, {}}, {0.25}}};
  REQUIRE_VALUE(std::string bytes, WriteTensors(tensors, {{"round", "3"}}));
  CHECK(absl::BytesToHexString(bytes) == kReference);
}

TEST_CASE("safetensors: every prefix of a file is refused") {
  std::string whole = absl::HexStringToBytes(kReference);
  for (size_t n = 0; n < whole.size(); ++n) {
    CAPTURE(n);
    REQUIRE_REASON(ParseHeader(absl::string_view(whole).substr(0, n), n), kInvalid,
                   "TENSOR_FILE_INVALID");
  }
  REQUIRE_OK(ParseHeader(whole, whole.size()));
  REQUIRE_REASON(ParseHeader(whole, whole.size() + 1), kInvalid, "TENSOR_FILE_INVALID");
}

TEST_CASE("safetensors: headers that lie are refused") {
  struct Case {
    const char* header;
    size_t data;
    const char* reason;
  };
  for (
      const Case& c : std::vector<Case>{
          {R"([])", 0, "TENSOR_FILE_INVALID"},
          {R"({"a":1})", 0, "TENSOR_FILE_INVALID"},
          {R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]})", 8, "TENSOR_FILE_INVALID"},
          {R"({"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})", 8, "TENSOR_DTYPE"},
          {R"({"a":{"dtype":"F64","shape":[-1],"data_offsets":[0,8]}})", 8, "TENSOR_FILE_INVALID"},
          {R"({"a":{"dtype":"F64","shape":[1.0],"data_offsets":[0,8]}})", 8, "TENSOR_FILE_INVALID"},
          {R"({"a":{"dtype":"F64","shape":[2],"data_offsets":[0,8]}})", 8, "TENSOR_FILE_INVALID"},
          {R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[8,0]}})", 8, "TENSOR_FILE_INVALID"},
          {R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8,9]}})", 8, "TENSOR_FILE_INVALID"},
          {R"({"a":{"dtype":"F64","shape":[1]}})", 8, "TENSOR_FILE_INVALID"},
          {R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8],"x":[]}})", 8,
           "TENSOR_FILE_INVALID"},
          {R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8],"shape":[1]}})", 8,
           "TENSOR_FILE_INVALID"},
          // twice the same name; overlap; gap; bytes left over
          {R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},"a":{"dtype":"F64","shape":[1],"data_offsets":[8,16]}})",
           16, "TENSOR_FILE_INVALID"},
          {R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},"b":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})",
           8, "TENSOR_FILE_INVALID"},
          {R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[8,16]}})", 16, "TENSOR_FILE_INVALID"},
          {R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", 16, "TENSOR_FILE_INVALID"},
          // sizes whose product wraps around 64 bits
          {R"({"a":{"dtype":"F64","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0,
           "TENSOR_SHAPE"},
          {R"({"a":{"dtype":"F64","shape":[18446744073709551615],"data_offsets":[0,8]}})", 8,
           "TENSOR_FILE_INVALID"},
          {R"({"a":{"dtype":"F64","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,8]}})", 8,
           "TENSOR_FILE_INVALID"},
          {R"({"__metadata__":{"a":1}})", 0, "TENSOR_FILE_INVALID"},
          {R"({"__metadata__":{"a":"1"},"__metadata__":{"b":"1"}})", 0, "TENSOR_FILE_INVALID"},
          {R"({"":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", 8, "TENSOR_FILE_INVALID"},
          {R"({"a":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]})", 0, "TENSOR_FILE_INVALID"}}) {
    CAPTURE(c.header);
    std::string file = File(c.header, c.data);
    REQUIRE_REASON(ParseHeader(file, file.size()), kInvalid, c.reason);
  }
  std::string empty = File("{}      ", 0);
  REQUIRE_OK(ParseHeader(empty, empty.size()));
  std::string huge = "\xff\xff\xff\xff\xff\xff\xff\x7f{}";
  REQUIRE_REASON(ParseHeader(huge, huge.size()), kInvalid, "TENSOR_FILE_INVALID");
}

TEST_CASE("safetensors: a header as deep as a mine is refused without a stack overflow") {
  std::string header = R"({"a":)" + std::string(1 << 20, '[');
  std::string file = File(header, 0);
  REQUIRE_REASON(ParseHeader(file, file.size()), kInvalid, "TENSOR_FILE_INVALID");
}

}  // namespace
}  // namespace oncomesh::federated
