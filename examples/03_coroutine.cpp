// Questions and answers between coroutines on a thread of the application's own.

#include <cluster/asio.hpp>
#include <cluster/cluster.hpp>

#include <asio.hpp>
#include <asio/experimental/awaitable_operators.hpp>

#include <iostream>
#include <string>

using asio::use_awaitable;
using namespace asio::experimental::awaitable_operators;

/// Answers every question with its length, until the node closes.
asio::awaitable<void> answer(cluster::Node& node) {
    std::error_code error;
    for (;;) {
        const cluster::Message question = co_await node.inbox().async_receive(redirect_error(use_awaitable, error));
        if (error) co_return;
        co_await node.async_send(question.from(), std::to_string(question.size()), use_awaitable);
    }
}

asio::awaitable<void> ask(cluster::Node& ann, cluster::Node& bob, int& right) {
    co_await ann.async_add(bob.address(), use_awaitable);
    for (const std::string question : {"a", "bcd", "efghi"}) {
        co_await ann.async_broadcast(question, use_awaitable);
        // Whichever comes first ends the other; a message that comes too late stays in the inbox.
        asio::steady_timer limit(co_await asio::this_coro::executor, std::chrono::seconds(5));
        const auto result = co_await (ann.inbox().async_receive(use_awaitable) || limit.async_wait(use_awaitable));
        if (result.index() != 0) break;
        std::cout << question << " has " << std::get<0>(result).text() << " letters\n";
        if (std::get<0>(result).text() == std::to_string(question.size())) ++right;
    }
    co_await bob.async_close(use_awaitable);
}

int main() {
    asio::io_context io;
    cluster::Node ann("127.0.0.1:0");
    cluster::Node bob("127.0.0.1:0");
    int right = 0;
    asio::co_spawn(io, answer(bob), asio::detached);
    asio::co_spawn(io, ask(ann, bob, right), asio::detached);
    io.run();
    return right == 3 ? 0 : 1;
}
