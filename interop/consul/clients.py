"""Consul's clients that are run. To add one, write its adapter and add a line here."""

from dataclasses import dataclass
from pathlib import Path

import clients

HERE = Path(__file__).parent
WORK = HERE.parent / ".work/consul"


@dataclass(frozen=True)
class Client:
    name: str
    command: list[str]
    environment: dict[str, str]
    #: Whether it has a watch of its own.
    watches: bool = True
    #: Whether it can ask for answers of the agent's cache.
    reads_cached: bool = False


NODE = {"NODE_PATH": str(WORK / "node/node_modules"), "NODE_NO_WARNINGS": "1"}

CLIENTS = [
    Client("node", ["node", str(HERE / "node/consul.js")], NODE),
    Client(
        "python",
        [str(WORK / "python/bin/python"), "-B", str(HERE / "python/py_consul.py")],
        {},
        watches=False,
    ),
    Client("go", [str(WORK / "go/client")], {}, reads_cached=True),
]

#: Spring Cloud Consul, which has commands of its own.
SPRING = Client("spring", clients.java_of(HERE / "java", WORK / "java", "SpringConsul"), {})

#: consul-template, which is no client for programs but a program.
TEMPLATE = str(WORK / "template/consul-template")
