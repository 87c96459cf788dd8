"""Eureka's clients and Consul's meet at one Larder: what registers with one protocol is found with the
other."""

import clients
import driver
from driver import Adapter
from expectations import DURATION, INTERVAL

from .clients import CLIENTS
from .pair import Pair

#: Eureka's clients that start quickly, each for one of Consul's.
EUREKA = {client.name: client for client in clients.CLIENTS}
MEETING = list(zip(CLIENTS, [EUREKA["node"], EUREKA["python"], EUREKA["fargo"]], strict=True))


class Across(Pair):
    """One of Consul's clients, which reads and registers, and one of Eureka's."""

    def __init__(self, consul, eureka, url):
        super().__init__(consul, consul, url)
        self.title = f"Consul's {consul.name} and Eureka's {eureka.name}"
        self.eureka_client = eureka
        self.app = f"{self.service}-by-eureka"

    def start(self):
        super().start()
        self.eureka = Adapter(self.eureka_client)
        self.started.append(self.eureka)
        self.eureka.do(
            "start",
            server=f"{self.server}/eureka",
            app=self.app,
            id=f"{self.app}:7070",
            host="service.example.com",
            ip="10.4.5.6",
            port=7070,
            vip=self.app,
            metadata={"zone": "a"},
            interval=INTERVAL,
            duration=DURATION,
        )

    def by_eureka(self):
        """What Eureka's client sees of what Consul's registered."""
        return self.eureka.do("by_app", app=self.service)


def consul_finds_what_eureka_registered(pair):
    def passing():
        return pair.read("health_service", service=pair.app, passing=True)

    [found] = pair.eventually(passing, lambda found: len(found) == 1)
    seen = found["Service"]
    assert seen["Port"] == 7070 and seen["Meta"]["zone"] == "a", f"found {seen}"
    assert seen["Address"] in ["10.4.5.6", "service.example.com"], f"found {seen}"
    checks = [check for check in found["Checks"] if check["ServiceID"] == seen["ID"]]
    assert [check["Status"] for check in checks] == ["passing"], f"found {found['Checks']}"
    names = [name.lower() for name in pair.read("services")]
    assert pair.app in names, f"found {names}"


def eureka_finds_what_consul_registered(pair):
    pair.register()
    pair.other.do("pass", check=pair.check)

    def up(found):
        return [each["status"] for each in found] == ["UP"]

    [seen] = pair.eventually(pair.by_eureka, up)
    assert (seen["ip"], seen["port"]) == ("10.1.2.3", 8080), f"found {seen}"
    assert seen["metadata"]["city"] == pair.registered["meta"]["city"], f"found {seen}"


def eureka_sees_it_fail(pair):
    pair.other.do("fail", check=pair.check)
    pair.eventually(pair.by_eureka, lambda found: "UP" not in [each["status"] for each in found])
    pair.other.do("pass", check=pair.check)


def eureka_sees_it_leave(pair):
    pair.other.do("deregister", id=pair.registered["id"])
    pair.eventually_is(pair.by_eureka, [])


def consul_sees_the_other_leave(pair):
    pair.eureka.do("stop")
    pair.eventually_is(lambda: pair.read("health_service", service=pair.app), [])


def meets(url, report):
    pairs = [Across(consul, eureka, url) for consul, eureka in MEETING]
    expectations = [
        consul_finds_what_eureka_registered,
        eureka_finds_what_consul_registered,
        eureka_sees_it_fail,
        eureka_sees_it_leave,
        consul_sees_the_other_leave,
    ]
    driver.check_all(pairs, expectations, report)
