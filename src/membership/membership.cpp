#include <cluster/membership.hpp>

#include "membership/members_state.hpp"
#include "membership/membership_host.hpp"
#include "net/system.hpp"
#include "support/deadline.hpp"
#include "support/may_wait.hpp"
#include "support/waited.hpp"

#include <algorithm>
#include <ostream>
#include <string>

namespace cluster {

namespace {

void throw_if(const std::error_code& error, const std::string& doing, const MemberId& id) {
    if (error) throw std::system_error(error, doing + " " + id.to_string());
}

/// A UUID of version 4: 122 random bits.
MemberId draw_member_id() {
    MemberId id;
    net::fill_random(id.bytes);
    id.bytes[6] = static_cast<std::uint8_t>((id.bytes[6] & 0x0f) | 0x40);
    id.bytes[8] = static_cast<std::uint8_t>((id.bytes[8] & 0x3f) | 0x80);
    return id;
}

/// The record of a `Member` that stands for no member.
const detail::MemberRecord& no_record() {
    static const detail::MemberRecord none;
    return none;
}

const detail::MemberRecord& record_of(const Member& member) {
    return member.enrolled() != nullptr ? *member.enrolled()->record : no_record();
}

}  // namespace

// What a view shows.

const MemberId& Member::id() const noexcept {
    return record_of(*this).id;
}

const PeerId& Member::owner() const noexcept {
    return record_of(*this).owner;
}

std::span<const std::byte> Member::data() const noexcept {
    return record_of(*this).data;
}

std::string_view Member::text() const noexcept {
    return {reinterpret_cast<const char*>(data().data()), data().size()};
}

bool operator==(const Member& a, const Member& b) noexcept {
    const detail::MemberRecord& one = record_of(a);
    const detail::MemberRecord& other = record_of(b);
    return a.suspect() == b.suspect() && one.id == other.id && one.owner == other.owner && one.data == other.data;
}

std::uint64_t MemberView::version() const noexcept {
    return list_ ? list_->version : 0;
}

bool MemberView::complete() const noexcept {
    return list_ && list_->complete;
}

std::size_t MemberView::size() const noexcept {
    return list_ ? list_->members.size() : 0;
}

const Member* MemberView::begin() const noexcept {
    return list_ ? list_->members.data() : nullptr;
}

const Member* MemberView::find(const MemberId& id) const noexcept {
    const Member* const found =
        std::lower_bound(begin(), end(), id, [](const Member& member, const MemberId& to) { return member.id() < to; });
    return found != end() && found->id() == id ? found : nullptr;
}

std::string_view to_string(MemberEvent event) noexcept {
    switch (event) {
        case MemberEvent::joined: return "joined";
        case MemberEvent::updated: return "updated";
        case MemberEvent::left: return "left";
        case MemberEvent::expired: return "expired";
    }
    return "unknown";
}

std::ostream& operator<<(std::ostream& out, MemberEvent event) {
    return out << to_string(event);
}

// Reading.

std::optional<MemberUpdate> MemberWatch::next() {
    return state_->next(detail::for_ever);
}

std::optional<MemberUpdate> MemberWatch::next_for(std::chrono::nanoseconds duration) {
    if (duration <= std::chrono::nanoseconds(0)) return try_next();
    return state_->next(detail::deadline_after(duration));
}

std::optional<MemberUpdate> MemberWatch::try_next() {
    return state_->next(detail::no_wait);
}

bool MemberWatch::at_end() const {
    return state_->at_end();
}

void MemberWatch::close() {
    state_->close();
}

void MemberWatch::wait(std::shared_ptr<detail::Operation> operation) const {
    if (!state_->wait(operation)) operation->wake();
}

bool MemberWatch::stop_waiting(const detail::Operation& operation) const {
    return state_->stop_waiting(operation);
}

bool MemberWatch::call_back(std::function<void()> work) const {
    return state_->call_back(std::move(work));
}

MemberWatch::Iterator MemberWatch::begin() {
    Iterator first(state_);
    ++first;
    return first;
}

MemberWatch::Iterator& MemberWatch::Iterator::operator++() {
    update_.reset();  // releases what was read before a wait, which may take long
    update_ = state_->next(detail::for_ever);
    return *this;
}

MemberView Members::snapshot() const {
    return state_->snapshot();
}

MemberWatch Members::watch() const {
    return MemberWatch(std::make_shared<detail::WatchState>(state_));
}

Subscription Members::on_change(std::function<void(const MemberUpdate&)> callback) const {
    return state_->on_change(std::move(callback));
}

// Writing.

/// What a `Membership` stands for. Thread-safe.
class detail::MembershipState {
public:
    explicit MembershipState(std::shared_ptr<MembershipHost> host)
        : host_(std::move(host)),
          id_(draw_member_id()),
          record_(std::make_shared<const MemberRecord>(MemberRecord{id_, host_->owner(), {}})) {}

    /// False in a child made by `fork`: the membership goes on in the parent.
    bool is_here() const noexcept { return origin_.is_here(); }
    const MemberId& id() const noexcept { return id_; }
    std::vector<std::byte> data() const {
        const Lock lock(mutex_);
        return record_->data;
    }
    bool enrolled() const {
        const Lock lock(mutex_);
        return enrolled_;
    }

    std::error_code set_data(Payload& payload) {
        if (payload.view().size() > host_->max_data()) return errc::member_data_too_large;
        auto record = std::make_shared<const MemberRecord>(MemberRecord{id_, host_->owner(), payload.to_bytes()});
        Woken woken;  // outlives the lock
        const Lock lock(mutex_);
        if (record->data == record_->data) return {};
        if (enrolled_) {
            const std::error_code error = host_->put(record, woken);
            if (error && error != errc::closed) return error;  // if the node has closed, the data is kept all the same
        }
        record_ = std::move(record);
        return {};
    }

    std::error_code enroll(seen_by who, std::chrono::nanoseconds timeout) {
        if (would_block(who, timeout)) return errc::would_block;
        {
            Woken woken;
            const Lock lock(mutex_);
            if (const std::error_code error = host_->put(record_, woken)) return error;
            enrolled_ = true;
        }
        return wait(who, timeout);
    }

    std::error_code withdraw(seen_by who, std::chrono::nanoseconds timeout) {
        if (would_block(who, timeout)) return errc::would_block;
        {
            Woken woken;
            const Lock lock(mutex_);
            if (enrolled_) host_->erase(id_, woken);
            enrolled_ = false;
        }
        return wait(who, timeout);
    }

private:
    static bool would_block(seen_by who, std::chrono::nanoseconds timeout) {
        return who == seen_by::all_peers && timeout > std::chrono::nanoseconds(0) && !may_wait();
    }

    std::error_code wait(seen_by who, std::chrono::nanoseconds timeout) const {
        if (who == seen_by::this_node) return {};
        const Deadline deadline = deadline_after(timeout);
        const auto operation = std::make_shared<Waited<WaitOperation>>();
        host_->wait_until_seen(operation);
        operation->wait(deadline, [&] { operation->cancel(); });
        return operation->error == errc::cancelled ? make_error_code(errc::timed_out) : operation->error;
    }

    const Origin origin_;
    const std::shared_ptr<MembershipHost> host_;
    const MemberId id_;

    mutable Mutex mutex_;
    std::shared_ptr<const MemberRecord> record_ GUARDED_BY(mutex_);
    bool enrolled_ GUARDED_BY(mutex_) = false;
};

Membership::Membership(std::shared_ptr<detail::MembershipHost> host)
    : state_(std::make_unique<detail::MembershipState>(std::move(host))) {}

Membership::Membership(Membership&&) noexcept = default;

Membership& Membership::operator=(Membership&& other) noexcept {
    const Membership former(std::move(*this));
    state_ = std::move(other.state_);
    return *this;
}

Membership::~Membership() {
    if (!state_) return;
    if (state_->is_here()) {
        state_->withdraw(seen_by::this_node, {});
    } else {
        detail::keep_for_ever(std::shared_ptr<detail::MembershipState>(std::move(state_)));
    }
}

const MemberId& Membership::id() const noexcept {
    return state_->id();
}

std::vector<std::byte> Membership::data() const {
    return state_->data();
}

bool Membership::enrolled() const {
    return state_->enrolled();
}

void Membership::set_data(Payload data) {
    throw_if(state_->set_data(data), "setting the data of", id());
}

void Membership::set_data(Payload data, std::error_code& error) {
    error = state_->set_data(data);
}

void Membership::enroll(seen_by who, std::chrono::nanoseconds timeout) {
    throw_if(state_->enroll(who, timeout), "enrolling", id());
}

void Membership::enroll(seen_by who, std::chrono::nanoseconds timeout, std::error_code& error) {
    error = state_->enroll(who, timeout);
}

void Membership::withdraw(seen_by who, std::chrono::nanoseconds timeout) {
    throw_if(state_->withdraw(who, timeout), "withdrawing", id());
}

void Membership::withdraw(seen_by who, std::chrono::nanoseconds timeout, std::error_code& error) {
    error = state_->withdraw(who, timeout);
}

}  // namespace cluster
