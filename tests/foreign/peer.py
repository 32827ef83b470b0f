"""A guest of a cluster in plain Python, written from src/wire/PROTOCOL.md; R1 to R33 are the rules there. It dials one
node and talks to that one alone, for nobody can dial it: its view is what that node tells it. This is the client of
version 1, and frozen: every later build must still talk to it. It checks of what it reads what could harm a session.
As a program it sends each line that is typed, prints what comes, and leaves at the end of the input. As a module: make
a Client, which starts at once, send() and receive() in one thread, and close(); `over` says why it has ended."""
import collections, functools, io, os, select, socket, struct, sys, threading, time

MAGIC, MORE, SKIPPABLE, CHUNK, WINDOW, MAX_MESSAGE = 0x53554C43, 0x01, 0x80, 65_536, 131_072, 16 << 20
HEARTBEAT, REDIAL, RESUME_FOR, PAUSE = 1, 0.1, 30, 0.005  # seconds
PATIENCE = {"greeting": 5, "attached": 3 * HEARTBEAT, "parting": 1}  # with a silent link, by its state
KINDS = "- hello offer attach attached data gap ack goodbye refuse peers ping pong".split()
REASONS = "- duplicate id_in_use unknown_session over removed self cluster version full leaving".split()
Facts = collections.namedtuple("Facts", "id version name member addresses tags")
Message = collections.namedtuple("Message", "body lost end")  # lost: in its place up to so many are missing
HEADER, U8, U16, U32, U64, BOOL, ID, TEXT = struct.Struct("<IBBH"), *"<B <H <I <Q ? 16s text".split()
FACTS, OFFSETS, PROOF = (ID, U64, TEXT, TEXT, [(TEXT, U16)], [(TEXT, TEXT)]), [(U16, U64, U64)], [ID]
FORMS = {"hello": (U32, U16, U16, U64, TEXT, ID, U64, U64, (TEXT, U16), FACTS), "offer": (PROOF, U64, BOOL, BOOL),
         "attach": (ID, BOOL, U64, OFFSETS, U64), "attached": (U64, OFFSETS, U64), "gap": (U64, U64),
         "ack": (OFFSETS,), "goodbye": (U8, OFFSETS), "refuse": (U8, PROOF, TEXT), "peers": ([FACTS],),
         "ping": (U64, U64), "pong": (U64,)}  # a tuple is a sequence, a list any number of one form; PROOF: 0 or 1

def write(form, value):
    if isinstance(form, tuple):
        return b"".join(map(write, form, value))
    if isinstance(form, list):
        return bytes([len(value)]) + b"".join(write(form[0], each) for each in value)  # it says only small sizes
    return bytes([len(value)]) + value if form == TEXT else struct.pack(form, value)
def read(form, data):
    if isinstance(form, tuple):
        return tuple(read(each, data) for each in form)
    if isinstance(form, list):
        return [read(form[0], data) for _ in range(read_size(data))]
    count = read_size(data) if form == TEXT else struct.calcsize(form)
    return struct.unpack(f"{count}s" if form == TEXT else form, data.read(count))[0]
def read_size(data):
    byte = read(U8, data)
    return byte if byte < 128 else byte & 127 | read_size(data) << 7
def of_channel_0(offsets, absent=(0, 0)):
    return next((entry[1:] for entry in offsets if entry[0] == 0), absent)
def require(condition, rule):
    if not condition:
        raise ValueError(rule)
def proof(token, speaker, listener, direction):  # SipHash-2-4-128, see "Proofs"
    turned = lambda value, by: (value << by | value >> 64 - by) % 2**64
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
def share(it):  # what one node adds to a digest
    first, last = struct.unpack("<2Q", it.id)
    z = first ^ last ^ it.version * 0x9E3779B97F4A7C15 % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31

class Client:  # the link of the moment, and the session: the delivery of messages on channel 0, which outlives links
    def __init__(self, where, cluster, name="", id=None, report=lambda *words: None):
        self.where, self.cluster, self.report, self.leaving, self.over = where, cluster.encode(), report, False, None
        self.facts, self.host = Facts(id or os.urandom(16), 1, name.encode(), b"", [], []), None
        self.inbox, self.peers, self.state = collections.deque(), {}, None
        self.token, self.epoch, self.confirmed, self.longest, self.resume_for = None, 0, False, CHUNK, RESUME_FOR
        self.queue, self.written = collections.deque(), collections.deque()  # (end, bytes), not acknowledged
        self.end = self.acknowledged = self.allowed = 0  # offsets as sender; end: of all that is queued
        self.received, self.limit, self.complete, self.taken, self.begun = 0, WINDOW, 0, 0, bytearray()
        self.running = threading.Thread(target=self.run, daemon=True)
        self.running.start()
    def send(self, message):  # queues it; credit decides when it goes out
        require(not (self.leaving or self.over), "the session is over, nothing can be sent any more")
        require(len(message) <= self.longest, "the node takes no message so long")
        for at in range(0, len(message) or 1, CHUNK):
            body, more = message[at:at + CHUNK], MORE * (at + CHUNK < len(message))
            self.end += HEADER.size + len(body)
            self.queue.append((self.end, HEADER.pack(len(body), KINDS.index("data"), more, 0) + body))
    def receive(self):  # the next message, if there is one; having taken it makes room for others
        if self.inbox:
            self.taken = self.inbox[0].end
            return self.inbox.popleft()
    def close(self):  # leaves when all is acknowledged (R26), or cannot be for too long
        self.leaving = True
        self.running.join()
    def run(self):
        self.deadline = time.monotonic() + RESUME_FOR
        while not self.over:
            try:
                with socket.create_connection(self.where, 5) as self.socket:  # closed before the next one (R6)
                    self.input, self.asked = b"", 0
                    self.enter("greeting")
                    self.attach(os.urandom(16))
                    while True:
                        self.handle(*self.hear(*KINDS[5:9], *KINDS[10:]))
            except (OSError, ValueError, OverflowError, RecursionError, struct.error) as problem:
                self.report("link-ended", problem)
            time.sleep(REDIAL)
            self.over = self.over or ("failed" if time.monotonic() > self.deadline else None)
    def enter(self, state):
        self.state, self.heard = state, time.monotonic()
    def read(self, count):  # that many bytes; while they have not come, does what is due
        while len(self.input) < count:
            self.tend(time.monotonic())
            if select.select([self.socket], [], [], PAUSE)[0]:
                came = self.socket.recv(CHUNK)
                require(came, "end of stream")
                self.input += came
        taken, self.input = self.input[:count], self.input[count:]
        return taken
    def tend(self, now):
        require(now - self.heard < PATIENCE[self.state], "silent for too long")
        if self.state == "attached":
            self.deadline = now + self.resume_for
            while self.queue and self.queue[0][0] <= self.allowed:
                self.written.append(self.queue.popleft())
                self.socket.sendall(self.written[-1][1])
            if self.stated != self.standing():
                self.say("ack", self.stated)
            if now - self.asked > HEARTBEAT:
                self.asked = now
                if self.outdated:
                    self.say("peers", [self.facts])
                self.say("ping", 0, self.digest())  # where that is wrong, the answer brings the list
            if self.leaving and not self.queue and not self.written:
                self.say_goodbye(1)
    def say(self, kind, *fields):
        body = write(FORMS[kind], fields)
        self.socket.sendall(HEADER.pack(len(body), KINDS.index(kind), SKIPPABLE * (kind in KINDS[10:]), 0) + body)
    def hear(self, *expected):  # the next frame: its kind, and its fields
        while True:
            length, code, flags, channel = HEADER.unpack(self.read(HEADER.size))
            require(length <= CHUNK, "frame_too_long")
            body = self.read(length)
            self.heard = self.heard if self.state == "parting" else time.monotonic()
            if code < len(KINDS):
                require(KINDS[code] in expected and channel == 0, "unexpected_frame")
                form = FORMS.get(KINDS[code])
                return KINDS[code], read(form, io.BytesIO(body)) if form else (body, flags)
            require(flags & SKIPPABLE, "unknown_kind")
    def expect(self, kind):  # REFUSE is final where there is no session; else the next link may do better (R19)
        got, fields = self.hear(kind, "refuse")
        if got == kind:
            return fields
        reason = REASONS[fields[0]] if fields[0] < len(REASONS) else "unknown"
        if not self.token or reason == "over" and self.leaving:
            self.over = reason
        raise ConnectionError("refused: " + reason)
    def attach(self, nonce):  # R1 to R20; it refuses by ending the link (R31), and lets the node compare the clusters
        self.say("hello", MAGIC, 1, 1, 0, self.cluster, nonce, 1000 * RESUME_FOR, MAX_MESSAGE, (b"", 0), self.facts)
        magic, low, high, _, _, theirs, kept_for, longest, _, facts = self.expect("hello")
        require(magic == MAGIC and low <= 1 <= high, "bad_magic or version")
        require(not self.token or facts[0] == self.host.id, "another node is there now")  # R14
        self.host, self.longest, self.resume_for = Facts(*facts), max(CHUNK, longest), min(RESUME_FOR, kept_for / 1000)
        offsets = (self.decide if self.facts.id < self.host.id else self.offer)(nonce, theirs)
        self.settle(*of_channel_0(offsets))
        self.queue.extendleft(reversed(self.written))  # R25: on from where the node stands
        self.written.clear()
        self.peers, self.outdated, self.confirmed = self.peers | {self.host.id: self.host}, True, True
        self.enter("attached")
        self.report("attached", self.host.id.hex())
    def decide(self, nonce, theirs):  # what the smaller id does about an OFFER (R4)
        shown, _, _, defended = self.expect("offer")
        known = self.token and shown == [proof(self.token, theirs, nonce, 1)]
        require(known or not self.confirmed and not (shown and defended), "id_in_use or unknown_session")
        self.token, self.epoch = self.token or os.urandom(16), self.epoch + 1
        token = proof(self.token, nonce, theirs, 2) if self.confirmed else self.token
        self.say("attach", token, not self.confirmed, self.epoch, self.standing(), 0)
        _, offsets, _ = self.expect("attached")
        self.say("ack", [])  # R12
        return offsets
    def offer(self, nonce, theirs):  # what the larger id offers, and does about an ATTACH
        shown = [proof(self.token, nonce, theirs, 1)] if self.token else []
        self.say("offer", shown, self.epoch, False, bool(shown))
        token, first, epoch, offsets, _ = self.expect("attach")
        right = self.token if first else shown and proof(self.token, theirs, nonce, 2)
        require(token == right if shown else first and of_channel_0(offsets)[0] == 0, "id_in_use or unknown_session")
        require(epoch > self.epoch, "duplicate")  # R9
        self.token, self.epoch = self.token or token, epoch
        self.say("attached", epoch, self.standing(), 0)
        return offsets
    def standing(self):  # where this side stands; a message that has only begun takes no credit, or it could never end
        self.limit = max(self.limit, self.received + WINDOW - (self.complete - self.taken))
        self.stated = [(0, self.received, self.limit)]
        return self.stated
    def settle(self, received, limit=0):  # where the node stands: what lies before that is done
        require(received in [self.acknowledged, *(end for end, _ in self.written)], "not where a sent frame ends")
        while self.acknowledged < received:
            self.acknowledged, _ = self.written.popleft()
        self.allowed = max(self.allowed, limit)
    def handle(self, kind, fields):  # a frame on the attached link
        if kind == "goodbye":
            why, (sent, received) = fields[0], of_channel_0(fields[1])
            require(sent == self.received or self.state == "parting", "goodbye_before_the_end")
            self.settle(received)
            if self.state == "attached":
                self.say_goodbye(why)
            self.over = "left" if why == 1 else "removed"
        elif self.state == "parting":
            pass  # R26: thrown away
        elif kind == "data":
            body, end = fields[0], self.received + HEADER.size + len(fields[0])
            require(end <= self.limit, "beyond_credit")
            require(len(self.begun) + len(body) <= MAX_MESSAGE, "message_too_long")
            self.received = end
            self.begun += body
            if not fields[1] & MORE:
                self.take(bytes(self.begun), 0)
        elif kind == "gap":
            require(fields[0] > self.received, "offset_goes_back")
            self.limit, self.received = self.limit + fields[0] - self.received, fields[0]
            self.take(b"", fields[1])
        elif kind == "ack":
            self.settle(*of_channel_0(fields[0], (self.acknowledged, 0)))
        elif kind == "peers":
            news = {it[0]: Facts(*it) for it in fields[0] if it[0] != self.facts.id}
            self.peers, self.outdated = news if self.outdated else self.peers | news, False
        elif kind == "ping":
            self.say("pong", fields[0])
            self.outdated = self.outdated or fields[1] != self.digest()
    def take(self, body, lost):
        self.inbox.append(Message(body, lost, self.received))
        self.complete, self.begun = self.received, bytearray()
    def say_goodbye(self, why):  # behind it nothing is written, but read to the end (R27)
        self.say("goodbye", why, [(0, self.written[-1][0] if self.written else self.acknowledged, self.received)])
        self.enter("parting")
        self.socket.shutdown(socket.SHUT_WR)
    def digest(self):
        return sum(map(share, [self.facts, *self.peers.values()])) % 2**64

def show(client):
    while client.inbox or client.running.is_alive():
        while message := client.receive():
            print("message", message.body.decode(errors="replace"), message.lost or "", flush=True)
        time.sleep(PAUSE)
if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: peer.py HOST:PORT CLUSTER NAME, where a node of the cluster listens at HOST:PORT")
    host, _, port = sys.argv[1].rpartition(":")
    client = Client((host.strip("[]"), int(port)), *sys.argv[2:], report=functools.partial(print, flush=True))
    threading.Thread(target=show, args=[client]).start()
    for line in sys.stdin.buffer:
        client.send(line.rstrip(b"\n"))
    client.close()
