"""Runs the suite for backends against a Spring Cloud Eureka server; then clients around another and a
Larder in front of it: what registers at one is looked at through the other.

Not expected across both: that a killed client is gone within its lease.
"""

import os
import subprocess
import sys

import driver
import expectations
from clients import CLIENTS, java
from driver import PATIENCE, Pair
from expectations import DURATION, EXPECTATIONS

#: Seconds. Netflix's server adds the duration twice when a lease is renewed.
SPRING_LEASE = 2 * DURATION

#: Seconds that the suite may take; it takes twelve.
SUITE = 120

BY_NAME = {client.name: client for client in CLIENTS}
ACROSS = [
    expected
    for expected in EXPECTATIONS
    if expected is not expectations.sees_it_no_more_after_it_was_killed
]

#: Who reads in front and registers behind: Larder reads it from Spring's server.
READ_THROUGH = [("netflix", "spring"), ("fargo", "spring"), ("node-deltas", "fargo-json")]
#: Who reads behind and registers in front: Larder registers it at Spring's server.
REGISTERED_THROUGH = [("spring", "python"), ("spring", "netflix"), ("fargo-json", "node")]


def sees_it_on_the_command_line(larder, url):
    """An expectation: `larder get` at `url` finds what the pair's other registered."""

    def is_found_by_larder_get(pair):
        def found():
            name = pair.registered["app"]
            command = [larder, "get", "--server", url, "--json", name]
            answer = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
            return answer.returncode == 0 and pair.registered["id"] in answer.stdout

        pair.eventually(found)

    return is_found_by_larder_get


def run(larder, report):
    suite(report)
    clients_around(larder, report)


def suite(report):
    name = "a Spring server is a backend"
    # Its lists are late by design; the clients below see them so.
    at_once = "--eureka.server.use-read-only-response-cache=false"
    started = driver.start("a Spring server", java("EurekaServer", at_once), report)
    if started is None:
        return
    spring, url = started
    test = ["cargo", "test", "--locked", "--offline", "--manifest-path", "../Cargo.toml"]
    test += ["-p", "larder-eureka", "--test", "client", "somebody", "--", "--ignored"]
    environment = os.environ | {"LARDER_TEST_EUREKA": url.removeprefix("http://")}
    try:
        code = subprocess.run(test, env=environment, timeout=SUITE).returncode
    except subprocess.TimeoutExpired:
        code = f"none within {SUITE} s"
    report(f"{'FAILED' if code else 'ok    '} {name}: exit code {code}", code == 0)
    spring.kill()


def clients_around(larder, report):
    behind = driver.start("Spring's server", java("EurekaServer"), report)
    if behind is None:
        return
    spring, spring_url = behind
    upstream = spring_url.replace("http://", "eureka+http://")
    command = [larder, "serve", "--listen", "127.0.0.1:0", "--upstream", upstream]
    front = driver.start("the server in front of it", command, report)
    if front is None:
        return
    server, url = front

    def pairs(names, reader_at, other_at):
        clients = [(BY_NAME[one], BY_NAME[two]) for one, two in names]
        return [Pair(reader_at, *both, other_at, lease=SPRING_LEASE) for both in clients]

    across = pairs(READ_THROUGH, url, spring_url) + pairs(REGISTERED_THROUGH, spring_url, url)
    for pair in across:
        pair.title += " through Spring's server" if pair.server == url else " at Spring's server"
    found = sees_it_on_the_command_line(larder, url)
    driver.check_all(across, [ACROSS[0], found, *ACROSS[1:]], report)
    report(*driver.stop(server))
    spring.kill()


if __name__ == "__main__":
    sys.exit(driver.main(run, sys.argv[1]))
