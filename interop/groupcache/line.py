"""A connection to a node, on which paths go out as they are written, and requests without waiting for answers."""

import socket
from urllib.parse import quote_from_bytes

from driver import PATIENCE

#: How many requests are sent before their answers are read.
WINDOW = 100


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def __repr__(self):
        return f"{self.status} {self.body[:200]!r}"


class Line:
    """HTTP/1.1, one answer after the other."""

    def __init__(self, url):
        self.authority = url.removeprefix("http://")
        host, port = self.authority.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.read = bytearray()

    def ask(self, method, path, body=b"", headers=()):
        self.send(request(self.authority, method, path, body, headers))
        return self.answer()

    def get_all(self, paths):
        """The bodies of many gets, all of which must succeed."""
        bodies = []
        for start in range(0, len(paths), WINDOW):
            window = paths[start : start + WINDOW]
            self.send(b"".join(request(self.authority, "GET", path) for path in window))
            for path in window:
                answer = self.answer()
                assert answer.status == 200, f"GET {path[:200]!r}: {answer}"
                bodies.append(answer.body)
        return bodies

    def send(self, data):
        self.socket.sendall(data)

    def answer(self):
        head = self._until(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        length = int(headers.get("content-length", 0))
        while len(self.read) < length:
            self._more()
        body = bytes(self.read[:length])
        del self.read[:length]
        return Answer(int(first.split(" ")[1]), headers, body)

    def _until(self, end):
        while (found := self.read.find(end)) < 0:
            self._more()
        head = bytes(self.read[:found])
        del self.read[: found + len(end)]
        return head

    def _more(self):
        data = self.socket.recv(1 << 16)
        assert data, "the connection was closed before its answer"
        self.read += data

    def close(self):
        self.socket.close()


def request(authority, method, path, body=b"", headers=()):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {authority}", *headers]
    if method != "GET":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def escaped(key):
    """A key as a segment of a path."""
    return quote_from_bytes(key, safe="")
