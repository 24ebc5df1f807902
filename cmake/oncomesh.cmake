# SPDX-License-Identifier: Apache-2.0
# How a folder becomes a target. Every folder uses these functions, so that all of them are built,
# warned about, hardened and tested alike. Sources are globbed: a file in the folder is in the target.
#
#   oncomesh_library(NAME base DEPS …)            libs/base/*.cc           → oncomesh::base
#   oncomesh_service(NAME access DEPS …)          services/access/*.cc     → oncomesh::access_service, bin/oncomesh-access
#   oncomesh_tool(NAME oncomesh DEPS …)           tools/oncomesh/*.cc      → bin/oncomesh
#   oncomesh_test(NAME base DEPS … [LABELS unit]) *_test.cc in the folder  → bin/test/base_test, run by ctest

add_library(oncomesh_options INTERFACE)
add_library(oncomesh::options ALIAS oncomesh_options)
target_compile_features(oncomesh_options INTERFACE cxx_std_20)
target_include_directories(oncomesh_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(oncomesh_options INTERFACE
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wimplicit-fallthrough -Werror
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>
  -fstack-protector-strong -fstack-clash-protection -fcf-protection -fno-math-errno
  $<$<CONFIG:Release,RelWithDebInfo>:-D_FORTIFY_SOURCE=2>
  -D_GLIBCXX_ASSERTIONS)
# The compiler's own macro is not there with ThreadSanitizer: Debian's protobuf was built without it, and
# its maps have another layout where it is defined (map_field.h). Only libstdc++ is told (_GLIBCXX_TSAN).
if(CMAKE_CXX_FLAGS MATCHES "-fsanitize=(address|thread)")
  target_compile_definitions(oncomesh_options INTERFACE ONCOMESH_SANITIZED)
endif()
target_link_options(oncomesh_options INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)

# The headers that nearly every unit reads, parsed once. The `tidy` and `fuzz` presets build without it
# (CMAKE_DISABLE_PRECOMPILE_HEADERS), so a source that forgets an include does not stay unnoticed.
# GCC's precompiled headers reach ccache only in preprocessed form; tools/build sets the rest.
add_library(oncomesh_precompiled OBJECT ${PROJECT_SOURCE_DIR}/cmake/precompiled.cc)
target_link_libraries(oncomesh_precompiled PUBLIC oncomesh::options gRPC::grpc++ protobuf::libprotobuf absl::status)
target_precompile_headers(oncomesh_precompiled PRIVATE ${PROJECT_SOURCE_DIR}/cmake/precompiled.h)
function(_oncomesh_precompile target)
  target_precompile_headers(${target} REUSE_FROM oncomesh_precompiled)
  target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
endfunction()

function(_oncomesh_sources out)
  file(GLOB all CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  set(kept "")
  foreach(source IN LISTS all)
    if(NOT source MATCHES "_test\\.cc$" AND NOT source MATCHES "/main\\.cc$")
      list(APPEND kept ${source})
    endif()
  endforeach()
  set(${out} ${kept} PARENT_SCOPE)
endfunction()

function(oncomesh_library)
  cmake_parse_arguments(arg "" "NAME" "DEPS;PRIVATE_DEPS" ${ARGN})
  _oncomesh_sources(sources)
  if(sources)
    add_library(oncomesh_${arg_NAME} STATIC ${sources})
    _oncomesh_precompile(oncomesh_${arg_NAME})
    target_link_libraries(oncomesh_${arg_NAME} PUBLIC oncomesh::options ${arg_DEPS} PRIVATE ${arg_PRIVATE_DEPS})
  else()
    add_library(oncomesh_${arg_NAME} INTERFACE)
    target_link_libraries(oncomesh_${arg_NAME} INTERFACE oncomesh::options ${arg_DEPS})
  endif()
  add_library(oncomesh::${arg_NAME} ALIAS oncomesh_${arg_NAME})
endfunction()

function(_oncomesh_program target output)
  set_target_properties(${target} PROPERTIES OUTPUT_NAME ${output} RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
  install(TARGETS ${target} RUNTIME DESTINATION bin)
endfunction()

function(oncomesh_service)
  cmake_parse_arguments(arg "" "NAME" "DEPS" ${ARGN})
  _oncomesh_sources(sources)
  add_library(oncomesh_${arg_NAME}_service STATIC ${sources})
  _oncomesh_precompile(oncomesh_${arg_NAME}_service)
  target_link_libraries(oncomesh_${arg_NAME}_service PUBLIC oncomesh::options ${arg_DEPS})
  add_library(oncomesh::${arg_NAME}_service ALIAS oncomesh_${arg_NAME}_service)
  if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/main.cc)
    add_executable(oncomesh_${arg_NAME}_program main.cc)
    _oncomesh_precompile(oncomesh_${arg_NAME}_program)
    target_link_libraries(oncomesh_${arg_NAME}_program PRIVATE oncomesh_${arg_NAME}_service)
    _oncomesh_program(oncomesh_${arg_NAME}_program oncomesh-${arg_NAME})
  endif()
endfunction()

function(oncomesh_tool)
  cmake_parse_arguments(arg "" "NAME" "DEPS" ${ARGN})
  _oncomesh_sources(sources)
  add_executable(${arg_NAME} ${sources} main.cc)
  _oncomesh_precompile(${arg_NAME})
  target_link_libraries(${arg_NAME} PRIVATE oncomesh::options ${arg_DEPS})
  _oncomesh_program(${arg_NAME} ${arg_NAME})
endfunction()

function(oncomesh_test)
  cmake_parse_arguments(arg "" "NAME;TIMEOUT" "DEPS;LABELS;SOURCES" ${ARGN})
  if(NOT BUILD_TESTING)
    return()
  endif()
  if(NOT arg_SOURCES)
    file(GLOB arg_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*_test.cc)
  endif()
  if(NOT arg_SOURCES)
    return()
  endif()
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
    if(CMAKE_CXX_FLAGS MATCHES "fsanitize")
      set(arg_TIMEOUT 1800)
    endif()
  endif()
  add_executable(${arg_NAME}_test ${arg_SOURCES})
  if(CMAKE_BUILD_TYPE STREQUAL "Debug")
    # Catch2's macros cost the optimiser, and the sanitizers' more, for nothing: what is tested is the
    # library. (A precompiled header of another optimisation level would be refused.)
    target_compile_options(${arg_NAME}_test PRIVATE -O0)
  else()
    _oncomesh_precompile(${arg_NAME}_test)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # GCC 12 sees overflows in std::string's own functions where there are none (bug 105329 and kin).
      target_compile_options(${arg_NAME}_test PRIVATE -Wno-array-bounds -Wno-restrict -Wno-stringop-overread
                             -Wno-stringop-overflow)
    endif()
  endif()
  target_link_libraries(${arg_NAME}_test PRIVATE oncomesh::options oncomesh::testing ${arg_DEPS})
  set_target_properties(${arg_NAME}_test PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin/test)
  add_test(NAME ${arg_NAME} COMMAND ${arg_NAME}_test)
  set_tests_properties(${arg_NAME} PROPERTIES LABELS "${arg_LABELS}" TIMEOUT ${arg_TIMEOUT}
    ENVIRONMENT "ONCOMESH_SOURCE_DIR=${PROJECT_SOURCE_DIR};ONCOMESH_BINARY_DIR=${PROJECT_BINARY_DIR}")
endfunction()
