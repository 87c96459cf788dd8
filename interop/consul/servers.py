"""The servers that Consul's clients are run against, and what their checks probe."""

import http.client
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from driver import PATIENCE, SETTINGS, Process, start
from peers import free_ports


def start_larder(larder, report, name, *arguments):
    return start(name, [larder, "serve", "--listen", "127.0.0.1:0", *arguments], report)


def start_consul(consul, report):
    """A Consul of one server, which keeps nothing and is seen by nobody but this machine."""
    name = "Consul"
    ports = free_ports(4)
    http_port, server, lan, wan = (str(port) for port in ports)
    command = [consul, "agent", "-dev", "-node=interop", "-bind=127.0.0.1", "-client=127.0.0.1"]
    command += [f"-http-port={http_port}", f"-server-port={server}", "-dns-port=-1"]
    command += [
        "-grpc-port=-1",
        "-grpc-tls-port=-1",
        f"-serf-lan-port={lan}",
        f"-serf-wan-port={wan}",
    ]
    command += ["-disable-host-node-id", "-log-level=error", "-hcl=disable_update_check=true"]
    try:
        process = Process(command, SETTINGS)
        await_leader(ports[0], process)
    except (AssertionError, OSError) as error:
        report(f"FAILED {name} starts: {error}", False)
        return None
    report(f"ok     {name} starts", True)
    return process, f"http://127.0.0.1:{http_port}"


def await_leader(port, process):
    """Until the server leads and has registered itself."""
    end = time.monotonic() + PATIENCE
    while not registered(port):
        assert process.child.poll() is None, f"it ended, with exit code {process.child.returncode}"
        assert time.monotonic() < end, f"no leader within {PATIENCE} s"
        time.sleep(0.1)


def registered(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/v1/catalog/nodes")
        answer = connection.getresponse()
        return answer.status == 200 and json.loads(answer.read()) != []
    except OSError:
        return False
    finally:
        connection.close()


class Probed:
    """What HTTP checks probe: each instance answers with the status that it is told to."""

    def __init__(self):
        statuses = self.statuses = {}

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(statuses.get(self.path, 404))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, instance):
        return f"http://127.0.0.1:{self.server.server_port}/{instance}"

    def answers(self, instance, status):
        self.statuses[f"/{instance}"] = status
