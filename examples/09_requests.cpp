// Questions and answers: a reply, an error, a question that nobody answers, and one for everybody.

#include <cluster/cluster.hpp>

#include <chrono>
#include <iostream>
#include <string>
#include <system_error>
#include <thread>

using namespace std::chrono_literals;

/// Replies to questions until it goes.
struct Store {
    explicit Store(int cups) : thread([this, cups] {
        for (const cluster::Message& message : node.inbox()) {
            if (message.text() == "how many cups?") message.reply(std::to_string(cups));
            if (message.text() == "how much tea?") message.reply_error(404, "we have no tea");
        }  // anything else is dropped, which ends its request at once
    }) {}
    ~Store() {
        node.close();  // which ends the inbox
        thread.join();
    }

    cluster::Node node{"127.0.0.1:0"};
    std::thread thread;
};

int main() {
    Store north(3), south(4);
    cluster::Node shop("127.0.0.1:0");
    north.node.add(south.node.address());
    shop.add(north.node.address());
    if (!shop.wait_for_peers(2, 30s)) return 1;

    const cluster::Message reply = shop.request(north.node.id(), "how many cups?", 30s);  // throws if no answer comes
    std::cout << "north has " << reply.text() << " cups\n";

    std::error_code no_tea, unanswered;
    const cluster::Message why = shop.request(north.node.id(), "how much tea?", 30s, no_tea);
    std::cout << "error " << no_tea.value() << ": " << why.text() << '\n';
    shop.request(south.node.id(), "who are you?", 30s, unanswered);
    std::cout << unanswered.message() << '\n';

    int cups = 0;
    for (const cluster::Answer& each : shop.request_all("how many cups?", 30s)) {
        if (!each.error) cups += std::stoi(std::string(each.message.text()));
    }
    std::cout << cups << " cups in all\n";
    const bool error_came = no_tea.category() == cluster::reply_category() && no_tea.value() == 404;
    return reply.text() == "3" && cups == 7 && error_came && unanswered == cluster::errc::unanswered ? 0 : 1;
}
