#include "core/detector.hpp"

#include <algorithm>

namespace cluster::core {

void Detector::probed(Watch& watch, bool hearsay, Time now) const noexcept {
    if (watch.in_doubt()) return;
    watch.probed = now;
    watch.hearsay = hearsay;
}

void Detector::lost_link(Watch& watch, Time now) const noexcept {
    if (watch.suspected == never) {
        watch.suspected = now;
    } else if (watch.probed != never) {
        // However long it has not answered on this link, a heartbeat is left to find it by another one.
        watch.suspected = std::max(watch.suspected, now - patience() + heartbeat_);
    }
    watch.probed = never;
}

void Detector::answered(Watch& watch, Time now) noexcept {
    const bool in_time = watch.probed != never && now - watch.probed < heartbeat_ / 2;
    if (in_time && slowness_ > 0) --slowness_;
    watch.probed = watch.suspected = never;
}

void Detector::forgive(Watch& watch, Duration lag, Time now) noexcept {
    // What was noticed since this node runs again began after the lag.
    if (watch.probed != never) watch.probed = std::min(watch.probed + lag, now);
    if (watch.suspected != never) watch.suspected = std::min(watch.suspected + lag, now);
}

void Detector::slower() noexcept {
    slowness_ = std::min(slowness_ + 1, most_slowness);
}

Detector::Judgement Detector::judge(Watch& watch, bool linked, Time now) const noexcept {
    if (!watch.in_doubt()) return {};
    if (watch.suspected == never) {
        const Time due = watch.probed + probe_timeout();
        if (now < due) return {Verdict::waiting, due};
        // This node was slow when it probed, and is not any more. So it judges late, which is not the peer's fault.
        watch.suspected = watch.probed = now - probe_timeout();
        return {Verdict::suspect, now};
    }
    const Time end = watch.suspected + patience();
    if (linked && watch.probed != never) {
        const Time cut = watch.probed + 2 * probe_timeout();
        if (now >= cut) return {Verdict::cut_off, end};
        return {Verdict::waiting, cut};
    }
    if (now >= end) return {Verdict::gone, never};
    return {Verdict::waiting, end};
}

}  // namespace cluster::core
