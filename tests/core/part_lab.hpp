#pragma once

#include "core/part.hpp"
#include "lab.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace cluster::core::test {

/// What the parts of one engine share, without the engine: the node is 1, and knows whom the test makes it know.
struct PartLab {
    Lab lab;
    Shared shared;
    Time now = 1000s;

    PartLab() : shared(options(lab.options)) {}

    Pair& know(std::uint8_t first) {
        Pair& pair = shared.peers_.pair_of(id_of(first));
        pair.attachments = 1;
        pair.reached = {"10.0.0." + std::to_string(first), 7000};
        return pair;
    }
    /// It is in view, and linked if `linked`.
    Pair& show(std::uint8_t first, bool linked = true) {
        Pair& pair = know(first);
        pair.state = PeerState::alive;
        const auto number = shared.peers_.next_number();
        shared.peers_.begin_session(pair, std::make_unique<Session>(number, true, 1000, shared.blocks_));
        if (linked) {
            Link& link = shared.peers_.open({"10.0.0." + std::to_string(first), 7000});
            link.pair = &pair;
            link.state = LinkState::attached;
            pair.links.push_back(link.id);
            pair.session->attach(link.id);
        }
        shared.peers_.show(pair, now);
        return pair;
    }
    /// The actions of one kind since the last call of this.
    template <class Kind>
    std::vector<Kind> take() {
        std::vector<Kind> found;
        for (Action& action : std::exchange(shared.actions_, {})) {
            auto* of_node = std::get_if<NodeAction>(&action);
            if (auto* each = of_node == nullptr ? nullptr : std::get_if<Kind>(of_node)) found.push_back(*each);
        }
        return found;
    }

private:
    static EngineOptions options(EngineOptions options) {
        options.self.id = id_of(1);
        options.self.version = 1;
        options.self.addresses = {{"10.0.0.1", 7000}};
        return options;
    }
};

}  // namespace cluster::core::test
