#pragma once

#include "base/time.hpp"
#include "core/backlog.hpp"
#include "core/channels.hpp"
#include "core/credit_pool.hpp"
#include "core/frame.hpp"
#include "core/intake.hpp"
#include "core/outbox.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace cluster::core {

using LinkId = std::uint64_t;  ///< 0: none

/// The delivery between this node and one peer: it outlives the links it uses. Not thread-safe.
///
/// It decides about links and counts what was sent and received. The engine opens, closes and fences links. The rules
/// are numbered in wire/PROTOCOL.md.
class Session {
public:
    /// How far the pair has come. On the side of the larger id there is no `proposed` and no `attaching`.
    enum class State : std::uint8_t { proposed, attaching, attached, detached };

    struct Channel {
        const ChannelRow& row;
        Outbox out;
        Intake in;
        Backlog backlog = {};  ///< of `out`
    };

    /// `rows`: its channels, that of the application's messages first. They outlive it.
    Session(std::uint64_t number, bool decides, std::size_t max_message, detail::BlockPool& blocks,
            std::span<const ChannelRow> rows = channel_table)
        : number_(number), decides_(decides) {
        channels_.reserve(rows.size());
        for (const ChannelRow& row : rows) renew(channels_.emplace_back(Channel{row, {}, Intake(max_message, blocks)}));
    }

    std::uint64_t number() const noexcept { return number_; }
    /// This side has the smaller id: it alone attaches (R3).
    bool decides() const noexcept { return decides_; }

    struct Judgement {
        enum class Verdict : std::uint8_t { accept, wait, refuse } verdict = Verdict::refuse;
        Refusal reason = Refusal::duplicate;
    };
    /// The smaller id judges an OFFER (R4 b to f). `proof_holds`: it proves this session's token.
    Judgement judge(const Offer& offer, bool proof_holds) const noexcept;
    /// The larger id judges an ATTACH (R9, R17, R18). `token_holds`: it carries or proves this session's token.
    Judgement judge(const Attach& attach, bool token_holds) const noexcept;

    // The token and the epochs.
    const std::optional<Token>& token() const noexcept { return token_; }
    void set_token(const Token& token) noexcept { token_ = token; }
    bool confirmed() const noexcept { return confirmed_; }
    void confirm() noexcept { confirmed_ = true; }
    std::uint64_t epoch() const noexcept { return epoch_; }
    /// R8: an epoch never used before.
    std::uint64_t next_epoch() noexcept { return ++epoch_; }
    void accept_epoch(std::uint64_t epoch) noexcept { epoch_ = epoch; }

    // The links.
    LinkId attached() const noexcept { return attached_; }
    LinkId attaching() const noexcept { return attaching_; }
    void begin(LinkId link) noexcept { attaching_ = link; }
    void attach(LinkId link) noexcept;
    /// `link` has ended. True if it was the attached one. Then what is queued on channels that do not outlive it is
    /// given up, and what has come of an unfinished message is thrown away.
    bool lose(LinkId link) noexcept;
    State state() const noexcept;

    /// Whether the session keeps others from the id (R21). If not, it can still be resumed with its token.
    bool defended() const noexcept { return defended_; }
    void stop_defending() noexcept { defended_ = false; }

    // The channels.
    std::vector<Channel>& channels() noexcept { return channels_; }
    const std::vector<Channel>& channels() const noexcept { return channels_; }
    Channel& user() noexcept { return channels_.front(); }
    const Channel& user() const noexcept { return channels_.front(); }
    /// Null if there is no such channel.
    Channel* channel(std::uint16_t id) noexcept;

    /// What ATTACH and ATTACHED state: all channels.
    std::vector<Offset> state_offsets();
    /// What an ACK states: what has changed since the last one.
    std::vector<Offset> changed_offsets();
    bool acknowledgement_due() const noexcept;
    /// The peer stated where a new link starts (R25).
    std::optional<Rule> rewind(std::span<const Offset> offsets);
    std::optional<Rule> acknowledge(std::span<const Offset> offsets);
    bool has_output() const noexcept;
    /// The peer has acknowledged all messages of the application.
    bool all_acknowledged() const noexcept;
    /// The peer has still something to acknowledge.
    bool owed_acknowledgement() const noexcept;

    /// `batches` have come on `channel`. If it has a fixed window, the window now begins after them.
    static void renew(Channel& channel, std::span<const Batch> batches = {});

    /// The peer goes out of view when this much had been broadcast, and returns later. What was broadcast meanwhile was
    /// not for it; a gap takes its place, so that no reader overlooks the hole.
    void depart(const Outbox::Amount& broadcast) noexcept { departed_at_ = broadcast; }
    void come_back(const Outbox::Amount& broadcast);

    CreditPool::Share& share() noexcept { return share_; }

private:
    std::uint64_t number_;
    bool decides_;
    bool confirmed_ = false;
    bool defended_ = true;
    std::optional<Token> token_;
    std::uint64_t epoch_ = 0;
    LinkId attached_ = 0;
    LinkId attaching_ = 0;
    std::vector<Channel> channels_;  ///< ordered by id
    CreditPool::Share share_{.session = number_};
    std::optional<Outbox::Amount> departed_at_;  ///< while the peer is out of view
};

/// Which side speaks and for what purpose, so that a proof cannot be sent back to its author or mean something else.
enum class ProofUse : std::uint8_t { offer = 1, attach = 2, removed = 3, forgotten = 4 };

/// Proves knowledge of `token` without sending it (R20).
Proof prove(const Token& token, const Nonce& speaker, const Nonce& listener, ProofUse use) noexcept;

}  // namespace cluster::core
