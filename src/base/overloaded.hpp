#pragma once

namespace cluster {

/// Functions as one, to visit a variant with. If it has no function for one of the types, the visit does not compile.
template <class... Functions>
struct Overloaded : Functions... {
    using Functions::operator()...;
};
template <class... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

}  // namespace cluster
