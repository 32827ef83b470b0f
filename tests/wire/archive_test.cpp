#include "wire/archive.hpp"

#include <cereal/types/deque.hpp>
#include <cereal/types/list.hpp>
#include <cereal/types/memory.hpp>
#include <cereal/types/set.hpp>
#include <cereal/types/unordered_map.hpp>
#include <cereal/types/variant.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

namespace {

using namespace cluster;

using Bytes = std::vector<std::byte>;

Bytes bytes(std::initializer_list<unsigned> values) {
    Bytes out;
    for (const unsigned value : values) out.push_back(static_cast<std::byte>(value));
    return out;
}

template <class T>
Bytes written(const T& value) {
    Bytes out;
    wire::write(out, value);
    return out;
}

template <class T>
bool readable(const Bytes& from) {
    T value{};
    return wire::read(from, value);
}

/// A size as a stranger may claim it, and some bytes behind it.
Bytes claim(std::uint64_t size, std::size_t rest = 8) {
    Bytes out;
    wire::Writer(out).write_size(size);
    out.resize(out.size() + rest, std::byte{1});
    return out;
}

constexpr std::uint64_t gigabyte = std::uint64_t{1} << 30;
constexpr std::uint64_t absurd_sizes[] = {
    9, 1'000'000, std::uint64_t{1} << 24, gigabyte, std::uint64_t{1} << 33, std::uint64_t{1} << 60, UINT64_MAX,
};

/// Counts what is allocated, in elements.
template <class T>
struct CountingAllocator {
    using value_type = T;
    static inline std::size_t allocated = 0;

    CountingAllocator() = default;
    template <class U>
    CountingAllocator(const CountingAllocator<U>&) {}
    T* allocate(std::size_t n) {
        allocated += n;
        return std::allocator<T>().allocate(n);
    }
    void deallocate(T* at, std::size_t n) { std::allocator<T>().deallocate(at, n); }
    friend bool operator==(const CountingAllocator&, const CountingAllocator&) { return true; }
};

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

    template <class Archive>
    void serialize(Archive& archive) {
        archive(i8, u32, i64, real, yes, colour, text, records, numbers, raw, bits, map, set, id, present, absent,
                choice, address, peer);
    }
    friend bool operator==(const Everything&, const Everything&) = default;
};

TEST_SUITE("archive") {
    TEST_CASE("every kind of field comes back as it was") {
        const Everything before;
        Everything after;
        after.records.clear();
        after.text = "something else";
        after.absent = Record{9, "nine"};
        after.present.reset();
        after.choice = std::uint8_t{1};
        after.peer = {};
        REQUIRE(wire::read(written(before), after));
        CHECK(after == before);
    }

    TEST_CASE("no beginning of a value is taken for the whole") {
        const Bytes whole = written(Everything{});
        for (std::size_t size = 0; size != whole.size(); ++size) {
            CHECK_FALSE(readable<Everything>({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)}));
        }
    }

    TEST_CASE("bytes behind the last value are refused") {
        Bytes longer = written(Everything{});
        longer.push_back(std::byte{0});
        CHECK_FALSE(readable<Everything>(longer));
        CHECK_FALSE(readable<std::uint8_t>(bytes({1, 1})));
    }

    TEST_CASE("numbers are little-endian and as wide as their type") {
        CHECK(written(std::uint32_t{0x01020304}) == bytes({4, 3, 2, 1}));
        CHECK(written(std::int16_t{-2}) == bytes({0xfe, 0xff}));
        CHECK(written(Colour::red) == bytes({2, 1}));
        CHECK(written(1.0f) == bytes({0, 0, 0x80, 0x3f}));
    }

    TEST_CASE("an id is 16 bytes without a size, an address its host and port") {
        PeerId id;
        for (std::uint8_t i = 0; i != 16; ++i) id.bytes[i] = i;
        CHECK(written(id) == bytes({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}));
        CHECK(written(Address{"ab", 0x1234}) == bytes({2, 'a', 'b', 0x34, 0x12}));
    }

    TEST_CASE("an optional says first whether it is there") {
        CHECK(written(std::optional<std::uint8_t>{5}) == bytes({1, 5}));
        CHECK(written(std::optional<std::uint8_t>{}) == bytes({0}));
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
            wire::Reader reader(from);
            try {
                reader.read_size();
            } catch (const wire::ArchiveError& error) {
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

    TEST_CASE("no container may claim more elements than there are bytes") {
        for (const std::uint64_t size : absurd_sizes) {
            CAPTURE(size);
            const Bytes hostile = claim(size);
            CHECK_FALSE(readable<std::string>(hostile));
            CHECK_FALSE(readable<std::u16string>(hostile));
            CHECK_FALSE(readable<std::vector<std::uint8_t>>(hostile));
            CHECK_FALSE(readable<std::vector<std::byte>>(hostile));
            CHECK_FALSE(readable<std::vector<std::uint64_t>>(hostile));
            CHECK_FALSE(readable<std::vector<Record>>(hostile));
            CHECK_FALSE(readable<std::vector<bool>>(hostile));
            CHECK_FALSE(readable<std::list<Record>>(hostile));
            CHECK_FALSE(readable<std::deque<Record>>(hostile));
            CHECK_FALSE(readable<std::set<std::uint8_t>>(hostile));
            CHECK_FALSE((readable<std::map<std::uint8_t, std::uint8_t>>(hostile)));
            CHECK_FALSE((readable<std::unordered_map<std::uint8_t, std::uint8_t>>(hostile)));
        }
    }

    TEST_CASE("a claim that cannot be true allocates nothing") {
        using Allocator = CountingAllocator<Record>;
        std::vector<Record, Allocator> records;
        for (const std::uint64_t size : absurd_sizes) CHECK_FALSE(wire::read(claim(size), records));
        CHECK(Allocator::allocated == 0);
        REQUIRE(wire::read(written(std::vector<Record>{{1, "one"}}), records));
        CHECK(Allocator::allocated == 1);
    }

    TEST_CASE("claims nested in each other share one budget") {
        // Each level claims all that remains; without a budget that is a megabyte of elements for each of them.
        constexpr std::size_t size = 1 << 16;
        Bytes hostile;
        while (hostile.size() < size) wire::Writer(hostile).write_size(size - hostile.size() - 8);
        Tree::made = 0;
        CHECK_FALSE(readable<Tree>(hostile));
        CHECK(Tree::made <= size + 1);
        CHECK(Tree::made > 1);
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
        CHECK(readable<Tree>(written(nested(20))));
        CHECK_THROWS_AS(written(nested(100)), wire::ArchiveError);
    }

    TEST_CASE("a variant with an unknown alternative is refused") {
        CHECK(readable<std::variant<std::uint8_t, Record>>(bytes({0, 0, 0, 0, 5})));
        CHECK_FALSE(readable<std::variant<std::uint8_t, Record>>(bytes({2, 0, 0, 0, 5})));
        CHECK_FALSE(readable<std::variant<std::uint8_t, Record>>(bytes({0xff, 0xff, 0xff, 0xff, 5})));
    }

    TEST_CASE("a reader takes no container longer than it was told") {
        const Bytes five = written(std::string("abcde"));
        std::string text;
        wire::Reader enough(five, 5);
        enough(text);
        CHECK(text == "abcde");
        wire::Reader less(five, 4);
        CHECK_THROWS_AS(less(text), wire::TooLong);
    }
}

}  // namespace
