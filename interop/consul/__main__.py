"""Runs Consul's clients against a Larder, against one in front of another, and, where there is a Consul,
against that one and a Larder in front of it."""

import itertools
import sys
from concurrent.futures import ThreadPoolExecutor

import driver

from . import eureka, raw, spring, template
from .clients import CLIENTS
from .expectations import ALONE, EXPECTATIONS, PASSED_ON, THROUGH
from .pair import Pair
from .servers import Probed, start_consul, start_larder

BY_NAME = {client.name: client for client in CLIENTS}
#: Where not every client meets every other: who reads, and who registers.
SOME = [
    (BY_NAME[reader], BY_NAME[other])
    for reader, other in [("node", "python"), ("python", "go"), ("go", "node")]
]


class Run:
    def __init__(self, larder, consul, report):
        self.larder, self.consul, self.report = larder, consul, report
        self.probed = Probed()

    def everything(self):
        at = start_larder(self.larder, self.report, "Larder with Consul's API")
        if at:
            self.directly(at, "", EXPECTATIONS)
            eureka.meets(at[1], self.report)
            self.report(*driver.stop(at[0]))
        behind = start_larder(self.larder, self.report, "a Larder that plays Consul's agent")
        if behind:
            self.through(behind, "a Larder", THROUGH)
            self.report(*driver.stop(behind[0]))
        if self.consul:
            self.with_consul()

    def with_consul(self):
        at = start_consul(self.consul, self.report)
        if at:
            self.directly(at, " at Consul", EXPECTATIONS + PASSED_ON)
            self.through(at, "Consul", THROUGH + PASSED_ON)
            at[0].kill()

    def directly(self, at, where, expectations):
        _, url = at
        pairs = [
            Pair(*both, url, where=where, probed=self.probed)
            for both in itertools.product(CLIENTS, CLIENTS)
        ]
        self.meet(pairs, expectations, url, where)
        self.alone(url, where)

    def through(self, behind, name, expectations):
        _, upstream = behind
        to = upstream.replace("http://", "consul+http://")
        front = start_larder(
            self.larder, self.report, f"Larder in front of {name}", "--upstream", to
        )
        if front is None:
            return
        server, url = front
        ways = {
            f", both through Larder in front of {name}": (url, url),
            f", the former through Larder in front of {name}": (url, upstream),
            f", the latter through Larder in front of {name}": (upstream, url),
        }
        pairs = [
            Pair(*both, *servers, upstream=upstream, where=where, probed=self.probed)
            for where, servers in ways.items()
            for both in SOME
        ]
        where = f" through Larder in front of {name}"
        self.meet(pairs, expectations, url, where)
        raw.equal_raw(url, upstream, where, self.report)
        self.alone(url, where)
        self.report(*driver.stop(server))

    def meet(self, pairs, expectations, url, where):
        """All at once; Spring's application takes longest, and waits most of the time."""
        with ThreadPoolExecutor(2) as pool:
            others = [
                pool.submit(run, url, where, self.report) for run in [spring.runs, template.renders]
            ]
            driver.check_all(pairs, expectations, self.report)
            for other in others:
                other.result()

    def alone(self, url, where):
        for client in CLIENTS:
            driver.check_all([Pair(client, client, url, where=where)], ALONE, self.report)


def run(larder, report):
    Run(larder, sys.argv[2] if len(sys.argv) > 2 else None, report).everything()


if __name__ == "__main__":
    sys.exit(driver.main(run, sys.argv[1]))
