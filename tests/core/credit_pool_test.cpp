#include "core/credit_pool.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

using namespace cluster;
using namespace cluster::core;

namespace {

constexpr std::uint64_t mib = 1 << 20;
constexpr std::uint64_t max_message = 2 * mib;

/// One peer's receiving end, and what its application has not taken yet.
struct Reader {
    explicit Reader(std::uint64_t session) : share{.session = session} {}

    /// One DATA frame with a body of so many bytes; false if credit does not allow it.
    bool receive(std::size_t body, bool more = false) {
        if (intake.limit() - intake.received() < body + FrameHeader::size) return false;
        detail::BlockRef block = detail::Block::allocate(body + FrameHeader::size);
        std::fill_n(block->data(), block->size(), std::byte{0});
        FrameHeader{static_cast<std::uint32_t>(body)}.write(block->data());
        std::vector<Batch> out;
        const auto rule = intake.accept({block, {block->data(), block->size()}, 1, 0, more}, {}, out);
        REQUIRE_FALSE(rule);
        for (const Batch& batch : out) untaken.push_back(batch.charge);
        return true;
    }
    std::uint64_t take() {
        std::uint64_t all = 0;
        for (const std::uint64_t charge : std::exchange(untaken, {})) all += charge;
        intake.consume(all);
        return all;
    }
    std::uint64_t window() const { return intake.limit() - intake.consumed(); }

    detail::BlockPool blocks;
    Intake intake{max_message, blocks};
    CreditPool::Share share;
    std::deque<std::uint64_t> untaken;
};

}  // namespace

TEST_CASE("every session may send its base window, even when others have all the rest") {
    CreditPool pool(8 * mib, 8, max_message);
    std::vector<std::unique_ptr<Reader>> readers;
    for (std::uint64_t i = 1; i <= 8; ++i) {
        readers.push_back(std::make_unique<Reader>(i));
        pool.grow(readers.back()->share, readers.back()->intake, false);
        for (int j = 0; j < 10; ++j) pool.grow(readers.front()->share, readers.front()->intake, true);
    }
    for (const auto& reader : readers) CHECK(reader->window() >= CreditPool::base_window);
}

TEST_CASE("sessions whose messages are taken end with equal windows, which leave room for another") {
    CreditPool pool(16 * mib, 8, max_message);
    std::vector<std::unique_ptr<Reader>> readers;
    for (std::uint64_t i = 1; i <= 4; ++i) {
        readers.push_back(std::make_unique<Reader>(i));
        pool.grow(readers.back()->share, readers.back()->intake, false);
    }
    for (int round = 0; round < 200; ++round) {
        for (const auto& reader : readers) {
            while (reader->receive(60000)) {}
            reader->take();
            pool.grow(reader->share, reader->intake, true);
        }
    }
    std::uint64_t least = ~std::uint64_t{0};
    std::uint64_t most = 0;
    for (const auto& reader : readers) {
        least = std::min(least, reader->window());
        most = std::max(most, reader->window());
    }
    CHECK(least > mib);
    CHECK(most - least < most / 10);
}

TEST_CASE("a message longer than its window finishes with the help of a permit") {
    CreditPool pool(8 * mib, 8, max_message);
    Reader reader(1);
    pool.grow(reader.share, reader.intake, false);
    for (std::size_t sent = 0; sent < max_message; sent += max_chunk) {
        REQUIRE(reader.receive(max_chunk, sent + max_chunk < max_message));
        if (reader.intake.partial()) pool.grow(reader.share, reader.intake, false);
    }
    CHECK(reader.untaken.size() == 1);
    CHECK(reader.share.permit);
    reader.take();
    pool.grow(reader.share, reader.intake, true);
    CHECK_FALSE(reader.share.permit);
}

TEST_CASE("a long message finishes though the application keeps what it took to itself for a while") {
    // Readers report what they have taken only from 32 KiB on.
    CreditPool pool(8 * mib, 8, max_message);
    for (const std::size_t unreported : {std::size_t{8}, std::size_t{1000}, std::size_t{32000}}) {
        CAPTURE(unreported);
        Reader reader(1);
        pool.grow(reader.share, reader.intake, false);
        REQUIRE(reader.receive(unreported));
        for (std::size_t sent = 0; sent < max_message; sent += max_chunk) {
            REQUIRE(reader.receive(max_chunk, sent + max_chunk < max_message));
            if (reader.intake.partial()) pool.grow(reader.share, reader.intake, false);
        }
        reader.take();
        pool.grow(reader.share, reader.intake, true);
        pool.release(reader.share, reader.intake);
    }
}

TEST_CASE("the permit goes from one long message to the next, and none is forgotten") {
    CreditPool pool(8 * mib, 8, max_message);  // the reserve of 2 MiB is room for one permit, but there are two
    std::map<std::uint64_t, std::unique_ptr<Reader>> readers;
    std::map<std::uint64_t, std::size_t> left;
    for (std::uint64_t i = 1; i <= 5; ++i) {
        readers[i] = std::make_unique<Reader>(i);
        left[i] = max_message / max_chunk;
        pool.grow(readers[i]->share, readers[i]->intake, false);
    }
    std::size_t finished = 0;
    for (int round = 0; round < 1000 && finished < 5; ++round) {
        for (auto& [id, reader] : readers) {
            if (left[id] == 0) continue;
            if (reader->receive(max_chunk, left[id] > 1)) --left[id];
            if (reader->intake.partial()) pool.grow(reader->share, reader->intake, false);
            if (left[id] > 0) continue;
            ++finished;
            reader->take();
            pool.grow(reader->share, reader->intake, false);
            while (const std::uint64_t waiting = pool.next_waiting()) {
                readers[waiting]->share.waits_for_permit = false;
                pool.grow(readers[waiting]->share, readers[waiting]->intake, false);
            }
        }
        std::size_t permits = 0;
        for (auto& [id, reader] : readers) permits += reader->share.permit;
        REQUIRE(permits <= 2);
    }
    CHECK(finished == 5);
}
