"""Clients outside of a group of replicas: real processes (client.cpp), and what must hold of all that they were told.

What was acknowledged has taken effect and what was refused has not, nothing has twice, and the commands of a session
have in its order. What clients were told is linearizable. What the service sends comes in order, without a gap, once.
Every call has an outcome in its time, and every client is open or has ended in a way that it may.
"""
import bisect
import collections
import math
import os
import signal
import time

import history
from replicas import numbers
from world import SECOND, Failure, Host, Member, pause

# As the errors of these names say it.
EXPIRED = "the group has closed the session, or does not know it any more"
TOO_SLOW = "the client did not take what was sent to it, so its session was closed"
NO_LEADER = "nobody who can be reached leads the group"
LATE = 3.0  # an outcome comes so long after its time-out at the latest, on a machine that has much to do

class Crowd(Member):
    """One process with some clients. `may_end`: how they may have ended before they are closed."""
    def __init__(self, here, name, group, names=None, may_end=(), **options):
        self.outcomes, self.phases = collections.defaultdict(list), collections.defaultdict(list)
        self.pushed = collections.defaultdict(dict)  # of each life: the number of each push that it caused, and where
        self.wrong, self.may_end = [], set(may_end)
        self.stopped, self.stops = None, []  # since when, and from when to when
        program = os.path.join(os.path.dirname(here.program), "fault-client")
        super().__init__(here, name, Host(), {"program": program, "addresses": group.addresses(names), **options}, {})
        here.members.append(self)

    def take(self, said):
        event, life = said.get("event"), said.get("life")
        if event == "outcome":
            self.outcomes[life].append(said)
        elif event == "pushed":
            if said["number"] in self.pushed[life]:
                self.wrong.append(f"{life}: what {said['number']} did was pushed twice")
            self.pushed[life][said["number"]] = said["position"]
        elif event == "phase":
            self.phases[life].append((said["phase"], said["error"], said["why"]))
        elif event == "problem":
            self.wrong.append(f"{life}: {said['why']}")
        else:
            super().take(said)

    def one(self, *words):
        return self.ask(*words)[self.name]

    def stop(self):
        self.stopped = self.signal(signal.SIGSTOP)

    def go_on(self):
        self.stops.append((self.stopped, self.signal(signal.SIGCONT)))
        self.stopped = None

    def stood_still(self, since, until):
        return sum(max(0, min(until, end) - max(since, begun)) for begun, end in self.stops)

    def acknowledged(self, since=0):
        """How much of what each life asked for since then was done, by the leader of a majority."""
        return {life: sum(said["outcome"] == "done" and said["what"] != "stale" and said["begun"] >= since
                          for said in list(outcomes)) for life, outcomes in list(self.outcomes.items())}

def go_on(crowds, seconds=20, least=3):
    """Waits until each client is open and has so many new acknowledgements."""
    since, end = time.monotonic_ns(), time.monotonic() + seconds
    while True:
        behind = []
        for crowd in crowds:
            counts = crowd.acknowledged(since)
            for life, said in crowd.one("clients").items():
                if said["phase"] != "ended" and (said["phase"] != "open" or counts.get(life, 0) < least):
                    behind.append(f"{life}: {said}, {counts.get(life, 0)} acknowledged")
        if not behind:
            return
        if time.monotonic() > end:
            raise Failure("clients do not go on: " + "; ".join(behind[:5]))
        pause(0.1)

def settle(group, crowds, seconds=30):
    """Ends the load and the ticks. Returns how all clients are, and the state that all replicas have."""
    for crowd in crowds:
        crowd.ask("hush")
    end = time.monotonic() + seconds
    while True:
        clients = {life: said for crowd in crowds for life, said in crowd.one("clients").items()}
        waiting = {life: said["open"] for life, said in clients.items() if said["open"]}
        if not waiting:
            break
        if time.monotonic() > end:
            raise Failure(f"calls have no outcome: {waiting}")
        pause(0.1)
    if why := crowds[0].one("rest"):
        raise Failure("the service cannot be told to rest: " + why)
    while True:
        clients = {life: said for crowd in crowds for life, said in crowd.one("clients").items()}
        states = {voter.life: voter.one("state") for voter in group.now.values()}
        first = next(iter(states.values()))["registers"]
        pushed = {each["name"]: (each["pushes"], each["chain"]) for each in first["watchers"].values()}
        got = {life: (said["pushes"], said["chain"]) for life, said in clients.items() if said["phase"] != "ended"}
        if len({str(state) for state in states.values()}) == 1 and pushed == got:
            audit = next(iter(states.values()))["audit"]
            if audit["wrong"] or audit["commands"] != first["count"] or audit["reports"] != first["count"]:
                raise Failure(f"the services have not told each other all, once and in order: {first['count']}, {audit}")
            return clients, first
        if time.monotonic() > end:
            different = {life: (state["registers"]["count"], state["registers"]["hash"], state["audit"])
                         for life, state in states.items()}
            statuses = {voter.life: voter.one("status") for voter in group.now.values()}
            lacking = {life: (pushed.get(life), got.get(life)) for life in pushed.keys() | got.keys()
                       if pushed.get(life) != got.get(life)}
            raise Failure(f"not settled: states {different}; pushes that clients lack: {lacking}; {statuses}")
        pause(0.1)

def holds(group, crowds, seconds=30):
    """Ends the load, and checks all that must hold."""
    begun = time.monotonic()
    clients, state = settle(group, crowds, seconds)
    print(f"settled {time.monotonic() - begun:.2f} s after the last call")
    wrong = [text for crowd in crowds for text in crowd.wrong[:5]]
    if state["untimely"]:
        wrong.append(f"{state['untimely']} ticks came too early or in vain")
    wrong += [f"{life} has {times} sessions" for life, times in state["opened"].items() if times != 1]
    sums, whys, ends = collections.Counter(), collections.Counter(), collections.Counter()
    for crowd in crowds:
        for life, outcomes in crowd.outcomes.items():
            wrong += effects(crowd, life, outcomes, clients[life], state["lives"].get(life), sums)
            wrong += lateness(crowd, life, outcomes)
            whys.update(f"{said['outcome']}: {said['error']}" for said in outcomes if said["error"])
        wrong += endings(crowd, ends)
    for voter in group.now.values():
        if (status := voter.one("status"))["stopped"]:
            wrong.append(f"{voter.life} has stopped: {status['text']}: {status['why']}")
    operations = [one for crowd in crowds for one in operations_of(crowd)]
    looked_at = time.monotonic()
    wrong += history.problems(operations) + stale_reads(crowds)
    print(f"{len(operations)} operations looked at within {time.monotonic() - looked_at:.1f} s; {dict(sums)}; "
          f"{dict(whys)}; {state['ticks']} ticks; clients that have ended: {dict(ends)}")
    if wrong:
        raise Failure(f"{len(wrong)} problems: " + "; ".join(wrong[:20]))

def effects(crowd, life, outcomes, client, applied, sums):
    """What the service has had of this client is what the client was told."""
    applied = applied or {"numbers": [], "doubled": 0, "disordered": 0}
    had, said_of, wrong = numbers(applied["numbers"]), collections.defaultdict(set), []
    for said in outcomes:
        if said["what"] not in ("get", "stale"):
            said_of[said["outcome"]].add(said["number"])
    sums.update({outcome: len(found) for outcome, found in said_of.items()})
    sums["reads"] += sum(said["what"] in ("get", "stale") and said["outcome"] == "done" for said in outcomes)
    sums["unknown and applied"] += len(said_of["unknown"] & had)
    checks = {"acknowledged and lost": said_of["done"] - had, "refused and applied": said_of["refused"] & had,
              "applied and never asked for": had - set().union(*said_of.values())}
    if client["phase"] != "ended":
        checks["sent and lost"] = said_of["sent"] - had
        changes = {said["number"]: said["position"] for said in outcomes
                   if said["outcome"] == "done" and (said["what"] in ("put", "append") or
                                                     said["what"] == "cas" and said["reply"] == said["value"])}
        pushed = crowd.pushed[life]
        checks["done and not pushed"] = changes.keys() - pushed.keys()
        checks["pushed from another place"] = {number for number, position in changes.items()
                                               if pushed.get(number, position) != position}
    wrong += [f"{life}: {what}: {len(found)}, such as {sorted(found)[:5]}" for what, found in checks.items() if found]
    wrong += [f"{life}: {applied[what]} {what}" for what in ("doubled", "disordered") if applied[what]]
    ended = collections.Counter(said["number"] for said in outcomes)
    wrong += [f"{life}: {number} has {times} outcomes" for number, times in ended.items() if times != 1]
    if len(ended) != client["asked"]:
        wrong.append(f"{life}: {client['asked'] - len(ended)} of {client['asked']} have no outcome")
    return wrong

def lateness(crowd, life, outcomes):
    wrong = []
    for said in outcomes:
        took = (said["at"] - said["begun"] - crowd.stood_still(said["begun"], said["at"])) / SECOND
        if took > said["timeout"] / 1000 + LATE:
            wrong.append(f"{life}: {said['number']} ended after {took:.1f} s, not {said['timeout']} ms: {said['error']}")
    return wrong[:3]

def endings(crowd, ends):
    """Each client has gone through phases that may follow each other, and has ended only as it may."""
    wrong = []
    for life, phases in crowd.phases.items():
        names = [phase for phase, _, _ in phases]
        if "ended" in names[:-1] or "connecting" in names[names.index("open"):] if "open" in names else False:
            wrong.append(f"{life} went through {names}")
        phase, error, why = phases[-1]
        if phase == "ended":
            ends[error] += 1
            if error not in crowd.may_end:
                wrong.append(f"{life} has ended: {error}: {why}")
    return wrong

def operations_of(crowd):
    for life, outcomes in crowd.outcomes.items():
        for said in outcomes:
            if said["what"] in ("stale", "rest", "flood") or said["outcome"] == "refused":
                continue
            known = said["outcome"] == "done"
            place = said["position"] if known else crowd.pushed[life].get(said["number"], math.inf)
            yield history.operation(said["what"], said["key"], said["begun"], said["at"] if known else math.inf,
                                    said["former"], said["value"], said["reply"] if known else None, place)

def stale_reads(crowds):
    """Each shows what the register held at that place in the log, and no less than it was to see."""
    outcomes = [said for crowd in crowds for some in crowd.outcomes.values() for said in some
                if said["outcome"] == "done"]
    written = collections.defaultdict(dict)  # of each register: what it held from which place on
    for said in outcomes:
        if said["what"] in ("put", "append") or said["what"] == "cas" and said["reply"] == said["value"]:
            written[said["key"]][said["position"]] = said["reply"]
    places = {key: sorted(held) for key, held in written.items()}
    wrong, count = [], 0
    for said in outcomes:
        if said["what"] != "stale":
            continue
        count += 1
        known = places.get(said["key"], [])
        at = bisect.bisect_right(known, said["at_least"])
        text = f"a stale read of {said['key']} saw {said['reply']} of {said['position']}"
        if at and said["position"] < known[at - 1]:
            wrong.append(f"{text}, and was to see {known[at - 1]}")
        if written[said["key"]].get(said["position"], said["reply"]) != said["reply"]:
            wrong.append(f"{text}, where {written[said['key']][said['position']]} was")
    print(f"{count} stale reads were looked at")
    return wrong[:3]
