#pragma once

#include <cluster/address.hpp>
#include <cluster/error.hpp>
#include <cluster/inbox.hpp>
#include <cluster/member.hpp>
#include <cluster/membership.hpp>
#include <cluster/message.hpp>
#include <cluster/node.hpp>
#include <cluster/options.hpp>
#include <cluster/peer.hpp>
#include <cluster/ring.hpp>
#include <cluster/runtime.hpp>
#include <cluster/stats.hpp>
#include <cluster/subscription.hpp>
