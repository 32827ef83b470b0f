#include <cluster/runtime.hpp>

#include "net/context.hpp"

namespace cluster {

Runtime::Runtime() : context_(std::make_shared<net::Context>()) {}

}  // namespace cluster
