"""What replicated services promise while processes, networks and disks fail: real processes (replica.cpp), which submit
numbered messages and read all the time.

After each fault nothing that was acknowledged is lost, nothing is applied twice, nothing that was refused is applied,
all replicas have the same state, and no linearizable read has missed what anybody was told before it began.
"""
import bisect
import collections
import itertools
import os
import random
import shutil
import signal
import time

from world import SECOND, Clock, Failure, Host, Member, claim, command, pause

NAMES = "abc"
SILENT = 3.0  # one that falls silent is replaced within that: an election time-out of up to 1.4 s, and what follows
KILLED = 1.0  # nobody waits for an election time-out when a process has ended

class Voter(Member):
    """One process of one voter. `life` is a word that no other process has."""
    def __init__(self, world, name, host, life, options, environment):
        self.life, self.acknowledged, self.wrong = life, [], []  # acknowledged: when, and which number
        self.told, self.reads = [], []  # told: when, and of which place; reads: begun when, and what was seen
        log = os.path.join(world.logs, life + ".log")
        super().__init__(world, name, host, {"life": life, "log": log, **options}, environment)
        self.log = log

    def take(self, said):
        if said.get("event") == "acknowledged":
            self.acknowledged.append((said["at"], said["peer"]))
            self.told.append((said["at"], said["position"]))
        elif said.get("event") == "read":
            self.reads.append((said["begun"], said["peer"]))
            self.told.append((said["at"], said["peer"]))
        else:
            super().take(said)
            return
        if said["why"]:
            self.wrong.append(f"{self.life} {said['peer']}: {said['why']}")

    def one(self, *words):
        return self.ask(*words)[self.name]

    def load(self, rate=200, timeout=20000, size=200):
        self.ask("load", rate, timeout, size)

class Group:
    """Voters on hosts of their own, three or as named. Each keeps its directory when it is started again."""
    def __init__(self, here, small=None, names=NAMES, room="36m", clocks=False, **options):
        """`small`: whose disk has so much room; for two segments of the log, if it is not said. `clocks`: each has a
        wall clock of its own."""
        self.here, self.names, self.options = here, names, options
        self.hosts = {name: Host() for name in names}
        self.clocks = {name: Clock(here, "clock-" + name) for name in names} if clocks else {}
        self.lives, self.now = [], {}
        for name in names:
            os.mkdir(self.folder(name))
        if small:
            command("mount", "-t", "tmpfs", "-o", f"size={room}", "none", self.folder(small))
        for name in names:
            self.start(name)
        self.leader(20)

    def folder(self, name):
        return os.path.join(self.here.logs, "disk-" + name)

    def addresses(self, names=None):
        return ",".join(self.hosts[name].address + ":7000" for name in names or self.names)

    def start(self, name):
        lives = sum(voter.name == name for voter in self.lives)
        voter = Voter(self.here, name, self.hosts[name], name + str(lives + 1), {
            "seeds": self.addresses(), "voters": ",".join(self.names),
            "directory": os.path.join(self.folder(name), "replica"), **self.options},
            self.clocks[name].environment if self.clocks else {})
        self.here.members.append(voter)
        self.lives.append(voter)
        self.now[name] = voter
        return voter

    def kill(self, voter):
        at = voter.signal(signal.SIGKILL)
        voter.process.wait()
        self.now.pop(voter.name)
        return at

    def others(self, *some):
        return [voter for voter in self.now.values() if voter not in some]

    def leader(self, seconds=10, among=None):
        """The one whom all of these, or all, follow."""
        end = time.monotonic() + seconds
        while True:
            said = {voter.name: voter.one("status") for voter in among or self.now.values()}
            names = {each["leader"] for each in said.values()}
            if len(names) == 1 and (name := names.pop()) in self.now:
                return self.now[name]
            if time.monotonic() > end:
                raise Failure(f"nobody leads, or not all agree: {said}")
            pause(0.02)

    def load(self, **how):
        for voter in self.now.values():
            voter.load(**how)
        pause(0.7)

    def gap(self, since, voters, most):
        """The longest time since then in which one of these had nothing acknowledged."""
        longest = {}
        for voter in voters:
            times = [since, *(at for at, _ in list(voter.acknowledged) if at >= since)]
            if len(times) < 2:
                raise Failure(f"nothing of {voter.life} was acknowledged any more")
            longest[voter.name] = max(b - a for a, b in zip(times, times[1:])) / SECOND
        print("gap: " + ", ".join(f"{name} {seconds:.3f} s" for name, seconds in longest.items()))
        if max(longest.values()) > most:
            raise Failure(f"the gap was longer than {most} s")

    def holds(self, seconds=30, among=None):
        """Ends the load. Of each message is known what became of it, and these, or all, have the same state."""
        voters = among or list(self.now.values())
        for voter in voters:
            voter.ask("hush")
        begun = time.monotonic()
        while True:
            counts = {voter: voter.one("counts") for voter in voters}
            ledgers = {voter.life: voter.one("state")["ledger"] for voter in voters}
            waiting = {voter.life: (said["open"], said["reading"]) for voter, said in counts.items()
                       if said["open"] or said["reading"]}
            if not waiting and len({(each["count"], each["hash"]) for each in ledgers.values()}) == 1:
                break
            if time.monotonic() > begun + seconds:
                status = {voter.life: voter.one("status") for voter in voters}
                states = {life: (each["count"], each["hash"]) for life, each in ledgers.items()}
                raise Failure(f"not settled: submits and reads wait: {waiting}; states: {states}; {status}")
            pause(0.05)
        print(f"settled {time.monotonic() - begun:.2f} s after the last submit")
        lives = ledgers[voters[0].life]["lives"]
        sums = collections.Counter()
        problems = [text for voter in self.lives for text in voter.wrong[:3]] + self.stale_reads()
        for voter in self.lives:
            ledger = lives.get(voter.life, {"numbers": [], "doubled": 0, "disordered": 0})
            applied, said = numbers(ledger["numbers"]), counts.get(voter, {})
            acknowledged = {number for _, number in voter.acknowledged} | numbers(said.get("acknowledged", []))
            refused = set().union(*map(numbers, said.get("refused", {}).values()))
            unknown = set().union(*map(numbers, said.get("unknown", {}).values()))
            for what, found in (("acknowledged and lost", acknowledged - applied),
                                ("refused and applied", refused & applied)):
                if found:
                    problems.append(f"{what}: {len(found)} of {voter.life}, such as {sorted(found)[:5]}")
            if ledger["doubled"]:
                problems.append(f"applied twice: {ledger['doubled']} of {voter.life}")
            sums.update(acknowledged=len(acknowledged), refused=len(refused), unknown=len(unknown),
                        unknown_applied=len(unknown & applied), disordered=ledger["disordered"])
            for kind in "refused", "unknown":
                for why, found in said.get(kind, {}).items():
                    print(f"{voter.life}: {kind}: {len(numbers(found))} times {why}")
        print(f"{sums['acknowledged']} acknowledged, {sums['refused']} refused, of {sums['unknown']} it is unknown and "
              f"{sums['unknown_applied']} of these were applied; {sums['disordered']} came after a later one")
        unread = collections.Counter()
        for said in counts.values():
            unread.update(said["unread"])
        print(f"{sum(said['read'] for said in counts.values())} reads of those that live; not served: {dict(unread)}")
        if problems:
            raise Failure("; ".join(problems))

    def stale_reads(self):
        """Linearizable reads that have not seen what somebody, anywhere, was told before they began."""
        told = sorted(each for voter in self.lives for each in list(voter.told))
        times = [at for at, _ in told]
        greatest = list(itertools.accumulate((position for _, position in told), max, initial=0))
        found = [f"{voter.life} saw {seen} of {least}" for voter in self.lives for begun, seen in list(voter.reads)
                 if seen < (least := greatest[bisect.bisect_left(times, begun)])]
        print(f"{sum(len(voter.reads) for voter in self.lives)} linearizable reads were looked at")
        return [f"{len(found)} reads saw less than was known: {found[:5]}"] if found else []

    def show(self):
        for voter in self.now.values():
            print(voter.life, voter.one("status"))

def numbers(ranges):
    return {number for first, last in ranges for number in range(first, last + 1)}

REPLICAS = "faults+replicas"

@claim("three replicas go on at once when their leader is killed, and it returns: nothing is lost, nothing comes twice",
       REPLICAS)
def replica_leader_killed(here):
    group = Group(here, snapshot_every=65536, freeze=1)
    group.load()
    leader = group.leader()
    at = group.kill(leader)
    pause(2)
    group.gap(at, group.others(), KILLED)
    returned = group.start(leader.name)
    returned.load()
    pause(1.5)
    group.gap(at, group.others(returned), KILLED)
    group.leader()
    group.holds()

@claim("three replicas do not even pause when a follower is killed, and it catches up when it returns", REPLICAS)
def replica_follower_killed(here):
    group = Group(here, snapshot_every=65536)
    group.load()
    follower = group.others(group.leader())[0]
    at = group.kill(follower)
    pause(1.5)
    group.gap(at, group.others(), KILLED)
    returned = group.start(follower.name)
    returned.load()
    pause(1.5)
    group.gap(at, group.others(returned), KILLED)
    group.holds()

@claim("all replicas of three are killed at once and started again: all that was acknowledged is there", REPLICAS)
def replica_all_killed(here):
    group = Group(here, snapshot_every=65536)
    for _ in range(2):
        group.load()
        leader = group.leader()
        voters = list(group.now.values())
        for voter in voters:
            voter.signal(signal.SIGKILL)
        for voter in voters:
            group.kill(voter)
        at = time.monotonic_ns()
        for name in NAMES:
            group.start(name)
        group.leader(20)
        print(f"led again {(time.monotonic_ns() - at) / SECOND:.3f} s after the start")
    group.load()
    group.holds()

@claim("a leader that is stopped for longer than the election time-out is replaced, and goes on as a follower",
       REPLICAS)
def replica_leader_stopped(here):
    group = Group(here)
    group.load()
    leader = group.leader()
    at = leader.signal(signal.SIGSTOP)
    pause(3)
    group.gap(at, group.others(leader), SILENT)
    leader.signal(signal.SIGCONT)
    pause(1)
    if group.leader() == leader:
        raise Failure("it leads again")
    group.gap(time.monotonic_ns() - SECOND, group.others(), SILENT)
    group.holds()

def cut_off(here, **directions):
    """The leader's packets are dropped for a while. Then some submits wait for less than the fault lasts."""
    group = Group(here)
    group.load()
    leader = group.leader()
    others = group.others(leader)
    for voter in group.now.values():
        voter.load(timeout=1000)
    at = time.monotonic_ns()
    leader.host.drop(**directions)
    pause(4)
    group.gap(at, others, SILENT)
    if group.leader(among=others) == leader:
        raise Failure("it still leads")
    if leader.one("status")["role"] == "leader":
        raise Failure("it still takes itself for the leader")
    leader.host.heal()
    healed = time.monotonic_ns()
    group.leader(20)
    print(f"all follow one again {(time.monotonic_ns() - healed) / SECOND:.3f} s after the end of the fault")
    for voter in group.now.values():
        voter.load()
    pause(1)
    group.gap(healed, others, KILLED)
    group.holds()

@claim("a leader that is cut off both ways is replaced, knows that it leads no more, and follows when it is back",
       REPLICAS + "+long")
def replica_leader_cut_off(here):
    cut_off(here)

@claim("a leader that hears nobody is replaced, knows that it leads no more, and follows when it is back",
       REPLICAS + "+long")
def replica_leader_deaf(here):
    cut_off(here, outbound=False)

@claim("a leader whom nobody hears is replaced, knows that it leads no more, and follows when it is back",
       REPLICAS + "+long")
def replica_leader_mute(here):
    cut_off(here, inbound=False)

@claim("two of three replicas, the leader among them, are killed and started again: the third one goes on with them",
       REPLICAS)
def replica_majority_killed(here):
    group = Group(here, snapshot_every=65536)
    group.load()
    leader = group.leader()
    third, other = group.others(leader)
    at = leader.signal(signal.SIGKILL)
    for voter in leader, other:
        group.kill(voter)
    for voter in leader, other:
        group.start(voter.name)
    group.leader(20)
    pause(0.5)
    group.gap(at, [third], 10)
    group.load()
    group.holds()

@claim("a replica whose directory is gone says so and does not vote, and the others go on", REPLICAS + "+long")
def replica_directory_lost(here):
    group = Group(here)
    group.load()
    leader = group.leader()
    lost, other = group.others(leader)
    group.kill(lost)
    shutil.rmtree(os.path.join(group.folder(lost.name), "replica"))
    at = time.monotonic_ns()
    lost = group.start(lost.name)
    end = time.monotonic() + 5
    while (status := lost.one("status"))["founded"] or "belong" not in status["why"]:
        if time.monotonic() > end:
            raise Failure(f"it does not say so: {status}")
        pause(0.05)
    print(f"it says: {status['text']}: {status['why']}")
    pause(1)
    with open(lost.log) as log:
        warnings = [line for line in log if "replica_waits" in line]
    if len(warnings) != 1:
        raise Failure(f"its log says so {len(warnings)} times: {warnings}")
    group.gap(at, [leader, other], KILLED)

    group.kill(leader)
    pause(3)
    for voter in lost, other:
        if (status := voter.one("status"))["leader"]:
            raise Failure(f"somebody leads without a majority: {status}")
    print(f"the one that is left says: {status['text']}: {status['why']}")
    leader = group.start(leader.name)
    group.leader(10, among=[leader, other])
    leader.load()
    pause(0.5)
    group.holds(among=[leader, other])

@claim("a replica whose disk is full stops and says so, the others go on, and with more room it returns", REPLICAS)
def replica_disk_full(here):
    group = Group(here, small="b")
    group.load(rate=50, size=100_000)
    full = group.now["b"]
    end = time.monotonic() + 20
    while not (status := full.one("status"))["stopped"]:
        if time.monotonic() > end:
            raise Failure(f"it goes on: {status}")
        pause(0.05)
    at = time.monotonic_ns()
    print(f"it says: {status['text']}: {status['why']}")
    others = group.others(full)
    for voter in others:
        voter.load()
    pause(2)
    group.gap(at, others, SILENT)
    group.leader(among=others)
    group.kill(full)
    command("mount", "-o", "remount,size=200m", group.folder("b"))
    group.start("b").load()
    group.leader()
    group.holds()

@claim("links between the leader and a follower that are reset again and again lose nothing, and the leader stays",
       REPLICAS)
def replica_link_reset(here):
    group = Group(here)
    group.load(rate=500)
    leader = group.leader()
    follower = group.others(leader)[0]
    at = time.monotonic_ns()
    count = 0
    for i in range(30):
        one, other = (leader, follower) if i % 2 else (follower, leader)
        said = one.host.run("ss", "-K", "-H", "-t", "state", "established", "dst", other.host.address)
        count += said.count("\n")
        pause(0.1)
    print(f"{count} sockets were reset")
    if count < 20:
        raise Failure("the system has not reset the connections")
    group.gap(at, group.others(), KILLED)
    if group.leader() != leader:
        raise Failure("another one leads")
    group.holds()

@claim("a leader that leaves hands over first, and the others hardly notice", REPLICAS)
def replica_leader_leaves(here):
    group = Group(here)
    group.load()
    leader = group.leader()
    at = time.monotonic_ns()
    group.now.pop(leader.name)
    leader.leave()
    if leader.process.returncode:
        raise Failure(f"it ended with {leader.process.returncode}")
    pause(1)
    group.gap(at, group.others(), KILLED)
    group.start(leader.name).load()
    pause(1)
    group.leader()
    group.holds()

@claim("replicas are killed, stopped, cut off or reset, one after the other, again and again, while snapshots are "
       "taken: nothing is lost, nothing comes twice", REPLICAS + "+long")
def replica_storm(here):
    seed = int(os.environ.get("CLUSTER_FAULTS_SEED", time.time_ns() % 1_000_000))
    print(f"CLUSTER_FAULTS_SEED={seed}")
    chance = random.Random(seed)
    group = Group(here, snapshot_every=65536, **({"freeze": 1} if chance.random() < 0.5 else {}))
    group.load(rate=300, timeout=5000)
    end = time.monotonic() + float(os.environ.get("CLUSTER_FAULTS_SECONDS", 30))
    counts = collections.Counter()
    while time.monotonic() < end:
        victim = group.now[chance.choice(NAMES)]
        what = chance.choice(("kill", "kill all", "stop", "drop", "deaf", "mute", "reset", "leave"))
        counts[what] += 1
        if what in ("kill", "leave", "kill all"):
            victims = list(group.now.values()) if what == "kill all" else [victim]
            for each in victims:
                if what != "leave":
                    group.kill(each)
                else:
                    group.now.pop(each.name)
                    each.leave()
            pause(chance.uniform(0, 2 if what != "kill all" else 0))
            for each in victims:
                group.start(each.name).load(rate=300, timeout=5000)
        elif what == "stop":
            victim.signal(signal.SIGSTOP)
            pause(chance.uniform(0, 3))
            victim.signal(signal.SIGCONT)
        elif what == "reset":
            victim.host.reset()
        else:
            victim.host.drop(inbound=what != "mute", outbound=what != "deaf")
            pause(chance.uniform(0, 3))
            victim.host.heal()
        pause(chance.uniform(0, 1.5))
    print(", ".join(f"{count} times {what}" for what, count in counts.items()))
    group.leader(60)
    pause(1)
    group.holds(seconds=60)
