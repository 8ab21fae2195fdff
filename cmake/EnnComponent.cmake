# enn_component(NAME SOURCES ... [LINK ...]): a static library enn_NAME, alias enn::NAME, in the export set.
function(enn_component name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK;PRIVATE_LINK" ${ARGN})
  add_library(enn_${name} STATIC ${arg_SOURCES})
  add_library(enn::${name} ALIAS enn_${name})
  set_target_properties(enn_${name} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(enn_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include> $<INSTALL_INTERFACE:include>)
  target_compile_features(enn_${name} PUBLIC cxx_std_20)
  target_link_libraries(enn_${name} PUBLIC ${arg_LINK} PRIVATE ${arg_PRIVATE_LINK})
  install(TARGETS enn_${name} EXPORT enn-targets ARCHIVE DESTINATION lib)
endfunction()

# enn_test(NAME SOURCES ... LINK ...): one GoogleTest binary; each of its tests is a ctest test.
function(enn_test name)
  cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;LINK" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  if(ENN_SANITIZE) # a limit ends what hangs; it is not to be met by what is slow
    math(EXPR arg_TIMEOUT "3 * ${arg_TIMEOUT}")
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LINK} GTest::gtest_main)
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/tests")
  target_compile_definitions(${name} PRIVATE ENN_SOURCE_DIR="${PROJECT_SOURCE_DIR}" ENN_BINARY_DIR="${PROJECT_BINARY_DIR}")
  gtest_discover_tests(${name} TEST_PREFIX "${name}." PROPERTIES TIMEOUT ${arg_TIMEOUT} DISCOVERY_TIMEOUT 60)
endfunction()
