cmake_minimum_required(VERSION 3.23)

file(REMOVE_RECURSE ${PREFIX})
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${PREFIX} OUTPUT_QUIET
    COMMAND_ERROR_IS_FATAL ANY)

file(GLOB expected RELATIVE ${CLUSTER_DIR} ${CLUSTER_DIR}/include/cluster/*.hpp)
list(APPEND expected lib/cmake/cluster/cluster-config.cmake lib/cmake/cluster/cluster-config-version.cmake
    lib/cmake/cluster/cluster-targets.cmake lib/cmake/cluster/cluster-targets-CONFIG.cmake lib/pkgconfig/cluster.pc)
if(KIND STREQUAL "static")
    list(APPEND expected lib/libcluster.a)
else()
    list(APPEND expected lib/libcluster.so lib/libcluster.so.0.1 lib/libcluster.so.0.1.0)
endif()
file(GLOB_RECURSE found LIST_DIRECTORIES false RELATIVE ${PREFIX} ${PREFIX}/*)
file(GLOB library ${PREFIX}/lib*/libcluster.* ${PREFIX}/lib*/*/libcluster.*)
list(TRANSFORM found REPLACE "^lib[^/]*/(.*-linux-[^/]*/)?" "lib/")
list(TRANSFORM found REPLACE "cluster-targets-[a-z]+\\.cmake" "cluster-targets-CONFIG.cmake")
list(SORT expected)
list(SORT found)
if(NOT found STREQUAL expected)
    list(JOIN expected "\n" expected)
    list(JOIN found "\n" found)
    message(FATAL_ERROR "installed is\n${found}\ninstead of\n${expected}")
endif()

list(GET library 0 LIBRARY)
include(${CLUSTER_DIR}/tests/style/private_asio.cmake)

execute_process(COMMAND ${COMPILER} -std=c++20 -M -I include ${CMAKE_CURRENT_LIST_DIR}/consumer/main.cpp
    WORKING_DIRECTORY ${PREFIX} OUTPUT_VARIABLE headers COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "/usr/[^ \n]*/(asio|cereal|spdlog|fmt|openssl)[/.][^ \n]*" found "${headers}")
if(found OR NOT headers MATCHES "include/cluster/cluster\\.hpp")
    message(FATAL_ERROR "a user's file reads headers that it must not need: ${found}")
endif()
