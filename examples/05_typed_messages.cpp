// Values instead of bytes: any type that cereal can serialize is sent with encode() and received with as<T>().

#include <cluster/cluster.hpp>
#include <cluster/codec.hpp>
#include <cereal/types/variant.hpp>

#include <cstdint>
#include <iostream>
#include <string>
#include <system_error>
#include <variant>
#include <vector>

struct Order {
    std::uint64_t number = 0;
    std::vector<std::string> items;

    template <class Archive>
    void serialize(Archive& archive) {
        archive(number, items);
    }
};

struct Cancel {
    std::uint64_t number = 0;

    template <class Archive>
    void serialize(Archive& archive) {
        archive(number);
    }
};

using Request = std::variant<Order, Cancel>;                 // the bytes do not tell their type: this does
int main() {
    cluster::Node shop("127.0.0.1:0");
    cluster::Node store("127.0.0.1:0");
    shop.add(store.address());
    shop.broadcast(cluster::encode(Request(Order{7, {"tea", "cups"}})));
    shop.send(store.id(), cluster::encode(Request(Cancel{7})));
    shop.send(store.id(), "not a request");

    int items = 0, cancelled = 0, malformed = 0;
    for (const cluster::Message& message : store.inbox()) {
        std::error_code error;
        const auto request = message.as<Request>(error);     // without `error` it throws
        if (error) {
            std::cout << message.text() << ": " << error.message() << '\n';
            ++malformed;
            store.close();
        } else if (const auto* order = std::get_if<Order>(&request)) {
            for (const std::string& item : order->items) std::cout << ++items << ". " << item << '\n';
        } else {
            cancelled += std::get<Cancel>(request).number == 7;
        }
    }
    return items == 2 && cancelled == 1 && malformed == 1 ? 0 : 1;
}
