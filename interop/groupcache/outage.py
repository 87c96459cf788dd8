"""A process of a ring is killed while the others are asked, and comes back."""

import itertools
import random
import threading
import time

from .line import Line
from .ring import GROUP, eventually, path

#: How many keys of those that are asked for again and again, and of those that are asked for once.
WARM, FRESH = 300, 200


class Traffic:
    """Gets at some nodes, of keys that are known and of new ones, until it is stopped."""

    numbers = itertools.count()

    def __init__(self, ring, nodes, known):
        self.ring, self.known = ring, known
        self.asked, self.wrong, self.fresh = 0, [], []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=[node]) for node in nodes]
        for thread in self.threads:
            thread.start()

    def _run(self, node):
        dice = random.Random(node.name)
        try:
            line = Line(node.url)
            while not self.stopping.is_set():
                self._ask(node, line, dice)
                time.sleep(0.002)
            line.close()
        except (AssertionError, OSError) as error:
            self.wrong.append(f"{node.name}: {error}")

    def _ask(self, node, line, dice):
        key = dice.choice(self.known)
        if self.asked % 3 == 0:
            key = b"%d-during" % (next(self.numbers) * 7919)
            self.fresh.append(key)
        answer = line.ask("GET", path(key))
        self.asked += 1
        if (answer.status, answer.body) != (200, self.ring.origin.value(GROUP, key)):
            self.wrong.append(f"{node.name}, {key!r}: {answer}")

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


def survives(ring, victim):
    rest = [node for node in ring.nodes if node is not victim]
    known = [b"%d-warm-%s" % (number * 7919, victim.name.encode()) for number in range(WARM)]
    for node in ring.nodes:
        for key in known:
            node.value(key)
    traffic = Traffic(ring, rest, known)
    try:
        time.sleep(0.5)
        victim.kill()
        time.sleep(1.5)
        died = traffic.asked
        lost = ring.keys_of(victim, 20, b"lost-")
        ask_all(ring, rest, lost)
        victim.start()
        eventually(lambda: is_back(ring, rest, victim), f"the others do not ask {victim.name}")
    finally:
        traffic.stop()
    assert died > 100, f"only {died} gets while it was down"
    wrong = traffic.wrong
    assert not wrong, f"of {traffic.asked} gets {len(wrong)} failed, the first one: {wrong[0]}"
    for key in lost:
        loads = ring.origin.loaded(GROUP, key)
        assert sum(loads.values()) <= len(rest), f"{key!r} was loaded too often: {loads}"
    for key in traffic.fresh:
        loads = ring.origin.loaded(GROUP, key)
        assert sum(loads.values()) <= 2, f"{key!r}, asked for once, was loaded too often: {loads}"
    agrees_again(ring, victim)


def ask_all(ring, nodes, keys):
    for node in nodes:
        for key in keys:
            assert node.value(key) == ring.origin.value(GROUP, key), f"{node.name}: {key!r}"


def is_back(ring, rest, victim):
    """Whether each of the others has the one that was away load what it owns."""
    keys = [ring.key_of(victim, b"back-") for _ in rest]
    for node, key in zip(rest, keys):
        node.value(key)
    return all(ring.origin.loaded(GROUP, key) == {victim.name: 1} for key in keys)


def agrees_again(ring, victim):
    keys = [b"%d-after-%s" % (number * 7919, victim.name.encode()) for number in range(FRESH)]
    ask_all(ring, ring.nodes, keys)
    for key, owner in zip(keys, ring.owners(keys)):
        loads = ring.origin.loaded(GROUP, key)
        assert loads == {owner.name: 1}, f"{key!r} of {owner.name} was loaded by {loads}"
