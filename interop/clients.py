"""The clients that are run against Larder. To add one, write its adapter and add a line here."""

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
WORK = HERE / ".work"


@dataclass(frozen=True)
class Client:
    name: str
    command: list[str]
    environment: dict[str, str]
    #: Whether the client itself can set a status override.
    sets_status: bool = False
    #: Whether it takes up what an instance says when it registers again. That is told as ADDED, by
    #: Netflix's server too, and eureka-js-client ignores in a delta what was added to what it has.
    notices_registering_again: bool = True
    #: Whether it registers metadata whose value is empty. Netflix's client leaves it out.
    registers_empty_values: bool = True
    #: Whether it sees metadata: the compact form has none.
    sees_metadata: bool = True
    #: Whether its start takes seconds of a core.
    starts_slowly: bool = False
    #: The names of the clients that it is paired with, both ways, itself among them if it is to be;
    #: None for every client that says nothing either.
    among: frozenset[str] | None = None


def java(program, *arguments):
    return java_of(HERE / "java", WORK / "java", program, *arguments)


def java_of(settings, work, program, *arguments):
    """A Java program that is quick to start, not quick for long."""
    quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Xmx128m"]
    # The machine's own warnings go to standard output otherwise, where answers are read.
    quiet = ["-Xlog:disable", "-Xlog:all=warning:stderr"]
    classpath = f"{settings}:{work / 'classes'}:{work / 'libraries'}/*"
    return ["java", *quick, *quiet, "-cp", classpath, f"larder.interop.{program}", *arguments]


NODE = ["node", str(HERE / "node/eureka.js")]
NODE_ENVIRONMENT = {"NODE_PATH": str(WORK / "node/node_modules"), "NODE_NO_WARNINGS": "1"}
FARGO = str(WORK / "fargo/fargo")

CLIENTS = [
    Client("node", NODE, NODE_ENVIRONMENT),
    Client(
        "node-deltas", [*NODE, "--deltas"], NODE_ENVIRONMENT, notices_registering_again=False
    ),
    Client(
        "python",
        [str(WORK / "python/bin/python"), str(HERE / "python/eureka.py")],
        {},
        sets_status=True,
    ),
    Client(
        "netflix",
        java("NetflixClient"),
        {},
        sets_status=True,
        registers_empty_values=False,
        starts_slowly=True,
        among=frozenset({"netflix", "python"}),
    ),
    Client(
        "netflix-compact",
        java("NetflixClient", "--compact"),
        {},
        sets_status=True,
        registers_empty_values=False,
        starts_slowly=True,
        sees_metadata=False,
        among=frozenset({"netflix"}),
    ),
    Client(
        "spring",
        java("SpringClient"),
        {},
        sets_status=True,
        registers_empty_values=False,
        starts_slowly=True,
        among=frozenset({"netflix", "fargo-json"}),
    ),
    Client("fargo", [FARGO], {}, sets_status=True, among=frozenset({"fargo", "netflix", "python"})),
    Client("fargo-json", [FARGO, "--json"], {}, sets_status=True, among=frozenset({"fargo", "node"})),
]


def paired(one, other):
    if one.among is None and other.among is None:
        return True
    return other.name in (one.among or ()) or one.name in (other.among or ())
