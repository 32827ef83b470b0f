#include "net/peers_file.hpp"

#include "net/support.hpp"

#include <cluster/cluster.hpp>
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <sys/resource.h>
#include <sys/stat.h>
#include <thread>
#include <vector>

using namespace cluster;
using namespace cluster::support;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

/// A folder of its own, gone with the test.
struct Folder {
    Folder() {
        std::string name = (fs::temp_directory_path() / "cluster-test-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path = name;
    }
    ~Folder() {
        // A node may be writing here for the last time.
        for (std::error_code busy; fs::exists(path, busy);) fs::remove_all(path, busy);
    }
    std::string operator/(std::string_view name) const { return (path / name).string(); }
    std::size_t size() const {
        return static_cast<std::size_t>(std::distance(fs::directory_iterator(path), fs::directory_iterator()));
    }
    fs::path path;
};

std::string text_in(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

void put(const std::string& path, std::string_view text) {
    std::ofstream(path, std::ios::binary) << text;
}

bool says(const std::string& path, const Address& address) {
    return text_in(path).find(address.to_string()) != std::string::npos;
}

/// Looks again and again: what a file says is no event.
template <class Condition>
bool comes_true(Condition what) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!what()) {
        if (std::chrono::steady_clock::now() > deadline) return false;
        std::this_thread::yield();
    }
    return true;
}

/// Three places in which nodes live one after the other, each with a file.
struct Places {
    Places() {
        for (std::size_t i = 0; i < 3; ++i) {
            do {
                address[i] = free_address();
            } while ((i > 0 && address[i] == address[0]) || (i > 1 && address[i] == address[1]));
            file[i] = folder / ("peers " + std::to_string(i));
        }
    }
    void start(std::size_t i, std::vector<std::string> seeds = {}) {
        Options options = quick();
        options.listen = address[i].to_string();
        options.seeds = std::move(seeds);
        options.peers_file = file[i];
        options.log = lines[i].sink();
        node[i] = std::make_unique<Node>(options);
    }
    void start_all() {
        for (std::size_t i = 0; i < 3; ++i) start(i, {address[0].to_string()});
        for (const auto& each : node) REQUIRE(each->wait_for_peers(2, patience));
    }

    Folder folder;
    Address address[3];
    std::string file[3];
    Lines lines[3];
    std::unique_ptr<Node> node[3];
};

Options with_file(std::string path) {
    Options options = quick();
    options.peers_file = std::move(path);
    return options;
}

}  // namespace

TEST_CASE("peers file: it is replaced as a whole, for its owner alone, and nothing stays beside it") {
    const Folder folder;
    const std::string path = folder / "peers";
    std::error_code error;
    CHECK(net::read_file(path, 100, error).text.empty());
    CHECK_FALSE(error);
    CHECK_FALSE(net::probe_replacing(path));
    CHECK(folder.size() == 0);
    put(path, "former");
    CHECK_FALSE(net::replace_file(path, "text"));
    CHECK(net::read_file(path, 4, error).text == "text");
    CHECK_FALSE(net::read_file(path, 4, error).longer);
    CHECK(net::read_file(path, 3, error).text == "tex");
    CHECK(net::read_file(path, 3, error).longer);
    CHECK_FALSE(error);
    struct stat facts {};
    REQUIRE(::stat(path.c_str(), &facts) == 0);
    CHECK((facts.st_mode & 0777) == 0600);
    CHECK(folder.size() == 1);
    CHECK_FALSE(net::replace_file(path, std::string(1 << 20, 'x')));
    CHECK(net::read_file(path, 1 << 18, error).text == std::string(1 << 18, 'x'));
}

TEST_CASE("peers file: what is no file is neither read nor replaced, and waited for by nobody") {
    const Folder folder;
    std::error_code error;
    fs::create_directory(folder / "folder");
    net::read_file(folder / "folder", 100, error);
    CHECK(error == std::errc::is_a_directory);
    CHECK(net::replace_file(folder / "folder", "text"));
    REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
    net::read_file(folder / "pipe", 100, error);
    CHECK(error);
    put(folder / "file", "text");
    fs::create_symlink(folder / "file", folder / "link");
    net::read_file(folder / "link", 100, error);
    CHECK(error == std::errc::too_many_symbolic_link_levels);
    CHECK(net::replace_file(folder / "nowhere/file", "text") == std::errc::no_such_file_or_directory);
    CHECK(net::probe_replacing(folder / "nowhere/file") == std::errc::no_such_file_or_directory);
    CHECK(text_in(folder / "file") == "text");
    CHECK(folder.size() == 4);
}

TEST_CASE("peers file: of several that write at once the last wins, and nobody ever reads a mixture") {
    const Folder folder;
    const std::string path = folder / "peers";
    put(path, std::string(20000, 'a'));
    std::atomic<int> mixtures{0};
    {
        std::vector<std::jthread> writers;
        for (const char letter : {'b', 'c'}) {
            writers.emplace_back([&, letter] {
                for (int i = 0; i < 20; ++i) net::replace_file(path, std::string(20000, letter));
            });
        }
        for (int i = 0; i < 200; ++i) {
            const std::string text = text_in(path);
            if (text.size() != 20000 || text != std::string(20000, text.front())) ++mixtures;
        }
    }
    CHECK(mixtures == 0);
    CHECK(folder.size() == 1);
}

TEST_CASE("peers file: where the disk is full the old one stays, nothing beside it, and no signal ends the process") {
    const Folder folder;
    const std::string path = folder / "peers";
    REQUIRE_FALSE(net::replace_file(path, "former"));
    rlimit former{};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &former) == 0);
    const rlimit narrow{1000, former.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &narrow);
    const std::error_code error = net::replace_file(path, std::string(20000, 'x'));
    ::setrlimit(RLIMIT_FSIZE, &former);
    CHECK(error == std::errc::file_too_large);
    CHECK(text_in(path) == "former");
    CHECK(folder.size() == 1);
}

TEST_CASE("peers file: a path that will never work is refused with a text that says what to do") {
    const Folder folder;
    fs::create_directory(folder / "folder");
    put(folder / "file", "");
    fs::create_symlink(folder / "file", folder / "link");
    const std::pair<std::string, std::vector<std::string_view>> rows[] = {
        {folder / "nowhere/peers", {"peers_file", "nowhere/peers", "No such file", "create its folder"}},
        {folder / "folder", {"peers_file", "Is a directory", "name a file"}},
        {folder / "file/peers", {"peers_file", "Not a directory"}},
        {folder / "link", {"peers_file", "symbolic link", "name the file itself"}},
        {folder / std::string(250, 'x'), {"peers_file", "too long"}},
        {std::string(5000, 'x'), {"peers_file", "5000"}},
        {"a\nb", {"peers_file", "control character"}},
    };
    for (const auto& row : rows) {
        const std::string& path = row.first;
        CAPTURE(path);
        try {
            const Node node(with_file(path));
            FAIL_CHECK("was accepted");
        } catch (const std::system_error& failure) {
            CAPTURE(failure.what());
            CHECK(failure.code() == errc::invalid_options);
            for (const std::string_view word : row.second) {
                CAPTURE(word);
                CHECK(std::string_view(failure.what()).find(word) != std::string_view::npos);
            }
        }
    }
}

TEST_CASE("peers file: after all were closed, any two that are started again without seeds find each other") {
    Places places;
    places.start_all();
    for (auto& each : places.node) each.reset();
    std::size_t first = 0;
    std::size_t second = 1;
    SUBCASE("the first and the second") {}
    SUBCASE("the first and the last") { second = 2; }
    SUBCASE("the second and the last") {
        first = 1;
        second = 2;
    }
    places.start(second);
    places.start(first);
    CHECK(places.node[first]->wait_for_peers(1, patience));
    CHECK(places.node[second]->wait_for_peers(1, patience));
    CHECK(places.node[first]->peers().at(0).id == places.node[second]->id());
}

TEST_CASE("peers file: after all were killed, those that are started again without seeds find each other") {
    Places places;
    places.start_all();
    // What a process that is killed leaves behind is what its file says now.
    std::string left[3];
    for (std::size_t i = 0; i < 3; ++i) {
        CHECK(comes_true([&] {
            left[i] = text_in(places.file[i]);
            return left[i].find(places.address[(i + 1) % 3].to_string()) != std::string::npos &&
                   left[i].find(places.address[(i + 2) % 3].to_string()) != std::string::npos;
        }));
    }
    for (auto& each : places.node) each.reset();
    for (std::size_t i = 0; i < 3; ++i) put(places.file[i], left[i]);
    places.start(2);
    places.start(1);
    CHECK(places.node[2]->wait_for_peers(1, patience));
    CHECK(places.node[1]->wait_for_peers(1, patience));
    places.start(0);
    for (const auto& each : places.node) CHECK(each->wait_for_peers(2, patience));
}

TEST_CASE("peers file: damage costs a warning and the lines that it hits") {
    Places places;
    places.start_all();
    places.node[0].reset();
    const std::string whole = text_in(places.file[0]);
    put(places.file[0], "x" + whole.substr(0, whole.size() - 1) + "x");
    places.start(0);
    CHECK(places.lines[0].wait_for("peers_file_damaged path=\"" + places.file[0] + "\" lines=2"));
    CHECK(places.node[0]->wait_for_peers(2, patience));  // who is found tells of the other
    places.node[0].reset();
    CHECK(says(places.file[0], places.address[1]));
    CHECK(says(places.file[0], places.address[2]));

    put(places.file[0], std::string(300'000, '\0'));
    places.start(0);
    CHECK(places.lines[0].wait_for("peers_file_cut"));
    CHECK(places.lines[0].wait_for("peers_file_damaged"));
    CHECK(places.lines[0].wait_for("peers=0"));
}

TEST_CASE("peers file: another cluster's file is ignored with a warning") {
    Places places;
    places.start_all();
    places.node[0].reset();
    Lines lines;
    Options options = with_file(places.file[0]);
    options.cluster = "another";
    options.log = lines.sink();
    Node node(options);
    CHECK(lines.wait_for("peers_file_ignored path=\"" + places.file[0] + "\" cluster=\"cluster\" why=wrong_cluster"));
    CHECK(lines.wait_for("peers=0"));
    CHECK(node.stats().dials == 0);
}

TEST_CASE("peers file: who left or was removed is not in it, and neither is the node itself") {
    Places places;
    places.start_all();
    places.node[1]->close();
    REQUIRE(comes_true([&] { return places.node[0]->peers().size() == 1; }));
    CHECK(comes_true([&] { return !says(places.file[0], places.address[1]); }));
    CHECK(comes_true([&] { return says(places.file[0], places.address[2]); }));
    places.node[0]->remove(places.node[2]->id());
    places.node[0]->close();
    CHECK(text_in(places.file[0]) == "cluster-peers 1 cluster\n");
    REQUIRE(comes_true([&] { return places.node[2]->peers().empty(); }));
    places.node[2]->close();
    CHECK(text_in(places.file[2]) == "cluster-peers 1 cluster\n");
    // It was the first to leave, so the others are all there as far as it knows.
    CHECK(says(places.file[1], places.address[0]));
    CHECK(says(places.file[1], places.address[2]));
    CHECK_FALSE(says(places.file[1], places.address[1]));
}

TEST_CASE("peers file: who leaves between the look at the view and the writing is not in it") {
    const Folder folder;
    const std::string path = folder / "peers";
    const net::Context context;
    const auto loop = context.loop();
    const auto file = std::make_shared<net::PeersFile>(path, "orders", std::chrono::hours(1), loop,
                                                       [](LogLevel, const std::string&) {});
    const core::Whereabouts bob{PeerId{{2}}, "bob", {{"10.0.0.2", 7000}}};
    const core::Whereabouts eve{PeerId{{3}}, "eve", {{"10.0.0.3", 7000}}};
    std::promise<void> written;
    std::atomic<bool> first = true;
    file->start([&]() -> std::optional<std::vector<core::Whereabouts>> {
        if (!first.exchange(false)) return std::nullopt;
        file->departed(bob.id);
        loop->call([&] { written.set_value(); });
        return std::vector{bob, eve};
    });
    asio::post(loop->io(), [file] { file->changed(); });
    written.get_future().wait();
    CHECK_FALSE(says(path, bob.addresses.front()));
    CHECK(says(path, eve.addresses.front()));
    std::promise<void> ended;
    asio::post(loop->io(), [&] {
        file->end();
        ended.set_value();
    });
    ended.get_future().wait();
    file->finish();
}

TEST_CASE("peers file: what it says stays although nobody can be reached") {
    Places places;
    places.start_all();
    places.node[0].reset();
    const std::string before = text_in(places.file[0]);
    for (auto& each : places.node) each.reset();
    for (int i = 0; i < 3; ++i) {
        places.start(0);
        CHECK(places.lines[0].wait_for("remembered_unreachable"));
        places.node[0].reset();
        CHECK(text_in(places.file[0]) == before);
    }
}

TEST_CASE("peers file: a peer that fails stays in it") {
    const Folder folder;
    Reached bob(quick());
    Options options = with_file(folder / "peers");
    options.suspicion = 700ms;
    Reached ann(options);
    ann.node->add(bob.proxy.address());
    ann.proxy.hold();
    bob.proxy.hold();
    CHECK(comes_true([&] { return ann.node->peers().empty(); }));
    ann.node->close();
    CHECK(says(folder / "peers", bob.proxy.address()));
}

TEST_CASE("peers file: when it cannot be written the log says so once, the node goes on, and it is tried again") {
    Places places;
    fs::create_directory(places.folder / "state");
    places.file[0] = places.folder / "state/peers";
    places.start(0);
    fs::remove_all(places.folder / "state");
    places.start(1, {places.address[0].to_string()});
    CHECK(places.lines[0].wait_for("peers_file_not_written path=\"" + places.file[0] + "\" text=\"No such file"));
    CHECK(places.node[0]->broadcast("still here") == 1);
    fs::create_directory(places.folder / "state");
    places.start(2, {places.address[0].to_string()});
    CHECK(comes_true([&] { return says(places.file[0], places.address[2]); }));
    CHECK(says(places.file[0], places.address[1]));
}

TEST_CASE("peers file: peers that stay do not look old in it") {
    const Folder folder;
    Options options = with_file(folder / "peers");
    options.attach_timeout = 500ms;
    options.handshake_timeout = 1100ms;
    options.resume_for = 1200ms;
    options.forget_after = 1300ms;
    Node ann(options);
    Node bob(quick());
    ann.add(bob.address());
    std::string first;
    CHECK(comes_true([&] { return (first = text_in(folder / "peers")).find("127.0.0.1") != std::string::npos; }));
    CHECK(comes_true([&] { return text_in(folder / "peers") != first; }));
    CHECK(says(folder / "peers", bob.address()));
}

TEST_CASE("peers file: it is written wherever the node is closed") {
    const Folder folder;
    const std::string path = folder / "peers";
    Node bob(quick());
    Events<bool> done;
    auto ann = std::make_unique<Node>(with_file(path));
    SUBCASE("in a callback") {
        const auto subscription = ann->on_peer_added([&](const Peer&) {
            ann->close();
            done.put(says(path, bob.address()));
        });
        add_error(*ann, bob.address().to_string());  // which may be overtaken by the callback
        CHECK(done.take() == true);
        ann.reset();
    }
    SUBCASE("in a callback that waits in vain for the thread that closes it") {
        std::mutex mutex;
        Events<bool> called;
        const auto subscription = ann->on_peer_added([&](const Peer&) {
            called.put(true);
            const std::lock_guard lock(mutex);
        });
        {
            const std::lock_guard lock(mutex);
            ann->add(bob.address());
            CHECK(called.take() == true);
            ann->close();
            CHECK(says(path, bob.address()));
        }
    }
    SUBCASE("destroyed on its I/O thread") {
        ann->on_message([&](const Message&) {
            ann.reset();
            done.put(true);
        });
        ann->add(bob.address());
        CHECK(comes_true([&] { return says(path, bob.address()); }));
        fs::remove(path);
        bob.broadcast("go");
        CHECK(done.take() == true);
        CHECK(comes_true([&] { return says(path, bob.address()); }));
    }
}

TEST_CASE("peers file: a start at a place where many were before dials each place once") {
    // They accept and say nothing: who speaks also tells of others, and is dialled back if it dials.
    const std::array<Socket, 2> silent;
    std::vector<core::Whereabouts> before;
    Options options = quick();
    options.reconnect_min = options.reconnect_max = patience;  // a dial that takes its time is not repeated
    for (std::size_t i = 0; i < silent.size(); ++i) {
        const Address address = silent[i].bind();
        silent[i].listen();
        options.seeds.push_back(address.to_string());
        PeerId id;
        id.bytes.fill(static_cast<std::uint8_t>(i + 1));
        before.push_back({id, "", {address}});
    }
    core::KnownPeers known(options.cluster, 1h);
    known.observe(before, 0s);
    const Folder folder;
    options.peers_file = folder / "peers";
    put(options.peers_file, known.text({0s, std::chrono::system_clock::now().time_since_epoch()}));
    Lines lines;
    options.log = lines.sink();
    const Node node(options);
    REQUIRE(lines.wait_for("peers=2"));
    for (const Socket& each : silent) REQUIRE(each.accept().valid());
    CHECK(node.stats().dials == 2);
}
