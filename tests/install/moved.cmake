cmake_minimum_required(VERSION 3.23)

find_program(PKG_CONFIG NAMES pkg-config pkgconf)
if(NOT PKG_CONFIG)
    message("skipped: the tests of cluster.pc need pkg-config: apt-get install pkg-config")
    return()
endif()

file(REMOVE_RECURSE ${WORK_DIR})
file(COPY ${PREFIX}/ DESTINATION ${WORK_DIR}/moved)
file(GLOB_RECURSE description ${WORK_DIR}/moved/cluster.pc)
cmake_path(GET description PARENT_PATH description_dir)
cmake_path(GET description_dir PARENT_PATH library_dir)

# For the shared library nothing else is found, because nothing else may be needed.
if(KIND STREQUAL "static")
    set(ENV{PKG_CONFIG_PATH} ${description_dir})
    set(static --static)
else()
    set(ENV{PKG_CONFIG_LIBDIR} ${description_dir})
    set(ENV{LD_LIBRARY_PATH} ${library_dir})
endif()
execute_process(COMMAND ${PKG_CONFIG} --cflags --libs ${static} cluster
    OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
message("${flags}")
separate_arguments(flags)
execute_process(COMMAND ${COMPILER} -std=c++20 -o ${WORK_DIR}/consumer ${CMAKE_CURRENT_LIST_DIR}/consumer/main.cpp
    ${flags} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${WORK_DIR}/consumer TIMEOUT 60 COMMAND_ERROR_IS_FATAL ANY)
