#!/usr/bin/env python3
"""Real nodes (node.cpp) and the client in another language (peer.py), together.

check.py --list          names each test and what it claims
check.py PROGRAM TEST    runs one; PROGRAM is the built node.cpp
"""
import contextlib
import inspect
import os
import socket
import struct
import subprocess
import sys
import threading
import time

import peer

DEADLINE = 60
SMALLER, LARGER = bytes(15) + b"\1", b"\xff" * 16
HERE = os.path.dirname(os.path.abspath(__file__))
running, spoken = [], threading.Condition()

class Program:
    """A process that answers lines with lines."""
    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines = []
        running.append(self)
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            with spoken:
                self.lines.append(line)
                spoken.notify()

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def said(self, start):
        """The words of the first line that starts like this."""
        return next((line.split() for line in self.lines if line.startswith(start)), None)

class Cpp(Program):
    def __init__(self, *options):
        super().__init__(sys.argv[1], *options)
        _, self.id, self.address = until(lambda: self.said("node "))
        host, port = self.address.split(":")
        self.where = host, int(port)

    def stats(self):
        """What it counts now, by name."""
        before = sum(line.startswith("stats ") for line in self.lines)
        self.tell("stats")
        until(lambda: sum(line.startswith("stats ") for line in self.lines) > before)
        last = [line for line in self.lines if line.startswith("stats ")][-1]
        names = "peers messages_received messages_lost outbox_bytes sessions_resumed protocol_errors answered".split()
        return dict(zip(names, map(int, last.split()[1:])))

def until(condition):
    """Waits until the condition holds, and returns what it says then."""
    end = time.monotonic() + DEADLINE
    while not (met := condition()):
        if time.monotonic() > end:
            said = "".join(line for program in running for line in program.lines[-20:])
            sys.exit(f"not so after {DEADLINE} s: {inspect.getsource(condition).strip()}\n{said}")
        with spoken:
            spoken.wait(0.002)
    return met

def client(id, node, cluster="demo", kind=peer.Client):
    """A client that remembers what it reported."""
    events = []
    it = kind(node.where, cluster, "client", id, lambda *words: events.append(words))
    it.events = events
    return it

def close(it):
    it.leaving = True
    until(lambda: not it.running.is_alive())
    assert it.over in ("left", "over"), (it.over, it.events)

def joined(id, node, kind=peer.Client):
    it = client(id, node, kind=kind)
    until(lambda: it.state == "attached" and node.said("added " + id.hex()))
    return it

class Proxy:
    """Stands between a client and a node, so that somebody else resets the connection of one of them or of both."""
    def __init__(self, node):
        self.node, self.sockets = node, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.where = self.listener.getsockname()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            here = self.listener.accept()[0]
            there = socket.create_connection(self.node.where)
            for pair in (here, there), (there, here):
                threading.Thread(target=self.pass_on, args=pair, daemon=True).start()
            self.sockets = [here, there]

    def pass_on(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        with contextlib.suppress(OSError):  # whatever ended it, the other side hears of it
            sink.shutdown(socket.SHUT_WR)

    def reset(self, sockets):
        """Breaks connections without a word, losing what is on the way in both directions."""
        for each in sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):  # wakes the thread that reads, which would keep the connection open
                each.shutdown(socket.SHUT_RD)
            each.close()

def numbered(number):
    size = 1 << 20 if number % 2000 == 5 else 0 if number % 7 == 3 else 8 + number % 50 * 8
    return number.to_bytes(8, "little") * (size // 8)

class Reading:
    """Takes what a client has received, and checks number after number."""
    def __init__(self, it): self.it, self.next = it, 0
    def upto(self, end):
        while self.next < end and (message := self.it.receive()):
            right = not message.lost and message.body == numbered(self.next)
            assert right, f"something else in the place of {self.next}"
            self.next += 1
        return self.next == end
    def finished(self, end):
        return self.upto(end) and self.it.receive() is None

def both_ways(id, total, resets):
    node = Cpp()
    proxy = Proxy(node)
    it = client(id, proxy)
    until(lambda: it.state == "attached" and node.said("added " + id.hex()))
    reading = Reading(it)
    node.tell(f"send 0 {total}")
    node.tell(f"receive 0 {total}")
    part, under_way = total // (resets + 1), 0
    for begin in range(0, part * resets, part):
        until(lambda: reading.upto(begin + part // 2))
        for number in range(begin, begin + part):
            it.send(numbered(number))
        until(lambda: it.acknowledged > 0 and it.written or not it.queue)
        here, there = proxy.sockets
        under_way += bool(it.written)
        proxy.reset(([here, there], [here], [there])[begin // part % 3])
        until(lambda: here not in proxy.sockets and it.state == "attached")
    for number in range(part * resets, total):
        it.send(numbered(number))
    until(lambda: reading.finished(total) and node.said("received ") and node.said("sent "))
    assert node.said("received ")[1:] == [str(total)] and node.said("sent ")[1:] == [str(total)], node.lines
    until(lambda: it.acknowledged == it.end)
    assert under_way >= resets // 2, under_way  # they found messages that were written and not acknowledged
    stats = node.stats()
    assert stats["protocol_errors"] == 0 and stats["sessions_resumed"] >= resets, stats
    assert sum(words[0] == "attached" for words in it.events) >= resets + 1, it.events
    close(it)
    until(lambda: node.said(f"removed {id.hex()} left"))

def joins_smaller():
    """joins three nodes and keeps the list of them with the smallest id"""
    three_nodes(SMALLER)

def joins_larger():
    """joins three nodes and keeps the list of them with the largest id"""
    three_nodes(LARGER)

def three_nodes(id):
    ann, bob, eve = Cpp("heartbeat=100"), Cpp("heartbeat=100"), Cpp("heartbeat=100")
    bob.tell("add " + ann.address)
    until(lambda: bob.said("add ok"))
    it = joined(id, ann, Noting)
    listed = lambda: {each.id.hex() for each in it.peers.values()}
    until(lambda: listed() == {ann.id, bob.id})
    eve.tell("add " + ann.address)
    until(lambda: listed() == {ann.id, bob.id, eve.id})
    bob.tell("close")
    until(lambda: bob.said("closed 0") and listed() == {ann.id, eve.id})
    it.pings.clear()
    until(lambda: len(it.pings) >= 5)
    assert set(it.pings) == {it.digest()}, (it.pings, it.digest())
    until(lambda: ann.stats()["answered"] == 2)  # a node knows the round trip of those who have answered
    assert ann.stats()["peers"] == 2 and ann.stats()["protocol_errors"] == 0
    close(it)

class Noting(peer.Client):
    """Keeps the digests of the PINGs that have come."""
    def __init__(self, *words):
        self.pings = []
        super().__init__(*words)

    def handle(self, kind, fields):
        super().handle(kind, fields)
        if kind == "ping":
            self.pings.append(fields[1])

def exchanges_smaller():
    """exchanges 20,000 messages each way with the smaller id"""
    both_ways(SMALLER, 20_000, 0)

def exchanges_larger():
    """exchanges 20,000 messages each way with the larger id"""
    both_ways(LARGER, 20_000, 0)

def resumes_smaller():
    """loses and repeats nothing in ten resets with the smaller id"""
    both_ways(SMALLER, 20_000, 10)

def resumes_larger():
    """loses and repeats nothing in ten resets with the larger id"""
    both_ways(LARGER, 20_000, 10)

def stops_at_the_limit():
    """stops sending when a node does not read its inbox, and goes on when it does"""
    node = Cpp("heartbeat=100")
    it = joined(LARGER, node, Noting)
    total = 4000
    for number in range(total):
        it.send(numbered(number))
    stopped = lambda: it.queue and not it.written and it.queue[0][0] > it.allowed
    until(stopped)
    before = it.acknowledged
    assert node.stats()["messages_received"] < total and before <= it.allowed < it.end
    it.pings.clear()  # some heartbeats of an idle link later nothing more was sent
    until(lambda: len(it.pings) >= 5)
    assert stopped() and it.acknowledged == before
    node.tell(f"receive 0 {total}")
    until(lambda: node.said("received "))
    assert node.said("received ")[1:] == [str(total)]
    close(it)

def withholds():
    """holds a node back by leaving its messages unread, and lets it go on by reading"""
    node = Cpp("heartbeat=100", "outbox=8388608")
    it = joined(SMALLER, node, Noting)
    total, reading = 40_000, Reading(it)
    node.tell(f"send 0 {total}")
    until(lambda: it.limit - it.received < peer.CHUNK and len(it.inbox) > 100)
    until(lambda: node.stats()["outbox_bytes"] > 7 << 20)
    received = it.received
    it.pings.clear()
    until(lambda: len(it.pings) >= 5)
    assert received == it.received and not node.said("sent ")
    until(lambda: reading.finished(total) and node.said("sent "))
    assert node.said("sent ")[1:] == [str(total)]
    until(lambda: node.stats()["outbox_bytes"] == 0)
    close(it)

def leaves():
    """leaves cleanly, and the node has seen it leave"""
    node = Cpp()
    it = joined(SMALLER, node)
    node.tell("receive 0 100")
    for number in range(100):
        it.send(numbered(number))
    close(it)
    until(lambda: node.said(f"removed {SMALLER.hex()} left") and node.said("received 100"))
    node.tell("close")
    until(lambda: node.said("closed 0"))

def is_left():
    """sees a node leave, which has nothing unacknowledged then"""
    node = Cpp()
    it = joined(LARGER, node)
    node.tell("send 0 100")
    until(lambda: node.said("sent 100"))
    node.tell("close")
    until(lambda: node.said("closed ") and not it.running.is_alive())
    assert node.said("closed 0") and it.over == "left" and Reading(it).finished(100), it.events

def wrong_cluster():
    """is told why where the name of the cluster is another"""
    node = Cpp()
    for id in SMALLER, LARGER:
        it = client(id, node, "another")
        until(lambda: not it.running.is_alive())
        assert it.over == "cluster", it.events
    stats = node.stats()
    assert stats["peers"] == 0 and stats["protocol_errors"] == 0, stats

def is_killed():
    """is seen as failed when its process is killed"""
    node = Cpp()
    chat = program(node, "client")
    until(lambda: node.said("added ") and chat.said("attached " + node.id))
    chat.process.kill()
    until(lambda: node.said(f"removed {node.said('added ')[1]} failed"))

def program(node, name):
    return Program(sys.executable, "-B", os.path.join(HERE, "peer.py"), node.address, "demo", name)

def chats():
    """is a program of its own: what is typed there arrives, and the end of its input leaves"""
    node = Cpp()
    chat = program(node, "ann")
    until(lambda: chat.said("attached " + node.id) and node.said("added ") and node.said("added ")[2] == "ann")
    chat.tell("Hello, world!")
    until(lambda: node.stats()["messages_received"] == 1)
    node.tell("send 1 2")
    until(lambda: chat.said(f"message {numbered(1).decode()}"))
    chat.process.stdin.close()
    until(lambda: node.said("removed ") and node.said("removed ")[2] == "left")
    assert chat.process.wait(DEADLINE) == 0

TESTS = [joins_smaller, joins_larger, exchanges_smaller, exchanges_larger, resumes_smaller, resumes_larger,
         stops_at_the_limit, withholds, leaves, is_left, wrong_cluster, is_killed, chats]

def main():
    if sys.argv[1:] == ["--list"]:
        for test in TESTS:
            print(f"{test.__name__}: {test.__doc__}")
        return
    try:
        next(test for test in TESTS if test.__name__ == sys.argv[2])()
    finally:
        for program in running:
            program.process.kill()
            program.process.wait()

if __name__ == "__main__":
    main()
