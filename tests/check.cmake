cmake_minimum_required(VERSION 3.23)

# Runs tests. CTest only names those that were skipped: why, they say themselves.
execute_process(COMMAND ${CTEST} --output-on-failure --no-tests=error ${WHICH} RESULT_VARIABLE failed)
file(STRINGS Testing/Temporary/LastTest.log reasons REGEX "(^|MESSAGE: )skipped: ")
list(TRANSFORM reasons REPLACE "^.*MESSAGE: " "")
list(REMOVE_DUPLICATES reasons)
foreach(reason IN LISTS reasons)
    message("${reason}")
endforeach()
if(failed)
    message(FATAL_ERROR "not all tests have passed")
endif()
