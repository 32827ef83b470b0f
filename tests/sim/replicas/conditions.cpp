#include "sim/replicas/conditions.hpp"

#include <algorithm>

namespace cluster::sim::replicas {

using namespace std::chrono_literals;

Conditions::Conditions(Chance chance, const Plan& plan) {
    const auto one_in = [&](std::size_t n) { return chance.below(n) == 0; };
    voters = plan.least_voters + chance.below(plan.most_voters - plan.least_voters + 1);
    // Most of what can go wrong needs three; more cost more time.
    if (plan.most_voters > 5 && plan.least_voters <= 3 && voters > 5 && !one_in(3)) voters = 3;
    if (one_in(4)) learners = 1 + chance.below(2);
    joint = voters >= 2 && one_in(10);

    timeout = one_in(2) ? 1s : chance.between(150ms, 1s);
    options.election_timeout = timeout;
    options.heartbeat = timeout / static_cast<Duration::rep>(3 + chance.below(6));
    delay = timeout / static_cast<Duration::rep>(1000);
    write = timeout / 1000;
    read = timeout / 1000;
    apply = timeout / 5000;
    submitters = 2 + chance.below(4);
    thinks = timeout / static_cast<Duration::rep>(2 + chance.below(12));
    reads = one_in(3) ? 600'000 : 300'000;
    only_reads_at_last = one_in(3);

    // Limits so small that they are always met.
    if (one_in(3)) options.max_append = 1;
    if (one_in(3)) options.max_in_flight = one_in(2) ? 1 : 500;
    if (one_in(4)) options.max_uncommitted = 600;
    if (one_in(3)) options.max_applying = one_in(2) ? 1 : 400;
    if (one_in(2)) options.memory = one_in(2) ? 0 : 100 + chance.below(1000);
    options.chunk = one_in(3) ? 16 : 64;
    if (one_in(3)) padding = chance.below(200);
    if (!one_in(4)) snapshot_every = 1 + chance.below(one_in(2) ? 5 : 60);
    keeps_log = one_in(2);
    log.segment_bytes = 1024u << chance.below(4);
    log.spares = chance.below(3);
    os_buffers = one_in(8);
    if (os_buffers) log.durability = storage::Durability::os_buffers;
    if (!plan.faults) return;

    one_appointed = voters >= 2 && one_in(20);
    if (voters >= 3 && !joint && one_in(15)) no_vote = 1 + chance.below((voters - 1) / 2);
    if (one_in(2)) delay = timeout / static_cast<Duration::rep>(20 + chance.below(400));
    if (one_in(2)) loss = 1'000 * (1 + chance.below(one_in(3) ? 300 : 60));
    if (one_in(2)) doubled = 1'000 * (1 + chance.below(300));
    if (one_in(2)) late = 1'000 * (1 + chance.below(100));
    in_order = late == 0 && one_in(3);
    cuts_at_once = one_in(2);
    if (one_in(2)) told_lost = 500'000;
    if (one_in(2)) write = timeout / static_cast<Duration::rep>(10 + chance.below(300));
    if (one_in(3)) read = timeout / static_cast<Duration::rep>(4 + chance.below(100));
    if (one_in(3)) apply = timeout / static_cast<Duration::rep>(10 + chance.below(200));
    if (one_in(2)) crash_at_event = 100 + chance.below(1'500);
    if (one_in(3)) crash_when_elected = 200'000;
    if (one_in(3)) cut_when_elected = 300'000;
    if (one_in(3)) cut_when_candidate = 300'000;
    if (one_in(2)) told_gone = 700'000;
    if (one_in(3)) drift = one_in(3) ? 200'000 : 10'000;
    if (one_in(2)) skew = one_in(2) ? 1h : 100ms;
    if (one_in(4)) late_tick = timeout / 2;

    static constexpr Fault all[] = {
        Fault::crash,       Fault::crash_all, Fault::pause,          Fault::cut,
        Fault::cut_one_way, Fault::bridge,    Fault::isolate_leader, Fault::lose_disk,
        Fault::hang_disk,   Fault::slow_disk, Fault::fail_disk,      Fault::harm_disk,
        Fault::step_clock,  Fault::transfer,  Fault::false_gone,     Fault::false_unreachable,
        Fault::snapshot};
    for (const Fault each : all) {
        // Common ones count twice.
        const bool common = each == Fault::crash || each == Fault::pause || each == Fault::isolate_leader ||
                            each == Fault::cut || each == Fault::transfer || each == Fault::false_unreachable;
        if (one_in(2)) faults.insert(faults.end(), common ? 2 : 1, each);
    }
    between_faults = timeout * static_cast<Duration::rep>(1 + chance.below(8)) / 4;
}

}  // namespace cluster::sim::replicas
