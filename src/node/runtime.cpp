#include <cluster/runtime.hpp>

#include "net/context.hpp"
#include "net/system.hpp"

namespace cluster {

Runtime::Runtime() : context_(std::make_shared<net::Context>()) {}

std::uint64_t raise_descriptor_limit() noexcept {
    return net::raise_descriptor_limit();
}

}  // namespace cluster
