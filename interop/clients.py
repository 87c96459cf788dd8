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


NODE = ["node", str(HERE / "node/eureka.js")]
NODE_ENVIRONMENT = {"NODE_PATH": str(WORK / "node/node_modules"), "NODE_NO_WARNINGS": "1"}

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
]
