#include <cluster/codec.hpp>

#include <cereal/types/bitset.hpp>
#include <cereal/types/deque.hpp>
#include <cereal/types/list.hpp>
#include <cereal/types/memory.hpp>
#include <cereal/types/set.hpp>
#include <cereal/types/unordered_map.hpp>
#include <cereal/types/variant.hpp>

#include <cstdlib>

// What a stranger may send in the place of a typed message: what can be read can be written, and then has one form.

namespace cluster::typed_fuzz {

namespace {

enum class Colour : std::uint8_t { red, green };

struct Value {
    bool flag = false;
    Colour colour = Colour::red;
    std::string text;
    std::u16string wide;
    std::vector<bool> bits;
    std::bitset<70> set_of_bits;
    std::map<std::string, std::vector<double>> map;
    std::set<std::int32_t> set;
    std::list<std::optional<std::uint16_t>> list;
    std::deque<std::array<bool, 2>> deque;
    std::variant<std::uint8_t, std::string, cluster::PeerId, cluster::Address> choice;
    std::unique_ptr<Value> next;
    std::vector<Value> children;

    template <class Archive>
    void serialize(Archive& archive) {
        archive(flag, colour, text, wide, bits, set_of_bits, map, set, list, deque, choice, next, children);
    }
};

}  // namespace

void run(const std::uint8_t* data, std::size_t size) {
    std::error_code error;
    const auto value = cluster::decode<Value>(std::as_bytes(std::span(data, size)), error);
    if (error) return;
    const auto once = cluster::encode(value);
    if (once != cluster::encode(cluster::decode<Value>(once))) std::abort();
}

}  // namespace cluster::typed_fuzz
