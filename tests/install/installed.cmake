cmake_minimum_required(VERSION 3.23)

file(REMOVE_RECURSE ${WORK_DIR})
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${WORK_DIR}/prefix
    OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)

# What a user of cluster must not need is made impossible to find. A static library cannot bring spdlog along.
set(absent cereal asio doctest OpenSSL)
if(KIND STREQUAL "shared")
    list(APPEND absent spdlog fmt)
endif()
list(TRANSFORM absent REPLACE "(.+)" "-DCMAKE_DISABLE_FIND_PACKAGE_\\1=ON")
execute_process(COMMAND ${CMAKE_COMMAND} -S ${CONSUMER_DIR} -B ${WORK_DIR}/build -G ${GENERATOR}
    --no-warn-unused-cli -D CMAKE_CXX_COMPILER=${COMPILER} -D CMAKE_BUILD_TYPE=Release
    -D CMAKE_PREFIX_PATH=${WORK_DIR}/prefix ${absent} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${WORK_DIR}/build COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${WORK_DIR}/build/consumer COMMAND_ERROR_IS_FATAL ANY)

execute_process(COMMAND ${COMPILER} -std=c++20 -M -I include ${CONSUMER_DIR}/main.cpp
    WORKING_DIRECTORY ${WORK_DIR}/prefix OUTPUT_VARIABLE headers COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "/usr/[^ \n]*/(asio|cereal|spdlog|fmt)[/.][^ \n]*" found "${headers}")
if(found OR NOT headers MATCHES "include/cluster/cluster\\.hpp")
    message(FATAL_ERROR "a user's file reads headers that it must not need: ${found}")
endif()
file(GLOB_RECURSE libraries ${WORK_DIR}/prefix/libcluster.*)
if(KIND STREQUAL "shared" AND NOT libraries MATCHES "libcluster\\.so\\.0\\.1(;|$)")
    message(FATAL_ERROR "the shared library does not carry its interface version: ${libraries}")
endif()
