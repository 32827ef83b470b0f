"""Everything fails at random while clients outside of the group call, read and are sent to."""
import collections
import os
import random
import signal
import time

from clients import EXPIRED, Crowd, go_on, holds
from replicas import Group
from world import Failure, claim, command, join, pause, split

SMALL, ROOM = "b", "256m"  # the voter whose disk is filled, and twice what its log takes, with segments to spare
NOBODY = object()  # who has that fault: everybody who could has another one

class Nemesis:
    """Each function that is no helper is a fault: a generator that begins it, and ends it when it is resumed. Whoever
    has a fault is in `busy`, and gets no second one."""
    def __init__(self, group, crowds, chance):
        self.group, self.crowds, self.chance = group, crowds, chance
        self.busy, self.counts, self.said = set(), collections.Counter(), collections.Counter()

    def rounds(self, seconds):
        faults = [self.kill, self.kill_many, self.stop, self.cut, self.split, self.clock, self.fill, self.transfer,
                  self.snapshot, self.restart_each, self.stop_clients, self.cut_clients, self.reset]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.busy.clear()
            under_way = []
            for fault in self.chance.sample(faults, self.chance.choice((1, 1, 2, 3))):
                begun = fault()
                if next(begun, NOBODY) is not NOBODY:
                    under_way.append(begun)
                    self.counts[fault.__name__] += 1
                    pause(self.chance.uniform(0, 0.3))
            if under_way:
                pause(self.chance.uniform(0, 3))
            self.chance.shuffle(under_way)
            for each in under_way:
                next(each, None)
            pause(self.chance.uniform(0, 1.5))
        print(", ".join(f"{count} times {what}" for what, count in sorted(self.counts.items())))
        print(f"what was said meanwhile: {dict(self.said)}")

    def take(self, some, count=1):
        """So many of these who have no fault yet, or nobody."""
        free = [each for each in some if each not in self.busy]
        if len(free) < count:
            return []
        found = self.chance.sample(free, count)
        self.busy.update(found)
        return found

    def kill(self):
        for name in self.take(self.group.names):
            self.group.kill(self.group.now[name])
            yield
            self.group.start(name)

    def kill_many(self):
        names = self.take(self.group.names, self.chance.randint(2, len(self.group.names)))
        for name in names:
            self.group.now[name].signal(signal.SIGKILL)
        for name in names:
            self.group.kill(self.group.now[name])
        if names:
            yield
        for name in names:
            self.group.start(name)

    def stop(self):
        for name in self.take(self.group.names):
            self.group.now[name].signal(signal.SIGSTOP)
            yield
            self.group.now[name].signal(signal.SIGCONT)

    def cut(self):
        for name in self.take(self.group.names):
            directions = self.chance.choice(({}, {"outbound": False}, {"inbound": False}))
            self.group.hosts[name].drop(**directions)
            yield
            self.group.hosts[name].heal()

    def split(self):
        """A minority is cut off from the others, with some of the clients, or with all of them in between."""
        hosts = self.group.hosts
        some = [hosts[name] for name in self.take(self.group.names, self.chance.randint(1, (len(hosts) - 1) // 2))]
        if not some:
            return
        others = [host for host in hosts.values() if host not in some]
        for crowd in self.crowds:
            side = self.chance.choice((some, others, []))
            side.append(crowd.host)
        split(some, others)
        yield
        join()

    def clock(self):
        for name in self.take(self.group.names):
            self.group.clocks[name].step(self.chance.choice((-1, 1)) * self.chance.choice((0.5, 10, 3600, 86400 * 400)))
            yield
            if self.chance.random() < 0.5:
                self.group.clocks[name].step(0)

    def fill(self):
        """Without room for snapshots the log grows, and soon without room for the log the replica stops."""
        if not self.take([SMALL]):
            return
        path = os.path.join(self.group.folder(SMALL), "filler")
        try:
            with open(path, "wb", buffering=0) as file:
                while True:
                    file.write(bytes(65536))
        except OSError:
            pass
        for crowd in self.crowds:
            crowd.tell("size", 200_000)
        yield
        end = time.monotonic() + 5
        while not (status := self.group.now[SMALL].one("status"))["stopped"] and time.monotonic() < end:
            pause(0.1)
        for crowd in self.crowds:
            crowd.tell("size", 0)
        os.remove(path)
        self.said["disk full: " + (status["text"] or "goes on")] += 1
        if status["stopped"]:
            self.group.kill(self.group.now[SMALL])
            self.group.start(SMALL)

    def transfer(self):
        for name in self.take(self.group.names):
            voter = self.group.now[name]
            leader = voter.one("status")["leader"]
            if leader in self.group.now and (leader == name or self.take([leader])):
                to = self.chance.choice([other for other in self.group.names if other != leader])
                self.said["transfer: " + (self.group.now[leader].one("transfer", to) or "done")] += 1
                yield

    def snapshot(self):
        for name in self.take(self.group.names):
            self.said["snapshot: " + (self.group.now[name].one("snapshot") or "done")] += 1
            yield

    def restart_each(self):
        """One after the other, each as soon as the one before it follows somebody."""
        names = self.take(self.group.names, len(self.group.names))
        leaves = self.chance.random() < 0.5
        for name in names:
            voter = self.group.now.pop(name)
            if leaves:
                voter.leave()
            else:
                voter.signal(signal.SIGKILL)
                voter.process.wait()
            self.group.start(name)
            self.group.leader(20)
        if names:
            yield

    def stop_clients(self):
        for crowd in self.take(self.crowds):
            crowd.stop()
            yield
            crowd.go_on()

    def cut_clients(self):
        for crowd in self.take(self.crowds):
            crowd.host.drop(**self.chance.choice(({}, {"outbound": False}, {"inbound": False})))
            yield
            crowd.host.heal()

    def reset(self):
        for host in self.take([*self.group.hosts.values(), *(crowd.host for crowd in self.crowds)]):
            host.reset()
            yield

def nemesis(here, names):
    seed = int(os.environ.get("CLUSTER_FAULTS_SEED", time.time_ns() % 1_000_000))
    seconds = float(os.environ.get("CLUSTER_FAULTS_SECONDS", 120))
    print(f"CLUSTER_FAULTS_SEED={seed}", flush=True)
    chance = random.Random(seed)
    group = Group(here, small=SMALL, room=ROOM, names=names, clocks=True, service="registers", snapshot_every=65536,
                  compare_every=65536, **({"freeze": 1} if chance.random() < 0.5 else {}))
    crowds = [Crowd(here, "patient", group, clients=3, seed=seed, session_timeout=60_000),
              Crowd(here, "one", group, names=names[:1], clients=2, seed=seed, session_timeout=60_000, outstanding=200),
              Crowd(here, "inside", group, clients=2, seed=seed, session_timeout=60_000, inside=1),
              Crowd(here, "hasty", group, clients=3, seed=seed, session_timeout=1000,
                    may_end=[EXPIRED])]
    for crowd in crowds:
        crowd.ask("load", 20, 5000)
    go_on(crowds)
    Nemesis(group, crowds, chance).rounds(seconds)
    healed = time.monotonic()
    group.leader(20)
    go_on(crowds, 20)
    print(f"all clients went on within {time.monotonic() - healed:.2f} s after the last fault")
    holds(group, crowds, 60)

@claim("three replicas fail at random, with clients outside: the history is linearizable, nothing is lost, nothing comes "
       "twice, pushes come in order", "faults+replicas+patient+long")
def nemesis_three(here):
    nemesis(here, "abc")

@claim("five replicas fail at random, with clients outside: the history is linearizable, nothing is lost, nothing comes "
       "twice, pushes come in order", "faults+replicas+patient+long")
def nemesis_five(here):
    nemesis(here, "abcde")
