#include "wire/client_codec.hpp"

#include "base/random.hpp"

#include <cluster/error.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

namespace cluster::client {

namespace {

using wire::ClientToNode;
using wire::NodeToClient;

constexpr std::uint64_t tag = 0x0807060504030201;
constexpr std::uint64_t drawn = ~std::uint64_t{0};  // of any value
constexpr std::uint64_t highest = (std::uint64_t{1} << 62) - 1;
constexpr group::SessionKey key{9, 8, 7};

cluster::Bytes bytes(std::string_view text) {
    return cluster::Bytes(text);
}

cluster::Bytes encoded(const ToNode& body) {
    return cluster::Bytes(wire::encode(ClientToNode{tag, drawn, body}));
}
cluster::Bytes encoded(const ToClient& body) {
    return cluster::Bytes(wire::encode(NodeToClient{drawn, body}));
}

std::vector<ToNode> to_node() {
    return {
        Open{"orders", key, 10'000, "ann", std::string("\0secret", 7)},
        Open{"", {}, 0, "", std::string(max_credentials, 'c')},
        Response{key, "proof"},
        Attach{"orders", 7, key, {3, highest}},
        Ask{1, {2, 3}, bytes("message")},
        Ask{highest, {}, {}},
        Alive{{highest, 0}},
        Leave{},
        Query{4, true, 0, bytes("query")},
        Query{4, false, highest, {}},
    };
}

std::vector<ToClient> to_client() {
    PeerId leader;
    leader.bytes.fill(5);
    return {
        Opened{7},
        Challenge{"what"},
        Attached{8, 65536},
        NotLeader{},
        NotLeader{leader, {{"ann", 7000}, {std::string(255, 'h'), 65535}}},
        Busy{9},
        Detached{},
        Reply{1, 2, bytes("reply")},
        Push{3, 4, {}},
        Answer{5, 0, 6, bytes("answer")},
        Answer{5, 0xffffffff, 0, bytes("text")},
        Closed{CloseReason::client},
        Closed{CloseReason::slow},
        Refused{Refusal::no_such_group, ""},
        Refused{Refusal::no_session, std::string(max_text, 't')},
    };
}

std::string hex(const cluster::Bytes& of) {
    std::string text;
    for (const std::byte byte : of.view()) {
        text += "0123456789abcdef"[static_cast<unsigned>(byte) >> 4];
        text += "0123456789abcdef"[static_cast<unsigned>(byte) & 15];
    }
    return text;
}

/// What stands at the end takes all that is left.
bool ends_with_bytes(const ToNode& body) {
    return std::holds_alternative<Ask>(body) || std::holds_alternative<Query>(body);
}
bool ends_with_bytes(const ToClient& body) {
    return std::holds_alternative<Reply>(body) || std::holds_alternative<Push>(body) ||
           std::holds_alternative<Answer>(body);
}
std::size_t size_of_bytes(const ToNode& body) {
    if (const auto* ask = std::get_if<Ask>(&body)) return ask->message.size();
    return std::get<Query>(body).query.size();
}
std::size_t size_of_bytes(const ToClient& body) {
    if (const auto* reply = std::get_if<Reply>(&body)) return reply->message.size();
    if (const auto* push = std::get_if<Push>(&body)) return push->message.size();
    return std::get<Answer>(body).message.size();
}

auto decoded(const cluster::Bytes& from, const ToNode&) {
    return wire::decode_to_node(from);
}
auto decoded(const cluster::Bytes& from, const ToClient&) {
    return wire::decode_to_client(from);
}

template <class Body>
void check_round_trips(const std::vector<Body>& samples) {
    for (const Body& sample : samples) {
        const cluster::Bytes whole = encoded(sample);
        CAPTURE(hex(whole));
        const auto read = decoded(whole, sample);
        REQUIRE(read.has_value());
        CHECK(read->client == drawn);
        CHECK(read->body == sample);
        const std::size_t least = ends_with_bytes(sample) ? whole.size() - size_of_bytes(sample) : whole.size();
        for (std::size_t size = 0; size < whole.size(); ++size) {
            CHECK(decoded(cluster::Bytes(whole.view().first(size)), sample).has_value() == (size >= least));
        }
        const cluster::Bytes longer(std::string(whole.text()) + "x");
        CHECK(decoded(longer, sample).has_value() == ends_with_bytes(sample));
    }
}

TEST_CASE("client codec: what is written is read, and nothing shorter or longer but for a message at the end") {
    check_round_trips(to_node());
    check_round_trips(to_client());
    CHECK(wire::decode_to_node(encoded(ToNode(Leave{})))->group == tag);
}

TEST_CASE("client codec: each message has a sample") {
    std::vector<bool> there(std::variant_size_v<ToNode> + std::variant_size_v<ToClient>);
    for (const ToNode& each : to_node()) there[each.index()] = true;
    for (const ToClient& each : to_client()) there[std::variant_size_v<ToNode> + each.index()] = true;
    for (std::size_t i = 0; i < there.size(); ++i) {
        CAPTURE(i);
        CHECK(there[i]);
    }
}

TEST_CASE("client codec: what is for a node is not for a client, and the reverse") {
    for (const ToNode& each : to_node()) {
        CHECK_FALSE(wire::decode_to_client(encoded(each)).has_value());
        CHECK_FALSE(wire::client_of(encoded(each)).has_value());
    }
    for (const ToClient& each : to_client()) {
        CHECK_FALSE(wire::decode_to_node(encoded(each)).has_value());
        CHECK(wire::client_of(encoded(each)) == drawn);
    }
    CHECK_FALSE(wire::client_of({}).has_value());
    CHECK_FALSE(wire::client_of(bytes("\x40too few")).has_value());
}

TEST_CASE("client codec: who asks to be served is found without more") {
    for (const ToNode& each : to_node()) {
        const bool asks = std::holds_alternative<Open>(each) || std::holds_alternative<Response>(each) ||
                          std::holds_alternative<Attach>(each);
        const auto asked = wire::asks_to_be_served(encoded(each));
        CHECK(asked.has_value() == asks);
        if (asked) CHECK(*asked == wire::Asked{wire::decode_to_node(encoded(each))->group, drawn});
    }
    for (const ToClient& each : to_client()) CHECK_FALSE(wire::asks_to_be_served(encoded(each)).has_value());
    CHECK_FALSE(wire::asks_to_be_served({}).has_value());
    CHECK_FALSE(wire::asks_to_be_served(bytes("\x01too few")).has_value());
}

TEST_CASE("client codec: the layout") {
    const std::string client = "ffffffffffffffff";
    const std::string to = "0102030405060708" + client;
    const std::string nine = "09080700000000000000000000000000";
    CHECK(hex(encoded(ToNode(Open{"g", key, 1000, "ann", "pw"}))) == "01" + to +
                                                                         "0100"
                                                                         "67" +
                                                                         nine +
                                                                         "e803000000000000"
                                                                         "0300"
                                                                         "616e6e"
                                                                         "0200"
                                                                         "7077");
    CHECK(hex(encoded(ToNode(Attach{"g", 7, key, {3, 4}}))) == "03" + to +
                                                                   "0100"
                                                                   "67"
                                                                   "0700000000000000" +
                                                                   nine +
                                                                   "0300000000000000"
                                                                   "0400000000000000");
    CHECK(hex(encoded(ToNode(Ask{1, {2, 3}, bytes("hi")}))) == "04" + to +
                                                                   "0100000000000000"
                                                                   "0200000000000000"
                                                                   "0300000000000000"
                                                                   "6869");
    CHECK(hex(encoded(ToNode(Query{1, true, 2, bytes("?")}))) == "07" + to +
                                                                     "0100000000000000"
                                                                     "01"
                                                                     "0200000000000000"
                                                                     "3f");
    CHECK(hex(encoded(ToClient(Opened{7}))) == "40" + client + "0700000000000000");
    PeerId leader;
    leader.bytes.fill(5);
    CHECK(hex(encoded(ToClient(NotLeader{leader, {{"ann", 7000}}}))) == "43" + client +
                                                                            "05050505050505050505050505050505"
                                                                            "01"
                                                                            "0300"
                                                                            "616e6e"
                                                                            "581b");
    CHECK(hex(encoded(ToClient(Answer{1, 5, 2, bytes("no")}))) == "48" + client +
                                                                      "0100000000000000"
                                                                      "05000000"
                                                                      "0200000000000000"
                                                                      "6e6f");
    CHECK(hex(encoded(ToClient(Refused{Refusal::full, "no"}))) == "4a" + client +
                                                                      "03"
                                                                      "0200"
                                                                      "6e6f");
}

TEST_CASE("client codec: the tag of a group is the same for ever") {
    CHECK(wire::group_tag("orders") == 0xb5b3253c8ddb9ce5);
    CHECK(wire::group_tag("order") != wire::group_tag("orders"));
}

TEST_CASE("client codec: the codes that mean something to a client are the same for ever") {
    CHECK(static_cast<int>(errc::no_leader) == 36);
    CHECK(static_cast<int>(errc::not_leader) == 40);
}

TEST_CASE("client codec: a message for the service lies in the memory of what was read") {
    const cluster::Bytes whole = encoded(ToNode(Ask{1, {2, 3}, bytes("message")}));
    const auto read = wire::decode_to_node(whole);
    REQUIRE(read.has_value());
    const cluster::Bytes& message = std::get<Ask>(read->body).message;
    CHECK(message.text() == "message");
    CHECK(message.view().data() + message.size() == whole.view().data() + whole.size());
}

TEST_CASE("client codec: numbers and texts beyond their limits are no message") {
    CHECK_FALSE(wire::decode_to_node(encoded(ToNode(Ask{highest + 1, {}, {}}))).has_value());
    CHECK_FALSE(wire::decode_to_node(encoded(ToNode(Alive{{highest + 1, 0}}))).has_value());
    CHECK_FALSE(wire::decode_to_node(encoded(ToNode(Alive{{0, highest + 1}}))).has_value());
    CHECK_FALSE(wire::decode_to_client(encoded(ToClient(Push{1, highest + 1, {}}))).has_value());
    CHECK_FALSE(wire::decode_to_client(encoded(ToClient(Closed{CloseReason{}}))).has_value());
    CHECK_FALSE(wire::decode_to_client(encoded(ToClient(Closed{static_cast<CloseReason>(5)}))).has_value());
    CHECK_FALSE(wire::decode_to_client(encoded(ToClient(Refused{static_cast<Refusal>(5), {}}))).has_value());
    std::string undecided(encoded(ToNode(Query{1, true, 2, {}})).text());
    undecided[25] = 2;
    CHECK_FALSE(wire::decode_to_node(bytes(undecided)).has_value());
    std::string long_text(encoded(ToNode(Open{{}, {}, 0, {}, {}})).text());
    long_text[17] = 65;
    CHECK_FALSE(wire::decode_to_node(bytes(long_text + std::string(200, 'a'))).has_value());
}

TEST_CASE("client codec: what is too long to be read is written as far as it can be") {
    const auto refused = wire::decode_to_client(encoded(ToClient(Refused{Refusal::full, std::string(2000, 't')})));
    REQUIRE(refused.has_value());
    CHECK(std::get<Refused>(refused->body).text.size() == max_text);
    for (const std::size_t count : {std::size_t{9}, std::size_t{256}}) {
        const auto many =
            wire::decode_to_client(encoded(ToClient(NotLeader{{}, std::vector<Address>(count, {"ann", 1})})));
        REQUIRE(many.has_value());
        CHECK(std::get<NotLeader>(many->body).addresses.size() == 8);
    }
}

TEST_CASE("client codec: whatever comes, it is read as what it writes, or not at all") {
    Dice dice(1);
    std::vector<cluster::Bytes> all;
    for (const ToNode& each : to_node()) all.push_back(encoded(each));
    for (const ToClient& each : to_client()) all.push_back(encoded(each));
    for (int round = 0; round < 50000; ++round) {
        std::string text(all[dice.below(all.size())].text().substr(0, 500));
        for (std::uint64_t changes = dice.below(4) + 1; changes != 0; --changes) {
            text[dice.below(text.size())] = static_cast<char>(dice.next());
        }
        if (dice.below(4) == 0) text.resize(dice.below(text.size() + 1));
        const cluster::Bytes whole(text);
        const auto for_node = wire::decode_to_node(whole);
        if (for_node) REQUIRE(cluster::Bytes(wire::encode(*for_node)) == whole);
        const auto for_client = wire::decode_to_client(whole);
        if (for_client) REQUIRE(cluster::Bytes(wire::encode(*for_client)) == whole);
    }
}

}  // namespace

}  // namespace cluster::client
