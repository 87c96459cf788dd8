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


CLIENTS = [
    Client(
        "node",
        ["node", str(HERE / "node/eureka.js")],
        {"NODE_PATH": str(WORK / "node/node_modules"), "NODE_NO_WARNINGS": "1"},
    ),
    Client(
        "python",
        [str(WORK / "python/bin/python"), str(HERE / "python/eureka.py")],
        {},
        sets_status=True,
    ),
]
