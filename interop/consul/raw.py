"""What clients do not ask, asked without one: in front of a server and behind, the answers must be equal."""

import http.client
import json
import time
from urllib.parse import quote, urlsplit

from driver import PATIENCE

#: A service that these requests are about: two instances, one of which fails.
SERVICE = "raw"
INSTANCES = [
    {
        "ID": "raw-1",
        "Name": SERVICE,
        "Tags": ["a", "b"],
        "Address": "10.1.2.3",
        "Port": 80,
        "Meta": {"zone": "a"},
        "TaggedAddresses": {"wan": {"Address": "198.18.0.1", "Port": 81}},
        "Weights": {"Passing": 10, "Warning": 2},
        "Check": {"TTL": "10m", "Status": "passing"},
    },
    {
        "name": SERVICE,
        "id": "raw-2",
        "port": 90,
        "checks": [{"ttl": "10m"}, {"TTL": 600_000_000_000}],
    },
]

#: Reads, each below /v1/.
READS = [
    "catalog/datacenters",
    "catalog/nodes",
    "catalog/nodes?near=_agent",
    "catalog/nodes?node-meta=no:such",
    "catalog/services",
    "catalog/services?pretty",
    f"catalog/service/{SERVICE}",
    f"catalog/service/{SERVICE}?tag=a&tag=b",
    f"catalog/service/{SERVICE}?filter=" + quote('ServiceID == "raw-1"'),
    "catalog/service/nobody",
    "catalog/node/nobody",
    "catalog/node-services/nobody",
    f"health/service/{SERVICE}",
    f"health/service/{SERVICE}?passing",
    f"health/service/{SERVICE}?passing=false",
    f"health/service/{SERVICE}?stale",
    f"health/service/{SERVICE}?consistent",
    f"health/service/{SERVICE}?tag=a&passing=1&wait=5s",
    f"health/service/{SERVICE}?near=_agent&pretty",
    f"health/service/{SERVICE}?filter=" + quote('"a" in Service.Tags'),
    f"health/checks/{SERVICE}",
    "health/state/critical",
    "health/state/nothing",
    "agent/members",
    "agent/services",
    "agent/checks",
    "agent/service/raw-1",
    "agent/service/nobody",
    "agent/health/service/id/raw-1",
    "agent/health/service/id/raw-2?format=text",
    "agent/health/service/id/nobody",
    f"agent/health/service/name/{SERVICE}",
    "agent/health/service/name/nobody?format=text",
    "kv/raw/a",
    "kv/raw%2Fa",
    "kv/raw/a?raw",
    "kv/raw/empty",
    "kv/raw/empty?raw",
    "kv/raw/?recurse",
    "kv/raw/?keys",
    "kv/raw?keys&separator=/",
    "kv/raw/nothing",
    "kv/raw/nothing/?keys",
    "status/leader",
    "status/peers",
    "event/list?name=nothing",
    "coordinate/datacenters",
    "session/list",
    "query",
]

#: Mistakes, each as a whole.
MISTAKES = [
    ("GET", f"/v1/health/service/{SERVICE}?index=x"),
    ("GET", f"/v1/health/service/{SERVICE}?index=-1"),
    ("GET", f"/v1/health/service/{SERVICE}?index=1&wait=x"),
    ("GET", f"/v1/health/service/{SERVICE}?index=1&wait=10"),
    ("GET", f"/v1/health/service/{SERVICE}?passing=x"),
    ("GET", f"/v1/health/service/{SERVICE}?stale&consistent"),
    ("GET", f"/v1/health/service/{SERVICE}?cached&consistent"),
    ("GET", f"/v1/health/service/{SERVICE}?ns=x"),
    ("GET", "/v1/health/service/"),
    ("GET", "/v1/catalog/service/"),
    ("GET", "/v1/catalog/node/"),
    ("GET", "/v1/kv/"),
    ("GET", "/v1/nothing"),
    ("GET", "/v1/catalog/nodes/"),
    ("GET", "/v1/agent/service/register"),
    ("PUT", "/v1/catalog/nodes"),
    ("DELETE", f"/v1/health/service/{SERVICE}"),
    ("OPTIONS", "/v1/kv/raw/a"),
    ("OPTIONS", "/v1/catalog/nodes"),
    ("PUT", "/v1/agent/check/pass/nobody"),
    ("PUT", "/v1/agent/check/deregister/nobody"),
    ("PUT", "/v1/agent/service/deregister/nobody"),
    ("PUT", "/v1/agent/service/maintenance/raw-1"),
    ("PUT", "/v1/agent/service/maintenance/raw-1?enable=perhaps"),
    ("PUT", "/v1/agent/service/register"),
    ("PUT", "/v1/kv/"),
    ("PUT", "/v1/kv/raw/a?cas=1&acquire=x"),
    ("DELETE", "/v1/kv/raw?recurse&cas=1"),
]

#: What an answer may say of itself without being another: when and how it was sent, and whether it was kept.
#: What an index counts is the server's own, so it need only be there.
OWN = {"date", "connection", "keep-alive", "content-length", "transfer-encoding", "vary"}
OWN |= {"age", "x-cache", "x-consul-lastcontact", "x-consul-query-backend", "x-consul-knownleader"}


class Answer:
    """One answer: its status, its headers, and its body, which is compared as JSON if it is."""

    def __init__(self, url, method, path, body=None):
        where = urlsplit(url)
        connection = http.client.HTTPConnection(where.hostname, where.port, timeout=PATIENCE)
        connection.request(method, path, body=body)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        self.status = answer.status
        headers = {name.lower(): value for name, value in answer.getheaders()}
        self.headers = {name: value for name, value in headers.items() if name not in OWN}
        if self.headers.get("x-consul-index", "0") != "0":
            self.headers["x-consul-index"] = "some"
        self.body = text
        if headers.get("content-type") == "application/json" and text:
            self.body = json.loads(text)

    def differs(self, other, part):
        return getattr(self, part) != getattr(other, part)


def equal_raw(front, behind, where, report):
    """Reports whether the front answers as the server behind it does."""
    for instance in INSTANCES:
        Answer(behind, "PUT", "/v1/agent/service/register", json.dumps(instance))
    for key, value in {"a": "value", "empty": "", "b/c": "deeper"}.items():
        Answer(behind, "PUT", f"/v1/kv/raw/{key}?flags=7", value)
    for method, path in [("GET", f"/v1/{path}") for path in READS] + MISTAKES:
        name = f"{method} {path}{where}: is answered as behind it"
        try:
            await_equal(front, behind, method, path)
            report(f"ok     {name}", True)
        except Exception as error:
            report(f"FAILED {name}: {error}", False)


def await_equal(front, behind, method, path):
    """A cached answer is behind for a moment, nothing more."""
    end = time.monotonic() + PATIENCE / 10
    while True:
        one, other = (Answer(url, method, path) for url in [front, behind])
        different = [part for part in ["status", "headers", "body"] if one.differs(other, part)]
        if not different:
            return
        if time.monotonic() > end:
            told = [
                f"{part}: {getattr(one, part)}, not {getattr(other, part)}" for part in different
            ]
            raise AssertionError("; ".join(told)[:1500])
        time.sleep(0.05)
