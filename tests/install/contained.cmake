cmake_minimum_required(VERSION 3.23)

function(configure)
    file(REMOVE_RECURSE ${WORK_DIR})
    execute_process(COMMAND ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/container -B ${WORK_DIR}/build
        -G ${GENERATOR} -D CMAKE_CXX_COMPILER=${COMPILER} -D CLUSTER_DIR=${CLUSTER_DIR} ${ARGN}
        OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
endfunction()

foreach(shared IN ITEMS OFF ON)
    configure(-D BUILD_SHARED_LIBS=${shared})
    if(EXISTS ${WORK_DIR}/build/CTestTestfile.cmake OR EXISTS ${WORK_DIR}/build/cluster/CTestTestfile.cmake)
        message(FATAL_ERROR "cluster's tests became tests of the project that contains it")
    endif()
    execute_process(COMMAND ${CMAKE_COMMAND} --install ${WORK_DIR}/build --prefix ${WORK_DIR}/prefix
        OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
    if(EXISTS ${WORK_DIR}/prefix)
        message(FATAL_ERROR "cluster is installed by a project that only contains it")
    endif()
endforeach()

# Whoever asks for them gets the tests and the examples.
configure(-D CLUSTER_BUILD_TESTS=ON -D CLUSTER_BUILD_EXAMPLES=ON -D "EXPECTED=cluster-tests|cluster-demo")
