cmake_minimum_required(VERSION 3.23)

function(expect_message text)
    execute_process(COMMAND ${CMAKE_COMMAND} -S ${CLUSTER_DIR} -B ${WORK_DIR} -G ${GENERATOR} --no-warn-unused-cli
        -D CMAKE_CXX_COMPILER=${COMPILER} ${ARGN} RESULT_VARIABLE failed OUTPUT_QUIET ERROR_VARIABLE output)
    string(REGEX REPLACE "[ \n]+" " " output "${output}")
    string(FIND "${output}" "${text}" found)
    if(NOT failed OR found EQUAL -1)
        message(FATAL_ERROR "with ${ARGN} there is no message:\n  ${text}\nbut\n  ${output}")
    endif()
endfunction()

file(REMOVE_RECURSE ${WORK_DIR})
expect_message("cluster needs Asio without Boost. On Debian: apt-get install libasio-dev"
    -D CMAKE_IGNORE_PATH=${ASIO_DIR})
expect_message("cluster needs cereal. On Debian: apt-get install libcereal-dev"
    -U CMAKE_IGNORE_PATH -D CMAKE_DISABLE_FIND_PACKAGE_cereal=ON)
expect_message("cluster needs spdlog. On Debian: apt-get install libspdlog-dev"
    -U CMAKE_DISABLE_FIND_PACKAGE_cereal -D CMAKE_DISABLE_FIND_PACKAGE_spdlog=ON)
expect_message("CLUSTER_TLS needs OpenSSL 3. On Debian: apt-get install libssl-dev"
    -U CMAKE_DISABLE_FIND_PACKAGE_spdlog -D CMAKE_DISABLE_FIND_PACKAGE_OpenSSL=ON -D CLUSTER_TLS=ON)
expect_message("cluster needs doctest. On Debian: apt-get install doctest-dev"
    -U CMAKE_DISABLE_FIND_PACKAGE_OpenSSL -D CMAKE_DISABLE_FIND_PACKAGE_doctest=ON)
