# SPDX-License-Identifier: Apache-2.0
# Every third-party library, all of them Debian 12 packages (tools/setup has the list).
find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(ZLIB REQUIRED)
find_package(CURL 7.85 REQUIRED)
find_package(Protobuf REQUIRED) # a module in Debian; before gRPC
find_package(gRPC CONFIG REQUIRED)
find_package(absl CONFIG REQUIRED)
find_package(Boost 1.74 REQUIRED)
find_package(DCMTK CONFIG REQUIRED)
# Not together with DCMTK::dcmjpls in one program: its own older copy of CharLS has the same symbols.
find_package(charls 2 CONFIG REQUIRED)
# Named components only: all of ITK is 97 shared libraries at every start.
find_package(ITK 5.2 REQUIRED COMPONENTS ITKCommon ITKImageGrid ITKImageFunction ITKIOImageBase ITKIONIFTI ITKBiasCorrection)
find_library(SECCOMP_LIBRARY seccomp REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
find_package(Catch2 2 CONFIG REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(PostgreSQL REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
find_package(CLI11 CONFIG REQUIRED)

# SOCI ships no CMake files in Debian.
foreach(part core sqlite3 postgresql)
  find_library(SOCI_${part} soci_${part} REQUIRED)
endforeach()
add_library(soci INTERFACE)
add_library(SOCI::soci ALIAS soci)
target_include_directories(soci SYSTEM INTERFACE ${PostgreSQL_INCLUDE_DIRS})
# Debian's SOCI does not export the type information that UndefinedBehaviorSanitizer's vptr check asks for.
target_compile_options(soci INTERFACE -fno-sanitize=vptr)
target_link_libraries(soci INTERFACE ${SOCI_core} ${SOCI_sqlite3} ${SOCI_postgresql} SQLite::SQLite3 PostgreSQL::PostgreSQL)
