#!/usr/bin/env python3
"""How soon a cluster of separate processes misses who has gone, and is one again after it was cut in two.

bars.py PROGRAM [FIGURE...]   measures all, or these: kill, fresh, silent, leave, heal, heal_late

Options of the lan preset. Each figure is that of the last node: all have reported, by the stamps of their own. A line
of JSON for each figure as it comes, and a table of all of them at the end. Fails if something does not happen at all,
not if a bar is missed.
"""
import json
import os
import signal
import statistics
import sys
import time

from world import SECOND, Failure, Host, enter, join, pause, split, until, world

NODES = 50
RECONNECT_MAX = 30
rows = []

def report(name, what, values, bar):
    median, worst = statistics.median(values), max(values)
    met = "yes" if worst <= bar else "in the median" if median <= bar else "NO"
    print(json.dumps({"bar": name, "what": what, "median_s": round(median, 4), "worst_s": round(worst, 4), "bar_s": bar,
                      "met": met, "values": [round(value, 4) for value in values]}), flush=True)
    rows.append(f"| {what} | {text(median)} | {text(worst)} of {len(values)} | {text(bar)} | {met} |")

def text(seconds):
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.2f} s"

class Crowd:
    """All nodes but one, seven in each of seven processes on hosts of their own; the last node is a victim."""
    def __init__(self, here):
        self.here, self.count, self.host = here, 0, Host()
        self.others = [here.start("abcdefg"[i], nodes=(NODES - 1) // 7) for i in range(7)]
        here.all_in_view(30)
        here.all_shown(30)

    def victim(self, rest):
        self.count += 1
        victim = self.here.start(f"victim{self.count}_", self.host)
        self.here.all_in_view(30)
        self.here.all_shown(30)
        pause(rest)
        return victim

    def missed(self, victim, at, most=30):
        """The seconds until the last one has reported it, and until the last one shows its member no more."""
        took = [self.here.all_removed(most, at, victim, by=self.others, what=what)[-1] for what in ("removed", "gone")]
        self.here.none_removed(by=self.others, of=self.others)
        return took

def kill(here, crowd, runs=7, rest=4):
    took = []
    for _ in range(runs):
        victim = crowd.victim(rest)
        took.append(crowd.missed(victim, victim.signal(signal.SIGKILL)))
    return took

def silent(here, crowd, runs=5):
    took = []
    for _ in range(runs):
        victim = crowd.victim(2)
        at = time.monotonic_ns()
        crowd.host.drop()
        victim.gone()
        took.append(crowd.missed(victim, at))
        victim.signal(signal.SIGKILL)
        crowd.host.heal()
    return took

def leave(here, crowd, runs=7):
    took = []
    for _ in range(runs):
        victim = crowd.victim(1)
        victim.leave()
        at = next(event.at for event in here.events if event.event == "leaving" and event.node in victim.nodes)
        took.append(crowd.missed(victim, at))
    return took

def heal(here, seconds, runs):
    """Two halves of ten nodes, each of two processes."""
    halves = [[here.start(half + str(i) + "_", nodes=5) for i in range(2)] for half in ("left", "right")]
    took = []
    for _ in range(runs):
        here.all_in_view(RECONNECT_MAX + 10)
        pause(3)
        begun = time.monotonic()
        split(*[[member.host for member in half] for half in halves])
        pause(seconds - (time.monotonic() - begun))
        apart = all(here.sees(node, here.ids(half)) for half in halves for node in here.nodes(half))
        if not apart:
            print(f"after {seconds} s the halves are not yet out of each other's view")
        at = time.monotonic_ns()
        join()
        took.append(max(0, here.all_in_view(RECONNECT_MAX + 30) - at) / SECOND)
    return took

def main():
    figures = sys.argv[2:] or ["kill", "fresh", "silent", "leave", "heal", "heal_late"]
    enter()
    print(f"machine: {os.cpu_count()} cores, Linux {os.uname().release}, load {os.getloadavg()[0]:.2f}")
    program = os.path.abspath(sys.argv[1])
    ways = {"kill": (kill, f"a process of {NODES} killed", 0.05),
            "fresh": (lambda here, crowd: kill(here, crowd, rest=0), "the same, as soon as it was in view", 0.25),
            "silent": (silent, f"a host of {NODES} silent", 4),
            "leave": (leave, f"a process of {NODES} leaves", 0.01)}
    if set(figures) & set(ways):
        with world(program) as here:
            crowd = Crowd(here)
            for name in figures:
                if name in ways:
                    measure, what, bar = ways[name]
                    nodes, members = zip(*measure(here, crowd))
                    report(name, f"{what}: the last has noticed", nodes, bar)
                    report(f"{name}_member", f"{what}: the last shows its member no more", members, bar)
    for name, seconds, runs, bar in ("heal", 5, 5, 1), ("heal_late", 60, 1, RECONNECT_MAX + 1):
        if name in figures:
            with world(program) as here:
                report(name, f"two halves of ten joined after {seconds} s: one view", heal(here, seconds, runs), bar)
    print("\n| what | median | worst | bar | met |\n|---|---|---|---|---|")
    print("\n".join(rows))

if __name__ == "__main__":
    main()
