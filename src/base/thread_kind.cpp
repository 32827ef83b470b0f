#include "base/thread_kind.hpp"

#include "base/origin.hpp"

#include <optional>

namespace cluster::detail {

namespace {

struct Mark {
    ThreadKind kind;
    Origin origin;
};
thread_local std::optional<Mark> mark;

}  // namespace

ThreadKind kind_of_this_thread() noexcept {
    return mark && mark->origin.is_here() ? mark->kind : ThreadKind::free;
}

void set_kind_of_this_thread(ThreadKind kind) noexcept {
    mark = Mark{kind, Origin()};
}

}  // namespace cluster::detail
