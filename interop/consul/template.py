"""consul-template, a program that many run beside theirs, renders what Consul's clients register and put."""

import itertools
import tempfile
import time
from pathlib import Path

from driver import PATIENCE, Adapter, Process

from .clients import CLIENTS, TEMPLATE, WORK
from .turns import in_turn

#: Passing instances, as consul-template means them, and a key.
TEXT = """{{ range service "SERVICE" }}{{ .ID }} at {{ .Address }}:{{ .Port }}
{{ end }}says {{ key "KEY" }}
"""


class Rendered:
    """A service of two instances, a key, and the file that consul-template makes of them."""

    numbers = itertools.count(1)

    def __init__(self, url, folder):
        # What one leaves behind, the next does not find.
        self.service = f"templated-{next(self.numbers)}"
        self.key = f"interop/{self.service}"
        self.client = Adapter(CLIENTS[0])
        self.client.do("start", server=url)
        source, self.file = Path(folder, "in.ctmpl"), Path(folder, "out")
        source.write_text(TEXT.replace("SERVICE", self.service).replace("KEY", self.key))
        command = [TEMPLATE, f"-consul-addr={url}", f"-template={source}:{self.file}"]
        self.program = Process([*command, "-log-level=err"], {})

    def register(self, port):
        about = {"id": f"{self.service}-{port}", "service": self.service, "port": port}
        self.client.do("register", address="10.1.2.3", tags=[], meta={}, checks=[], **about)

    def eventually_says(self, ports, value):
        lines = [f"{self.service}-{port} at 10.1.2.3:{port}\n" for port in ports]
        expected = "".join(lines) + f"says {value}\n"
        end = time.monotonic() + PATIENCE
        while (found := self.file.read_text() if self.file.exists() else None) != expected:
            assert time.monotonic() < end, f"not within {PATIENCE} s; it rendered {found!r}"
            time.sleep(0.05)

    def renders_its_template(self):
        for port in [8001, 8002]:
            self.register(port)
        self.client.do("kv_put", key=self.key, value="first")
        self.eventually_says([8001, 8002], "first")

    def renders_it_again_when_an_instance_leaves(self):
        self.client.do("deregister", id=f"{self.service}-8001")
        self.eventually_says([8002], "first")

    def renders_it_again_when_a_key_changes(self):
        self.client.do("kv_put", key=self.key, value="second")
        self.eventually_says([8002], "second")

    def renders_it_again_when_an_instance_fails_and_passes(self):
        check = {"id": self.service, "name": "memory", "service_id": f"{self.service}-8002"}
        self.client.do("register_check", **check, ttl="60s")
        self.eventually_says([], "second")
        self.client.do("pass", check=self.service)
        self.eventually_says([8002], "second")

    def stop(self):
        self.client.kill()
        self.program.kill()


def renders(url, where, report):
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        rendered = Rendered(url, folder)
        expectations = [
            rendered.renders_its_template,
            rendered.renders_it_again_when_an_instance_leaves,
            rendered.renders_it_again_when_a_key_changes,
            rendered.renders_it_again_when_an_instance_fails_and_passes,
        ]
        in_turn(f"consul-template{where}", expectations, report)
        rendered.stop()
