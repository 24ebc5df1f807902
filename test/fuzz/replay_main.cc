// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target over its corpus, and over each input cut short and with each byte of its first
// kilobyte changed, so that the ordinary test suite meets more than what is stored.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

void Run(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

}  // namespace

int main(int argc, char** argv) {
  size_t files = 0, runs = 0;
  for (int i = 1; i < argc; ++i) {
    if (!std::filesystem::exists(argv[i])) continue;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
      if (!entry.is_regular_file()) continue;
      std::ifstream file(entry.path(), std::ios::binary);
      std::string input((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
      ++files;
      Run(input);
      const size_t step = std::max<size_t>(1, input.size() / 64);
      for (size_t cut = 0; cut < input.size(); cut += step, ++runs) Run(input.substr(0, cut));
      const size_t span = std::min<size_t>(input.size(), 1024);
      const size_t stride = std::max<size_t>(1, span / 128);
      for (size_t at = 0; at < span; at += stride, ++runs) {
        std::string bent = input;
        bent[at] = static_cast<char>(bent[at] ^ 0x55);
        Run(bent);
      }
    }
  }
  std::printf("%zu inputs, %zu variations\n", files, runs);
  return files > 0 ? 0 : 1;  // an empty corpus tests nothing
}
