"""What sessions of clients outside survive, and what ends them."""
import signal
import time

from clients import EXPIRED, NO_LEADER, TOO_SLOW, Crowd, go_on, holds
from replicas import KILLED, SILENT, Group
from world import SECOND, Failure, claim, join, pause, split, until

SESSIONS = "faults+replicas"
PATIENCE = 1.0  # how long a client waits for one node before it asks the next one
ISOLATED = 4.0  # a leader that is cut off knows within 1.4 s, and says so a little later; then others are asked in turn

def served(here, names="abc", **options):
    """A group and its clients, who call all the time."""
    group = Group(here, names=names, service="registers", snapshot_every=65536, compare_every=65536)
    crowd = Crowd(here, "client", group, clients=3, session_timeout=30_000, **options)
    crowd.ask("load", 50, 10_000)
    go_on([crowd])
    return group, crowd

def gap(crowd, since, most):
    """The longest time since then in which one of these clients had nothing acknowledged that it had asked for."""
    longest = {}
    for life, outcomes in list(crowd.outcomes.items()):
        times = [since, *(said["at"] for said in list(outcomes)
                          if said["outcome"] == "done" and said["what"] != "stale" and said["at"] >= since)]
        longest[life] = max((b - a for a, b in zip(times, times[1:])), default=SECOND * 1000) / SECOND
    print("gap: " + ", ".join(f"{life} {seconds:.3f} s" for life, seconds in longest.items()))
    if max(longest.values()) > most:
        raise Failure(f"the gap was longer than {most} s")

@claim("clients go on at once when the leader is killed, three times, with the session that they have", SESSIONS)
def clients_leader_killed(here):
    group, crowd = served(here)
    for _ in range(3):
        leader = group.leader()
        at = group.kill(leader)
        pause(1)
        gap(crowd, at, KILLED)
        group.start(leader.name)
        group.leader(20)
    go_on([crowd])
    holds(group, [crowd])

@claim("sessions survive that all nodes are restarted one after the other, by leaving and by SIGKILL, and clients hardly "
       "wait", SESSIONS + "+long")
def clients_all_restarted_in_turn(here):
    group, crowd = served(here)
    at = time.monotonic_ns()
    for leaves in True, False:
        for name in group.names:
            voter = group.now[name]
            if leaves:
                group.now.pop(name)
                voter.leave()
            else:
                group.kill(voter)
            group.start(name)
            group.leader(20)
            pause(0.5)
    gap(crowd, at, KILLED)
    go_on([crowd])
    holds(group, [crowd])

@claim("sessions survive that the whole group is killed and started again, with all that is outstanding", SESSIONS)
def clients_all_killed(here):
    group, crowd = served(here)
    for _ in range(2):
        voters = list(group.now.values())
        for voter in voters:
            voter.signal(signal.SIGKILL)
        for voter in voters:
            group.kill(voter)
        pause(1)
        for name in group.names:
            group.start(name)
        go_on([crowd])
    holds(group, [crowd])

@claim("the session of a client that stands still expires, though the leader is killed meanwhile, and not before its time",
       SESSIONS + "+long")
def clients_expire_across_failover(here):
    group, crowd = served(here)
    timeout = 3.0
    still = Crowd(here, "still", group, clients=2, session_timeout=int(timeout * 1000), may_end=[EXPIRED])
    still.ask("load", 20, 1000)
    go_on([still])
    still.stop()
    begun = time.monotonic()
    pause(timeout / 2)
    group.kill(group.leader())
    led = time.monotonic()

    def sessions():
        state = next(iter(group.now.values())).one("state")["registers"]
        return [each["name"] for each in state["watchers"].values() if each["name"].startswith("still")]

    while sessions():
        if time.monotonic() > led + timeout + SILENT:
            raise Failure(f"they have not expired: {sessions()}")
        if time.monotonic() < begun + timeout and len(sessions()) < 2:
            raise Failure("one has expired too early")
        pause(0.05)
    print(f"expired {time.monotonic() - led:.2f} s after the new leader had to begin anew")
    if time.monotonic() < led + timeout - 0.5:
        raise Failure("the new leader has not begun anew")
    still.go_on()
    until(lambda: all(any(phase == "ended" for phase, _, _ in still.phases[life]) for life in ("still0-1", "still1-1")),
          10, "the clients are told")
    go_on([crowd, still])
    holds(group, [crowd, still])

@claim("a client that takes nothing of what it is sent is closed for that and told so, and nobody else notices", SESSIONS)
def clients_slow_reader(here):
    group, crowd = served(here)
    slow = Crowd(here, "slow", group, clients=1, deaf=1, inbox_bytes=65536, session_timeout=30_000, may_end=[TOO_SLOW])
    until(lambda: any(phase == "open" for phase, _, _ in slow.phases["slow0-1"]), 5, "it has a session")
    for sent in range(60):
        if why := crowd.one("flood", 500_000):
            raise Failure("the service cannot push: " + why)
        if slow.phases["slow0-1"][-1][0] == "ended":
            break
    print(f"closed after {sent + 1} pushes of 500,000 bytes")
    until(lambda: slow.phases["slow0-1"][-1][0] == "ended", 5, "it is told that it was too slow")
    if sent < (16 << 20) // 500_000:
        raise Failure("it was closed before 16 MiB were kept for it")
    go_on([crowd])
    holds(group, [crowd, slow])

@claim("clients behind a node that is cut off from the others find another one, whether it has led or not",
       SESSIONS + "+long")
def clients_behind_one_cut_off(here):
    group, crowd = served(here)
    leader = group.leader()
    follower = group.others(leader)[0]
    for cut in follower, leader:
        others = [voter for voter in group.now.values() if voter != cut]
        at = time.monotonic_ns()
        split([cut.host], [voter.host for voter in others])
        pause(5)
        gap(crowd, at, ISOLATED)
        late = Crowd(here, "late-" + cut.name, group, names=[cut.name, *(voter.name for voter in others)], clients=1,
                     session_timeout=30_000)
        late.ask("load", 20, 5000)
        go_on([late], 5)
        late.ask("hush")
        join()
        group.leader(20)
    go_on([crowd])
    holds(group, [member for member in here.members if isinstance(member, Crowd)])

@claim("clients that cannot reach the leader keep their sessions, and go on as soon as another one leads", SESSIONS)
def clients_cut_off_from_leader(here):
    group, crowd = served(here)
    leader = group.leader()
    split([crowd.host], [leader.host])
    pause(3)
    if any(crowd.acknowledged(time.monotonic_ns() - SECOND).values()):
        raise Failure("something was acknowledged, though the leader cannot be reached")
    at = time.monotonic_ns()
    if why := leader.one("transfer", group.others(leader)[0].name):
        raise Failure("leadership was not handed over: " + why)
    go_on([crowd], 5)
    print(f"all went on within {(time.monotonic_ns() - at) / SECOND:.2f} s")
    join()
    holds(group, [crowd])

@claim("clients that know one node only are led to the leader by it, follow to the next one, and do not miss that node "
       "when it is killed", SESSIONS)
def clients_know_one_node(here):
    group = Group(here, service="registers")
    leader = group.leader()
    known = group.others(leader)[0]
    crowd = Crowd(here, "client", group, names=known.name, clients=3, session_timeout=30_000)
    crowd.ask("load", 50, 10_000)
    go_on([crowd], 5)
    at = group.kill(leader)
    group.start(leader.name)
    pause(1)
    gap(crowd, at, KILLED)
    leader = group.leader()
    if leader == known:
        leader = group.others(known)[0]
        if why := known.one("transfer", leader.name):
            raise Failure("leadership was not handed over: " + why)
    at = group.kill(known)
    pause(1)
    gap(crowd, at, KILLED)
    group.start(known.name)
    go_on([crowd], 5)
    holds(group, [crowd])

@claim("clients give up when no majority is left for longer than they will wait, and say that nobody leads", SESSIONS)
def clients_give_up(here):
    group = Group(here, service="registers")
    leader = group.leader()
    crowd = Crowd(here, "client", group, clients=2, session_timeout=3000, give_up_after=3000, may_end=[NO_LEADER])
    crowd.ask("load", 50, 10_000)
    go_on([crowd])
    crowd.ask("hush")
    others = group.others(leader)
    for voter in others:
        group.kill(voter)
    at = time.monotonic()
    until(lambda: all(crowd.phases[life][-1][0] == "ended" for life in ("client0-1", "client1-1")), 8, "they give up")
    print(f"they gave up {time.monotonic() - at:.2f} s after the majority was gone")
    if time.monotonic() - at < 2.9:
        raise Failure("that was too early")
    for voter in others:
        group.start(voter.name)
    group.leader(20)
    crowd.ask("load", 50, 10_000)
    go_on([crowd])
    pause(0.5)
    holds(group, [crowd])

@claim("two leaders that fail one after the other and return at the same time lose nothing, and clients go on", SESSIONS)
def clients_two_leaders_fail(here):
    group, crowd = served(here)
    first = group.leader()
    group.kill(first)
    second = group.leader(20)
    group.kill(second)
    pause(0.5)
    for voter in first, second:
        group.start(voter.name)
    go_on([crowd])
    group.leader(20)
    holds(group, [crowd])

@claim("a follower that has missed three terms and two snapshots catches up, and the others do not wait for it", SESSIONS)
def clients_follower_terms_behind(here):
    group, crowd = served(here, "abcde")
    behind = group.others(group.leader())[0]
    group.kill(behind)
    for _ in range(3):
        leader = group.leader(20)
        at = group.kill(leader)
        pause(1)
        gap(crowd, at, KILLED)
        if why := group.leader(20).one("snapshot"):
            raise Failure("no snapshot was taken: " + why)
        group.start(leader.name)
    at = time.monotonic_ns()
    group.start(behind.name)
    pause(1)
    gap(crowd, at, KILLED)
    holds(group, [crowd])

@claim("a follower that stands still again and again is waited for by nobody, and the leader stays", SESSIONS)
def clients_slow_follower(here):
    group, crowd = served(here)
    leader = group.leader()
    slow = group.others(leader)[0]
    at = time.monotonic_ns()
    for _ in range(6):
        slow.signal(signal.SIGSTOP)
        pause(0.4)
        slow.signal(signal.SIGCONT)
        pause(0.1)
    gap(crowd, at, KILLED)
    if group.leader() != leader:
        raise Failure("another one leads")
    holds(group, [crowd])

@claim("two of five replicas, the leader among them, are cut off with some of the clients: these get nothing done, the "
       "others go on, and in the end all agree", SESSIONS)
def clients_minority_cut_off(here):
    group, crowd = served(here, "abcde")
    lost = Crowd(here, "lost", group, clients=3, session_timeout=30_000)
    lost.ask("load", 50, 3000)
    go_on([lost])
    leader = group.leader()
    minority = [leader, group.others(leader)[0]]
    majority = group.others(*minority)
    at = time.monotonic_ns()
    split([voter.host for voter in minority] + [lost.host], [voter.host for voter in majority] + [crowd.host])
    pause(ISOLATED + 2 * PATIENCE)
    gap(crowd, at, ISOLATED + PATIENCE)  # the other one that is cut off is asked, too
    if any(lost.acknowledged(at + SECOND // 10).values()):
        raise Failure("a minority has acknowledged something")
    join()
    go_on([crowd, lost])
    group.leader(20)
    holds(group, [crowd, lost])

@claim("two followers that cannot reach each other are killed and catch up with the leader all the same", SESSIONS)
def clients_followers_apart(here):
    group, crowd = served(here)
    leader = group.leader()
    one, other = group.others(leader)
    split([one.host], [other.host])
    for _ in range(2):
        for voter in one, other:
            at = group.kill(group.now[voter.name])
            pause(0.5)
            gap(crowd, at, KILLED)
            group.start(voter.name)
            pause(1)
    go_on([crowd])
    join()
    holds(group, [crowd])

@claim("timers go on in their time when the leader is killed and when all are started again from snapshots, and none "
       "fires twice", SESSIONS)
def clients_timers(here):
    group, crowd = served(here)

    def ticks():
        return group.leader(20).one("state")["registers"]["ticks"]

    def in_time():
        before = ticks()
        pause(2)
        if not 15 <= (fired := ticks() - before) <= 25:
            raise Failure(f"{fired} of 20 ticks within 2 s")

    in_time()
    group.kill(leader := group.leader())
    group.leader(20)
    in_time()
    group.start(leader.name)
    for voter in group.now.values():
        if why := voter.one("snapshot"):
            raise Failure("no snapshot was taken: " + why)
    pause(1)  # what follows is repeated from the log
    for voter in list(group.now.values()):
        group.kill(voter)
    for name in group.names:
        group.start(name)
    in_time()
    go_on([crowd])
    holds(group, [crowd])

@claim("commands of 900,000 bytes take effect once each, in order, when the leader is killed while they come", SESSIONS)
def clients_long_commands(here):
    group, crowd = served(here, outstanding=4)
    crowd.tell("size", 900_000)
    pause(0.5)
    for _ in range(2):
        leader = group.leader()
        group.kill(leader)
        pause(1)
        group.start(leader.name)
        group.leader(20)
    go_on([crowd])
    holds(group, [crowd])
