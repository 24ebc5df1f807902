// SPDX-License-Identifier: Apache-2.0
#include "libs/ledger/tree.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "libs/testing/status_matchers.h"

namespace oncomesh::ledger {
namespace {

using absl::StatusCode;

// RFC 6962 §2.1, word for word: slow, and written from the text alone.
Hash ReferenceRoot(const std::vector<std::string>& leaves, size_t from, size_t to) {
  const size_t n = to - from;
  if (n == 0) return EmptyRoot();
  if (n == 1) return LeafHash(leaves[from]);
  size_t k = 1;
  while (2 * k < n) k *= 2;
  return NodeHash(ReferenceRoot(leaves, from, from + k), ReferenceRoot(leaves, from + k, to));
}

struct MemoryTree {
  std::vector<Hash> nodes;
  Frontier frontier;
  void Append(const std::string& leaf) {
    frontier.Append(LeafHash(leaf), [&](const Hash& hash) { nodes.push_back(hash); });
  }
  absl::StatusOr<Hash> Read(uint64_t position) const {
    if (position >= nodes.size()) return absl::InternalError("beyond the array");
    return nodes[position];
  }
};

// The eight leaves that RFC 6962 implementations share, and the roots after each of them.
const std::vector<std::string>& SharedLeaves() {
  static const std::vector<std::string> leaves = [] {
    std::vector<std::string> out;
    for (const char* hex : {"", "00", "10", "2021", "3031", "40414243", "5051525354555657",
                            "606162636465666768696a6b6c6d6e6f"}) {
      out.push_back(absl::HexStringToBytes(hex));
    }
    return out;
  }();
  return leaves;
}

TEST_CASE("tree: hashes of leaves and nodes are those of RFC 6962 implementations") {
  CHECK(Hex(EmptyRoot()) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(Hex(LeafHash("")) == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
  CHECK(Hex(LeafHash("L123456")) ==
        "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56");
  CHECK(Hex(NodeHash(LeafHash(SharedLeaves()[0]), LeafHash(SharedLeaves()[1]))) ==
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125");
}

TEST_CASE("tree: the shared eight leaves have the published roots") {
  const std::vector<std::string> roots = {
      "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
      "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
      "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
      "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
      "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
      "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
      "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
      "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
  MemoryTree tree;
  auto read = [&](uint64_t position) { return tree.Read(position); };
  TreeReader reader(read);
  CHECK(tree.frontier.Root() == EmptyRoot());
  for (size_t i = 0; i < roots.size(); ++i) {
    tree.Append(SharedLeaves()[i]);
    CHECK(Hex(tree.frontier.Root()) == roots[i]);
    REQUIRE_VALUE(Hash root, reader.Root(i + 1));
    CHECK(Hex(root) == roots[i]);
  }
}

TEST_CASE("tree: every root, inclusion and consistency up to 70 leaves agrees with RFC 6962") {
  std::vector<std::string> leaves;
  MemoryTree tree;
  auto read = [&](uint64_t position) { return tree.Read(position); };
  TreeReader reader(read);
  std::vector<Hash> roots = {EmptyRoot()};
  for (uint64_t size = 1; size <= 70; ++size) {
    leaves.push_back(absl::StrCat("leaf ", size));
    tree.Append(leaves.back());
    roots.push_back(ReferenceRoot(leaves, 0, leaves.size()));
    REQUIRE(tree.frontier.Root() == roots.back());
    REQUIRE(tree.nodes.size() == NodeCount(size));
    REQUIRE_VALUE(Frontier again, reader.FrontierAt(size));
    REQUIRE(again.Root() == roots.back());
    for (uint64_t index = 0; index < size; ++index) {
      REQUIRE_VALUE(Proof proof, reader.Inclusion(index, size));
      REQUIRE_OK(VerifyInclusion(index, size, LeafHash(leaves[index]), proof, roots[size]));
    }
    for (uint64_t before = 1; before <= size; ++before) {
      REQUIRE_VALUE(Proof proof, reader.Consistency(before, size));
      REQUIRE_OK(VerifyConsistency(before, size, proof, roots[before], roots[size]));
    }
  }
  REQUIRE_REASON(reader.Inclusion(70, 70), StatusCode::kInvalidArgument, "INDEX_OUT_OF_RANGE");
  REQUIRE_REASON(reader.Consistency(71, 70), StatusCode::kInvalidArgument, "INDEX_OUT_OF_RANGE");
}

}  // namespace
}  // namespace oncomesh::ledger
