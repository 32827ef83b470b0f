cmake_minimum_required(VERSION 3.23)

# What must not compile, and the sentence that says why. Once it is tried without the mistake.
set(start "#include <cluster/cluster.hpp>\n#include <cluster/codec.hpp>\n#include <cereal/types/memory.hpp>\n")
function(compile code)
    file(WRITE ${WORK_DIR}/refusal.cpp "${code}\n")
    execute_process(COMMAND ${COMPILER} -std=c++20 -fsyntax-only -I ${INCLUDE_DIR} -I ${CEREAL_DIR} refusal.cpp
        WORKING_DIRECTORY ${WORK_DIR} RESULT_VARIABLE result OUTPUT_VARIABLE text ERROR_VARIABLE text)
    set(result ${result} PARENT_SCOPE)
    set(text "${text}" PARENT_SCOPE)
endfunction()
function(expect_refusal code sentence)
    compile("${code}")
    string(FIND "${text}" "${sentence}" place)
    if(result EQUAL 0 OR place EQUAL -1)
        message(SEND_ERROR "${code}\nshould be refused because\n${sentence}\nbut the compiler says:\n${text}")
    endif()
    set(text "${text}" PARENT_SCOPE)
endfunction()

compile("${start} enum Fixed : unsigned char { a }; auto f() { return cluster::encode(std::make_unique<Fixed>(a)); }")
if(NOT result EQUAL 0)
    message(FATAL_ERROR "this should compile:\n${text}")
endif()

expect_refusal("#include <cluster/cluster.hpp>\nint f(const cluster::Message& m) { return m.as<int>(); }"
    "Message::as needs #include <cluster/codec.hpp>")
string(REGEX MATCHALL " error: " errors "${text}")
list(LENGTH errors count)
if(NOT count EQUAL 1)
    message(SEND_ERROR "a forgotten include gives ${count} errors:\n${text}")
endif()

expect_refusal("${start} auto f() { return cluster::encode(std::make_shared<int>(1)); }"
    "shared pointers cannot be sent")
expect_refusal("${start} struct B { virtual ~B() = default\; template <class A> void serialize(A&) {} }\;
    auto f(cluster::Message& m) { return m.as<std::unique_ptr<B>>(); }" "polymorphic types cannot be sent")
expect_refusal("${start} auto f(int* p) { return cluster::encode(p); }" "does not support serializing raw pointers")
expect_refusal("${start} enum Plain { a }; auto f() { return cluster::encode(a); }"
    "an enum that is sent needs a type")
expect_refusal("${start} auto f() { return cluster::encode(1.0L); }" "long double differ between platforms")
expect_refusal("${start} auto f() { return cluster::encode(\"text\"); }" "use std::string or std::array")
expect_refusal("${start} struct V { template <class A> void serialize(A& a, std::uint32_t v) { a(v); } };
    auto f() { return cluster::encode(V()); }" "types with a version need CEREAL_THREAD_SAFE=1")
expect_refusal("${start} struct D { D(int) {} template <class A> void serialize(A&) {} };
    auto f(cluster::Message& m) { return m.as<D>(); }" "made without arguments")
