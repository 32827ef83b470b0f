#include "core/session.hpp"

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <vector>

using namespace cluster;
using namespace cluster::core;

namespace {

using Verdict = Session::Judgement::Verdict;

Token token_with(std::uint8_t first) {
    Token token{};
    token[0] = first;
    return token;
}

detail::BlockPool blocks;

/// What follows from a judgement, in a word.
std::string outcome(const Session::Judgement& judgement) {
    if (judgement.verdict == Verdict::accept) return "attach";
    if (judgement.verdict == Verdict::wait) return "wait";
    switch (judgement.reason) {
        case Refusal::duplicate: return "duplicate";
        case Refusal::id_in_use: return "id_in_use";
        case Refusal::unknown_session: return "unknown_session";
        default: return "another reason";
    }
}

/// The smaller id's session in the given state; where attached, its link has epoch 5.
Session at_smaller(bool confirmed, bool attached, bool attaching) {
    Session session(1, true, 1000, blocks);
    session.set_token(token_with(1));
    if (confirmed) session.confirm();
    while (session.epoch() < 5) session.next_epoch();
    if (attached) session.attach(10);
    if (attaching) session.begin(11);
    return session;
}

enum Proven { nothing, wrong, right };

}  // namespace

TEST_CASE("the smaller id decides about an OFFER as rule 4 says") {
    const struct {
        const char* name;
        bool confirmed, attached, attaching;  // the session
        Proven proof;                         // the offer
        bool defended;
        std::uint64_t epoch;
        bool holds;
        const char* outcome;
    } table[] = {
        // Nothing confirmed: S goes on with the token it drew.
        {"first meeting", false, false, false, nothing, false, 0, false, "attach"},
        {"L stored the token, its answer was lost", false, false, false, right, true, 5, false, "attach"},
        {"c: proof of another session, defended", false, false, false, wrong, true, 9, true, "unknown_session"},
        {"c: proof of another session, undefended", false, false, false, wrong, false, 9, false, "attach"},
        {"d: first ATTACH under way elsewhere", false, false, true, nothing, false, 0, false, "wait"},
        {"c before d", false, false, true, wrong, true, 0, false, "unknown_session"},
        // Confirmed and detached.
        {"b: no proof", true, false, false, nothing, false, 0, false, "id_in_use"},
        {"c: wrong proof, defended", true, false, false, wrong, true, 5, false, "unknown_session"},
        {"c: wrong proof, undefended", true, false, false, wrong, false, 5, false, "id_in_use"},
        {"resumed", true, false, false, right, true, 5, false, "attach"},
        {"resumed though L still believes in the old link", true, false, false, right, true, 5, true, "attach"},
        {"resumed by an undefended one", true, false, false, right, false, 5, false, "attach"},
        {"d: ATTACH under way elsewhere", true, false, true, right, true, 5, false, "wait"},
        {"b before d", true, false, true, nothing, false, 0, false, "id_in_use"},
        // Attached with epoch 5.
        {"b: a stranger under a known id", true, true, false, nothing, false, 0, false, "id_in_use"},
        {"e: L has this link too", true, true, false, right, true, 5, true, "duplicate"},
        {"e: L lost this link", true, true, false, right, true, 5, false, "attach"},
        {"e: said before L heard of this epoch", true, true, false, right, true, 4, false, "duplicate"},
        {"e: said of an older link", true, true, false, right, true, 4, true, "duplicate"},
        {"d before e", true, true, true, right, true, 4, true, "wait"},
    };
    for (const auto& row : table) {
        CAPTURE(row.name);
        const Session session = at_smaller(row.confirmed, row.attached, row.attaching);
        Offer offer{{}, row.epoch, row.holds, row.defended};
        if (row.proof != nothing) offer.proof = Proof{};
        CHECK(outcome(session.judge(offer, row.proof == right)) == row.outcome);
    }
}

TEST_CASE("the larger id without a session takes only a first ATTACH that starts at zero, as rule 17 says") {
    const struct {
        const char* name;
        bool first;
        std::vector<Offset> offsets;
        const char* outcome;
    } table[] = {
        {"first", true, {{0, 0, 500}}, "attach"},
        {"first without channels", true, {}, "attach"},
        {"first that has received something", true, {{0, 1, 500}}, "unknown_session"},
        {"first that has received on another channel", true, {{0, 0, 500}, {2, 96, 0}}, "unknown_session"},
        {"later", false, {{0, 0, 500}}, "unknown_session"},
    };
    for (const auto& row : table) {
        CAPTURE(row.name);
        const Session session(1, false, 1000, blocks);
        CHECK(outcome(session.judge(Attach{{}, row.first, 1, row.offsets, 0}, false)) == row.outcome);
    }
}

TEST_CASE("the larger id with a session takes only its token and a new epoch, as rules 9 and 18 say") {
    const struct {
        const char* name;
        bool token_holds;
        std::uint64_t epoch;
        const char* outcome;
    } table[] = {
        {"next epoch", true, 6, "attach"},
        {"an epoch far ahead", true, 1000, "attach"},
        {"the same epoch again", true, 5, "duplicate"},
        {"an epoch that was overtaken", true, 4, "duplicate"},
        {"another token", false, 6, "id_in_use"},
        {"another token and an old epoch", false, 1, "id_in_use"},
    };
    for (const auto& row : table) {
        for (const bool first : {false, true}) {
            for (const bool attached : {false, true}) {
                CAPTURE(row.name);
                CAPTURE(first);
                CAPTURE(attached);
                Session session(1, false, 1000, blocks);
                session.set_token(token_with(1));
                session.accept_epoch(5);
                if (attached) session.attach(10);
                const Attach attach{{}, first, row.epoch, {{0, 40, 500}}, 0};
                CHECK(outcome(session.judge(attach, row.token_holds)) == row.outcome);
            }
        }
    }
}

TEST_CASE("the proofs are those that the protocol gives as examples") {
    Token token;
    for (std::size_t i = 0; i < token.size(); ++i) token[i] = static_cast<std::uint8_t>(0x30 + i);
    Nonce ann;
    ann.fill(0x11);
    Nonce bob;
    bob.fill(0x22);
    CHECK(prove(token, bob, ann, ProofUse::offer) ==
          Proof{0x1d, 0xa6, 0x7b, 0x09, 0x8c, 0xee, 0xe3, 0x3f, 0xf0, 0x71, 0x0b, 0x81, 0x4f, 0x86, 0x96, 0x9c});
    CHECK(prove(token, ann, bob, ProofUse::attach) ==
          Proof{0x8b, 0x76, 0x8b, 0x2f, 0x7c, 0xa5, 0xd8, 0xa0, 0x76, 0x44, 0x60, 0xe9, 0x8d, 0x2b, 0x87, 0x3c});
    CHECK(prove(token, ann, bob, ProofUse::removed) ==
          Proof{0x0a, 0xed, 0x4c, 0xed, 0x2f, 0xf3, 0x0f, 0x5a, 0xe0, 0xcc, 0x0c, 0x12, 0xf2, 0x4c, 0xd5, 0x79});
}

TEST_CASE("a proof serves one use, one speaker, one link and one token") {
    const Token token = token_with(1);
    Nonce ann;
    ann.fill(1);
    Nonce bob;
    bob.fill(2);
    Nonce later;
    later.fill(3);
    const Proof proof = prove(token, ann, bob, ProofUse::offer);
    CHECK(proof == prove(token, ann, bob, ProofUse::offer));
    CHECK(proof != prove(token, ann, bob, ProofUse::attach));
    CHECK(proof != prove(token, ann, bob, ProofUse::removed));
    CHECK(proof != prove(token, bob, ann, ProofUse::offer));
    CHECK(proof != prove(token, later, bob, ProofUse::offer));
    CHECK(proof != prove(token, ann, later, ProofUse::offer));
    CHECK(proof != prove(token_with(2), ann, bob, ProofUse::offer));
}

TEST_CASE("a session goes from proposed over attaching to attached, and back to detached") {
    Session session(1, true, 1000, blocks);
    CHECK(session.state() == Session::State::proposed);
    session.begin(7);
    CHECK(session.state() == Session::State::attaching);
    CHECK_FALSE(session.lose(7));
    CHECK(session.state() == Session::State::proposed);
    session.begin(8);
    session.confirm();
    session.attach(8);
    CHECK(session.state() == Session::State::attached);
    CHECK(session.attaching() == 0);
    CHECK_FALSE(session.lose(7));
    CHECK(session.state() == Session::State::attached);
    CHECK(session.lose(8));
    CHECK_FALSE(session.lose(8));
    CHECK(session.state() == Session::State::detached);
}

TEST_CASE("the larger id proposes nothing") {
    CHECK(Session(1, false, 1000, blocks).state() == Session::State::detached);
}

TEST_CASE("an undefended session is defended again once it is attached") {
    Session session(1, true, 1000, blocks);
    session.stop_defending();
    CHECK_FALSE(session.defended());
    session.attach(3);
    CHECK(session.defended());
}

TEST_CASE("every ATTACH gets an epoch that was never used before") {
    Session session(1, true, 1000, blocks);
    CHECK(session.next_epoch() == 1);
    session.begin(1);
    session.lose(1);
    CHECK(session.next_epoch() == 2);
    CHECK(session.epoch() == 2);
}

TEST_CASE("offsets on channels that are not in use are believed only where they say nothing") {
    Session session(1, true, 1000, blocks);
    const Offset nothing_there{9, 0, 1000};
    CHECK(session.acknowledge({&nothing_there, 1}) == std::nullopt);
    const Offset something{9, 8, 1000};
    CHECK(session.acknowledge({&something, 1}) == Rule::offset_beyond_sent);
}

TEST_CASE("a channel that a new link does not mention starts at zero without credit") {
    Arena arena;
    Session session(1, true, 1000, blocks);
    CHECK(session.rewind({}) == std::nullopt);
    CHECK(session.user().out.limit() == 0);
    const std::array<std::byte, 8> empty{std::byte{0}, {}, {}, {}, std::byte{5}};
    session.user().out.append(arena.append(empty, {}));
    CHECK_FALSE(session.has_output());
    const Offset room{user_channel, 0, 8};
    CHECK(session.rewind({&room, 1}) == std::nullopt);
    CHECK(session.has_output());
    CHECK(session.rewind({}) == std::nullopt);
    CHECK(session.user().out.limit() == 8);
}

TEST_CASE("an attach states all channels, an acknowledgement those that have changed") {
    Session session(1, true, 1000, blocks);
    session.user().in.allow(500);
    CHECK(session.acknowledgement_due());
    const Offset replies{reply_channel, 0, reply_window};
    const Offset replicas{replica_channel, 0, replica_window};
    const Offset clients{client_channel, 0, client_window};
    CHECK(session.state_offsets() == std::vector<Offset>{{user_channel, 0, 500}, replies, replicas, clients});
    CHECK_FALSE(session.acknowledgement_due());
    CHECK(session.changed_offsets().empty());
    session.user().in.allow(600);
    CHECK(session.acknowledgement_due());
    CHECK(session.changed_offsets() == std::vector<Offset>{{user_channel, 0, 600}});
    CHECK(session.changed_offsets().empty());
    CHECK(session.state_offsets() == std::vector<Offset>{{user_channel, 0, 600}, replies, replicas, clients});
}
