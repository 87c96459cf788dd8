"""Spring Cloud Consul, whose applications register themselves, send heartbeats, look for each other, and
watch the catalog.

Not expected: that one registers again when its heartbeat is refused. It can be told to, but Spring Cloud
Consul 5.0.1 does not do it, at Consul neither: it takes a status that is an error for an answer.
"""

import time
from urllib.parse import urlsplit

from driver import PATIENCE, SLOW_STARTS, Adapter

from .clients import CLIENTS, SPRING
from .turns import in_turn

#: Seconds that Spring's instance lives without a heartbeat; it sends one at two thirds.
TTL = 3


class Application:
    """One of Spring's applications, and a client that looks at it."""

    def __init__(self, url):
        self.url, self.service = url, "spring"
        self.client, self.spring = Adapter(CLIENTS[0]), Adapter(SPRING)

    def start(self):
        self.client.do("start", server=self.url)
        at = urlsplit(self.url)
        about = {"service": self.service, "id": "spring-1", "address": "10.1.2.3", "port": 8080}
        with SLOW_STARTS:
            where = {"host": at.hostname, "consul_port": at.port}
            self.spring.do("start", **where, **about, tags="a,b", ttl=f"{TTL}s")

    def passing(self):
        found = self.client.do("health_service", service=self.service, passing=True)
        return [entry["Service"] for entry in found["value"]]

    def found_by_spring(self, service):
        return [
            (each["id"], each["host"], each["port"])
            for each in self.spring.do("instances", service=service)
        ]

    def eventually(self, look, holds):
        end = time.monotonic() + PATIENCE
        while not holds(seen := look()):
            assert time.monotonic() < end, f"not within {PATIENCE} s; it sees {seen}"
            time.sleep(0.05)
        return seen

    def registers_itself_and_passes(self):
        self.start()
        [found] = self.eventually(self.passing, lambda found: len(found) == 1)
        expected = {"ID": "spring-1", "Port": 8080, "Address": "10.1.2.3", "Tags": ["a", "b"]}
        assert {key: found[key] for key in expected} == expected, f"found {found}"

    def finds_itself(self):
        self.eventually(lambda: self.spring.do("services"), lambda found: self.service in found)
        found = self.found_by_spring(self.service)
        assert found == [("spring-1", "10.1.2.3", 8080)], f"found {found}"

    def hears_of_a_service_by_watching_and_finds_it(self):
        other = {"id": "other-1", "service": "other-than-spring", "address": "10.1.2.4", "port": 90}
        before = self.spring.do("changes")
        self.client.do("register", **other, tags=[], meta={}, checks=[{"ttl": "60s"}])
        self.eventually(lambda: self.spring.do("changes"), lambda changes: changes > before)
        # It asks for those that pass.
        found = self.found_by_spring(other["service"])
        assert found == [], f"found {found}"
        self.client.do("pass", check="service:other-1")
        expected = [("other-1", "10.1.2.4", 90)]
        self.eventually(
            lambda: self.found_by_spring(other["service"]), lambda found: found == expected
        )
        self.client.do("deregister", id="other-1")
        self.eventually(lambda: self.found_by_spring(other["service"]), lambda found: found == [])

    def passes_beyond_its_time_to_live_by_its_heartbeats(self):
        end = time.monotonic() + 2 * TTL
        while time.monotonic() < end:
            assert len(self.passing()) == 1, f"it does not pass for {2 * TTL} s"
            time.sleep(0.1)

    def leaves_when_it_stops(self):
        self.spring.do("stop")
        self.eventually(self.passing, lambda found: found == [])

    def kill(self):
        self.client.kill()
        self.spring.kill()


def runs(url, where, report):
    application = Application(url)
    expectations = [
        application.registers_itself_and_passes,
        application.finds_itself,
        application.hears_of_a_service_by_watching_and_finds_it,
        application.passes_beyond_its_time_to_live_by_its_heartbeats,
        application.leaves_when_it_stops,
    ]
    in_turn(f"Spring Cloud Consul{where}", expectations, report)
    application.kill()
