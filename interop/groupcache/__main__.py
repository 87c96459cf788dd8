"""Runs rings of Go's groupcaches and Larders: two processes of each in a ring, and a ring of each family."""

import sys

import driver

from .expectations import EXPECTATIONS, NEEDS
from .origin import Origin
from .ring import FAMILIES, Ring


def unable(family, expectation):
    need = NEEDS.get(expectation)
    if need is None:
        return None
    is_so = getattr(family, need.removeprefix("not "))
    return None if is_so != need.startswith("not ") else need


def check(ring, report):
    title = f"{ring.family.name} and Larder"
    for node in ring.nodes:
        name = f"{title}: {node.name} starts"
        try:
            node.start()
            report(f"ok     {name}", True)
        except (AssertionError, OSError) as error:
            report(f"FAILED {name}: {error}", False)
            return
    for expectation in EXPECTATIONS:
        name = f"{title}: {expectation.__name__.replace('_', ' ')}"
        lacking = unable(ring.family, expectation)
        if lacking:
            report(f"-      {name}: does not apply: {ring.family.name}: {lacking}", None)
            continue
        try:
            expectation(ring)
            report(f"ok     {name}", True)
        except Exception as error:
            report(f"FAILED {name}: {str(error)[:1000]}", False)
    for larder in ring.larders:
        report(*driver.stop(larder.process))


def run(larder, report):
    for family in FAMILIES:
        ring = Ring(family, larder, Origin())
        try:
            check(ring, report)
        finally:
            ring.stop()


if __name__ == "__main__":
    sys.exit(driver.main(run, sys.argv[1]))
