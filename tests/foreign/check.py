#!/usr/bin/env python3
"""Real nodes (node.cpp) and the client in another language (peer.py), together.

check.py --list          names each test and what it claims
check.py PROGRAM TEST    runs one; PROGRAM is the built node.cpp
"""
import asyncio
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
LOOP = asyncio.new_event_loop()
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

    def stats(self, *clients):
        """What it counts now, by name."""
        before = sum(line.startswith("stats ") for line in self.lines)
        self.tell("stats")
        until(lambda: sum(line.startswith("stats ") for line in self.lines) > before, *clients)
        last = [line for line in self.lines if line.startswith("stats ")][-1]
        names = "peers messages_received messages_lost outbox_bytes sessions_resumed protocol_errors answered".split()
        return dict(zip(names, map(int, last.split()[1:])))

def until(condition, *clients, pause=0.002):
    """Keeps the clients going, if any are named, until the condition holds, and returns what it says then."""
    end = time.monotonic() + DEADLINE
    while not (met := condition()):
        if time.monotonic() > end:
            said = "".join(line for program in running for line in program.lines[-20:])
            sys.exit(f"not so after {DEADLINE} s: {inspect.getsource(condition).strip()}\n{said}")
        if clients:
            LOOP.run_until_complete(asyncio.sleep(pause))
        else:
            with spoken:
                spoken.wait(0.02)
    return met

def client(id, *nodes, **options):
    """A client that remembers what it reported."""
    events = []
    it = peer.Node("demo", id=id, name="client", seeds=[node.where for node in nodes],
                   report=lambda *words: events.append(words), **options)
    it.events = events
    LOOP.run_until_complete(it.start())
    return it

def close(it, seconds=DEADLINE):
    LOOP.run_until_complete(asyncio.wait_for(it.close(), seconds))
    assert not it.peers()

def joined(id, *nodes):
    it = client(id, *nodes)
    until(lambda: len(it.peers()) == len(nodes) and all(node.said("added " + id.hex()) for node in nodes), it)
    return it

def count(it, event):
    return sum(words[0] == event for words in it.events)

def reset(writers):
    """Breaks connections without a word, losing what is on the way in both directions."""
    for writer in writers:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

class Proxy:
    """Stands between a client and a node, so that the connection of each of them can be reset by somebody else."""
    def __init__(self, node):
        self.node, self.writers = node, []
        self.where = LOOP.run_until_complete(asyncio.start_server(self.accept, "127.0.0.1", 0)).sockets[0].getsockname()

    async def accept(self, reader, writer):
        there = await asyncio.open_connection(*self.node.where)
        self.writers = [writer, there[1]]
        await asyncio.gather(self.pass_on(reader, there[1]), self.pass_on(there[0], writer))

    async def pass_on(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
            writer.write_eof()

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
    it.learn = lambda *where: None  # all goes through the proxy
    until(lambda: it.peers() and node.said("added " + id.hex()), it)
    reading, session = Reading(it), it.sessions[bytes.fromhex(node.id)]
    node.tell(f"send 0 {total}")
    node.tell(f"receive 0 {total}")
    part, cut = total // (resets + 1), []
    for begin in range(0, part * resets, part):  # each reset finds messages under way in both directions
        until(lambda: reading.upto(begin + part), it)
        before = session.position()
        for number in range(begin, begin + part):
            it.send(numbered(number))
        until(lambda: session.position() > before and session.written, it, pause=0)
        cut.append(session.received)
        link = session.link
        reset(proxy.writers if len(cut) % 2 else [link.writer])  # on the node's side and the client's, or on the latter
        until(lambda: session.link not in (None, link), it)
    for number in range(part * resets, total):
        it.send(numbered(number))
    until(lambda: reading.finished(total) and node.said("received ") and node.said("sent "), it)
    assert node.said("received ")[1:] == [str(total)] and node.said("sent ")[1:] == [str(total)], node.lines
    until(lambda: session.acknowledged == session.end, it)
    assert all(at < session.received for at in cut)
    stats = node.stats(it)
    assert stats["protocol_errors"] == 0 and stats["sessions_resumed"] >= resets, stats
    close(it)
    until(lambda: node.said(f"removed {id.hex()} left"))

def joins_smaller():
    """joins three nodes, and all list all, with the smallest id"""
    three_nodes(SMALLER)

def joins_larger():
    """joins three nodes, and all list all, with the largest id"""
    three_nodes(LARGER)

def three_nodes(id):
    ann, bob = Cpp(), Cpp()
    bob.tell("add " + ann.address)
    until(lambda: bob.said("add ok"))
    it = client(id, ann)
    until(lambda: {each.id.hex() for each in it.peers()} == {ann.id, bob.id}, it)
    for node in ann, bob:
        until(lambda: node.said("added " + id.hex()), it)
        stats = node.stats(it)
        assert stats["peers"] == 2 and stats["protocol_errors"] == 0, stats
    close(it)

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

def stopped(session):
    """All that was sent has been acknowledged, and the next frame has no credit."""
    return session.frames and not session.written and session.frames[0][0] > session.allowed

def stops_at_the_limit():
    """stops sending when a node does not read its inbox, and goes on when it does"""
    node = Cpp("heartbeat=100")
    it = joined(LARGER, node)
    session, total = it.sessions[bytes.fromhex(node.id)], 4000
    for number in range(total):
        it.send(numbered(number))
    until(lambda: stopped(session), it)
    before = session.position()
    assert node.stats(it)["messages_received"] < total and before <= session.allowed < session.end
    pings = heard(it, "ping")  # some heartbeats of an idle link later nothing more was sent
    until(lambda: len(pings) >= 5, it)
    assert stopped(session) and session.position() == before
    node.tell(f"receive 0 {total}")
    until(lambda: node.said("received "), it)
    assert node.said("received ")[1:] == [str(total)]
    close(it)

def withholds():
    """holds a node back by leaving its messages unread, and lets it go on by reading"""
    node = Cpp("heartbeat=100", "outbox=8388608")
    it = joined(SMALLER, node)
    session, total, reading = it.sessions[bytes.fromhex(node.id)], 40_000, Reading(it)
    node.tell(f"send 0 {total}")
    until(lambda: session.limit - session.received < peer.CHUNK and len(it.inbox) > 100, it)
    until(lambda: node.stats(it)["outbox_bytes"] > 7 << 20, it)
    received, pings = session.received, heard(it, "ping")
    until(lambda: len(pings) >= 5, it)
    assert received == session.received and not node.said("sent ")
    until(lambda: reading.finished(total) and node.said("sent "), it)
    assert node.said("sent ")[1:] == [str(total)]
    until(lambda: node.stats(it)["outbox_bytes"] == 0, it)
    close(it)

def heard(it, kind):
    """A list that grows as frames of that kind come."""
    frames, handle = [], it.handle
    async def noting(link, session, came, fields):
        if came == kind:
            frames.append(fields)
        await handle(link, session, came, fields)
    it.handle = noting
    return frames

def answers_probes():
    """answers probes, and both sides compute the same digest of who is there"""
    ann, bob = Cpp("heartbeat=100"), Cpp("heartbeat=100")
    bob.tell("add " + ann.address)
    until(lambda: bob.said("add ok"))
    it = client(SMALLER, ann)
    until(lambda: len(it.peers()) == 2 and all(node.said("added " + it.facts.id.hex()) for node in (ann, bob)), it)
    pings = heard(it, "ping")
    until(lambda: len(pings) >= 6, it)
    assert {digest for _, digest in pings} == {it.digest()}, (pings, it.digest(), it.peers(), it.events)
    for node in ann, bob:  # a node knows the round trip of those who have answered
        until(lambda: node.stats(it)["answered"] == 2, it)
        assert node.stats(it)["protocol_errors"] == 0
    close(it)

def a_wrong_digest():
    """whose digest differs is told who is there"""
    node = Cpp()
    it = client(LARGER, node)
    lists = heard(it, "peers")
    until(lambda: len(lists) == 1, it)  # each link begins with one
    it.digest = lambda: 1
    def asked():
        it.ping(it.links[0])
        return len(lists) > 1
    until(asked, it)
    assert [facts[0].hex() for facts in lists[1][0]] == [node.id]
    assert node.stats(it)["protocol_errors"] == 0
    close(it)

def leaves():
    """leaves cleanly, and the node has seen it leave"""
    node = Cpp()
    it = joined(SMALLER, node)
    node.tell("receive 0 100")
    for number in range(100):
        it.send(numbered(number))
    close(it)
    until(lambda: node.said(f"removed {it.facts.id.hex()} left") and node.said("received 100"))
    node.tell("close")
    until(lambda: node.said("closed 0"))

def is_left():
    """sees a node leave, which has nothing unacknowledged then"""
    node = Cpp()
    it = joined(LARGER, node)
    reading = Reading(it)
    node.tell("send 0 100")
    until(lambda: node.said("sent 100"), it)
    node.tell("close")
    until(lambda: node.said("closed ") and count(it, "left") == 1, it)
    assert node.said("closed 0") and reading.finished(100) and not it.peers()
    close(it)

def wrong_cluster():
    """is told why where the name of the cluster is another"""
    node, events = Cpp(), []
    it = peer.Node("another", seeds=[node.where], report=lambda *words: events.append(words))
    LOOP.run_until_complete(it.start())
    refuse = it.refuse
    async def wait_for_theirs(link, reason):
        await it.hear(link, "offer")
    it.refuse = wait_for_theirs  # so that it is the node that says it
    until(lambda: any(words[0] == "refused" for words in events), it)
    assert next(words for words in events if words[0] == "refused")[1] == "cluster", events
    it.refuse = refuse
    until(lambda: any(words[0] == "refuses" for words in events), it)
    assert next(words for words in events if words[0] == "refuses")[1] == "cluster", events
    stats = node.stats(it)
    assert not it.peers() and stats["peers"] == 0 and stats["protocol_errors"] == 0, stats
    close(it)

def is_killed():
    """is seen as failed when its process is killed"""
    node = Cpp()
    chat = Program(sys.executable, "-B", os.path.join(HERE, "peer.py"), "demo", "client", node.address)
    until(lambda: node.said("added ") and chat.said("joined " + node.id))
    chat.process.kill()
    until(lambda: node.said(f"removed {node.said('added ')[1]} failed"))

def is_dialled():
    """that listens is dialled by a node, and by another one that has heard of it"""
    ann, bob = Cpp(), Cpp()
    it = client(SMALLER, listen=("127.0.0.1", 0))
    ann.tell("add %s:%d" % (it.facts.addresses[0][0].decode(), it.facts.addresses[0][1]))
    until(lambda: ann.said("add ok") and len(it.peers()) == 1, it)
    it.learn = lambda *where: None  # it dials nobody itself
    bob.tell("add " + ann.address)
    until(lambda: len(it.peers()) == 2 and bob.said("added " + it.facts.id.hex()), it)
    close(it)

def chats():
    """is a program of its own: what is typed there arrives, and the end of its input leaves"""
    node = Cpp()
    chat = Program(sys.executable, "-B", os.path.join(HERE, "peer.py"), "demo", "ann", node.address)
    until(lambda: chat.said("joined " + node.id) and node.said("added ") and node.said("added ")[2] == "ann")
    chat.tell("Hello, world!")
    until(lambda: node.stats()["messages_received"] == 1)
    node.tell("send 1 2")
    until(lambda: chat.said(f"message {node.id} {numbered(1).decode()}"))
    chat.process.stdin.close()
    until(lambda: node.said("removed ") and node.said("removed ")[2] == "left")
    assert chat.process.wait(DEADLINE) == 0

TESTS = [joins_smaller, joins_larger, exchanges_smaller, exchanges_larger, resumes_smaller, resumes_larger,
         stops_at_the_limit, withholds, answers_probes, a_wrong_digest, leaves, is_left,
         wrong_cluster, is_killed, is_dialled, chats]

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
