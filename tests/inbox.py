"""A server of webhooks for tests: it keeps what it gets, and answers as it is told."""

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PHRASE = "hunter2-0123456789"
"""What it says beside each status: nothing that anybody should repeat."""


@dataclass
class Inbox:
    """What came, and the statuses that are answered, the last again and again."""

    port: int = 0
    statuses: list[int] = field(default_factory=lambda: [200])
    hold: float = 0.0
    bodies: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def url(self, path: str = "/hook", scheme: str = "http", who: str = "") -> str:
        return f"{scheme}://{who}127.0.0.1:{self.port}{path}"


@contextmanager
def listening(tls: ssl.SSLContext | None = None) -> Iterator[Inbox]:
    inbox = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            inbox.bodies.append(self.rfile.read(int(self.headers["content-length"])).decode())
            inbox.headers.append({name.lower(): value for name, value in self.headers.items()})
            inbox.paths.append(self.path)
            time.sleep(inbox.hold)
            status = inbox.statuses.pop(0) if len(inbox.statuses) > 1 else inbox.statuses[0]
            self.send_response(status, PHRASE)
            if status == 302:
                self.send_header("location", inbox.url("/elsewhere"))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # who tells has given up

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        inbox.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield inbox
        server.shutdown()
        thread.join()
