#!/usr/bin/env python3
"""What real processes promise while real networks and machines fail.

faults.py --list             names each scenario, its labels, and what it claims
faults.py PROGRAM SCENARIO   runs one; PROGRAM is the built member.cpp, or replica.cpp for those of replicas

--seconds N, --seed N        how long those go on that do things at random, and which ones: what such a run prints
"""
import contextlib
import itertools
import os
import random
import signal
import sys
import time

from world import SECOND, Clock, Failure, Host, claim, command, enter, pause, scenarios, until, world
import nemesis  # these add their scenarios
import replicas
import sessions

# What the lan preset promises.
DETECTION = 4
RECONNECT_MAX = 30

def mesh(here, members, nodes=1, **options):
    """So many processes on hosts of their own, all linked, with numbered streams between all nodes."""
    for i in range(members):
        here.start("abcdefghijklmnopqrstuvwxyz"[i], nodes=nodes, **options)
    here.all_in_view(20)
    here.everybody("stream", 200, 100)
    pause(0.5)
    return here.members

def lasts(seconds):
    return f"first {seconds[0]:.3f} s, last {seconds[-1]:.3f} s"

def streams_go_on(here, seconds=10):
    """Every pair of nodes that live receives more than it has."""
    before = here.sums()
    end = time.monotonic() + seconds
    while True:
        after = here.sums()
        still = [pair for pair in itertools.permutations(here.nodes(), 2)
                 if after[pair].get("received", 0) <= before[pair].get("received", 0)]
        if not still:
            return
        if time.monotonic() > end:
            raise Failure(f"streams stand still: {still[:10]}")
        pause(0.05)

def settled(here, since, most):
    """All are in view again in time, and everything has arrived that was sent."""
    last = (here.all_in_view(most) - since) / SECOND
    streams_go_on(here)
    print(f"all in view again {max(last, 0):.3f} s after the end of the fault")
    print(f"{here.all_delivered()} messages, all delivered once and in order")
    here.views_hold()

@claim("a process killed with SIGKILL is out of view everywhere at once, and nobody else is")
def kill(here):
    *others, victim = mesh(here, 5, nodes=2)
    newcomer = here.start("newcomer", nodes=2)
    here.all_in_view(20)
    pause(0.1)  # within that time it has been dialled back everywhere
    at = newcomer.signal(signal.SIGKILL)
    print("a newcomer, removed: " + lasts(here.all_removed(1, at, newcomer, why=["failed"])))
    at = victim.signal(signal.SIGKILL)
    print("removed: " + lasts(here.all_removed(1, at, victim, why=["failed"])))
    streams_go_on(here)
    here.none_removed(of=others)
    print(f"{here.all_delivered()} messages, all delivered once and in order")
    here.views_hold()

@claim("a process that is stopped for a second is failed by nobody, and fails nobody")
def stop_1(here):
    victim = mesh(here, 5)[-1]
    victim.signal(signal.SIGSTOP)
    pause(1)
    at = victim.signal(signal.SIGCONT)
    pause(2.5)
    here.none_removed()
    settled(here, at, 1)

@claim("a process that is stopped for twenty seconds is failed, returns under its id, and loses nothing that was sent",
       "faults+patient+long")
def stop_20(here):
    *others, victim = mesh(here, 5)
    at = victim.signal(signal.SIGSTOP)
    print("removed: " + lasts(here.all_removed(DETECTION + 1, at, victim, by=others, why=["failed"])))
    pause(20 - (time.monotonic_ns() - at) / SECOND)
    at = victim.signal(signal.SIGCONT)
    here.all_in_view(5)
    print(f"it removed {len(here.removals(at, by=[victim]))} of {len(others)} others after it woke")
    settled(here, at, 5)
    here.none_removed(by=others, of=others)

def dropped(here, seconds):
    """One host that hears nobody, one that nobody hears, one with neither; the others are well."""
    both, deaf, mute, *others = mesh(here, 5)
    begun = time.monotonic_ns()
    both.host.drop()
    deaf.host.drop(outbound=False)
    mute.host.drop(inbound=False)
    pause(seconds)
    for member in both, deaf, mute:
        member.host.heal()
    healed = time.monotonic_ns()
    cut = sorted({here.names[event.peer] for event in here.removals(begun, by=others)})
    print(f"while packets were dropped, those who were well removed {', '.join(cut) or 'nobody'}")
    if seconds > DETECTION + 1 and len(cut) != 3:
        raise Failure("those who were cut off are still in view")
    settled(here, healed, RECONNECT_MAX + 1)
    here.none_removed(by=others, of=others)

@claim("packets dropped for a second in either direction or both lose no message")
def drop_1(here):
    dropped(here, 1)

@claim("packets dropped for ten seconds in either direction or both lose no message, and all return",
       "faults+patient+long")
def drop_10(here):
    dropped(here, 10)

@claim("packets dropped for a minute in either direction or both lose no message, and all return",
       "faults+patient+long")
def drop_60(here):
    dropped(here, 60)

@claim("connections reset by the system in the middle of streams at full speed lose no message, and nobody is failed")
def resets(here):
    members = mesh(here, 3)
    here.everybody("stream", 1000, 0)
    count = 0
    for i in range(30):
        count += members[i % 3].host.reset()
        pause(0.1)
    at = time.monotonic_ns()
    lost = here.total("links_lost")
    print(f"{count} sockets were reset, nodes counted {lost} ends of links that were lost")
    if lost < 30:
        raise Failure("the system has not reset the connections")
    settled(here, at, 1)
    here.none_removed()

@claim("a host that takes no new connection is a member all the same, outlives resets, and returns by dialling")
def firewall(here):
    inbound = "iifname eth0 tcp flags & (syn | ack) == syn reject with tcp reset"
    host = Host()
    host.filter(inbound=inbound)
    for name in "abcd":
        here.start(name)
    walled = here.start("walled", host)
    here.all_in_view(10)
    here.everybody("stream", 200, 100)
    for i in range(20):
        (walled.host if i % 2 else here.members[i // 2 % 4].host).reset()
        pause(0.1)
    at = time.monotonic_ns()
    pause(2.5)
    here.none_removed()
    settled(here, at, 1)

    here.everybody("stream", 200, 100)
    others = here.members[:4]
    host.heal()
    at = time.monotonic_ns()
    host.drop()
    print("without any packet, removed: " + lasts(here.all_removed(DETECTION + 1, at, walled, by=others)))
    host.heal()
    host.filter(inbound=inbound)
    settled(here, time.monotonic_ns(), RECONNECT_MAX + 1)
    here.none_removed(by=others, of=others)

@claim("a host that rejects half of the others goes out of view of these alone, and returns to them")
def half(here):
    members = mesh(here, 7)
    walled, kept, rejected = members[0], members[1:4], members[4:]
    at = time.monotonic_ns()
    sources = ", ".join(member.host.address for member in rejected)
    walled.host.filter(inbound=f"ip saddr {{ {sources} }} meta l4proto tcp reject with tcp reset")
    here.all_removed(10, at, walled, by=rejected)
    for member in rejected:
        here.all_removed(10, at, member, by=[walled])
    found = here.removals(at, by=rejected, of=[walled]) + here.removals(at, by=[walled], of=rejected)
    print("removed: " + lasts(sorted((event.at - at) / SECOND for event in found)) + ", as "
          + ", ".join(sorted({event.why for event in found})))
    pause(2)
    here.none_removed(by=kept)
    here.none_removed(by=rejected, of=kept + rejected)
    here.none_removed(by=[walled], of=kept)
    walled.host.heal()
    settled(here, time.monotonic_ns(), RECONNECT_MAX + 1)

@claim("a firewall that forgets connections within ten seconds forgets none, however long nodes have nothing to say",
       "faults+long")
def forgetful(here):
    hosts = [Host() for _ in range(6)]
    for host in hosts:
        host.forget(10)
    for name, host in zip("abcdef", hosts):
        here.start(name, host, nodes=2)
    here.all_in_view(20)
    pause(45)
    suspicions = here.total("suspicions")
    print(f"{suspicions} suspicions in 45 s")
    if suspicions:
        raise Failure("somebody was suspected")
    at = time.monotonic_ns()
    here.everybody("stream", 200, 100)
    streams_go_on(here, 1)
    here.none_removed()
    settled(here, at, 1)

    # One that forgets sooner than that is noticed: the first one had something to forget.
    for host in hosts:
        host.heal()
        host.forget(2)
    until(lambda: here.total("suspicions"), 30, "somebody is suspected")
    for host in hosts:
        host.heal()

@claim("of twenty nodes four are stopped again and again: all return, and nobody well fails anybody well",
       "faults+long")
def stalls(here):
    seed = int(os.environ.get("CLUSTER_FAULTS_SEED", time.time_ns() % 1_000_000))
    print(f"CLUSTER_FAULTS_SEED={seed}")
    chance = random.Random(seed)
    members = mesh(here, 20)
    victims = chance.sample(members, 4)
    well = [member for member in members if member not in victims]
    end = time.monotonic() + 30
    next_turn = {victim: time.monotonic() + chance.uniform(0, 2) for victim in victims}
    stopped = set()
    begun = time.monotonic_ns()
    while time.monotonic() < end:
        for victim in [each for each in victims if next_turn[each] <= time.monotonic()]:
            stop = victim not in stopped
            (stopped.add if stop else stopped.discard)(victim)
            victim.signal(signal.SIGSTOP if stop else signal.SIGCONT)
            next_turn[victim] = time.monotonic() + (chance.expovariate(1 / 2) if stop else chance.uniform(0, 2))
        pause(0.01)
    for victim in stopped:
        victim.signal(signal.SIGCONT)
    at = time.monotonic_ns()
    print(f"those who were well removed one who was stopped {len(here.removals(begun, by=well, of=victims))} times, "
          f"those who were stopped removed one who was well {len(here.removals(begun, by=victims, of=well))} times, "
          f"each other {len(here.removals(begun, by=victims, of=victims))} times")
    here.none_removed(by=well, of=well)
    settled(here, at, RECONNECT_MAX + 1)
    here.none_removed(by=well, of=well)

def replace(here, path, text):
    """The file has this text for the processes of this test."""
    copy = os.path.join(here.logs, os.path.basename(path))
    with open(copy, "w") as file:
        file.write(text)
    command("mount", "--bind", copy, path)

def no_name_server(here):
    """From here on every look-up asks a host that does not answer."""
    silent = Host()
    silent.filter(inbound="udp dport 53 drop; tcp dport 53 drop")
    replace(here, "/etc/resolv.conf", f"nameserver {silent.address}\n")

def says(member, text):
    with open(member.log) as log:
        return text in log.read()

@claim("a node that listens on its host's name, which is a loopback address there, says so and what to change")
def own_name(here):
    replace(here, "/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 myself\n")
    named = here.start("a", listens="myself", seeds="")
    plain = here.start("b", listens="localhost", seeds="")
    until(lambda: says(named, "listens_on_loopback address=127.0.1.1:7000"), 5, "it warns")
    if not says(named, "set Options::listen") or says(plain, "listens_on_loopback"):
        raise Failure("the wrong one warns, or without advice")

@claim("while the name server is silent, a numeric seed behind dead names is found at once, and leaving waits for none")
def names(here):
    no_name_server(here)
    first = here.start("a")
    at = time.monotonic_ns()
    dead = [f"dead{i}.example:7000" for i in range(20)]
    last = here.start("b", seeds=",".join([*dead, first.host.address + ":7000"]))
    took = (here.all_in_view(10) - at) / SECOND
    print(f"linked {took:.3f} s after the start")
    if took > 2:
        raise Failure("the numeric seed waited for the names")
    at = time.monotonic_ns()
    last.leave()
    took = (time.monotonic_ns() - at) / SECOND
    print(f"ended {took:.3f} s after it was told to leave")
    if took > 3:
        raise Failure("the end waited for the names")

def walled():
    """A host that takes no new connection: to link with others it must know where they can be dialled."""
    host = Host()
    host.filter(inbound="iifname eth0 tcp flags & (syn | ack) == syn reject with tcp reset")
    return host

@claim("hosts with nine bridges each link over the interface that leads to the others, though it comes last")
def bridges(here):
    here.start("a")
    for name in "bcd":
        here.start(name, Host(bridges=9), listens="0.0.0.0")
    here.start("e", walled())
    here.all_in_view(20)

@claim("a host whose address changes again and again is dialled at the last one, and withdraws the others")
def moving(here):
    here.start("a", preset="local", reconnect_max=1000)
    member = here.start("b", listens="0.0.0.0", preset="local", reconnect_max=1000)
    here.all_in_view(10)
    device = "ip", "-n", member.host.name, "address"
    addresses = [member.host.address, *(f"10.77.0.{100 + i}" for i in range(9))]
    for old, new in zip(addresses, addresses[1:]):
        command(*device, "del", old + "/24", "dev", "eth0")
        command(*device, "add", new + "/24", "dev", "eth0")
        pause(0.6)  # its peer sees it come from there
    here.start("c", walled(), preset="local", reconnect_max=1000)
    here.all_in_view(30)

@claim("hosts that have link-local IPv6 addresses alone, on interfaces with names of their own, all link")
def link_local(here):
    members = []
    for name, interface in zip("abcd", ("eth0", "wlan0", "en5", "wlan0")):
        host = Host(interface=interface)
        command("ip", "-n", host.name, "address", "flush", "dev", interface, "scope", "global")
        def own():
            words = command("ip", "-n", host.name, "-o", "-6", "address", "show", "dev", interface, "scope", "link")
            return words.split()[3].split("/")[0] if words and "tentative" not in words else None
        own_address = until(own, 10, f"{host.name} has a link-local address")
        first = members[0][1] if members else own_address
        members.append((here.start(name, host, listens="[::]", seeds=f"[{first}%{interface}]:7000"), own_address))
    here.all_in_view(20)
    pause(2)
    for member, _ in members:
        if says(member, "dial_failed"):
            raise Failure(f"{member.name} says that dials do not work")

def step_machine(seconds):
    """Steps the machine's own wall clock by so many seconds, to and fro."""
    ahead = time.time_ns() - time.monotonic_ns()
    def step(offset):
        time.clock_settime_ns(time.CLOCK_REALTIME, time.monotonic_ns() + ahead + int(offset * SECOND))
    try:
        for offset in 0, seconds, -seconds, seconds:
            step(offset)
            pause(0.5)
        print(f"the machine's wall clock was stepped by {seconds} s, too")
    except PermissionError:
        print("the machine's wall clock may not be stepped here")
    finally:
        with contextlib.suppress(PermissionError):
            step(0)

@claim("the wall clock stepped by hours to and fro changes nothing")
def clock(here):
    """Steps a clock that only the processes see; with CLUSTER_FAULTS_STEP=SECONDS then the machine's, too."""
    shown = Clock(here)
    for name in "abc":
        here.start(name, environment=shown.environment)
    here.all_in_view(10)
    here.everybody("stream", 200, 100)
    for offset in 3600, -3600, 86400 * 400, 0, -1, 5, 0:
        shown.step(offset)
        said = here.members[0].ask("stats")["wall"]
        if abs(said - time.time_ns() - offset * SECOND) > SECOND / 2:
            raise Failure("the wall clock was not stepped")
        pause(0.5)
    if seconds := float(os.environ.get("CLUSTER_FAULTS_STEP", 0)):
        step_machine(seconds)
    at = time.monotonic_ns()
    pause(1.5)
    if changes := [event for event in here.events if event.event == "state"]:
        raise Failure("somebody was suspected: " + "; ".join(map(here.text, changes[:10])))
    here.none_removed()
    settled(here, at, 1)

def main():
    if sys.argv[1:] == ["--list"]:
        for name, (_, text, labels) in scenarios.items():
            print(f"{name} {labels}: {text}")
        return
    words = sys.argv[1:]
    for option, variable in ("--seconds", "CLUSTER_FAULTS_SECONDS"), ("--seed", "CLUSTER_FAULTS_SEED"):
        if option in words[:-1]:
            at = words.index(option)
            os.environ[variable] = words[at + 1]
            del words[at:at + 2]
    if len(words) != 2 or words[1] not in scenarios:
        sys.exit(__doc__)
    enter()
    with world(os.path.abspath(words[0])) as here:
        scenarios[words[1]][0](here)
        print(f"{(time.monotonic_ns() - here.begun) / SECOND:.1f} s")

if __name__ == "__main__":
    main()
