#pragma once

namespace cluster {

/// Several functions as one, to visit a variant. If none of them takes one of the types, the visit does not compile.
template <class... Functions>
struct Overloaded : Functions... {
    using Functions::operator()...;
};
template <class... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

}  // namespace cluster
