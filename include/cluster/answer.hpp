#pragma once

#include <cluster/message.hpp>
#include <cluster/peer.hpp>

#include <system_error>

namespace cluster {

/// What one of the peers that `Node::request_all` asked has replied.
struct Answer {
    /// As the peer was when it was asked.
    Peer peer;
    /// As for `Node::request`.
    std::error_code error;
    /// The reply, or the text of an error that the peer replied; else empty.
    Message message;
};

}  // namespace cluster
