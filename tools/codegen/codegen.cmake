# SPDX-License-Identifier: Apache-2.0
# oncomesh_deid_table(TARGET what): compiles a vendored table (dictionary, uids, rules or private)
# to <binary dir of the caller>/generated/<what>.inc and gives TARGET its include folder.
find_package(Python3 REQUIRED COMPONENTS Interpreter)

function(oncomesh_deid_table target what)
  set(folder ${PROJECT_SOURCE_DIR}/tools/codegen)
  set(output ${CMAKE_CURRENT_BINARY_DIR}/generated/${what}.inc)
  file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/generated)
  file(GLOB data ${folder}/data/*)
  add_custom_command(OUTPUT ${output}
    COMMAND Python3::Interpreter ${folder}/deid_tables.py ${what} ${folder}/data ${output}
    DEPENDS ${folder}/deid_tables.py ${data} COMMENT "table of ${what}" VERBATIM)
  target_sources(${target} PRIVATE ${output})
  target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/generated)
endfunction()
