#define CEREAL_THREAD_SAFE 1  // for the type with a version
#include <cluster/cluster.hpp>
#include <cluster/codec.hpp>

#include <cereal/types/base_class.hpp>
#include <cereal/types/bitset.hpp>
#include <cereal/types/chrono.hpp>
#include <cereal/types/complex.hpp>
#include <cereal/types/deque.hpp>
#include <cereal/types/list.hpp>
#include <cereal/types/memory.hpp>
#include <cereal/types/optional.hpp>
#include <cereal/types/set.hpp>
#include <cereal/types/tuple.hpp>
#include <cereal/types/unordered_map.hpp>
#include <cereal/types/utility.hpp>
#include <cereal/types/variant.hpp>

#include <doctest/doctest.h>

#include <array>
#include <bitset>
#include <chrono>
#include <complex>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <initializer_list>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <new>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace {

/// What this thread has taken from the heap.
thread_local std::size_t allocated = 0;

}  // namespace

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZER_ALLOCATES
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SANITIZER_ALLOCATES
#endif

// The address sanitizer brings its own, which must stay together; then nothing is counted. Where g++ sees into them, it
// takes malloc and free for a mismatch.
#if !defined(SANITIZER_ALLOCATES)
[[gnu::noinline]] void* operator new(std::size_t size) {
    allocated += size;
    if (void* const memory = std::malloc(size == 0 ? 1 : size)) return memory;
    throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
    std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}
#endif

namespace app {

/// Named like classes of the library, with functions named like those that cereal and the library call.
struct Writer {
    std::uint8_t value = 0;
    friend bool operator==(const Writer&, const Writer&) = default;
};
struct Reader {
    std::string value;
    friend bool operator==(const Reader&, const Reader&) = default;
};

template <class T>
void write(std::vector<std::byte>&, const T&) = delete;
template <class T>
void decode(const T&) = delete;

template <class Archive>
void serialize(Archive& archive, Writer& writer) {
    archive(CEREAL_NVP(writer.value));
}
template <class Archive>
void save(Archive& archive, const Reader& reader) {
    archive(cereal::make_nvp("text", reader.value));
}
template <class Archive>
void load(Archive& archive, Reader& reader) {
    archive(reader.value);
}

struct Celsius {
    double degrees = 0;

    template <class Archive>
    double save_minimal(const Archive&) const {
        return degrees;
    }
    template <class Archive>
    void load_minimal(const Archive&, const double& value) {
        degrees = value;
    }
    friend bool operator==(const Celsius&, const Celsius&) = default;
};

struct Versioned {
    std::uint16_t number = 0;
    std::uint32_t version = 0;

    template <class Archive>
    void serialize(Archive& archive, std::uint32_t with) {
        archive(number);
        version = with;
    }
};

}  // namespace app

CEREAL_CLASS_VERSION(app::Versioned, 7)

namespace {

using namespace cluster;

using Bytes = std::vector<std::byte>;

Bytes bytes(std::initializer_list<unsigned> values) {
    Bytes out;
    for (const unsigned value : values) out.push_back(static_cast<std::byte>(value));
    return out;
}

template <class T>
bool readable(const Bytes& from) {
    std::error_code error;
    decode<T>(from, error);
    CHECK((!error || error == errc::malformed_message));
    return !error;
}

/// A size as a stranger may claim it, and some bytes behind it.
Bytes claim(std::uint64_t size, std::size_t rest = 8) {
    Bytes out;
    detail::Writer(out).write_size(size);
    out.resize(out.size() + rest, std::byte{1});
    return out;
}

struct Record {
    std::uint64_t number = 0;
    std::string text;

    template <class Archive>
    void serialize(Archive& archive) {
        archive(number, text);
    }
    friend bool operator==(const Record&, const Record&) = default;
};

struct Tree {
    static inline std::size_t made = 0;
    std::vector<Tree> children;

    Tree() { ++made; }
    template <class Archive>
    void serialize(Archive& archive) {
        archive(children);
    }
};

struct Chain {
    std::unique_ptr<Chain> next;
    std::array<std::uint64_t, 4> load{};  // not sent, but it takes memory

    template <class Archive>
    void serialize(Archive& archive) {
        archive(next);
    }
};

enum class Colour : std::uint16_t { red = 0x0102 };

struct Everything {
    std::int8_t i8 = -2;
    std::uint32_t u32 = 0xdeadbeef;
    std::int64_t i64 = std::numeric_limits<std::int64_t>::min();
    double real = 0.1;
    bool yes = true;
    Colour colour = Colour::red;
    std::string text = std::string("a\0b", 3);
    std::vector<Record> records{{1, "one"}, {2, ""}};
    std::vector<std::uint32_t> numbers{1, 2, 3};
    std::vector<std::byte> raw{std::byte{7}, std::byte{8}};
    std::vector<bool> bits{true, false, true};
    std::map<std::string, std::uint16_t> map{{"k", 1}, {"l", 2}};
    std::set<std::string> set{"x", "y"};
    std::array<std::uint8_t, 16> id{9};
    std::optional<Record> present = Record{3, "three"};
    std::optional<Record> absent;
    std::variant<std::uint8_t, Record> choice = Record{4, "four"};
    Address address{"::1", 7000};
    PeerId peer{{1, 2, 3}};
    std::chrono::milliseconds time{250};
    std::tuple<std::uint8_t, std::string> tuple{1, "t"};
    std::pair<std::int32_t, bool> pair{-1, true};
    std::bitset<12> set_of_bits{0x801};
    std::complex<float> complex{1.5f, -2.5f};
    std::deque<std::uint16_t> deque{1, 2};
    std::list<Record> list{{5, "five"}};
    std::unordered_map<std::string, std::uint64_t> unordered{{"k", 1}, {"l", 2}};
    std::array<bool, 2> switches{true, false};
    app::Writer writer{3};
    app::Reader reader{"r"};
    app::Celsius temperature{36.6};

    Everything() {}  // with an aggregate, g++ 12 fears for members when the making of others throws

    template <class Archive>
    void serialize(Archive& archive) {
        archive(i8, u32, i64, real, yes, colour, text, records, numbers, raw, bits, map, set, id, present, absent,
                choice, address, peer, time, tuple, pair, set_of_bits, complex, deque, list, unordered, switches,
                writer, reader, temperature);
    }
    friend bool operator==(const Everything&, const Everything&) = default;
};

struct Empty {
    template <class Archive>
    void serialize(Archive&) {}
};

/// Its loading throws what the first byte says.
struct Thrower {
    std::uint8_t what = 0;

    template <class Archive>
    void save(Archive& archive) const {
        archive(what);
    }
    template <class Archive>
    void load(Archive& archive) {
        archive(what);
        if (what == 1) throw std::bad_alloc();
        if (what == 2) throw std::length_error("too long for me");
        if (what == 3) throw 42;
    }
};

template <class... T>
void check_absurd_claims() {
    for (const int power : {4, 20, 24, 30, 33, 60, 63}) {
        const Bytes hostile = claim(std::uint64_t{1} << power);
        const auto check = [&]<class U>(std::type_identity<U>) {
            INFO(std::string(typeid(U).name()) << " of 2^" << power);
            std::error_code error = errc::closed;  // makes the category, which takes memory once
            allocated = 0;
            decode<U>(hostile, error);
            // An empty deque, made twice, is the only one that takes memory of its own.
            CHECK(allocated <= (std::is_same_v<U, std::deque<Record>> ? 4096 : 0));
            CHECK(error == errc::malformed_message);
        };
        (check(std::type_identity<T>()), ...);
    }
}

/// Where the size can be believed, what follows is another type's, or too short.
template <class... T>
void check_possible_claims() {
    constexpr std::size_t size = 1 << 16;
    constexpr std::size_t extra = 64;  // of a node or a bucket
    for (const unsigned filling : {0u, 1u, 2u}) {
        Bytes hostile = claim(size - 3, 0);
        hostile.resize(size, std::byte(filling));
        const auto check = [&]<class U>(std::type_identity<U>) {
            INFO(std::string(typeid(U).name()) << " filled with " << filling);
            std::error_code error = errc::closed;
            allocated = 0;
            decode<U>(hostile, error);
            CHECK(allocated <= size * (sizeof(typename U::value_type) + extra));
        };
        (check(std::type_identity<T>()), ...);
    }
}

TEST_SUITE("typed messages") {
    TEST_CASE("every kind of field comes back as it was") {
        const Everything before;
        CHECK(decode<Everything>(encode(before)) == before);

        Everything other;
        other.records.clear();
        other.absent = Record{9, "nine"};
        other.present.reset();
        other.choice = std::uint8_t{1};
        CHECK(decode<Everything>(encode(other)) == other);
        CHECK(other != before);
    }

    TEST_CASE("a name of a field is not sent") {
        CHECK(encode(app::Writer{5}) == bytes({5}));
        CHECK(encode(app::Reader{"ab"}) == bytes({2, 'a', 'b'}));
    }

    TEST_CASE("a type with a version says it once in a message") {
        const Bytes both = encode(std::vector<app::Versioned>{{.number = 1}, {.number = 2}});
        CHECK(both == bytes({2, 7, 0, 0, 0, 1, 0, 2, 0}));
        CHECK(decode<std::vector<app::Versioned>>(both)[1].version == 7);
        CHECK(decode<app::Versioned>(bytes({6, 0, 0, 0, 1, 0})).version == 6);
    }

    TEST_CASE("no beginning of a value is taken for the whole") {
        const Bytes whole = encode(Everything{});
        for (std::size_t size = 0; size != whole.size(); ++size) {
            CHECK_FALSE(readable<Everything>({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)}));
        }
    }

    TEST_CASE("bytes behind the last value are refused") {
        Bytes longer = encode(Everything{});
        longer.push_back(std::byte{0});
        CHECK_FALSE(readable<Everything>(longer));
        CHECK_FALSE(readable<std::uint8_t>(bytes({1, 1})));
    }

    TEST_CASE("numbers are little-endian and as wide as their type") {
        CHECK(encode(std::uint32_t{0x01020304}) == bytes({4, 3, 2, 1}));
        CHECK(encode(std::int16_t{-2}) == bytes({0xfe, 0xff}));
        CHECK(encode(Colour::red) == bytes({2, 1}));
        CHECK(encode(1.0f) == bytes({0, 0, 0x80, 0x3f}));
    }

    TEST_CASE("an id is 16 bytes without a size, an address its host and port") {
        PeerId id;
        for (std::uint8_t i = 0; i != 16; ++i) id.bytes[i] = i;
        CHECK(encode(id) == bytes({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}));
        CHECK(encode(Address{"ab", 0x1234}) == bytes({2, 'a', 'b', 0x34, 0x12}));
    }

    TEST_CASE("an optional says first whether it is there") {
        CHECK(encode(std::optional<std::uint8_t>{5}) == bytes({1, 5}));
        CHECK(encode(std::optional<std::uint8_t>{}) == bytes({0}));
    }

    TEST_CASE("a bool is 0 or 1 wherever it stands") {
        CHECK(readable<bool>(bytes({0})));
        CHECK(readable<bool>(bytes({1})));
        CHECK_FALSE(readable<bool>(bytes({2})));
        CHECK_FALSE(readable<std::optional<std::uint8_t>>(bytes({2, 1})));
        CHECK_FALSE(readable<std::vector<bool>>(bytes({2, 1, 2})));
        CHECK_FALSE(readable<std::array<bool, 2>>(bytes({1, 0xff})));
    }

    TEST_CASE("sizes take as few bytes as possible") {
        const auto size = [](std::uint64_t value) { return claim(value, 0); };
        CHECK(size(0) == bytes({0}));
        CHECK(size(127) == bytes({0x7f}));
        CHECK(size(128) == bytes({0x80, 1}));
        CHECK(size(300) == bytes({0xac, 2}));
        CHECK(size(UINT64_MAX) == bytes({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}));
        CHECK_FALSE(readable<std::string>(bytes({0x80, 0})));
        CHECK_FALSE(readable<std::string>(bytes({0x81, 0, 'a'})));
    }

    TEST_CASE("a size that does not fit into 64 bits is refused") {
        const auto refusal = [](const Bytes& from) -> std::string {
            detail::Reader reader(from);
            try {
                reader.read_size();
            } catch (const detail::ArchiveError& error) {
                return error.what();
            }
            return "";
        };
        CHECK(refusal(bytes({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2})) ==
              "a size does not fit into 64 bits");
        CHECK(refusal(bytes({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x80, 1})) ==
              "a size does not fit into 64 bits");
        CHECK(refusal(bytes({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})) == "more elements than bytes");
    }

    TEST_CASE("a failure leaves nothing of what was read before it") {
        std::error_code error = errc::closed;
        CHECK(decode<std::string>(bytes({2, 'a', 'b'}), error) == "ab");
        CHECK(!error);
        CHECK(decode<std::pair<std::uint8_t, bool>>(bytes({9, 2}), error) == std::pair<std::uint8_t, bool>());
        CHECK(error == errc::malformed_message);
    }

    TEST_CASE("what is thrown says why the bytes are refused") {
        const auto refusal = [](const Bytes& from) -> std::string {
            try {
                decode<std::variant<std::string, bool>>(from);
            } catch (const std::system_error& error) {
                CHECK(error.code() == errc::malformed_message);
                return error.what();
            }
            return "";
        };
        CHECK(refusal(bytes({0, 0, 0, 0, 1, 'a'})) == "");
        CHECK(refusal(bytes({0, 0, 0, 0, 9, 'a'})).starts_with("more elements than bytes"));
        CHECK(refusal(bytes({1, 0, 0, 0, 2})).starts_with("a bool is neither 0 nor 1"));
        CHECK(refusal(bytes({7, 0, 0, 0, 2})).starts_with("Invalid 'index'"));
    }

    TEST_CASE("whatever loading throws becomes an error") {
        std::error_code error;
        CHECK(decode<Thrower>(bytes({0}), error).what == 0);
        CHECK(!error);
        decode<Thrower>(bytes({1}), error);
        CHECK(error == errc::system_failure);
        decode<Thrower>(bytes({2}), error);
        CHECK(error == errc::malformed_message);
        decode<Thrower>(bytes({3}), error);
        CHECK(error == errc::malformed_message);
        CHECK_THROWS_AS(decode<Thrower>(bytes({1})), std::bad_alloc);
        CHECK_THROWS_AS(decode<Thrower>(bytes({2})), std::system_error);
        CHECK_THROWS_AS(decode<Thrower>(bytes({3})), std::system_error);
    }

    TEST_CASE("no container may claim more elements than there are bytes") {
        check_absurd_claims<std::string, std::u16string, std::vector<std::uint8_t>, std::vector<std::byte>,
                            std::vector<std::uint64_t>, std::vector<Record>, std::vector<bool>, std::list<Record>,
                            std::deque<Record>, std::set<std::uint8_t>, std::map<std::string, Record>,
                            std::unordered_map<std::uint32_t, std::uint8_t>, std::vector<std::vector<Record>>>();
    }

    TEST_CASE("a claim that may be true takes no more than message times element") {
        check_possible_claims<std::string, std::vector<std::uint8_t>, std::vector<std::uint64_t>, std::vector<Record>,
                              std::vector<bool>, std::list<Record>, std::deque<Record>, std::set<std::string>,
                              std::map<std::uint8_t, Record>, std::vector<std::vector<Record>>,
                              std::unordered_map<std::string, std::uint8_t>, std::vector<Chain>>();
    }

    TEST_CASE("claims nested in each other share one budget") {
        // Each level claims all that remains; without a budget that is a megabyte of elements for each of them.
        constexpr std::size_t size = 1 << 16;
        Bytes hostile;
        while (hostile.size() < size) detail::Writer(hostile).write_size(size - hostile.size() - 8);
        Tree::made = 0;
        allocated = 0;
        CHECK_FALSE(readable<Tree>(hostile));
        CHECK(Tree::made <= size + 2);
        CHECK(Tree::made > 1);
        CHECK(allocated <= size * sizeof(Tree));
    }

    TEST_CASE("deeply nested values are refused before the stack ends") {
        CHECK_FALSE(readable<Tree>(Bytes(200'000, std::byte{1})));
        CHECK_FALSE(readable<Chain>(Bytes(200'000, std::byte{1})));
    }

    TEST_CASE("what could not be read because of its nesting is not written either") {
        const auto nested = [](std::size_t depth) {
            Tree tree;
            for (std::size_t i = 0; i != depth; ++i) {
                Tree parent;
                parent.children.push_back(std::move(tree));
                tree = std::move(parent);
            }
            return tree;
        };
        CHECK(readable<Tree>(encode(nested(60))));
        std::error_code error;
        try {
            encode(nested(100));
        } catch (const std::system_error& thrown) {
            error = thrown.code();
        }
        CHECK(error == errc::malformed_message);
    }

    TEST_CASE("a list of pointers may be 20 long") {
        Chain chain;
        for (int i = 0; i != 20; ++i) {
            auto next = std::make_unique<Chain>();
            next->next = std::move(chain.next);
            chain.next = std::move(next);
        }
        CHECK(readable<Chain>(encode(chain)));
    }

    TEST_CASE("a container of structs without fields is not written where it could not be read") {
        CHECK(encode(Empty{}).empty());
        CHECK(encode(std::vector<Empty>()) == bytes({0}));
        CHECK_THROWS_AS(encode(std::vector<Empty>(3)), std::system_error);
        CHECK_THROWS_AS(encode(std::pair<std::string, std::vector<Empty>>("longer", 3)), std::system_error);
        const std::pair<std::vector<Empty>, std::string> covered{2, "ab"};
        CHECK(decode<std::pair<std::vector<Empty>, std::string>>(encode(covered)).second == "ab");
    }

    TEST_CASE("a variant with an unknown alternative is refused") {
        CHECK(readable<std::variant<std::uint8_t, Record>>(bytes({0, 0, 0, 0, 5})));
        CHECK_FALSE(readable<std::variant<std::uint8_t, Record>>(bytes({2, 0, 0, 0, 5})));
        CHECK_FALSE(readable<std::variant<std::uint8_t, Record>>(bytes({0xff, 0xff, 0xff, 0xff, 5})));
    }

    TEST_CASE("a reader takes no container longer than it was told") {
        const Bytes five = encode(std::string("abcde"));
        std::string text;
        detail::Reader enough(five, 5);
        enough(text);
        CHECK(text == "abcde");
        detail::Reader less(five, 4);
        CHECK_THROWS_AS(less(text), detail::TooLong);
    }

    TEST_CASE("versions may be written by several threads at once") {
        const auto encode_many = [] {
            for (int i = 0; i != 1000; ++i) encode(app::Versioned{});
        };
        std::thread other(encode_many);
        encode_many();
        other.join();
        CHECK(encode(app::Versioned{}).size() == 6);
    }

    TEST_CASE("a gap holds no value, not even one without fields") {
        const Message gap(PeerId{}, nullptr, {}, 3);
        std::error_code error;
        gap.as<Empty>(error);
        CHECK(error == errc::malformed_message);
        CHECK_THROWS_AS(gap.as<Empty>(), std::system_error);
    }

    TEST_CASE("a node receives the value that another one sent, and a wrong type loses nothing") {
        Node ann("127.0.0.1:0");
        Node bob("127.0.0.1:0");
        ann.add(bob.address());
        const Everything value;
        REQUIRE(ann.broadcast(encode(value)) == 1);
        ann.send(bob.id(), encode(std::string("done")));

        const auto first = bob.inbox().receive_for(std::chrono::seconds(10));
        REQUIRE(first);
        std::error_code error;
        first->as<std::string>(error);
        CHECK(error == errc::malformed_message);
        CHECK_THROWS_AS(first->as<Record>(), std::system_error);
        CHECK(first->as<Everything>(error) == value);
        CHECK(!error);
        CHECK(first->size() == encode(value).size());

        const auto second = bob.inbox().receive_for(std::chrono::seconds(10));
        REQUIRE(second);
        CHECK(second->as<std::string>() == "done");
    }
}

}  // namespace
