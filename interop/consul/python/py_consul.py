"""Drives py-consul by commands: one JSON object a line on standard input, one answer a line on standard
output. What the commands mean is in ../README.md. It has no watch of its own."""

import json
import os
import sys
from urllib.parse import urlsplit

import consul

# Whatever prints belongs elsewhere than among the answers.
answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)

client = None


def start(server):
    global client
    where = urlsplit(server)
    client = consul.Consul(host=where.hostname, port=where.port)


def register(id, service, tags, meta, address, port, checks):
    described = [described_check(**check) for check in checks]
    return client.agent.service.register(
        service,
        service_id=id,
        address=address,
        port=port,
        tags=tags,
        meta=meta,
        check=described[0] if described else None,
        extra_checks=described[1:],
    )


def described_check(ttl=None, http=None, interval=None, timeout=None):
    return consul.Check.ttl(ttl) if ttl else consul.Check.http(http, interval, timeout)


def register_check(id, name, service_id, ttl):
    check = consul.Check.ttl(ttl)
    return client.agent.check.register(name, check=check, check_id=id, service_id=service_id)


def indexed(answer):
    index, value = answer
    return {"index": int(index), "value": value}


def text(found):
    """Keys' values as text: the client hands on bytes."""
    for pair in found["value"] if isinstance(found["value"], list) else [found["value"]]:
        if pair and pair["Value"] is not None:
            pair["Value"] = pair["Value"].decode()
    return found


def health_service(service, tag=None, passing=None, index=None, wait=None):
    return indexed(client.health.service(service, tag=tag, passing=passing, index=index, wait=wait))


def maintain(id, enable, reason=None):
    return client.agent.service.maintenance(id, enable, reason)


def kv_delete(key, recurse=None, cas=None):
    return client.kv.delete(key, recurse=recurse, cas=cas)


def events(name):
    found = indexed(client.event.list(name))
    for event in found["value"]:
        event["Payload"] = event["Payload"].decode()
    return found


COMMANDS = {
    "start": start,
    "register": register,
    "deregister": lambda id: client.agent.service.deregister(id),
    "register_check": register_check,
    "deregister_check": lambda id: client.agent.check.deregister(id),
    "pass": lambda check, note=None: client.agent.check.ttl_pass(check, note),
    "warn": lambda check, note=None: client.agent.check.ttl_warn(check, note),
    "fail": lambda check, note=None: client.agent.check.ttl_fail(check, note),
    "maintain": maintain,
    "maintain_node": lambda enable, reason=None: client.agent.maintenance(enable, reason),
    "datacenters": lambda: client.catalog.datacenters(),
    "nodes": lambda: indexed(client.catalog.nodes()),
    "node": lambda node: indexed(client.catalog.node(node)),
    "services": lambda: indexed(client.catalog.services()),
    "catalog_service": lambda service, tag=None: indexed(client.catalog.service(service, tag=tag)),
    "health_service": health_service,
    "health_checks": lambda service: indexed(client.health.checks(service)),
    "health_node": lambda node: indexed(client.health.node(node)),
    "health_state": lambda state: indexed(client.health.state(state)),
    "agent_self": lambda: client.agent.self(),
    "agent_members": lambda: client.agent.members(),
    "agent_services": lambda: client.agent.services(),
    "agent_checks": lambda: client.agent.checks(),
    "leader": lambda: client.status.leader(),
    "peers": lambda: client.status.peers(),
    "kv_get": lambda key, index=None, wait=None: text(
        indexed(client.kv.get(key, index, wait=wait))
    ),
    "kv_list": lambda prefix: text(indexed(client.kv.get(prefix, recurse=True))),
    "kv_keys": lambda prefix, separator=None: indexed(
        client.kv.get(prefix, keys=True, separator=separator)
    ),
    "kv_put": lambda key, value, flags=None, cas=None: client.kv.put(
        key, value.encode(), cas=cas, flags=flags
    ),
    "kv_delete": kv_delete,
    "session": lambda ttl: client.session.create(ttl=int(ttl.removesuffix("s"))),
    "destroy_session": lambda session: client.session.destroy(session),
    "lock": lambda key, value, session: client.kv.put(key, value, acquire=session),
    "transact": lambda operations: client.txn.put(operations)["Results"],
    "fire": lambda name, payload: client.event.fire(name, payload)["ID"],
    "events": events,
}

for line in sys.stdin:
    request = json.loads(line)
    try:
        outcome = {"answer": COMMANDS[request.pop("do")](**request)}
    except Exception as error:
        outcome = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(outcome), file=answers, flush=True)
