cmake_minimum_required(VERSION 3.23)

# Runs all tests. CTest only names those that were skipped: why, they say themselves.
execute_process(COMMAND ${CTEST} --output-on-failure --no-tests=error --parallel 2 RESULT_VARIABLE failed)
file(STRINGS Testing/Temporary/LastTest.log reasons REGEX "(^|MESSAGE: )skipped: ")
list(TRANSFORM reasons REPLACE "^.*MESSAGE: " "")
list(REMOVE_DUPLICATES reasons)
foreach(reason IN LISTS reasons)
    message("${reason}")
endforeach()
if(failed)
    message(FATAL_ERROR "not all tests have passed")
endif()
