cmake_minimum_required(VERSION 3.23)

# In a mangled name, a namespace stands behind its length: `4asio` is Asio's own, `12cluster_asio` is ours. Functions
# of C linkage have no namespace: Asio's begin with `asio_`.
execute_process(COMMAND ${NM} ${LIBRARY} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^\n]*([^0-9]4asio| asio_)[^\n]*" found "${symbols}")
if(found)
    list(JOIN found "\n" found)
    message(FATAL_ERROR "symbols outside the private namespace:\n${found}")
endif()
if(NOT symbols MATCHES "12cluster_asio")
    message(FATAL_ERROR "no symbol of Asio at all: this test looks in the wrong place")
endif()
