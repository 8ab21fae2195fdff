# Headers, targets and a CMake package: find_package(enn) gives enn::kernels, enn::model and, if they were built,
# enn::serialization and enn::actors. Included last: it looks at the targets.
include(CMakePackageConfigHelpers)

set(enn_installed_folders kernels model)
if(ENN_ACTORS)
  list(APPEND enn_installed_folders serialization actors)
endif()
install(DIRECTORY ${enn_installed_folders} DESTINATION include/enn
  FILES_MATCHING PATTERN "*.hpp" PATTERN "*.inl.hpp" EXCLUDE PATTERN "isa" EXCLUDE PATTERN "schema" EXCLUDE)

# Static libraries also export what they link privately, so users need the packages of all of it.
set(ENN_DEPENDENCIES "")
function(enn_needs pattern package)
  foreach(folder IN LISTS enn_installed_folders)
    get_target_property(links enn_${folder} INTERFACE_LINK_LIBRARIES)
    if("${links}" MATCHES "${pattern}" AND NOT "${ENN_DEPENDENCIES}" MATCHES "find_dependency\\(${package}\\)")
      string(APPEND ENN_DEPENDENCIES "find_dependency(${package})\n")
    endif()
  endforeach()
  set(ENN_DEPENDENCIES "${ENN_DEPENDENCIES}" PARENT_SCOPE)
endfunction()
enn_needs("Threads::" "Threads")
enn_needs("CAF::" "CAF 0.17.6 COMPONENTS core io")
enn_needs("CapnProto::" "CapnProto 0.9")
enn_needs("hdf5::" "HDF5 1.10 COMPONENTS C")
enn_needs("tomlplusplus::" "tomlplusplus")
enn_needs("OpenSSL::" "OpenSSL 3")
enn_needs("ZLIB::" "ZLIB")
enn_needs("spdlog::" "spdlog 1.10")
enn_needs("Eigen3::" "Eigen3")

configure_package_config_file(cmake/enn-config.cmake.in "${PROJECT_BINARY_DIR}/enn-config.cmake"
  INSTALL_DESTINATION lib/cmake/enn)
# 0.x: a minor version may change everything.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/enn-config-version.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/enn-config.cmake" "${PROJECT_BINARY_DIR}/enn-config-version.cmake" cmake/FindCAF.cmake
  DESTINATION lib/cmake/enn)
install(EXPORT enn-targets NAMESPACE enn:: DESTINATION lib/cmake/enn)
if(ENN_ACTORS)
  install(DIRECTORY packaging/systemd/ DESTINATION lib/systemd/system FILES_MATCHING PATTERN "*.service")
endif()
