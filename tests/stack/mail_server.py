"""A mail server that takes every message, as the installation's own does after a failure."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes

ANSWERS = {b"DATA": b"354 go on", b"QUIT": b"221 bye"}


class _Session(socketserver.StreamRequestHandler):
    """One session: each command is answered, and each message is kept."""

    def handle(self) -> None:
        self.wfile.write(b"220 mail\r\n")
        for line in self.rfile:
            command = line[:4].upper().strip()
            self.wfile.write(ANSWERS.get(command, b"250 ok") + b"\r\n")
            if command == b"QUIT":
                return
            if command == b"DATA":
                lines = iter(self.rfile.readline, b".\r\n")
                subject = message_from_bytes(b"".join(lines))["Subject"]
                assert isinstance(self.server, _Server)
                self.server.subjects.append(subject)
                self.wfile.write(b"250 taken\r\n")


class _Server(socketserver.ThreadingTCPServer):
    """What sessions share."""

    allow_reuse_address = daemon_threads = True
    subjects: list[str]


@contextmanager
def mail_server(port: int) -> Iterator[list[str]]:
    """Listen on a port of this machine; yields the subjects of the messages that were taken."""
    with _Server(("127.0.0.1", port), _Session) as server:
        server.subjects = []
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.subjects
        server.shutdown()
