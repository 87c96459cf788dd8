"""Starts the server, runs every pair of clients through the expectations, and stops the server.

Nothing waits for ever: every answer, every expectation and the end of the server have a deadline.
"""

import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from clients import CLIENTS
from expectations import DURATION, EXPECTATIONS, INTERVAL, NEEDS

#: Seconds until something that must happen has happened.
PATIENCE = 30

#: Keys and values that each format must escape in its own way.
METADATA = {"zone": "a", "a:b": "c", "my_key": "a<b&c\"'", "dollar$key": "v", "empty": "", "city": "Zürich 中 🍞"}


class Process:
    """A child whose output is read line by line, within a deadline."""

    def __init__(self, command, environment=None):
        self.child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, **(environment or {})},
        )
        self.lines = queue.Queue(maxsize=10_000)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.child.stdout:
            self.lines.put(line.rstrip("\n"))

    def line(self):
        try:
            return self.lines.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError(f"no answer within {PATIENCE} s") from None

    def kill(self):
        self.child.kill()
        self.child.wait(PATIENCE)


class Adapter(Process):
    """A process of a client."""

    def __init__(self, client):
        super().__init__(client.command, client.environment)
        self.client = client

    def do(self, command, **arguments):
        self.child.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
        self.child.stdin.flush()
        outcome = json.loads(self.line())
        assert "error" not in outcome, f"{self.client.name} {command}: {outcome['error']}"
        return outcome["answer"]


class Pair:
    """A reader and another that it looks at, each of which has registered."""

    ports = itertools.count(20_000)

    def __init__(self, server, reader, other):
        self.server, self.reader_client, self.other_client = server, reader, other
        self.started = []
        self.reader, self.reader_registered = self._start(reader, f"{reader.name}-reads-{other.name}")
        self.other, self.registered = self._start(other, f"{other.name}-read-by-{reader.name}")

    def _start(self, client, app):
        adapter = Adapter(client)
        self.started.append(adapter)
        port = next(self.ports)
        registered = {
            "app": app,
            "id": f"{app}:{port}",
            "host": "service.example.com",
            "ip": "10.1.2.3",
            "port": port,
            "vip": f"{app}.example.com",
            "metadata": METADATA,
        }
        adapter.do(
            "start", server=f"{self.server}/eureka", interval=INTERVAL, duration=DURATION, **registered
        )
        return adapter, registered

    def start_another(self):
        self.other, self.registered = self._start(self.other_client, self.registered["app"])

    def seen(self, command="by_app", **arguments):
        """The other, as the reader sees it; None if it does not."""
        found = self.reader.do(command, **(arguments or {"app": self.registered["app"]}))
        return next((held for held in found if held["id"] == self.registered["id"]), None)

    def seen_the_other_way(self):
        found = self.other.do("by_app", app=self.reader_registered["app"])
        return next((held for held in found if held["id"] == self.reader_registered["id"]), None)

    def eventually(self, holds):
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end, f"not within {PATIENCE} s; the reader sees {self.seen()}"
            time.sleep(0.1)

    def stop(self):
        for adapter in self.started:
            adapter.kill()


def check(server, reader, other):
    """Yields a line for each expectation, and whether it held."""
    title = f"{reader.name} looks at {other.name}"
    pair = Pair.__new__(Pair)
    pair.started = []
    try:
        pair.__init__(server, reader, other)
        for expectation in EXPECTATIONS:
            if expectation in NEEDS and not getattr(other, NEEDS[expectation]):
                continue
            name = f"{title}: {expectation.__name__.replace('_', ' ')}"
            try:
                expectation(pair)
            except Exception as error:
                yield f"FAILED {name}: {error}", False
                return
            yield f"ok     {name}", True
    except Exception as error:
        yield f"FAILED {title}: {error}", False
    finally:
        pair.stop()


def stop(server):
    server.child.send_signal(signal.SIGTERM)
    try:
        code = server.child.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        server.kill()
        return "FAILED the server stops when it is told to: it did not", False
    outcome = "ok    " if code == 0 else "FAILED"
    return f"{outcome} the server stops when it is told to: exit code {code}", code == 0


def main(larder):
    quiet = {"LARDER_LOG_FILTER": "warn"}
    server = Process([larder, "serve", "--listen", "127.0.0.1:0"], quiet)
    results = []

    def report(result):
        results.append(result[1])
        sys.stdout.write(f"{result[0]}\n")  # In one piece: the pairs are checked side by side.
        sys.stdout.flush()

    try:
        url = server.line().removeprefix("listening on ")
        pairs = list(itertools.product(CLIENTS, CLIENTS))
        with ThreadPoolExecutor(len(pairs)) as pool:
            def run(pair):
                for result in check(url, *pair):
                    report(result)
            list(pool.map(run, pairs))
    finally:
        report(stop(server))
    failed = results.count(False)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
