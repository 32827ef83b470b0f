cmake_minimum_required(VERSION 3.23)

function(consume)
    set(KEEP ON)
    list(JOIN ARGN "|" arguments)
    set(OPTIONS "-DHOW=finds|${arguments}")
    include(${CMAKE_CURRENT_LIST_DIR}/consumer.cmake)
endfunction()

file(REMOVE_RECURSE ${WORK_DIR})
consume(-DCMAKE_CXX_STANDARD=23 "-DCMAKE_CXX_FLAGS=-O0 -D_GLIBCXX_ASSERTIONS")
consume(-DCMAKE_CXX_STANDARD=20 "-DCMAKE_CXX_FLAGS=-O2 -fno-rtti")

# Containers with another layout must not reach the library.
execute_process(COMMAND ${CMAKE_COMMAND} -D CMAKE_CXX_FLAGS=-D_GLIBCXX_DEBUG ${WORK_DIR} OUTPUT_QUIET
    COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${WORK_DIR}
    RESULT_VARIABLE failed OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT failed OR NOT output MATCHES "undefined [^\n]*compiled_with_GLIBCXX_DEBUG")
    message(FATAL_ERROR "a program with containers of another layout was not refused by the linker:\n${output}")
endif()
