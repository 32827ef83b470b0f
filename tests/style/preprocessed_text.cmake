cmake_minimum_required(VERSION 3.23)

# Run from include/ with relative paths, so that where the sources lie cannot matter.
execute_process(COMMAND ${COMPILER} -std=c++20 -E -I . -include cluster/cluster.hpp -x c++ /dev/null
    -o ${WORK_DIR}/preprocessed.txt WORKING_DIRECTORY ${INCLUDE_DIR} COMMAND_ERROR_IS_FATAL ANY)
file(STRINGS ${WORK_DIR}/preprocessed.txt expected REGEX "^class .*Node {")
if(NOT expected)
    message(FATAL_ERROR "this is not the text of cluster.hpp")
endif()
file(STRINGS ${WORK_DIR}/preprocessed.txt found REGEX "asio|spdlog|cereal|[^a-z_]fmt(::|/)")
if(found)
    list(JOIN found "\n" found)
    message(FATAL_ERROR "cluster.hpp reaches what it must not:\n${found}")
endif()
