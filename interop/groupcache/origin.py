"""Where values come from: an HTTP server that knows who loaded what, and how often."""

import asyncio
import threading
from collections import Counter, defaultdict
from urllib.parse import unquote_to_bytes

#: Keys that begin so are not there, cannot be loaded, or are not answered before they are released.
ABSENT, FAILING, HELD = b"absent-", b"failing-", b"held-"
#: Values of keys that begin so are longer than what Go sends in one piece, and longer than a megabyte.
LONG, HUGE = b"long-", b"huge-"


class Origin:
    """Answers `GET /NODE/GROUP?key=KEY` with a value that tells the key and its version."""

    def __init__(self):
        #: How often each node has loaded each key of each group.
        self.loads = defaultdict(lambda: defaultdict(Counter))
        self.versions = Counter()
        #: For how many seconds a key's value holds, if not for ever.
        self.ages = {}
        self.loop = asyncio.new_event_loop()
        #: Keys that begin with HELD and are answered by now, and the answers that wait for it.
        self.released, self.waiting = set(), {}
        listening = threading.Event()
        threading.Thread(target=self._serve, args=[listening], daemon=True).start()
        listening.wait()

    def _serve(self, listening):
        asyncio.set_event_loop(self.loop)
        started = self.loop.create_server(lambda: Connection(self), "127.0.0.1", 0, backlog=1_000)
        server = self.loop.run_until_complete(started)
        self.port = server.sockets[0].getsockname()[1]
        listening.set()
        self.loop.run_forever()

    def url(self, node):
        """What a node puts before GROUP?key=KEY."""
        return f"http://127.0.0.1:{self.port}/{node}/"

    def value(self, group, key):
        value = b"%d %s %s" % (self.versions[group, key], group.encode(), key)
        if key.startswith(LONG):
            value += b"." * 5_000
        if key.startswith(HUGE):
            value += b"." * (1 << 20)
        return value

    def change(self, group, key):
        """From now on there is another value."""
        self.versions[group, key] += 1

    def release(self, key):
        """Answers all who have asked for a key that is held, and those who will."""

        def answer():
            self.released.add(key)
            for send in self.waiting.pop(key, []):
                send()

        self.loop.call_soon_threadsafe(answer)

    def loaded(self, group, key):
        """How often each node has loaded a key."""
        return dict(self.loads[group].get(key, {}))

    def answer(self, node, group, key):
        """The status, the body and the headers of an answer."""
        self.loads[group][key][node] += 1
        if key.startswith(ABSENT):
            return b"404 Not Found", b"", b""
        if key.startswith(FAILING):
            return b"500 Internal Server Error", b"the origin is ill", b""
        age = self.ages.get((group, key))
        header = b"" if age is None else b"Cache-Control: max-age=%d\r\n" % age
        return b"200 OK", self.value(group, key), header


class Connection(asyncio.Protocol):
    """A connection that is kept, with one request after the other."""

    def __init__(self, origin):
        self.origin = origin
        self.read = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.read += data
        while b"\r\n\r\n" in self.read:
            head, _, self.read = self.read.partition(b"\r\n\r\n")
            _, path, _ = head.split(b"\r\n", 1)[0].split(b" ")
            place, _, key = path.partition(b"?key=")
            _, node, group = place.split(b"/")
            self.take(node.decode(), group.decode(), unquote_to_bytes(key))

    def take(self, node, group, key):
        answer = self.origin.answer(node, group, key)
        if key.startswith(HELD) and key not in self.origin.released:
            self.origin.waiting.setdefault(key, []).append(lambda: self.send(answer))
        else:
            self.send(answer)

    def send(self, answer):
        status, body, header = answer
        head = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n" % (status, len(body), header)
        self.transport.write(head + body)
