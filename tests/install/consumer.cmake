cmake_minimum_required(VERSION 3.23)

# Configures, builds and runs the consumer in WORK_DIR, which is emptied first unless KEEP is set.
# OPTIONS is what it is configured with, separated by |.
string(REPLACE "|" ";" OPTIONS "${OPTIONS}")

if(DEFINED SECOND_ASIO_DIR)
    if(SECOND_ASIO_DIR STREQUAL "")
        message("skipped: tests with a second Asio need one: run .ci/second-asio FOLDER, "
            "then configure with -DCLUSTER_SECOND_ASIO_DIR=FOLDER")
        return()
    endif()
    file(SHA256 ${ASIO_DIR}/asio/version.hpp first)
    file(SHA256 ${SECOND_ASIO_DIR}/asio/version.hpp second)
    if(first STREQUAL second)
        message(FATAL_ERROR "${SECOND_ASIO_DIR} has no other version of Asio than ${ASIO_DIR}")
    endif()
    list(APPEND OPTIONS -DASIO_DIR=${SECOND_ASIO_DIR})
endif()

# What a user of cluster must not need is made impossible to find. A static library cannot bring spdlog and OpenSSL
# along.
if(PREFIX)
    set(absent cereal asio doctest)
    if(KIND STREQUAL "shared")
        list(APPEND absent spdlog fmt OpenSSL)
    endif()
    list(TRANSFORM absent REPLACE "(.+)" "-DCMAKE_DISABLE_FIND_PACKAGE_\\1=ON")
    list(APPEND OPTIONS --no-warn-unused-cli -DCMAKE_PREFIX_PATH=${PREFIX} ${absent})
endif()

if(NOT KEEP)
    file(REMOVE_RECURSE ${WORK_DIR})
endif()
execute_process(COMMAND ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/consumer -B ${WORK_DIR} -G ${GENERATOR}
    -D CMAKE_CXX_COMPILER=${COMPILER} -D CMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER} -D CLUSTER_DIR=${CLUSTER_DIR}
    ${OPTIONS} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${WORK_DIR} --parallel 2 COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${WORK_DIR}/consumer TIMEOUT 60 COMMAND_ERROR_IS_FATAL ANY)
