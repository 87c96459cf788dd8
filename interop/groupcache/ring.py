"""The processes of a ring: two of a Go family, and two Larders."""

import itertools
import pathlib
import tempfile
import time

from driver import PATIENCE, SETTINGS, Process, where_it_listens
from peers import free_ports

from .line import Line, escaped

WORK = pathlib.Path(__file__).parent.parent / ".work" / "groupcache"
#: The group of every node, and those that only one side has.
GROUP, GO_ALONE, LARDER_ALONE = "users", "of-go-alone", "of-larder-alone"


class Family:
    """One of Go's families: what its wire and its programs can do."""

    def __init__(self, name, mode, identity, **can):
        self.name, self.mode, self.identity = name, mode, identity
        #: There is set, remove and expiry, an owner's error is final, and a space in a key stays one.
        self.writes = can.get("writes", True)
        #: A set from Go reaches every copy.
        self.sets_everywhere = can.get("sets_everywhere", False)
        #: Go keeps a copy of what it sets if it is told to.
        self.keeps_copies = can.get("keeps_copies", False)


FAMILIES = [
    Family("mailgun", "mailgun-v2", "http://127.0.0.1:{}", keeps_copies=True),
    Family("golang", "golang", "http://127.0.0.1:{}", writes=False),
    Family("groupcache-go", "groupcache-go-v3", "127.0.0.1:{}", sets_everywhere=True),
]


class Node:
    """A process of a ring, which can be killed and started again under the same name."""

    def __init__(self, ring, name, port):
        self.ring, self.name, self.port = ring, name, port
        self.identity = ring.family.identity.format(port)
        self.lines = []
        self.process = None

    def start(self):
        self.process = Process(self.command(), SETTINGS)
        self.url = where_it_listens(self.process)

    def kill(self):
        if self.process:
            self.process.kill()
        for line in self.lines:
            line.close()
        self.lines.clear()

    def ask(self, method, path, body=b"", headers=()):
        """Over a connection that nobody else uses meanwhile."""
        try:
            line = self.lines.pop()
        except IndexError:
            line = Line(self.url)
        answer = line.ask(method, path, body, headers)
        if answer.headers.get("connection") != "close":
            self.lines.append(line)
        return answer

    def get(self, key, group=GROUP):
        return self.ask("GET", path(key, group))

    def value(self, key, group=GROUP):
        answer = self.get(key, group)
        assert answer.status == 200, f"{self.name} has no value of {key[:50]!r}: {answer}"
        return answer.body

    def set(self, key, value, age=None, hot=False, group=GROUP):
        headers = [] if age is None else [f"Cache-Control: max-age={age}"]
        # Larder has no such choice.
        query = "?hot" if hot else ""
        answer = self.ask("PUT", path(key, group) + query, value, headers)
        assert answer.status in (200, 204), f"{self.name} does not set {key[:50]!r}: {answer}"

    def remove(self, key, group=GROUP):
        answer = self.ask("DELETE", path(key, group))
        assert answer.status in (200, 204), f"{self.name} does not remove {key[:50]!r}: {answer}"


class GoNode(Node):
    is_larder = False

    def command(self):
        ring = self.ring
        return [
            WORK / ring.family.name,
            f"-self={self.identity}",
            f"-listen=127.0.0.1:{self.port}",
            f"-peers={','.join(node.identity for node in ring.nodes)}",
            f"-origin={ring.origin.url(self.name)}",
            f"-groups={GROUP},{GO_ALONE}",
        ]


class LarderNode(Node):
    is_larder = True

    def command(self):
        file = pathlib.Path(self.ring.folder.name) / f"{self.name}.toml"
        file.write_text(self.settings(), encoding="utf-8")
        return [self.ring.larder, "serve", "--config", file]

    def settings(self):
        ring = self.ring
        peers = ", ".join(f'"{node.identity}"' for node in ring.nodes)
        # One of the two answers peers where it answers everybody, and the other one apart.
        apart = self.name.endswith("2")
        return f"""
listen = ["127.0.0.1:{0 if apart else self.port}"]
[limits]
# Some keys here are as long as a path may be.
header_bytes = 262144
[groups]
mode = "{ring.family.mode}"
identity = "{self.identity}"
listen = [{f'"127.0.0.1:{self.port}"' if apart else ""}]
peers = [{peers}]
""" + "".join(self.group(name) for name in [GROUP, LARDER_ALONE])

    def group(self, name):
        return f"""
[[group]]
name = "{name}"
origin = "{self.ring.origin.url(self.name)}{name}?key={{key}}"
max_value_bytes = 4194304
"""


class Ring:
    """Two nodes of a Go family and two Larders; each knows all four."""

    numbers = itertools.count()

    def __init__(self, family, larder, origin):
        self.family, self.larder, self.origin = family, larder, origin
        self.folder = tempfile.TemporaryDirectory(prefix="larder-interop-")
        names = ["go-1", "larder-1", "go-2", "larder-2"]
        self.nodes = [
            (LarderNode if name.startswith("larder") else GoNode)(self, name, port)
            for name, port in zip(names, free_ports(len(names)))
        ]
        self.by_identity = {node.identity: node for node in self.nodes}
        #: Keys that nobody has asked for, by their kind and their owner.
        self.unused = {}

    def stop(self):
        for node in self.nodes:
            node.kill()
        self.folder.cleanup()

    @property
    def go(self):
        return [node for node in self.nodes if not node.is_larder]

    @property
    def larders(self):
        return [node for node in self.nodes if node.is_larder]

    def owner(self, key):
        """The node that owns a key, as Go says."""
        return self.owners([key])[0]

    def owners(self, keys):
        """The same of many keys."""
        alive = next(node for node in self.go if node.process.child.poll() is None)
        line = Line(alive.url)
        identities = line.get_all([f"/owner/{escaped(key)}" for key in keys])
        line.close()
        return [self.by_identity[identity.decode()] for identity in identities]

    def key_of(self, owner, kind=b"key-"):
        """A key that nobody has asked for, which this node owns."""
        return self.keys_of(owner, 1, kind)[0]

    def keys_of(self, owner, count, kind=b"key-"):
        unused = self.unused.setdefault((kind, owner), [])
        while len(unused) < count:
            # In mailgun's ring, keys that differ only at their end have one owner: not these.
            keys = [b"%s%d-of-many" % (kind, next(self.numbers) * 7919) for _ in range(300)]
            for key, owned_by in zip(keys, self.owners(keys)):
                self.unused.setdefault((kind, owned_by), []).append(key)
        return [unused.pop() for _ in range(count)]


def path(key, group=GROUP):
    return f"/cache/{group}/{escaped(key)}"


def eventually(holds, why, patience=PATIENCE):
    end = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < end, f"not within {patience} s: {why}"
        time.sleep(0.05)
