// A program that has an event loop already: timers, signals and messages meet on one strand, and need no lock.

#include <cluster/asio.hpp>
#include <cluster/cluster.hpp>

#include <asio.hpp>

#include <iostream>

struct Program {
    Program(asio::io_context& io, cluster::Node& node) : strand_(make_strand(io)), node_(node), timer_(strand_) {
        signals_.async_wait([this](std::error_code error, int) { if (!error) stop(); });
        receive();
        tick();
    }

    void receive() {
        node_.inbox().async_receive(bind_executor(strand_, [this](std::error_code error, cluster::Message message) {
            if (error) return;  // the node is closed
            std::cout << message.text() << '\n';
            if (++received_ == 3) stop();
            receive();
        }));
    }
    void tick() {
        timer_.expires_after(std::chrono::milliseconds(10));
        timer_.async_wait([this](std::error_code) {
            // Not `broadcast`: waiting for room would stop the loop.
            node_.async_broadcast("tick", bind_executor(strand_, [this](std::error_code error, std::size_t) {
                if (!error) tick();
            }));
        });
    }
    void stop() {
        signals_.cancel();
        node_.async_close(asio::detached);
    }

    asio::strand<asio::io_context::executor_type> strand_;
    cluster::Node& node_;
    asio::steady_timer timer_;
    asio::signal_set signals_{strand_, SIGINT, SIGTERM};
    int received_ = 0;
};

int main() {
    asio::io_context io;
    cluster::Node echo("127.0.0.1:0");
    echo.on_message([&](const cluster::Message& message) { echo.try_send(message.from(), message.text()); });
    cluster::Node node("127.0.0.1:0");
    node.add(echo.address());
    const Program program(io, node);
    io.run();  // until nothing is under way any more
    return program.received_ >= 3 ? 0 : 1;
}
