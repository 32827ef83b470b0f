#include "wire/client_codec.hpp"

#include "base/overloaded.hpp"
#include "base/packing.hpp"
#include "base/siphash.hpp"
#include "core/frame.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

namespace cluster::wire {

namespace {

using namespace client;

/// The first byte: the place in the variant, counted from here.
constexpr std::uint8_t first_to_node = 1;
constexpr std::uint8_t first_to_client = 64;

template <class Message, class... All>
constexpr std::size_t index_among(std::type_identity<std::variant<All...>>) {
    std::size_t index = 0;
    bool found = false;
    ((found = found || std::is_same_v<Message, All>, index += found ? 0 : 1), ...);
    return index;
}
/// Of what is said to a node.
template <class Message>
constexpr std::size_t kind_of = first_to_node + index_among<Message>(std::type_identity<client::ToNode>());

/// No position or number reaches 2^62, so adding to it is safe.
class ClientReader {
public:
    static constexpr bool reads = true;
    explicit ClientReader(const Bytes& from) : from_(from), in_(from.view()) {}

    template <class T>
    void number(T& value) {
        value = in_.number<T>();
        if constexpr (sizeof(T) == 8) good_ = good_ && value >> 62 == 0;
    }
    void drawn(std::uint64_t& value) { value = in_.number<std::uint64_t>(); }
    template <std::size_t size>
    void raw(std::array<std::uint8_t, size>& value) {
        value = in_.raw<size>();
    }
    void text(std::string& value, std::size_t most) {
        value = in_.text();
        good_ = good_ && value.size() <= most;
    }
    /// All that is left.
    void rest(Bytes& value) { value = from_.part(in_.rest()); }
    void fail() { good_ = false; }
    bool complete() const { return good_ && in_.good() && in_.at_end(); }

private:
    const Bytes& from_;
    Unpacker in_;
    bool good_ = true;
};

class ClientWriter {
public:
    static constexpr bool reads = false;

    template <class T>
    void number(const T& value) {
        out_.number(value);
    }
    void drawn(const std::uint64_t& value) { out_.number(value); }
    template <std::size_t size>
    void raw(const std::array<std::uint8_t, size>& value) {
        out_.raw(value);
    }
    void text(const std::string& value, std::size_t most) { out_.text(std::string_view(value).substr(0, most)); }
    void rest(const Bytes& value) { out_.raw(value.view()); }
    std::vector<std::byte> take() { return std::move(out_.bytes()); }

private:
    Packer out_;
};

// The layout of everything: the same function writes and reads.

void received(auto& io, auto& value) {
    io.number(value.replies);
    io.number(value.pushes);
}

void addresses(auto& io, auto& value) {
    auto count = static_cast<std::uint8_t>(std::min(value.size(), core::max_addresses));
    io.number(count);
    if constexpr (std::remove_reference_t<decltype(io)>::reads) {
        if (count > core::max_addresses) return io.fail();
        value.resize(count);
    }
    for (std::size_t i = 0; i < count; ++i) {
        io.text(value[i].host, core::max_host);
        io.number(value[i].port);
    }
}

template <class T, class Io>
void enumeration(Io& io, auto& value, T last) {
    auto byte = static_cast<std::uint8_t>(value);
    io.number(byte);
    if constexpr (Io::reads) {
        if (byte < 1 || byte > static_cast<std::uint8_t>(last)) return io.fail();
        value = static_cast<T>(byte);
    }
}

template <class Io, class T>
void body(Io& io, T& value) {
    using Type = std::remove_const_t<T>;
    if constexpr (std::is_same_v<Type, Open>) {
        io.text(value.group, core::max_name);
        io.raw(value.key);
        io.number(value.timeout_ms);
        io.text(value.name, core::max_name);
        io.text(value.credentials, max_credentials);
    } else if constexpr (std::is_same_v<Type, Response>) {
        io.raw(value.key);
        io.text(value.response, max_credentials);
    } else if constexpr (std::is_same_v<Type, Attach>) {
        io.text(value.group, core::max_name);
        io.number(value.session);
        io.raw(value.key);
        received(io, value.received);
    } else if constexpr (std::is_same_v<Type, Ask>) {
        io.number(value.number);
        received(io, value.received);
        io.rest(value.message);
    } else if constexpr (std::is_same_v<Type, Alive>) {
        received(io, value.received);
    } else if constexpr (std::is_same_v<Type, Query>) {
        io.number(value.number);
        std::uint8_t linearizable = value.linearizable ? 1 : 0;
        io.number(linearizable);
        if constexpr (Io::reads) {
            if (linearizable > 1) io.fail();
            value.linearizable = linearizable == 1;
        }
        io.number(value.at_least);
        io.rest(value.query);
    } else if constexpr (std::is_same_v<Type, Opened>) {
        io.number(value.session);
    } else if constexpr (std::is_same_v<Type, Challenge>) {
        io.text(value.challenge, max_credentials);
    } else if constexpr (std::is_same_v<Type, Attached>) {
        io.number(value.applied);
        io.number(value.max_message);
    } else if constexpr (std::is_same_v<Type, NotLeader>) {
        io.raw(value.leader.bytes);
        addresses(io, value.addresses);
    } else if constexpr (std::is_same_v<Type, Busy>) {
        io.number(value.number);
    } else if constexpr (std::is_same_v<Type, Reply> || std::is_same_v<Type, Push>) {
        io.number(value.number);
        io.number(value.position);
        io.rest(value.message);
    } else if constexpr (std::is_same_v<Type, Answer>) {
        io.number(value.number);
        io.number(value.code);
        io.number(value.position);
        io.rest(value.message);
    } else if constexpr (std::is_same_v<Type, Closed>) {
        enumeration<CloseReason>(io, value.reason, CloseReason::slow);
    } else if constexpr (std::is_same_v<Type, Refused>) {
        enumeration<Refusal>(io, value.reason, Refusal::no_session);
        io.text(value.text, max_text);
    } else {
        static_assert(std::is_same_v<Type, Leave> || std::is_same_v<Type, Detached>);
    }
}

/// Makes the alternative of that number, if there is one.
template <class Variant, std::size_t... each>
bool make_alternative(Variant& variant, std::size_t number, std::index_sequence<each...>) {
    return ((number == each && (variant.template emplace<each>(), true)) || ...);
}

template <class Variant>
bool read_body(ClientReader& io, Variant& variant, std::size_t number) {
    if (!make_alternative(variant, number, std::make_index_sequence<std::variant_size_v<Variant>>())) return false;
    std::visit([&](auto& each) { body(io, each); }, variant);
    return io.complete();
}

}  // namespace

std::uint64_t group_tag(std::string_view group) {
    const std::array<std::uint8_t, 16> hash =
        siphash128({}, std::span(reinterpret_cast<const std::uint8_t*>(group.data()), group.size()));
    std::uint64_t tag = 0;
    for (std::size_t i = 0; i < 8; ++i) tag |= std::uint64_t{hash[i]} << (8 * i);
    return tag;
}

std::vector<std::byte> encode(const ClientToNode& message) {
    ClientWriter io;
    io.number(static_cast<std::uint8_t>(first_to_node + message.body.index()));
    io.drawn(message.group);
    io.drawn(message.client);
    std::visit([&](const auto& each) { body(io, each); }, message.body);
    return io.take();
}

std::vector<std::byte> encode(const NodeToClient& message) {
    ClientWriter io;
    io.number(static_cast<std::uint8_t>(first_to_client + message.body.index()));
    io.drawn(message.client);
    std::visit([&](const auto& each) { body(io, each); }, message.body);
    return io.take();
}

std::optional<ClientToNode> decode_to_node(const Bytes& bytes) {
    ClientReader io(bytes);
    ClientToNode message;
    std::uint8_t kind = 0;
    io.number(kind);
    io.drawn(message.group);
    io.drawn(message.client);
    if (kind < first_to_node || kind >= first_to_client) return std::nullopt;
    if (!read_body(io, message.body, kind - std::size_t{first_to_node})) return std::nullopt;
    return message;
}

std::optional<NodeToClient> decode_to_client(const Bytes& bytes) {
    ClientReader io(bytes);
    NodeToClient message;
    std::uint8_t kind = 0;
    io.number(kind);
    io.drawn(message.client);
    if (kind < first_to_client) return std::nullopt;
    if (!read_body(io, message.body, kind - std::size_t{first_to_client})) return std::nullopt;
    return message;
}

std::optional<std::uint64_t> client_of(const Bytes& bytes) {
    Unpacker in(bytes.view());
    const bool to_client = in.number<std::uint8_t>() >= first_to_client;
    const auto client = in.number<std::uint64_t>();
    return to_client && in.good() ? std::optional(client) : std::nullopt;
}

std::optional<Asked> asks_to_be_served(const Bytes& bytes) {
    Unpacker in(bytes.view());
    const auto kind = in.number<std::uint8_t>();
    Asked asked;
    asked.group = in.number<std::uint64_t>();
    asked.client = in.number<std::uint64_t>();
    const bool asks =
        kind == kind_of<client::Open> || kind == kind_of<client::Response> || kind == kind_of<client::Attach>;
    return asks && in.good() ? std::optional(asked) : std::nullopt;
}

}  // namespace cluster::wire
