"""Runs a Spring Cloud Eureka server and a Larder as each other's peers: clients at one look at clients at the
other; each of the two is killed, and catches up when it starts again.

Not expected across both: that a killed client is gone within its lease.
"""

import http.client
import json
import socket
import sys
import time

import driver
from clients import java
from driver import METADATA, PATIENCE, Adapter, Pair
from expectations import DURATION, INTERVAL
from upstream import ACROSS, BY_NAME, SPRING_LEASE

#: Who reads at Larder, and who registers at Spring's server; not Netflix's client, which a 404 of that server
#: keeps from ever registering again.
READ_AT_LARDER = [("python", "spring"), ("netflix", "node")]
#: Who reads at Spring's server and registers at Larder.
READ_AT_SPRING = [("spring", "python"), ("fargo-json", "node")]


class Cluster:
    """The two, at ports that stay theirs."""

    def __init__(self, larder, report):
        self.larder, self.report = larder, report
        ports = free_ports(2)
        self.larder_url, self.spring_url = (f"http://127.0.0.1:{port}" for port in ports)
        self.larder_port, self.spring_port = ports

    def start_larder(self):
        peers = f"LARDER_EUREKA_PEERS={self.spring_url}/eureka"
        serve = [self.larder, "serve", "--listen", f"127.0.0.1:{self.larder_port}"]
        return self._start("a Larder beside it", ["env", peers, *serve])

    def start_spring(self):
        settings = {
            "server.port": self.spring_port,
            "eureka.server.my-url": f"{self.spring_url}/eureka/",
            "eureka.client.service-url.defaultZone": f"{self.larder_url}/eureka/",
            # What it copies at its start is what its own client has read.
            "eureka.client.fetch-registry": "true",
            "eureka.server.registry-sync-retries": 5,
            "eureka.server.registry-sync-retry-wait-ms": 500,
            # It complains at length of a peer that is killed, which is what happens here.
            "logging.level.com.netflix.eureka.cluster": "off",
            # Two cores run both, and the clients' virtual machines start beside them.
            "eureka.server.peer-node-read-timeout-ms": 2_000,
        }
        arguments = [f"--{key}={value}" for key, value in settings.items()]
        return self._start("Spring's server with a peer", java("EurekaServer", *arguments))

    def _start(self, name, command):
        started = driver.start(name, command, self.report)
        assert started, f"{name} does not start"
        return started[0]


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def knows(url, app):
    """Whether a server lists the application."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE)
    try:
        connection.request("GET", f"/eureka/apps/{app}", headers={"Accept": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
    except OSError:
        return False
    finally:
        connection.close()
    return answer.status == 200 and bool(json.loads(body)["application"]["instance"])


def eventually(report, name, holds):
    end = time.monotonic() + PATIENCE
    while not (held := holds()) and time.monotonic() < end:
        time.sleep(0.1)
    report(f"{'ok    ' if held else 'FAILED'} {name}", held)


def register(url, app):
    """A real client, which renews until it is killed."""
    client = Adapter(BY_NAME["python"])
    about = {"id": f"{app}:1", "host": "h.example.com", "ip": "10.1.2.3", "port": 1, "vip": app}
    about |= {"metadata": METADATA, "interval": INTERVAL, "duration": DURATION}
    client.do("start", server=f"{url}/eureka", app=app, **about)
    return client


def run(larder, report):
    cluster = Cluster(larder, report)
    server, spring = cluster.start_larder(), cluster.start_spring()
    clients_across(cluster, report)

    at_spring = register(cluster.spring_url, "before-larder-dies")
    eventually(report, "Larder hears of it", lambda: knows(cluster.larder_url, "before-larder-dies"))
    server.kill()
    beside = register(cluster.spring_url, "while-larder-is-down")
    server = cluster.start_larder()
    for app in ["before-larder-dies", "while-larder-is-down"]:
        name = f"Larder was killed and catches up: {app}"
        eventually(report, name, lambda app=app: knows(cluster.larder_url, app))
    after = register(cluster.larder_url, "after-larder-died")
    eventually(report, "and tells again", lambda: knows(cluster.spring_url, "after-larder-died"))

    spring.kill()
    for gone in [at_spring, beside]:
        gone.kill()
    while_down = register(cluster.larder_url, "while-spring-is-down")
    spring = cluster.start_spring()
    for app in ["after-larder-died", "while-spring-is-down"]:
        name = f"Spring's server was killed and catches up: {app}"
        eventually(report, name, lambda app=app: knows(cluster.spring_url, app))
    again = register(cluster.larder_url, "after-spring-died")
    eventually(report, "and is told again", lambda: knows(cluster.spring_url, "after-spring-died"))
    back = register(cluster.spring_url, "spring-tells-again")
    eventually(report, "and tells again", lambda: knows(cluster.larder_url, "spring-tells-again"))

    for client in [after, while_down, again, back]:
        client.kill()
    report(*driver.stop(server))
    spring.kill()


def clients_across(cluster, report):
    def pairs(names, reader_at, other_at, where):
        clients = [(BY_NAME[one], BY_NAME[two]) for one, two in names]
        made = [Pair(reader_at, *both, other_at, lease=SPRING_LEASE) for both in clients]
        for pair in made:
            pair.title += where
        return made

    larder, spring = cluster.larder_url, cluster.spring_url
    across = pairs(READ_AT_LARDER, larder, spring, " from Larder to its peer")
    across += pairs(READ_AT_SPRING, spring, larder, " from Spring's server to its peer")
    driver.check_all(across, ACROSS, report)


if __name__ == "__main__":
    sys.exit(driver.main(run, sys.argv[1]))
