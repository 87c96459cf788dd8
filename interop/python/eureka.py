"""Drives py-eureka-client by commands: one JSON object a line on standard input, one answer a line on
standard output. What the commands mean is in ../README.md."""

import json
import os
import re
import sys
import threading

from py_eureka_client import eureka_basic, eureka_client

# The client logs to standard output, which belongs to the answers: let it go nowhere.
answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

# The client shares an asyncio.Lock between the loops of two threads: a command that waits for a
# heartbeat to release it is never woken. `stop` marks the instance as newer before it has registered
# so, thus a heartbeat in between is refused, takes the lock, and `stop` hangs. So they take turns.
turn = threading.Lock()
heartbeat = eureka_client.EurekaClient._EurekaClient__heartbeat


async def heartbeat_in_turn(client):
    with turn:
        await heartbeat(client)


eureka_client.EurekaClient._EurekaClient__heartbeat = heartbeat_in_turn


def start(command):
    eureka_client.init(
        eureka_server=command["server"],
        app_name=command["app"],
        instance_id=command["id"],
        instance_host=command["host"],
        instance_ip=command["ip"],
        instance_port=command["port"],
        vip_adr=command["vip"],
        metadata=command["metadata"],
        renewal_interval_in_secs=command["interval"],
        duration_in_secs=command["duration"],
    )


def by_app(command):
    application = eureka_client.get_client().applications.get_application(command["app"].upper())
    return [told(instance) for instance in application.instances] if application else []


def by_vip(command):
    """The client keeps no addresses; it asks the server."""
    server = eureka_client.get_client()._EurekaClient__eureka_server_conf.servers_in_zone[0]
    found = run(eureka_basic.get_vip(server, command["vip"]))
    return [told(held) for app in found.applications for held in app.instances]


def set_status(command):
    run(eureka_client.get_client().status_update(command["status"]))


def lift_status(_command):
    run(eureka_client.get_client().delete_status_override())


def stop(_command):
    turn.acquire()  # For good: the next heartbeat would register again.
    eureka_client.stop()


def run(coroutine):
    with turn:
        return eureka_client.get_event_loop().run_until_complete(coroutine)


def told(instance):
    return {
        "id": instance.instanceId,
        "app": instance.app,
        "host": instance.hostName,
        "ip": instance.ipAddr,
        "port": instance.port.port,
        "vip": instance.vipAddress,
        "status": instance.status,
        "metadata": {unescaped(key): value or "" for key, value in instance.metadata.items()},
    }


def unescaped(name):
    """Eureka's XML escapes metadata keys; this client hands the escaped ones on."""
    units = re.sub(r"_(_|-|\.([0-9a-f]{4}))", unescaped_unit, name)
    return units.encode("utf-16", "surrogatepass").decode("utf-16")


def unescaped_unit(found):
    if found[2]:
        return chr(int(found[2], 16))
    return {"_": "_", "-": "$"}[found[1]]


COMMANDS = {
    "start": start,
    "by_app": by_app,
    "by_vip": by_vip,
    "set_status": set_status,
    "lift_status": lift_status,
    "stop": stop,
}

for line in sys.stdin:
    request = json.loads(line)
    try:
        outcome = {"answer": COMMANDS[request["do"]](request)}
    except Exception as error:
        outcome = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(outcome), file=answers, flush=True)
    if request["do"] == "stop":
        break
os._exit(0)  # The client's heartbeat thread goes on for ever, and would register again.
