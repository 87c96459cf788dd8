"""Starts the server, runs every pair of clients through the expectations, and stops the server.

Nothing waits for ever: every answer, every expectation, the end of the server and the whole run have
a deadline. Nothing stays behind: when the run is told to stop, it ends what it started.
"""

import http.client
import itertools
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from urllib.parse import quote, urlencode, urlsplit

from clients import CLIENTS, paired
from expectations import DURATION, EXPECTATIONS, INTERVAL, NEEDS

#: Seconds until something that must happen has happened.
PATIENCE = 30
#: Seconds that the whole run may take.
RUN = 300
#: How many of the clients that take seconds of a core to start do so at once: more would starve those
#: whose heartbeats are awaited.
SLOW_STARTS = threading.Semaphore(2)

#: Keys and values that each format must escape in its own way.
METADATA = {
    "zone": "a",
    "a:b": "c",
    "my_key": "a<b&c\"'",
    "dollar$key": "v",
    "a_-$b": "what looks escaped is not",
    "1st key": " kept as written ",
    "größe 🍞": "no letter of a name in XML",
    "empty": "",
    "city": "Zürich 中 🍞",
}

#: What would lead a client away from loopback, or to a server other than the one that it is told.
PROXIES = {"http_proxy", "https_proxy", "all_proxy"}
ELSEWHERE = ("CONSUL_",)


class Process:
    """A child whose output is read line by line, within a deadline."""

    started = []

    def __init__(self, command, environment):
        kept = {
            key: value
            for key, value in os.environ.items()
            if key.lower() not in PROXIES and not key.startswith(ELSEWHERE)
        }
        self.child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=kept | environment,
        )
        Process.started.append(self)
        self.lines = queue.Queue(maxsize=10_000)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.child.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def line(self):
        try:
            line = self.lines.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError(f"no answer within {PATIENCE} s") from None
        if line is None:
            self.lines.put(None)  # For whoever asks again.
            raise AssertionError(f"it ended, with exit code {self.child.wait(PATIENCE)}")
        return line

    def kill(self):
        self.child.kill()
        self.child.wait(PATIENCE)


class Refused(AssertionError):
    """A client could not do what it was told to."""


class Adapter(Process):
    """A process of a client."""

    def __init__(self, client):
        super().__init__(client.command, client.environment)
        self.client = client
        self.asked = None

    def do(self, command, **arguments):
        self.ask(command, **arguments)
        return self.answer()

    def ask(self, command, **arguments):
        """Tells it what to do, without waiting until it is done."""
        self.asked = command
        try:
            self.child.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
            self.child.stdin.flush()
        except OSError as error:
            raise AssertionError(f"{self.client.name} {command}: {error}") from None

    def answer(self):
        """What came of the command that it was told last."""
        try:
            outcome = json.loads(self.line())
        except (AssertionError, ValueError) as error:
            raise AssertionError(f"{self.client.name} {self.asked}: {error}") from None
        if "error" in outcome:
            raise Refused(f"{self.client.name} {self.asked}: {outcome['error']}")
        return outcome["answer"]


class Pair:
    """A reader and another that it looks at, each of which registers at its server; the same one, if
    the other's is not given."""

    ports = itertools.count(20_000)

    def __init__(self, server, reader, other, other_server=None, lease=DURATION):
        self.reader_server, self.server = server, other_server or server
        #: Seconds that the other is kept without heartbeats.
        self.lease = lease
        self.title = f"{reader.name} looks at {other.name}"
        self.reader_client, self.other_client = reader, other
        self.started = []

    def start(self):
        reader, other = self.reader_client, self.other_client
        app = f"{reader.name}-reads-{other.name}"
        self.reader, self.reader_registered = self._start(reader, self.reader_server, app)
        app = f"{other.name}-read-by-{reader.name}"
        self.other, self.registered = self._start(other, self.server, app)

    def _start(self, client, server, app):
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
        with SLOW_STARTS if client.starts_slowly else nullcontext():
            adapter = Adapter(client)
            self.started.append(adapter)
            at = f"{server}/eureka"
            adapter.do("start", server=at, interval=INTERVAL, duration=DURATION, **registered)
        return adapter, registered

    def start_another(self):
        self.other, self.registered = self._start(
            self.other_client, self.server, self.registered["app"]
        )

    def unable(self, expectation):
        """Who of the two cannot do what is expected, if so."""
        for role, need in NEEDS.get(expectation, []):
            client = getattr(self, role)
            if not getattr(client, need):
                return f"{client.name}: not {need}"
        return None

    def seen(self, command="by_app", **arguments):
        """The other, as the reader sees it; None if it does not."""
        found = self.reader.do(command, **(arguments or {"app": self.registered["app"]}))
        return next((held for held in found if held["id"] == self.registered["id"]), None)

    def seen_the_other_way(self):
        found = self.other.do("by_app", app=self.reader_registered["app"])
        return next((held for held in found if held["id"] == self.reader_registered["id"]), None)

    def status_seen(self):
        seen = self.seen()
        return seen and seen["status"]

    def operator(self, method, **query):
        """Sets or lifts the other's status at its server, as someone with curl would."""
        self._ask(method, f"/status?{urlencode(query)}")

    def renewed(self):
        """Whether the other has sent a heartbeat, as the server knows."""
        lease = json.loads(self._ask("GET"))["instance"]["leaseInfo"]
        return lease["lastRenewalTimestamp"] > lease["registrationTimestamp"]

    def _ask(self, method, about=""):
        where = urlsplit(self.server)
        app, instance = quote(self.registered["app"]), quote(self.registered["id"])
        connection = http.client.HTTPConnection(where.hostname, where.port, timeout=PATIENCE)
        path = f"/eureka/apps/{app}/{instance}{about}"
        connection.request(method, path, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, f"{method} {path}: {answer.status} {body!r}"
        connection.close()
        return body

    def eventually(self, holds):
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end, f"not within {PATIENCE} s; the reader sees {self.seen()}"
            time.sleep(0.1)

    def always(self, seconds, holds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert holds(), f"not so for {seconds} s; the reader sees {self.seen()}"
            time.sleep(0.1)

    def stop(self):
        for adapter in self.started:
            adapter.kill()


def check(pair, expectations=EXPECTATIONS):
    """Yields a line for each expectation, and whether it held; None if it does not apply."""
    failed = None
    try:
        pair.start()
    except Exception as error:
        failed = error
    for expectation in expectations:
        name = f"{pair.title}: {expectation.__name__.replace('_', ' ')}"
        unable = pair.unable(expectation)
        if unable:
            yield f"-      {name}: does not apply: {unable}", None
            continue
        if failed is None:
            try:
                expectation(pair)
                yield f"ok     {name}", True
                continue
            except Exception as error:
                failed = error
        # What comes later builds on it.
        yield f"FAILED {name}: {failed}", False
        failed = "not tried after the failure before"
    pair.stop()


def where_it_listens(server):
    line = server.line()
    found = re.fullmatch(r"listening on (http://127\.0\.0\.1:[1-9]\d*)", line)
    assert found, f"its first line is {line!r}"
    return found[1]


def stop(server):
    name = "the server stops when it is told to"
    server.child.send_signal(signal.SIGTERM)
    try:
        code = server.child.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        server.kill()
        return f"FAILED {name}: not within {PATIENCE} s", False
    return f"{'FAILED' if code else 'ok    '} {name}: exit code {code}", code == 0


#: All pairs run at once and kill one of their two: a mass, which self-preservation would hold on to.
SETTINGS = {"LARDER_LOG_FILTER": "warn", "LARDER_REGISTRY_SELF_PRESERVATION": "off"}


def start(name, command, report):
    """Starts a server; None if it does not start, which is reported."""
    try:
        server = Process(command, SETTINGS)
        url = where_it_listens(server)
    except (AssertionError, OSError) as error:
        report(f"FAILED {name} starts: {error}", False)
        return None
    report(f"ok     {name} starts", True)
    return server, url


def check_all(pairs, expectations, report):
    """Checks pairs side by side."""

    def checked(pair):
        for line, held in check(pair, expectations):
            report(line, held)

    with ThreadPoolExecutor(len(pairs)) as pool:
        list(pool.map(checked, pairs))


def run(larder, report):
    started = start("the server", [larder, "serve", "--listen", "127.0.0.1:0"], report)
    if started is None:
        return
    server, url = started
    pairs = [Pair(url, *both) for both in itertools.product(CLIENTS, CLIENTS) if paired(*both)]
    check_all(pairs, EXPECTATIONS, report)
    report(*stop(server))


def end_all():
    for process in Process.started:
        process.kill()


def abandon(number, _frame):
    end_all()
    why = f"not done within {RUN} s" if number == signal.SIGALRM else signal.Signals(number).name
    sys.stderr.write(f"interop: stopped: {why}\n")
    sys.stderr.flush()
    os._exit(128 + number)


def main(run, larder):
    """Runs `run` with the program and what it reports its lines to; the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, abandon)
    signal.alarm(RUN)

    results = []

    def report(line, held):
        if held is not None:
            results.append(held)
        sys.stdout.write(f"{line}\n")  # In one piece: the pairs are checked side by side.
        sys.stdout.flush()

    try:
        run(larder, report)
    finally:
        end_all()
    failed = results.count(False)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(run, sys.argv[1]))
