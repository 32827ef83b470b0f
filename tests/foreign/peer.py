#!/usr/bin/env python3
"""A node of a cluster in plain Python, written from src/wire/PROTOCOL.md; R1 to R33 are the rules there. This is the
client of version 1, and frozen: every later build must still talk to it. Of what it reads it checks only what could
harm a session; and instead of keeping an undefended session (R21) it forgets it.

As a program it is a small chat: a line typed goes to every peer, what they send is printed, and the end of the input
leaves. As a module: make a Node, start() it in an event loop, send() and receive(), and close().
"""
import asyncio, collections, io, os, random, struct, sys, time, types

MAGIC, MORE, SKIPPABLE, CHUNK, WINDOW, MAX_MESSAGE = 0x53554C43, 0x01, 0x80, 65_536, 131_072, 16 << 20
HEARTBEAT, DRAIN_TIMEOUT, RESUME_FOR = 1, 1, 30  # seconds
PATIENCE = {"greeting": 5, "attaching": 2, "attached": 3 * HEARTBEAT, "parting": DRAIN_TIMEOUT}
KINDS = "- hello offer attach attached data gap ack goodbye refuse peers ping pong".split()
REASONS = "- duplicate id_in_use unknown_session over removed self cluster version full leaving".split()
NEAR = b"127.", b"::1", b"169.254.", b"fe80:"  # so begin loopback and link-local addresses
Facts = collections.namedtuple("Facts", "id version name member addresses tags")
NOBODY = Facts(b"", -1, b"", b"", [], [])
Message = collections.namedtuple("Message", "sender body lost session end")  # lost: up to so many are missing here

HEADER, U8, U16, U32, U64, BOOL, ID, TEXT, PROOF = struct.Struct("<IBBH"), *"<B <H <I <Q ? 16s text proof?".split()
FACTS = ID, U64, TEXT, TEXT, [(TEXT, U16)], [(TEXT, TEXT)]
OFFSETS = [(U16, U64, U64)]
FORMS = {"hello": (U32, U16, U16, U64, TEXT, ID, U64, U64, (TEXT, U16), FACTS), "offer": (PROOF, U64, BOOL, BOOL),
         "attach": (ID, BOOL, U64, OFFSETS, U64), "attached": (U64, OFFSETS, U64), "gap": (U64, U64),
         "ack": (OFFSETS,), "goodbye": (U8, OFFSETS), "refuse": (U8, PROOF, TEXT), "peers": ([FACTS],),
         "ping": (U64, U64), "pong": (U64,)}
def write(form, value):
    if isinstance(form, tuple):
        return b"".join(map(write, form, value))
    if isinstance(form, list):
        return size(len(value)) + b"".join(write(form[0], each) for each in value)
    if form == PROOF:
        return b"\1" + value if value else b"\0"
    return size(len(value)) + value if form == TEXT else struct.pack(form, value)
def read(form, data):
    if isinstance(form, tuple):
        return tuple(read(each, data) for each in form)
    if isinstance(form, list):
        return [read(form[0], data) for _ in range(read_size(data))]
    if form == PROOF:
        return read(ID, data) if read(BOOL, data) else None
    count = read_size(data) if form == TEXT else struct.calcsize(form)
    return struct.unpack(f"{count}s" if form == TEXT else form, data.read(count))[0]
def size(value):
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + size(value >> 7)
def read_size(data):
    byte = read(U8, data)
    return byte if byte < 128 else byte & 127 | read_size(data) << 7
def frame(kind, body, flags=0):
    return HEADER.pack(len(body), KINDS.index(kind), flags, 0) + body
def of_channel_0(offsets, absent=(0, 0)):
    return next((entry[1:] for entry in offsets if entry[0] == 0), absent)
def require(condition, rule):
    if not condition:
        raise ValueError(rule)

def proof(token, speaker, listener, direction):
    """SipHash-2-4-128, see "Proofs"."""
    def turned(value, by):
        return (value << by | value >> 64 - by) % 2**64
    def rounds(count):
        for a, b, c, d, left, right in ((0, 1, 2, 3, 13, 16), (2, 1, 0, 3, 17, 21)) * count:
            v[a], v[c] = (v[a] + v[b]) % 2**64, (v[c] + v[d]) % 2**64
            v[b], v[d], v[a] = turned(v[b], left) ^ v[a], turned(v[d], right) ^ v[c], turned(v[a], 32)
        return v[0] ^ v[1] ^ v[2] ^ v[3]
    k0, k1 = struct.unpack("<2Q", token)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D ^ 0xEE, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    for word in struct.unpack("<5Q", speaker + listener + bytes([direction, 0, 0, 0, 0, 0, 0, 33])):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xEE
    first = rounds(4)
    v[1] ^= 0xDD
    return struct.pack("<2Q", first, rounds(4))
def share(it):
    """What one node adds to a digest."""
    first, last = struct.unpack("<2Q", it.id)
    z = first ^ last ^ it.version * 0x9E3779B97F4A7C15 % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31

class Session:
    """The delivery of messages to and from one peer, on channel 0, the only one here; it outlives links."""
    def __init__(self, token, epoch=0):
        self.token, self.epoch, self.in_view, self.link, self.lost_at = token, epoch, False, None, None
        self.resume_for, self.max_message = RESUME_FOR, CHUNK
        self.frames, self.written = [], 0  # (end, messages, bytes) of what is not acknowledged; so many on this link
        self.end = self.sent = self.acknowledged = self.allowed = 0  # offsets as sender; end: of all that is queued
        self.received, self.limit, self.complete, self.taken, self.begun = 0, WINDOW, 0, 0, b""
    def post(self, message):
        for at in range(0, len(message) or 1, CHUNK):
            more = at + CHUNK < len(message)
            data = frame("data", message[at:at + CHUNK], MORE * more)
            self.end += len(data)
            self.frames.append((self.end, not more, data))
    def position(self):
        return self.frames[self.written - 1][0] if self.written else self.acknowledged
    def settle(self, received, limit=0):
        """The receiver says where it stands: what lies before that is done."""
        require(received >= self.acknowledged, "offset_goes_back")
        require(received <= self.sent, "offset_beyond_sent")
        while self.frames and self.frames[0][0] <= received:
            del self.frames[0]
            self.written = max(self.written - 1, 0)
        self.acknowledged, self.allowed = received, max(self.allowed, limit)
        require(not self.frames or self.frames[0][0] - len(self.frames[0][2]) >= received, "offset_inside_frame")
    def state(self):
        """Where this side stands as receiver. A message that has only begun takes no credit, or it could never end."""
        self.limit = max(self.limit, self.received + WINDOW - (self.complete - self.taken))
        self.stated = [(0, self.received, self.limit)]
        return self.stated

class Link:
    """One connection, from HELLO to its end."""
    def __init__(self, reader, writer):
        self.reader, self.writer, self.id, self.nonce = reader, writer, None, os.urandom(16)
        self.asked = self.told = 0
        self.near = (writer.get_extra_info("peername") or ("",))[0].encode().startswith(NEAR)
        self.enter("greeting")
    def enter(self, state):
        self.state, self.heard = state, time.monotonic()
    def send(self, kind, *fields):
        self.writer.write(frame(kind, write(FORMS[kind], fields), SKIPPABLE * (kind in ("peers", "ping", "pong"))))
    async def read(self, *expected):
        """The kind and the fields of the next frame; of a HELLO, whose form may change, and of DATA the whole body."""
        length, code, flags, channel = HEADER.unpack(await self.reader.readexactly(HEADER.size))
        require(length <= CHUNK, "frame_too_long")
        body = await self.reader.readexactly(length)
        require(self.state != "closed", "another link has taken its place")
        if self.state != "parting":
            self.heard = time.monotonic()
        if code >= len(KINDS):
            require(flags & SKIPPABLE, "unknown_kind")
            return await self.read(*expected)
        require(KINDS[code] in expected and channel == 0, "unexpected_frame")
        whole = KINDS[code] in ("hello", "data")
        return KINDS[code], (body, flags) if whole else read(FORMS[KINDS[code]], io.BytesIO(body))
    def part(self):
        """Behind GOODBYE and REFUSE nothing is written, but read to the end (R27)."""
        self.enter("parting")
        self.writer.write_eof()
    async def end(self, why):
        await self.reader.read()
        self.writer.close()
        await self.writer.wait_closed()
        raise ConnectionError(why)

class Node:
    def __init__(self, cluster, name="", seeds=(), listen=None, id=None, report=lambda *words: None):
        self.cluster, self.listen, self.report, self.leaving, self.epoch = cluster.encode(), listen, report, False, 0
        self.facts = Facts(id or os.urandom(16), 1, name.encode(), b"", [], [])
        self.links, self.sessions, self.inbox, self.known, self.departed = [], {}, collections.deque(), {}, set()
        self.targets, self.unsettled = {}, collections.Counter()
        for host, port in seeds:
            self.learn([(host.encode(), port)])
    async def start(self):
        if self.listen:
            self.server = await asyncio.start_server(self.talk, *self.listen)
            self.facts.addresses.append((self.listen[0].encode(), self.server.sockets[0].getsockname()[1]))
        self.tending = asyncio.create_task(self.tend())
    def peers(self):
        return [self.known[id] for id, session in self.sessions.items() if session.in_view]
    def send(self, message):
        """Queues the message for each peer in view; credit decides when it goes out."""
        receivers = [self.sessions[it.id] for it in self.peers()]
        require(all(len(message) <= session.max_message for session in receivers), "a peer takes no message so long")
        for session in receivers:
            session.post(message)
    def receive(self):
        """The next message, if there is one; having taken it makes room for others."""
        if self.inbox:
            self.inbox[0].session.taken = self.inbox[0].end
            return self.inbox.popleft()
    async def close(self):
        """Leaves when all is acknowledged (R26); who cannot wait for that cancels it."""
        self.leaving = True
        while self.peers() or any(link.state == "parting" for link in self.links):
            await asyncio.sleep(0.005)
        self.tending.cancel()
        for link in list(self.links):
            self.lose(link)
    async def tend(self):
        """Does what is due, again and again."""
        while True:
            now = time.monotonic()
            for link in list(self.links):
                if now - link.heard > PATIENCE[link.state]:
                    self.lose(link)
                elif link.state == "attached":
                    self.flush(link, self.sessions[link.id], now)
            for id, session in list(self.sessions.items()):
                if session.lost_at and now - session.lost_at > session.resume_for:
                    self.drop(id, "failed")
            for where, target in self.targets.items():
                linked = target.task and not target.task.done() or any(link.id == target.id for link in self.links)
                if now > target.due and where[1] and not linked and (not self.leaving or target.id in self.sessions):
                    target.due = now + random.uniform(0.5, 1)
                    target.task = asyncio.create_task(self.dial(where, target))
            await asyncio.sleep(0.005)
    def flush(self, link, session, now):
        while session.written < len(session.frames) and session.frames[session.written][0] <= session.allowed:
            link.writer.write(session.frames[session.written][2])
            session.written += 1
            session.sent = max(session.sent, session.position())
        if session.stated != session.state():
            link.send("ack", session.stated)
        if now - max(link.heard, link.asked) > HEARTBEAT:
            self.ping(link)
        if self.leaving and not session.frames:
            self.say_goodbye(link, session, 1)
    def learn(self, addresses, id=None, delay=0):
        for where in addresses:
            self.targets.setdefault(where, types.SimpleNamespace(id=id, due=time.monotonic() + delay, task=None))
    def lose(self, link):
        """Closes a link, and its session waits for another one."""
        if link in self.links:
            session = self.sessions.get(link.id)
            if session and session.link is link:
                session.link, session.lost_at = None, session.lost_at or time.monotonic()
            self.links.remove(link)
            link.state = "closed"
            link.writer.transport.abort()
    def drop(self, id, why, keep=None):
        """Ends a session; all other links of the pair are closed first (R22)."""
        for link in [link for link in self.links if link.id == id and link is not keep]:
            self.lose(link)
        session = self.sessions.pop(id)
        self.unsettled[id] = sum(messages for _, messages, _ in session.frames)
        if session.in_view:
            self.report(why, id.hex(), self.unsettled[id])

    async def dial(self, where, target):
        try:
            connection = await asyncio.wait_for(asyncio.open_connection(*where), 5)
        except (OSError, ValueError) as problem:
            return self.report("cannot-dial", *where, problem)
        await self.talk(*connection, target)
    async def talk(self, reader, writer, target=None):
        """One link, from its beginning to its end."""
        link = Link(reader, writer)
        self.links.append(link)
        try:
            await self.attach(link, target)
            while link.state in ("attached", "parting"):
                await self.handle(link, self.sessions[link.id], *await link.read(*KINDS[5:9], *KINDS[10:]))
        except (OSError, EOFError, ValueError, struct.error) as problem:
            self.report("link-closed", problem)
        finally:
            self.lose(link)
    async def refuse(self, link, reason):
        self.report("refuses", reason)
        link.send("refuse", REASONS.index(reason), None, b"")
        link.part()
        await link.end(reason)
    async def hear(self, link, kind):
        """The fields of that frame, if the other side does not refuse."""
        got, fields = await link.read(kind, "refuse")
        if got == kind:
            return fields
        reason, session = REASONS[fields[0]] if fields[0] < len(REASONS) else "unknown", self.sessions.get(link.id)
        self.report("refused", reason, fields[2].decode(errors="replace"))
        if session and reason == "over" and self.leaving:
            self.over(link, 1)
        if session and reason == "removed" and fields[1] == proof(session.token, link.peer_nonce, link.nonce, 3):
            self.over(link, 2)
        raise ConnectionError("refused")

    async def attach(self, link, target):
        """HELLO, and then ATTACH by the smaller id, as R1 to R20 say."""
        link.send("hello", MAGIC, 1, 1, 0, self.cluster, link.nonce, 1000 * RESUME_FOR, MAX_MESSAGE, (b"", 0),
                  self.published(self.facts, link))
        body, _ = await self.hear(link, "hello")
        magic, low, high = struct.unpack_from("<IHH", body)
        require(magic == MAGIC, "bad_magic")
        if not low <= 1 <= high:
            await self.refuse(link, "version")
        _, _, _, _, cluster, link.peer_nonce, resume_for, max_message, _, facts = read(FORMS["hello"], io.BytesIO(body))
        facts, known = Facts(*facts), self.sessions.get(facts[0])
        link.id = facts.id
        if target:
            target.id = facts.id
        wrong = ("cluster" if cluster != self.cluster else "self" if link.id == self.facts.id else
                 "over" if link.id in self.departed else "leaving" if self.leaving and not known else None)
        if wrong == "self":
            self.targets = {where: it for where, it in self.targets.items() if it is not target}
        if wrong:
            await self.refuse(link, wrong)
        session, offsets = await (self.decide(link) if self.facts.id < link.id else self.offer(link))
        session.resume_for, session.max_message = min(RESUME_FOR, resume_for / 1000), max(CHUNK, max_message)
        session.written = 0
        session.settle(*of_channel_0(offsets))
        session.lost_at = None
        link.enter("attached")
        if facts.id not in self.known:  # news, which those hear who are already here
            for other in [other for other in self.links if other.state == "attached" and other is not link]:
                self.tell(other, [facts])
        self.known[facts.id] = facts
        self.learn(facts.addresses, facts.id)
        if not session.in_view:
            session.in_view = True
            self.report("joined", facts.id.hex(), facts.name.decode(errors="replace"))
        self.tell(link, [*self.peers(), self.facts])
    async def decide(self, link):
        """R4, what the smaller id does about an OFFER."""
        shown, epoch, holds, defended = await self.hear(link, "offer")
        while True:
            session = self.sessions.get(link.id)
            if not session or shown != proof(session.token, link.peer_nonce, link.nonce, 1):
                if shown and defended:
                    await self.refuse(link, "unknown_session")
                if session and session.in_view:
                    await self.refuse(link, "id_in_use")
            if not (session and session.link and session.link.state == "attaching"):
                break
            await asyncio.sleep(0.005)
            require(link.state != "closed", "too late")
        session = self.sessions.setdefault(link.id, Session(os.urandom(16)))
        if session.link and (epoch < session.epoch or epoch == session.epoch and holds):
            await self.refuse(link, "duplicate")
        self.lose(session.link)  # R6: first fence, then state
        session.link = link
        self.epoch += 1  # R8: never the same one twice
        session.epoch, first = self.epoch, not session.in_view
        token = session.token if first else proof(session.token, link.nonce, link.peer_nonce, 2)
        link.send("attach", token, first, session.epoch, session.state(), self.unsettled[link.id] * first)
        link.enter("attaching")
        epoch, offsets, unsettled = await self.hear(link, "attached")
        require(epoch == session.epoch, "wrong_epoch")
        self.lament(link.id, session, unsettled)
        link.send("ack", [])  # R12
        return session, offsets
    async def offer(self, link):
        """What the larger id offers, and does about an ATTACH."""
        session = self.sessions.get(link.id)
        shown = session and proof(session.token, link.nonce, link.peer_nonce, 1)
        link.send("offer", shown, session.epoch if session else 0, bool(session and session.link), bool(session))
        token, first, epoch, offsets, unsettled = await self.hear(link, "attach")
        session = self.sessions.get(link.id)
        if session and token != (session.token if first else proof(session.token, link.peer_nonce, link.nonce, 2)):
            await self.refuse(link, "id_in_use")  # R18
        if session and epoch <= session.epoch:  # R9
            await self.refuse(link, "duplicate")
        if not session:
            if not first or of_channel_0(offsets)[0] > 0:  # R17
                await self.refuse(link, "unknown_session")
            session = self.sessions[link.id] = Session(token)
            self.lament(link.id, session, unsettled)
        self.lose(session.link)  # R6: first fence, then state
        session.link = link
        session.epoch = epoch
        link.send("attached", epoch, session.state(), self.unsettled[link.id] * first)
        return session, offsets
    async def handle(self, link, session, kind, fields):
        """A frame on the attached link."""
        if kind == "goodbye":
            why, (sent, received) = fields[0], of_channel_0(fields[1])
            require(sent == session.received or link.state == "parting", "goodbye_before_the_end")
            session.settle(received)
            if link.state == "attached":
                self.say_goodbye(link, session, why)
            self.over(link, why)
            await link.end("goodbye")
        elif link.state == "parting":
            pass  # R26: thrown away
        elif kind == "data":
            body, more = fields[0], fields[1] & MORE
            end = session.received + HEADER.size + len(body)
            require(end <= session.limit, "beyond_credit")
            require(len(session.begun) + len(body) <= MAX_MESSAGE, "message_too_long")
            session.received, session.begun = end, session.begun + body
            if not more:
                self.inbox.append(Message(link.id, session.begun, 0, session, end))
                session.complete, session.begun = end, b""
        elif kind == "gap":
            to, messages = fields
            require(to > session.received, "offset_goes_back")
            session.limit += to - session.received
            session.received, session.complete, session.begun = to, to, b""
            self.lament(link.id, session, messages)
        elif kind == "ack":
            session.settle(*of_channel_0(fields[0], (session.acknowledged, 0)))
        elif kind == "peers":
            self.on_peers(link, [Facts(*it) for it in fields[0]])
        elif kind == "ping":
            link.send("pong", fields[0])
            if fields[1] != self.digest() and time.monotonic() - link.told > HEARTBEAT:
                link.told = time.monotonic()
                self.tell(link, [*self.peers(), self.facts])
    def lament(self, id, session, lost):
        if lost:
            self.inbox.append(Message(id, b"", lost, session, session.complete))
    def say_goodbye(self, link, session, why):
        link.send("goodbye", why, [(0, session.position(), session.received)])
        link.part()
    def over(self, link, why):
        """The session has ended for good; with why 1 its id will not come back either."""
        self.targets = {where: target for where, target in self.targets.items() if target.id != link.id}
        if why == 1:
            self.departed.add(link.id)
        self.drop(link.id, "left" if why == 1 else "removed", keep=link)

    def published(self, it, link):
        return it._replace(addresses=[where for where in it.addresses if link.near or not where[0].startswith(NEAR)])
    def tell(self, link, people):
        entries = [self.published(it, link) for it in people if it.id != link.id]
        for at in range(0, len(entries), 5):  # as many as fit into a frame, however long they are
            link.send("peers", entries[at:at + 5])
    def on_peers(self, link, people):
        for it in people:
            if it.id == self.facts.id or it.id in self.departed or it.version <= self.known.get(it.id, NOBODY).version:
                continue
            direct = [other for other in self.links if other.id == it.id != link.id and other.state == "attached"]
            for other in direct:
                self.ping(other)  # its answer brings the news
            if not direct:
                self.known[it.id] = it
                self.learn(it.addresses, it.id, 0 if self.facts.id < it.id else 0.2)
    def digest(self):
        return sum(share(it) for it in [*self.peers(), self.facts]) % 2**64
    def ping(self, link):
        link.asked = time.monotonic()
        link.send("ping", 0, self.digest())

async def chat(cluster, name, *seeds):
    async def listen():
        while True:
            while message := node.receive():
                print("message", message.sender.hex(), message.body.decode(errors="replace"), message.lost or "")
            await asyncio.sleep(0.005)
    places = [seed.rpartition(":") for seed in seeds]
    node = Node(cluster, name, [(host.strip("[]"), int(port)) for host, _, port in places], report=print)
    await node.start()
    listening = asyncio.create_task(listen())
    typed = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(typed), sys.stdin)
    async for line in typed:
        node.send(line.rstrip(b"\n"))
    await node.close()
    listening.cancel()

if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: peer.py CLUSTER NAME [HOST:PORT of a node to dial]...")
    sys.stdout.reconfigure(line_buffering=True)
    asyncio.run(chat(*sys.argv[1:]))
