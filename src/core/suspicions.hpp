#pragma once

#include "base/time.hpp"
#include "core/checks.hpp"
#include "core/member_exchange.hpp"
#include "core/part.hpp"
#include "core/patience.hpp"

#include <cluster/address.hpp>
#include <cluster/peer.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace cluster::core {

/// What this node has concluded about a peer in view.
struct Conclusion {
    enum class What : std::uint8_t {
        cut_off,  ///< its link is as good as dead
        failed,
        unreachable,  ///< others hear from it
    };
    PeerId peer;
    What what = What::failed;
    std::string_view why;  ///< a literal
};

/// Decides who is alive: probes, questions to others, and what follows from silence and refusals. Not thread-safe;
/// lives in its engine, which carries out what was concluded as soon as a call returns.
///
/// 1. What others say leads to a probe or saves a peer; it never makes one fail.
/// 2. Nobody is judged while this node is late itself.
class Suspicions : private Part {
public:
    Suspicions(Shared& shared, Patience& patience, Checks& checks, MemberExchange& members) noexcept
        : Part(shared), patience_(patience), checks_(checks), members_(members) {}

    /// The earliest conclusion that was not carried out yet.
    std::optional<Conclusion> take_conclusion();

    // Probing.
    /// To be called once per heartbeat. Each node probes the next one on the ring of ids. So each is probed by one
    /// other in every heartbeat, and the cost does not grow with their number. Peers that owe something are probed,
    /// too, and others are asked about the suspects.
    void beat(Time now);
    /// Asks about peers that only others reach. If nobody hears from one any more, it no longer exists.
    void ask_about_unreachable(Time now);
    /// `hearsay`: another peer got no answer from it.
    void probe(Pair& pair, bool hearsay, Time now);
    static void on(Link& link, const Pong& pong, Time now);

    // From silence to a conclusion.
    /// Bytes came from the peer.
    void heard(Pair& pair, Time now) {
        pair.watch.heard = now;
        if (pair.watch.in_doubt()) answered(pair, now);
    }
    /// Bytes came from a peer in doubt, or it is attached anew.
    void answered(Pair& pair, Time now);
    /// Judges the peer's silence, now or when that can be judged.
    void review(Pair& pair, Time now);
    /// The pair has lost its link; the peer stays in view while it is looked for.
    void lost_link(Pair& pair, Time now);

    // Asking others.
    void on(Link& link, const Inquiry& inquiry, Time now);
    void on(Link& link, const Finding& finding, Time now);
    /// Tells all that have asked whether bytes have come from the peer since.
    void answer_askers(Pair& pair, bool heard);
    /// Another peer hears from it: it exists, even if this node has no link with it.
    void vouch(Pair& pair, Time now);
    /// Others reach it. If this node still does not after a while, the log has to say so.
    void expect_link(const Pair& pair, Time now);
    /// Says so in the log, now or when no link is on its way any more.
    void out_of_reach(Pair& pair, Time now);

    // From refusals to a conclusion.
    /// A dial that came to nothing.
    struct Attempt {
        Address address;
        Time begun{};
        bool refused = false;  ///< by the address itself
        std::optional<PeerId> sought;
    };
    void came_to_nothing(const Attempt& attempt, Time now);
    /// The dial that begins now is for `sought`.
    void await_dial(const PeerId& sought, Time now);
    /// A peer without a link is gone if all three hold:
    /// - it refuses at every address where it was found before;
    /// - it is not at any other address that it publishes;
    /// - no peer that was asked heard from it.
    ///
    /// A peer that was never found by dialling may sit behind a device that refuses in its place: that proves nothing.
    void verify(Pair& pair, Time now);
    /// Remembers that the peer was found at `address` by dialling it.
    static void found_at(Pair& pair, const Address& address);
    /// A dial of `address` has read who answers there. If others were found there before, it leads to more than one
    /// node, or no longer to them. In either case it says nothing about them from now on. A peer in view that it has
    /// refused since is not saved by its successor there.
    void leads_to(const Address& address, const PeerId& found, Time now);

private:
    Pair* next_on_the_ring();
    Pair* longest_silent();
    void found_silent(Pair& pair, Time now);
    void suspect(Pair& pair, Time now);
    void ask(Pair& pair, std::size_t how_many, Time now);
    void tell(Link& link, const PeerId& id, bool heard);
    Time tried_by(const Pair& pair, const Address& address) const;
    void conclude(const Pair& pair, Conclusion::What what, std::string_view why);

    Patience& patience_;
    Checks& checks_;
    MemberExchange& members_;
    std::vector<Conclusion> conclusions_;
    std::uint64_t beats_ = 0;
    std::size_t reach_lines_ = 0;  ///< that were logged since `reach_lines_since_`
    Time reach_lines_since_{};
};

}  // namespace cluster::core
