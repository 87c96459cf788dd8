"""Two of Consul's clients that meet: a reader, and another that it looks at."""

import itertools
import time

from driver import PATIENCE, Adapter, Refused

from .expectations import NEEDS

#: What an instance says of itself: what every client can write, in more than ASCII.
TAGS = ["primary", "größe"]
META = {"zone": "a", "city": "Zürich 中 🍞", "empty": ""}


class Pair:
    """A reader at one server and another client at the same one, or at another that leads to the same
    registry. `upstream` is the server behind the reader's, if it is to be told the same there."""

    numbers = itertools.count(1)

    def __init__(
        self, reader, other, server, other_server=None, upstream=None, where="", probed=None
    ):
        number = next(self.numbers)
        self.title = f"{reader.name} looks at {other.name}{where}"
        self.reader_client, self.other_client = reader, other
        self.server, self.other_server = server, other_server or server
        self.upstream, self.probed = upstream, probed
        self.service = f"{other.name}-for-{reader.name}-{number}"
        #: Keys of this pair begin so: not with a slash, which py-consul refuses.
        self.keys = f"interop/{number}/"
        self.registered = {
            "id": f"{self.service}:8080",
            "service": self.service,
            "tags": TAGS,
            "meta": META,
            "address": "10.1.2.3",
            "port": 8080,
        }
        self.check = f"service:{self.registered['id']}"
        self.started = []

    def start(self):
        self.reader = self._start(self.reader_client, self.server)
        self.other = self._start(self.other_client, self.other_server)
        if self.upstream:
            self.beyond = self._start(self.reader_client, self.upstream)

    def _start(self, client, server):
        adapter = Adapter(client)
        self.started.append(adapter)
        adapter.do("start", server=server)
        return adapter

    def unable(self, expectation):
        for role, need in NEEDS.get(expectation, []):
            client = getattr(self, role)
            if not getattr(client, need):
                return f"{client.name}: not {need}"
        return None

    def read(self, command, **arguments):
        """What the reader is told, without its index."""
        return self.reader.do(command, **arguments)["value"]

    def register(self, checks=({"ttl": "60s"},), **about):
        self.other.do("register", **(self.registered | {"checks": list(checks)} | about))

    def instances(self, **arguments):
        """The instances of the other's service, as the reader sees them."""
        return self.read("health_service", **({"service": self.service} | arguments))

    def status(self, check=None, **arguments):
        """The status of one check, as the reader sees it; None if it sees none."""
        return self.noted(check, **arguments)[0]

    def noted(self, check=None, **arguments):
        """The status of one check and what was noted with it."""
        checks = [each for entry in self.instances(**arguments) for each in entry["Checks"]]
        for each in checks:
            if each["CheckID"] == (check or self.check):
                return each["Status"], each["Output"]
        return None, None

    def eventually(self, look, holds):
        """Looks until it holds; what was seen then."""
        end = time.monotonic() + PATIENCE
        while True:
            seen = look()
            if holds(seen):
                return seen
            assert time.monotonic() < end, f"not within {PATIENCE} s; it sees {str(seen)[:1000]}"
            time.sleep(0.05)

    def eventually_is(self, look, expected):
        self.eventually(look, lambda seen: seen == expected)

    def refuses(self, adapter, command, **arguments):
        """py-consul says no where others raise an error."""
        try:
            answer = adapter.do(command, **arguments)
        except Refused:
            return
        assert answer is False, f"{command} was taken: {answer!r}"

    def is_woken(self, command, act, holds, **query):
        """The reader blocks, and sees what `act` changes long before its wait is over."""
        found = self.reader.do(command, **query)
        end = time.monotonic() + PATIENCE / 2
        self.reader.ask(command, **query, index=found["index"], wait=f"{PATIENCE - 5}s")
        act()
        while True:
            found = self.reader.answer()
            took = PATIENCE / 2 + time.monotonic() - end
            assert time.monotonic() < end, f"it was woken after {took:.1f} s: {str(found)[:1000]}"
            if holds(found["value"]):
                return
            # Something before it, or a server that begins to follow, has woken the reader.
            self.reader.ask(command, **query, index=found["index"], wait=f"{PATIENCE - 5}s")

    def waits(self, seconds, act, command, **query):
        """The reader blocks for all of its wait, whatever `act` does, and is told what it knew."""
        knew = self._settled(command, query)
        started = time.monotonic()
        self.reader.ask(command, **query, index=knew["index"], wait=f"{seconds}s")
        act()
        found = self.reader.answer()
        took = time.monotonic() - started
        assert found["index"] == knew["index"], f"another index: {knew}, then {found}"
        assert found["value"] == knew["value"], f"it changed: {knew}, then {found}"
        # Up to a sixteenth more is Consul's own; the rest is for two busy cores.
        assert seconds <= took < seconds * 17 / 16 + 2, f"it took {took:.2f} s"

    def _settled(self, command, query):
        """What the reader is told when nothing more is to come."""
        found = self.reader.do(command, **query)
        for _ in range(10):
            started = time.monotonic()
            again = self.reader.do(command, **query, index=found["index"], wait="500ms")
            if time.monotonic() - started >= 0.5:
                return again
            found = again
        raise AssertionError(f"it never blocks: {found}")

    def stop(self):
        for adapter in self.started:
            adapter.kill()
