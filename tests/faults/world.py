"""Hosts in network namespaces, processes on them (member.cpp), and what all of them report.

Everything lies in namespaces of this script's own: for the network, for mounts and for processes. Nothing of the
machine's is touched, and however the script ends, the system takes all of it away.
"""
import collections
import contextlib
import json
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

SKIPPED = 77
SECOND = 1_000_000_000
INSIDE = "CLUSTER_FAULTS_INSIDE"
NETWORK = "10.77.0."
spoken = threading.Condition()

scenarios = {}

def claim(text, labels="faults"):
    """The next function is a scenario. One that is `patient` measures nothing that takes less than seconds, so other
    tests may run beside it. One that is `long` takes more than ten seconds. One of `replicas` runs replica.cpp."""
    def add(function):
        scenarios[function.__name__] = (function, text, labels)
        return function
    return add

class Failure(Exception):
    """What does not hold."""

def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIPPED)

def enter():
    """Runs this script again in namespaces of its own, or returns if it runs there already."""
    if os.environ.get(INSIDE):
        command("mount", "-t", "tmpfs", "none", "/run")  # where names of network namespaces are kept
        os.mkdir("/run/netns")
        command("ip", "link", "set", "lo", "up")
        command("ip", "link", "add", "bridge", "type", "bridge")
        command("ip", "link", "set", "bridge", "up")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        return
    for tool, package in ("unshare", "util-linux"), ("ip", "iproute2"), ("ss", "iproute2"), ("nft", "nftables"):
        if not shutil.which(tool):
            skip(f"tests of faults need {tool}: apt-get install {package}")
    apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid():
        apart += ["--user", "--map-root-user"]
    needed = "ip link add x type bridge && nft add table inet x && mount -t tmpfs none /run"
    tried = subprocess.run([*apart, "sh", "-c", needed], capture_output=True, text=True)
    if tried.returncode:
        skip("tests of faults need network namespaces, which are not permitted here: " +
             (tried.stderr.strip() or "no reason is told"))
    sys.stdout.flush()
    os.execvpe("unshare", [*apart, sys.executable, "-B", *sys.argv], {**os.environ, INSIDE: "yes"})

def command(*words, text=None):
    done = subprocess.run(words, input=text, capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout

class Host:
    """A machine of its own as far as the network is concerned, on one bridge with all others."""
    count = 0

    def __init__(self, bridges=0, interface="eth0"):
        """With so many bridges of its own, which lead nowhere and come before the interface that leads to the others."""
        Host.count += 1
        self.name, self.address = f"host{Host.count}", NETWORK + str(Host.count)
        command("ip", "netns", "add", self.name)
        for i in range(bridges):
            command("ip", "-n", self.name, "link", "add", f"br{i}", "type", "bridge")
            command("ip", "-n", self.name, "address", "add", f"172.17.{i}.1/24", "dev", f"br{i}")
            command("ip", "-n", self.name, "link", "set", f"br{i}", "up")
        command("ip", "link", "add", f"to{Host.count}", "type", "veth", "peer", "name", interface,
                "netns", self.name)
        command("ip", "link", "set", f"to{Host.count}", "master", "bridge", "up")
        command("ip", "-n", self.name, "address", "add", self.address + "/24", "dev", interface)
        for device in "lo", interface:
            command("ip", "-n", self.name, "link", "set", device, "up")

    def run(self, *words, text=None):
        return command("ip", "netns", "exec", self.name, *words, text=text)

    def filter(self, *, inbound="", outbound=""):
        """Rules for what comes in and what goes out, in the words of nft, until `heal`."""
        self.run("nft", "-f", "-", text=f"""
            table inet faults {{
                chain inbound {{ type filter hook input priority 0; {inbound}; }}
                chain outbound {{ type filter hook output priority 0; {outbound}; }}
            }}""")

    def forget(self, seconds):
        """Whatever comes from eth0 or goes there belongs to a connection of which something has passed within so many
        seconds, or is dropped."""
        rules = {hook: f"{device} eth0 ct state invalid drop" for hook, device in
                 (("inbound", "iifname"), ("outbound", "oifname"))}
        self.filter(**rules)
        for setting, value in ("timeout_established", seconds), ("loose", 0):
            try:
                self.run("sh", "-c", f"echo {value} > /proc/sys/net/netfilter/nf_conntrack_tcp_{setting}")
            except Failure as error:
                skip(f"connections may not be forgotten here: {error}")

    def drop(self, inbound=True, outbound=True):
        self.filter(inbound="iifname eth0 drop" if inbound else "", outbound="oifname eth0 drop" if outbound else "")

    def heal(self):
        self.run("nft", "delete", "table", "inet", "faults")

    def reset(self):
        """Resets all its connections. How many sockets the system says it has closed."""
        return max(0, self.run("ss", "-K", "-H", "-t", "state", "established").count("\n"))

def split(some, others):
    """No packet passes between these hosts any more, until `join`."""
    sets = [", ".join(host.address for host in hosts) for hosts in (some, others)]
    rules = "; ".join(f"ip saddr {{ {a} }} ip daddr {{ {b} }} drop" for a, b in (sets, sets[::-1]))
    command("nft", "-f", "-",
            text=f"table bridge faults {{ chain passing {{ type filter hook forward priority 0; {rules}; }}; }}")

def join():
    command("nft", "delete", "table", "bridge", "faults")

Event = collections.namedtuple("Event", "at node event peer why")

class Member:
    """One process with some nodes. `nodes` are their names, `ids` what others call them."""
    def __init__(self, world, name, host, options, environment):
        self.world, self.name, self.host = world, name, host
        self.replies, self.left, self.environment = [], False, environment
        self.log = os.path.join(world.logs, name + ".log")
        program = options.pop("program", world.program)
        words = {"name": name, "host": options.pop("listens", host.address), "log": self.log, **options}
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", host.name, program, *(f"{key}={value}" for key, value in words.items())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **environment})
        threading.Thread(target=self.listen, daemon=True).start()
        started = self.reply(0)
        self.nodes = [key for key in started if key not in ("reply", "wall")]
        with spoken:
            for node in self.nodes:
                world.names[started[node]] = node

    def listen(self):
        for line in self.process.stdout:
            said = json.loads(line)
            with spoken:
                self.take(said)
                spoken.notify_all()

    def take(self, said):
        if "reply" in said:
            self.replies.append(said)
        else:
            self.world.heard(Event(said["at"], said["node"], said["event"], said["peer"], said["why"]))

    def reply(self, number):
        return until(lambda: self.replies[number] if len(self.replies) > number else None, 20, f"{self.name} replies")

    def tell(self, *words):
        self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        self.process.stdin.flush()

    def ask(self, *words):
        number = len(self.replies)
        self.tell(*words)
        return self.reply(number)

    def signal(self, number):
        """Returns when it was sent."""
        at = time.monotonic_ns()
        os.kill(self.process.pid, number)
        if number == signal.SIGKILL:
            self.gone()
        return at

    def gone(self):
        """Nobody expects anything of it any more."""
        self.left = True

    def leave(self):
        self.tell("leave")
        self.gone()
        until(lambda: self.process.poll() is not None, 20, f"{self.name} ends")

def until(condition, seconds, what):
    """Waits until the condition holds, and returns what it says then."""
    end = time.monotonic() + seconds
    with spoken:
        while not (met := condition()):
            rest = end - time.monotonic()
            if rest <= 0:
                raise Failure(f"not so after {seconds} s: {what}")
            spoken.wait(min(rest, 0.05))
    return met

def pause(seconds):
    """Lets things go on for a while."""
    time.sleep(seconds)

class Clock:
    """A wall clock that can be stepped, for the processes alone that get its environment."""
    def __init__(self, here, name="clock"):
        path = os.path.join(here.logs, name)
        with open(path, "w+b") as file:
            file.write(bytes(8))
            file.flush()
            self.memory = mmap.mmap(file.fileno(), 8)
        library = os.path.join(os.path.dirname(here.program), "libfault-clock.so")
        self.environment = {"LD_PRELOAD": library, "CLUSTER_FAULTS_CLOCK": path}

    def step(self, seconds):
        """It is wrong by so much from now on."""
        self.memory[:] = struct.pack("<q", int(seconds * SECOND))

class World:
    def __init__(self, program, logs):
        self.program, self.logs = program, logs
        self.members, self.events, self.names = [], [], {}
        self.view = collections.defaultdict(dict)  # of each node: the id of each peer in view, and since when
        self.shown = collections.defaultdict(set)  # of each node: whose members its view of them shows, its own, too
        self.begun = time.monotonic_ns()

    def start(self, name, host=None, environment=None, **options):
        host = host or Host()
        first = self.members[0].host if self.members else host
        options.setdefault("seeds", first.address + ":7000")  # the first finds itself
        member = Member(self, name, host, options, environment or {})
        self.members.append(member)
        return member

    def heard(self, event):
        self.events.append(event)
        if event.event == "added":
            self.view[event.node][event.peer] = event.at
        elif event.event == "removed":
            self.view[event.node].pop(event.peer, None)
        elif event.event == "shown":
            self.shown[event.node].add(event.peer)
        elif event.event == "gone":
            self.shown[event.node].discard(event.peer)

    def alive(self):
        return [member for member in self.members if not member.left]

    def nodes(self, members=None):
        return [node for member in members or self.alive() for node in member.nodes]

    def ids(self, members=None):
        nodes = set(self.nodes(members))
        return {id for id, node in self.names.items() if node in nodes}

    def sees(self, node, ids):
        return {id for id in self.view[node] if self.names.get(id) != node} == {
            id for id in ids if self.names[id] != node}

    def all_in_view(self, seconds, members=None):
        """Waits until each of them has all of them in view and nobody else. When the last one came."""
        ids, nodes = self.ids(members), self.nodes(members)
        until(lambda: all(self.sees(node, ids) for node in nodes), seconds, f"all {len(nodes)} nodes see each other")
        return max(at for node in nodes for at in self.view[node].values())

    def all_shown(self, seconds, members=None):
        """Waits until each of them shows the members of all of them and of nobody else."""
        ids, nodes = self.ids(members), self.nodes(members)
        until(lambda: all(self.shown[node] == ids for node in nodes), seconds, f"{len(nodes)} nodes show all members")

    def removals(self, since=0, by=None, of=None):
        """What was removed since then, by nodes of these members, of nodes of those."""
        observers, ids = set(self.nodes(by or self.members)), self.ids(of or self.members)
        with spoken:
            return [event for event in self.events if event.event == "removed" and event.at >= since
                    and event.node in observers and event.peer in ids]

    def none_removed(self, since=0, by=None, of=None):
        if found := self.removals(since, by, of):
            raise Failure("nobody had to go: " + "; ".join(map(self.text, found[:10])))

    def all_removed(self, seconds, since, of, by=None, why=None, what="removed"):
        """Waits until each of these has removed all nodes of that process, or shows the members of none of them any
        more, which are `gone`. The seconds that each took."""
        observers, ids = self.nodes(by), self.ids([of])

        def first():
            found = {}
            for event in self.events:
                if event.event == what and event.at >= since and event.peer in ids and event.node in observers:
                    found.setdefault((event.node, event.peer), event)
            return found.values() if len(found) == len(observers) * len(ids) else None

        found = until(first, seconds, f"{of.name} is {what} everywhere")
        if why and (others := [event for event in found if event.why not in why]):
            raise Failure("for another reason: " + "; ".join(map(self.text, others[:10])))
        return sorted((event.at - since) / SECOND for event in found)

    def everybody(self, *words, members=None):
        return {member: member.ask(*words) for member in members or self.alive()}

    def sums(self):
        """For each pair of nodes that live: what the one sent and what the other received."""
        nodes = set(self.nodes())
        pairs = collections.defaultdict(dict)
        for said in self.everybody("sums").values():
            for node, peers in said.items():
                if node not in nodes:
                    continue
                for id, pair in peers.items():
                    peer = self.names.get(id)
                    if peer in nodes:
                        pairs[node, peer]["sent"] = pair["sent"]
                        pairs[peer, node].update({key: value for key, value in pair.items() if key != "sent"})
        return pairs

    def all_delivered(self, seconds=20):
        """Ends the streams. All that was sent between those that live must arrive, once. How many messages."""
        self.everybody("hush")
        end = time.monotonic() + seconds
        while True:
            pairs = self.sums()
            wrong = {pair: sums for pair, sums in pairs.items()
                     if sums.get("sent", 0) != sums.get("received", 0)
                     or any(sums.get(key) for key in ("doubled", "missing", "lost"))}
            if not wrong:
                break
            if time.monotonic() > end:
                raise Failure("not delivered as it was sent: " + "; ".join(
                    f"{a} to {b}: {sums}" for (a, b), sums in sorted(wrong.items())[:10]))
            pause(0.1)
        live = len(self.nodes())
        if len(pairs) < live * (live - 1) or any(not sums.get("sent") for sums in pairs.values()):
            raise Failure("some pairs had no stream")
        return sum(sums["sent"] for sums in pairs.values())

    def views_hold(self):
        """Each node says itself that all others are in view, and alive; soon, where one is still being looked for. And
        it shows the members of all."""
        self.all_shown(10)
        end = time.monotonic() + 10
        while True:
            wrong = []
            for member, said in self.everybody("view").items():
                for node in member.nodes:
                    expected = {id: "alive" for id in self.ids() if self.names[id] != node}
                    if said[node] != expected:
                        wrong.append(f"{node}: {({self.names[id]: said[node].get(id) for id in expected} )}")
            if not wrong:
                return
            if time.monotonic() > end:
                raise Failure("views are not right: " + "; ".join(wrong[:5]))
            pause(0.1)

    def total(self, key, members=None):
        return sum(said[node][key] for member, said in self.everybody("stats", members=members).items()
                   for node in member.nodes)

    def text(self, event):
        return (f"{(event.at - self.begun) / SECOND:.3f} {event.node} {event.event} "
                f"{self.names.get(event.peer, event.peer)} {event.why}").strip()

    def trace(self, most=80):
        with spoken:
            return "\n".join(map(self.text, sorted(self.events)[-most:]))

    def end(self):
        for member in self.members:
            with contextlib.suppress(OSError):
                member.process.kill()
            member.process.wait()

@contextlib.contextmanager
def world(program):
    """A world whose log files stay only if something goes wrong."""
    logs = os.environ.get("CLUSTER_FAULTS_LOGS") or tempfile.mkdtemp(prefix="cluster-faults-")
    os.makedirs(logs, exist_ok=True)
    here = World(program, logs)
    try:
        yield here
    except BaseException as error:
        print(here.trace())
        here.end()
        print(f"logs are in {logs}; they begin at {here.begun} ns")
        if isinstance(error, Failure):
            print(f"FAILED: {error}")
            sys.exit(1)
        raise
    here.end()
    if "CLUSTER_FAULTS_LOGS" not in os.environ:
        shutil.rmtree(logs, ignore_errors=True)
