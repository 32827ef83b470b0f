#pragma once

#include "base/time.hpp"
#include "core/part.hpp"

#include <vector>

namespace cluster::core {

/// How far this node has come with leaving (R26 to R28). Not thread-safe; lives in its engine.
///
/// 1. A peer hears the goodbye when it has acknowledged all messages, or when the linger is over.
/// 2. A link that is attaching may still attach within the linger, because its other end may already have this node in
///    view.
/// 3. The node has left when nobody is in view, no link is attaching and no goodbye waits for its answer. At the latest
///    it has left a while after the linger.
class Departure : private Part {
public:
    explicit Departure(Shared& shared) noexcept : Part(shared) {}

    void begin(Time now);
    /// The links on which goodbye is to be said now.
    std::vector<Link*> farewells();
    /// The timer for the linger has fired. False the second time: then the time for answers is over, too.
    bool linger_ends(Time now);

    /// Something has ended for which leaving may have waited. Look again when no caller uses a link.
    void look_later() noexcept { due_ = leaving_; }
    bool look_due() const noexcept { return due_; }
    /// Whether nothing is left to wait for.
    bool complete();

    void end() noexcept { left_ = true; }
    /// The node has left and does nothing any more.
    bool left() const noexcept { return left_; }

private:
    bool linger_over_ = false;
    bool due_ = false;
    bool left_ = false;
};

}  // namespace cluster::core
